package feed

import (
	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
)

// An entry is a message as the tail hands it on. All its subscribers get the same frame.
type entry struct {
	position hub.Position
	channel  string
	frame    *frame.Frame
}

// A ring holds the last entries of a tail, contiguous, within a number and a size. The newest always stays.
type ring struct {
	entries  []entry
	bytes    int
	messages int // the bounds
	maxBytes int
}

func newRing(messages, bytes int) ring { return ring{messages: messages, maxBytes: bytes} }

func (r *ring) add(e entry) {
	r.entries = append(r.entries, e)
	r.bytes += e.frame.Size()
	for len(r.entries) > r.messages || r.bytes > r.maxBytes && len(r.entries) > 1 {
		r.bytes -= r.entries[0].frame.Size()
		r.entries[0] = entry{} // lets go of the frame
		r.entries = r.entries[1:]
	}
}

// after gives the entries behind a position up to the newest, which is at head; false where some are gone.
func (r *ring) after(position, head hub.Position) ([]entry, bool) {
	n := int(head - position)
	if n > len(r.entries) {
		return nil, false
	}
	return r.entries[len(r.entries)-n:], true
}
