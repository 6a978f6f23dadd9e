package hub

import (
	"net/http"
	"time"
)

// An Event is an accepted webhook: body and headers as they came, never updated.
type Event struct {
	Tenant     TenantID
	ID         EventID
	Endpoint   EndpointID
	Provider   string
	Type       string // what the provider calls it; "" where it has no types
	ProviderID string // what the provider calls this event; ""  where it has no ids
	ReceivedAt time.Time
	Verified   bool
	Cause      Cause       // why not, in monitor mode
	Secret     SecretID    // which secret verified it
	Header     http.Header // without what carries credentials
	Sealed     []byte      // headers that carry credentials, sealed; nil where there are none
	Body       []byte      // the raw bytes; where they hold a credential of the provider's, without it
	Original   []byte      // the raw bytes where Body is without a credential; on its way in only
	SealedBody []byte      // Original, sealed, as it is stored; nil where Body is the raw bytes
	Dedup      Dedup
	Trace      string // the traceparent of the step that commits it; "" where nothing is traced; on its way in only
}

// Dedup says what makes a webhook the same as another. The zero value: it is like no other.
type Dedup struct {
	Hash [16]byte
	Keep time.Duration // how long the key is held
}

// A Receipt is what the sender is told: the event that holds its webhook, which a duplicate shares with the first.
type Receipt struct {
	Event     EventID
	Duplicate bool
}

// An EventState is what became of an event's first working.
type EventState string

// The states of an event: pending until its job is done, then by its outcome.
const (
	EventPending   EventState = "pending"
	EventRouted    EventState = "routed"    // at least one message, no route failed
	EventUnmatched EventState = "unmatched" // no route wanted it
	EventFailed    EventState = "failed"    // a route failed, or its job was given up
)

// An Outcome is what became of one event in one run.
type Outcome struct {
	Event    EventID
	Run      RunID
	State    EventState // never EventPending
	Error    string     // of a job that was given up
	Routes   []RouteOutcome
	WorkedAt time.Time
}

// A RouteOutcome is what one route did with one event.
type RouteOutcome struct {
	Route    RouteID
	Messages int
	Skipped  int    // channels whose braces gave nothing
	Error    string // why the route failed, if it did
}
