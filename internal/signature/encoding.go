package signature

import (
	"encoding/base64"
	"encoding/hex"
)

// An Encoding is how a signature is written.
type Encoding string

// The encodings. Each is read strictly: the whole text, the alphabet, the padding and the unused bits of the last
// character must be those of the canonical form, so that no signature has two spellings. Hex may have either case.
const (
	Hex       Encoding = "hex"
	Base64    Encoding = "base64"
	Base64URL Encoding = "base64url-nopad"
)

// maxMAC is the size of the largest digest, maxText that of its longest text.
const (
	maxMAC  = 64
	maxText = 2 * maxMAC
)

func (e Encoding) valid() bool {
	return e == Hex || e == Base64 || e == Base64URL
}

// decode appends to dst the size bytes that s stands for; ok is false, and dst unchanged, where s is not the
// canonical text of exactly that many bytes. The length is compared first, which also refuses the line breaks that
// encoding/base64 would skip.
func (e Encoding) decode(dst []byte, s string, size int) (_ []byte, ok bool) {
	if len(s) != e.textLen(size) {
		return dst, false
	}
	var text [maxText]byte
	var mac [maxMAC + 3]byte // DecodedLen rounds up
	src := text[:copy(text[:], s)]
	var n int
	var err error
	switch e {
	case Base64:
		n, err = base64.StdEncoding.Strict().Decode(mac[:], src)
	case Base64URL:
		n, err = base64.RawURLEncoding.Strict().Decode(mac[:], src)
	default:
		n, err = hex.Decode(mac[:], src)
	}
	if err != nil || n != size {
		return dst, false
	}
	return append(dst, mac[:n]...), true
}

func (e Encoding) encode(mac []byte) string {
	switch e {
	case Base64:
		return base64.StdEncoding.EncodeToString(mac)
	case Base64URL:
		return base64.RawURLEncoding.EncodeToString(mac)
	default:
		return hex.EncodeToString(mac)
	}
}

func (e Encoding) textLen(size int) int {
	switch e {
	case Base64:
		return base64.StdEncoding.EncodedLen(size)
	case Base64URL:
		return base64.RawURLEncoding.EncodedLen(size)
	default:
		return hex.EncodedLen(size)
	}
}
