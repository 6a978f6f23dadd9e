// Package frame makes every frame that the hub writes to a subscriber, and is the only one that writes "event:" and
// "id:". A frame is a value until somebody sends it; then it encodes itself, once for each form, however many
// subscribers share it. The package knows no socket, no queue and no tenant, and it does not decide which cursor a
// frame may claim: that is the feed's.
package frame

import (
	"bytes"
	"strconv"
	"sync"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Frame is one frame of a stream. It never changes, so that all subscribers of a channel can be handed the same
// one. What its methods return is shared as well: read it, write it to a socket, never alter it.
type Frame struct {
	event  string // without CR, LF and NUL, by construction; "" leaves the line out
	cursor *hub.Cursor
	retry  *time.Duration
	data   []byte
	breaks int         // line ends in data: each costs a field name on the wire
	item   *hub.Logged // of a message: what its envelope is made of

	plain    form
	envelope form
}

// A form is one encoding of a frame, made at first use.
type form struct {
	once sync.Once
	text []byte
}

// SSE is the frame as a subscriber reads it: its lines and the empty one that ends it.
func (f *Frame) SSE() []byte {
	f.plain.once.Do(func() { f.plain.text = f.encode(f.event, f.data) })
	return f.plain.text
}

// SSEEnvelope is the frame for a subscriber that asked for envelope=1: a message has no event line, so that one
// onmessage hears all of them, and its data is its Item. The hub's own frames are the same in both forms.
func (f *Frame) SSEEnvelope() []byte {
	if f.item == nil {
		return f.SSE()
	}
	f.envelope.once.Do(func() { f.envelope.text = f.encode("", Item(*f.item)) })
	return f.envelope.text
}

// Size is about how many bytes the frame takes, in a queue as on the wire. Asking does not encode it.
func (f *Frame) Size() int {
	const lines = 64 // field names, line ends, the cursor
	return len(f.data) + len("data: ")*f.breaks + len(f.event) + lines
}

// IsMessage says that the frame is an entry of the log, and not one of the hub's own.
func (f *Frame) IsMessage() bool { return f.item != nil }

// At is when a message came into the log, by Postgres's clock; zero for the hub's own frames.
func (f *Frame) At() time.Time {
	if f.item == nil {
		return time.Time{}
	}
	return f.item.At
}

func (f *Frame) encode(event string, data []byte) []byte {
	out := make([]byte, 0, len(data)+len(event)+96)
	if event != "" {
		out = appendField(out, "event", event)
	}
	if f.cursor != nil {
		out = appendField(out, "id", f.cursor.String())
	}
	if f.retry != nil {
		out = appendField(out, "retry", strconv.FormatInt(f.retry.Milliseconds(), 10))
	}
	out = appendData(out, data)
	return append(out, '\n')
}

// appendField writes one line. Its callers see to it that value has no line end.
func appendField(out []byte, name, value string) []byte {
	out = append(out, name...)
	out = append(out, ": "...)
	out = append(out, value...)
	return append(out, '\n')
}

// appendData writes a data line for each line of data. CRLF, LF and CR all end a line for an SSE parser, which
// gives each back as LF; in JSON a raw one can only stand between tokens, so the value that arrives is the same.
func appendData(out, data []byte) []byte {
	if bytes.IndexByte(data, '\r') >= 0 {
		data = bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
		data = bytes.ReplaceAll(data, []byte("\r"), []byte("\n"))
	}
	for more := true; more; {
		var line []byte
		line, data, more = bytes.Cut(data, []byte("\n"))
		out = append(out, "data: "...)
		out = append(out, line...)
		out = append(out, '\n')
	}
	return out
}

// claim is the cursor that a frame may carry: only one in the form that the hub reads back, so that nothing else
// can end up in an id.
func claim(c *hub.Cursor) *hub.Cursor {
	if c == nil {
		return nil
	}
	parsed, err := hub.ParseCursor(c.String())
	if err != nil {
		return nil
	}
	return &parsed
}

// eventName is the event line of a message. Publishing and routing refuse types that could not stand there: with
// one that came by another way the line is left out, so that no message can end its line, or pass as the hub's own.
func eventName(t string) string {
	if hub.ValidateEventName(t) != nil {
		return ""
	}
	return t
}
