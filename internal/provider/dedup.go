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
func (p *Provider) dedup(typ string, id []value, signed bool, body []byte) hub.Dedup {
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
		d = hub.Dedup{Hash: digest(kindContent, []value{{text: typ}}, body), Keep: keepBody}
	}
	if p.keep > 0 {
		d.Keep = p.keep
	}
	return d
}

// digest hashes the parts, each after its length and whether it is a number, and then the body: no two lists of parts
// give the same bytes.
func digest(kind byte, parts []value, body []byte) (out [16]byte) {
	text := make([]byte, 0, 128)
	text = append(text, kind, byte(len(parts)))
	for _, v := range parts {
		size := uint64(len(v.text)) << 1
		if v.number {
			size |= 1
		}
		text = binary.AppendUvarint(text, size)
		text = append(text, v.text...)
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
