package hub

import "time"

// The bounds of a route.
const (
	MaxRouteChannels   = 10
	MaxExpressionBytes = 4 << 10
)

// A Route is a rule: which events become messages, on which channels, with which type and data.
type Route struct {
	ID        RouteID
	Name      string
	Endpoint  EndpointID // zero: events of every endpoint
	Match     string     // CEL, a boolean
	Channels  []string   // templates with CEL in braces; a message for each
	Type      string     // plain text; "": the event's own
	Data      string     // CEL; "": thin, {"event","type"}
	Key       string     // CEL, a string; "": none
	Version   string     // CEL, an integer or a string; "": none
	State     State
	Metadata  Metadata
	Failures  RouteFailures
	CreatedAt time.Time
	UpdatedAt time.Time
}

// RouteFailures counts the events that a route failed on and shows the last.
type RouteFailures struct {
	Count     int64
	LastError string
	LastEvent EventID
	LastAt    *time.Time
}
