package frame

import (
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// ReadyData is what hub.ready tells a subscriber about its stream:
//
//	{"connection":"con_…","identity":"…","channels":["user:42"],"position":7,"expires_at":"2026-01-02T03:04:05Z"}
type ReadyData struct {
	Connection hub.ConnectionID
	Identity   string       // opaque; the same for the same tenant, issuer and subject
	Channels   []string     // names and patterns that the stream covers
	Position   hub.Position // the log's head, which may lie above the frame's id
	ExpiresAt  time.Time    // when the credential ends the stream; zero where nothing does, and then left out
}

// Ready is the first frame, hub.ready. id is the cursor before the first message that will follow: nil where the
// cursor is broken or state follows.
func Ready(r ReadyData, id *hub.Cursor) *Frame {
	if r.Channels == nil {
		r.Channels = []string{}
	}
	return control("hub.ready", id, struct {
		Connection hub.ConnectionID `json:"connection"`
		Identity   string           `json:"identity"`
		Channels   []string         `json:"channels"`
		Position   hub.Position     `json:"position"`
		ExpiresAt  time.Time        `json:"expires_at,omitzero"`
	}{r.Connection, r.Identity, r.Channels, r.Position, whole(r.ExpiresAt)})
}

// Live says that replay is done, hub.live; what follows is live. Its data is {"position":7}, that of its id.
func Live(id hub.Cursor) *Frame {
	return control("hub.live", &id, struct {
		Position hub.Position `json:"position"`
	}{id.Position})
}

// Ping is the heartbeat, hub.ping, which also moves the cursor over other channels' messages: id is the stream's
// own place, nil where it has none yet. Its data is the server's time, {"time":"2026-01-02T03:04:05.678Z"}.
func Ping(now time.Time, id *hub.Cursor) *Frame {
	return control("hub.ping", id, struct {
		Time time.Time `json:"time"`
	}{now.UTC().Truncate(time.Millisecond)})
}

// A ResetReason says why a stream cannot go on where its client was.
type ResetReason string

// The reasons of hub.reset.
const (
	ResetRetention ResetReason = "retention" // the log no longer holds what comes next
	ResetEpoch     ResetReason = "epoch"     // positions may have been used twice since
	ResetFuture    ResetReason = "future"    // the cursor is above the head
	ResetMalformed ResetReason = "malformed" // not a cursor
)

// maxRequested bounds what hub.reset repeats of the client's cursor; a real one is shorter.
const maxRequested = 128

// Reset says that continuity is broken, hub.reset: reload your data. Its data is
//
//	{"reason":"retention","requested":"0badcafe-7","position":6}
//
// requested is what the client asked for, cut at 128 bytes; position is the one after which the stream goes on. id is
// the cursor of that position, nil where state follows.
func Reset(reason ResetReason, requested string, position hub.Position, id *hub.Cursor) *Frame {
	if len(requested) > maxRequested {
		requested = strings.ToValidUTF8(requested[:maxRequested], "")
	}
	return control("hub.reset", id, struct {
		Reason    ResetReason  `json:"reason"`
		Requested string       `json:"requested"`
		Position  hub.Position `json:"position"`
	}{reason, requested, position})
}

// Expiring warns that the credential ends in 60 s or less, hub.expiring; data: {"expires_at":"2026-01-02T03:04:05Z"}.
func Expiring(at time.Time) *Frame {
	return control("hub.expiring", nil, struct {
		ExpiresAt time.Time `json:"expires_at"`
	}{whole(at)})
}

// Selftest is one of the frames by which a client sees whether something in between holds back what is sent,
// hub.selftest: numbered from 1, with the time at which it is sent, by the server's clock, and the time to the next, both
// in milliseconds. Its data is {"number":1,"sent":1767323045678,"interval":500}.
func Selftest(number int, sent time.Time, interval time.Duration) *Frame {
	return control("hub.selftest", nil, struct {
		Number   int   `json:"number"`
		Sent     int64 `json:"sent"`
		Interval int64 `json:"interval"`
	}{number, sent.UnixMilli(), interval.Milliseconds()})
}

// A ByeReason says why the hub ends a stream.
type ByeReason string

// The reasons of hub.bye.
const (
	ByeDrain       ByeReason = "drain"       // this node is stopping: come back, to another
	ByeExpired     ByeReason = "expired"     // the credential ended
	ByeClosed      ByeReason = "closed"      // somebody who may closed it
	ByeMaxAge      ByeReason = "max_age"     // streams do not live for ever
	ByeLimit       ByeReason = "limit"       // a limit of the tenant is reached
	ByeUnavailable ByeReason = "unavailable" // a fault of ours, and passing
)

// Bye is the last frame, hub.bye, with the time after which a client should come back, in whole milliseconds;
// data: {"reason":"drain"}.
func Bye(reason ByeReason, retry time.Duration) *Frame {
	retry = max(retry, 0)
	f := control("hub.bye", nil, struct {
		Reason ByeReason `json:"reason"`
	}{reason})
	f.retry = &retry
	return f
}

func control(event string, id *hub.Cursor, data any) *Frame {
	return &Frame{event: event, cursor: claim(id), data: encode(data)}
}

// whole is t to the second, never later than t, so that no client trusts a credential too long; zero stays zero.
func whole(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return t.UTC().Truncate(time.Second)
}
