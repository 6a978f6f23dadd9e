package frame

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// Message is an entry of the log: event is its type, id its own cursor, data its JSON as stored, line ends between
// tokens aside. The frame keeps m.Data and does not copy it.
func Message(epoch hub.Epoch, m hub.Logged) *Frame {
	if len(m.Data) == 0 {
		m.Data = []byte("null")
	}
	return &Frame{
		event:  eventName(m.Type),
		cursor: claim(&hub.Cursor{Epoch: epoch, Position: m.Position}),
		data:   m.Data,
		breaks: bytes.Count(m.Data, []byte("\n")) + bytes.Count(m.Data, []byte("\r")),
		item:   &m,
	}
}

// Item is a message as the API lists it and as envelope=1 sends it:
//
//	{"id":"msg_…","position":7,"at":"2026-01-02T03:04:05.678Z","channel":"customer:cus_123","type":"payment",
//	 "data":<JSON as stored>,"event":"evt_…","key":"cus_123","version":7}
//
// event, key and version are left out where the message has none; version is a number or a string, as it was given.
func Item(m hub.Logged) []byte {
	if len(m.Data) == 0 {
		m.Data = []byte("null")
	}
	out := make([]byte, 0, len(m.Data)+len(m.Channel)+len(m.Type)+len(m.Key)+256)
	out = append(out, `{"id":`...)
	out = appendString(out, m.ID.String())
	out = append(out, `,"position":`...)
	out = strconv.AppendInt(out, int64(m.Position), 10)
	out = append(out, `,"at":`...)
	out = appendString(out, m.At.UTC().Format(time.RFC3339Nano))
	out = append(out, `,"channel":`...)
	out = appendString(out, m.Channel)
	out = append(out, `,"type":`...)
	out = appendString(out, m.Type)
	out = append(out, `,"data":`...)
	out = append(out, m.Data...)
	if !m.Event.IsZero() {
		out = append(out, `,"event":`...)
		out = appendString(out, m.Event.String())
	}
	if m.Key != "" {
		out = append(out, `,"key":`...)
		out = appendString(out, m.Key)
	}
	switch v := m.Version; {
	case v.Number != nil:
		out = append(out, `,"version":`...)
		out = strconv.AppendInt(out, *v.Number, 10)
	case v.Text != nil:
		out = append(out, `,"version":`...)
		out = appendString(out, *v.Text)
	}
	return append(out, '}')
}

func appendString(out []byte, s string) []byte {
	return append(out, encode(s)...)
}

// encode is for values whose encoding cannot fail: strings, numbers, times, and structs and lists of them.
func encode(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("frame: " + err.Error())
	}
	return text
}
