package provider

import (
	"crypto/sha256"
	"encoding/binary"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// How long a key is held: an id for as long as providers retry; type and body just long enough for the first retry
// after a lost answer, so that a genuine repeat is not swallowed.
const (
	keepID   = 7 * 24 * time.Hour
	keepBody = 5 * time.Minute
)

// What a key is made of. The kind is hashed with it, so that keys of two kinds never meet.
const (
	kindID      byte = 1 // an id inside the signed bytes names the event alone
	kindIDBody  byte = 2 // an id outside of them could be put on another body
	kindContent byte = 3 // no id: the type and the body
)

// dedup says what makes the event the same as another.
func (p *Provider) dedup(typ string, id []string, signed bool, body []byte) hub.Dedup {
	if p.dedupOff {
		return hub.Dedup{}
	}
	var d hub.Dedup
	switch {
	case len(id) > 0 && signed:
		d = hub.Dedup{Hash: digest(kindID, id, nil), Keep: keepID}
	case len(id) > 0:
		d = hub.Dedup{Hash: digest(kindIDBody, id, body), Keep: keepID}
	default:
		d = hub.Dedup{Hash: digest(kindContent, []string{typ}, body), Keep: keepBody}
	}
	if p.keep > 0 {
		d.Keep = p.keep
	}
	return d
}

// digest hashes the parts, each after its length, and then the body: no two lists of parts give the same bytes.
func digest(kind byte, parts []string, body []byte) (out [16]byte) {
	text := make([]byte, 0, 128)
	text = append(text, kind, byte(len(parts)))
	for _, s := range parts {
		text = binary.AppendUvarint(text, uint64(len(s)))
		text = append(text, s...)
	}
	if len(body) == 0 {
		sum := sha256.Sum256(text)
		return [16]byte(sum[:16])
	}
	h := sha256.New()
	h.Write(text)
	h.Write(body)
	var sum [sha256.Size]byte
	return [16]byte(h.Sum(sum[:0])[:16])
}
