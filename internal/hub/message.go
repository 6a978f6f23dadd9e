package hub

import (
	"strconv"
	"time"
)

// The bounds of messages: what crosses one fails its route or its request.
const (
	MaxMessageBytes  = 1 << 20 // data of one message, as JSON
	MaxEventMessages = 100     // messages of one event
	MaxEventBytes    = 4 << 20 // their data together
)

// A Message is one entry of a tenant's log, before it has a position.
type Message struct {
	ID      MessageID
	Channel string
	Type    string
	Key     string // retains the message as the channel's value for that key; "" does not
	Version Version
	Data    []byte // JSON
}

// A Logged message has its place in its tenant's log.
type Logged struct {
	Message
	Position Position
	At       time.Time // never earlier than the position before
	Event    EventID   // zero for messages that were published
	Run      RunID
}

// A Version orders the writes of one key: a 64-bit integer, or a string compared byte by byte; integers sort
// before strings. The zero value is no version.
type Version struct {
	Number *int64
	Text   *string
}

// IsZero says that there is no version: such a write always wins.
func (v Version) IsZero() bool { return v.Number == nil && v.Text == nil }

// String is for people.
func (v Version) String() string {
	switch {
	case v.Number != nil:
		return strconv.FormatInt(*v.Number, 10)
	case v.Text != nil:
		return *v.Text
	}
	return ""
}

// A Unit is what is appended together: the messages of one working of one event, which pass once or not at all, or
// those of one publish request (Outcome.Event zero), which always pass. Their order is kept.
type Unit struct {
	Tenant   TenantID
	Outcome  Outcome
	Messages []Message
	Trace    string // the traceparent of the step that appends it; "" where nothing is traced
}

// Placed says where a unit's messages stand in the log.
type Placed struct {
	Passed      bool     // false: this working had been recorded before, nothing was added
	First, Last Position // zero where the unit had no messages
	At          time.Time
}
