// Package job has the arguments and kinds of the hub's River jobs. Arguments carry ids only, that of a trace among
// them: what a job works on is read when it runs, as its tenant.
package job

import (
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/tributary-hub/tributary/internal/hub"
)

// Queues. Events is polled every few milliseconds and has one job an event; Chores is housekeeping, polled every
// few seconds, or an idle hub would cost 20 queries a second for it.
const (
	Events = "events"
	Chores = "chores"
)

// EventAttempts is how often a working of an event is tried before it is given up as failed.
const EventAttempts = 8

// EventTimeout bounds one working of an event, waits for the append included.
const EventTimeout = 10 * time.Second

// RouteEvent works one event: the first time, or the run of a replay.
type RouteEvent struct {
	Tenant hub.TenantID `json:"tenant"`
	Event  hub.EventID  `json:"event"`
	Run    hub.RunID    `json:"run,omitzero"`

	// Traceparent names the span that enqueued it, in the form of W3C's header, where that was traced.
	Traceparent string `json:"traceparent,omitempty"`
}

// Kind names the job in River's table.
func (RouteEvent) Kind() string { return "route_event" }

// InsertOpts puts it on the queue of events.
func (RouteEvent) InsertOpts() river.InsertOpts {
	return river.InsertOpts{Queue: Events, MaxAttempts: EventAttempts}
}

// A chore is housekeeping: safe to run twice, given up soon, since the next one comes. While one of its kind waits or
// runs, another is not needed; one that has run keeps none away, or a process with another retention would wait.
func chore() river.InsertOpts {
	return river.InsertOpts{
		Queue:       Chores,
		MaxAttempts: 3,
		UniqueOpts: river.UniqueOpts{ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
		}},
	}
}

// Retention makes the partitions ahead, drops the days that are over, and forgets tombstones of that age.
type Retention struct{}

// Kind names the job in River's table.
func (Retention) Kind() string { return "retention" }

// InsertOpts puts it on the queue of chores.
func (Retention) InsertOpts() river.InsertOpts { return chore() }

// Sweep removes what has expired outside partitions: dedup keys, idempotent answers, silent nodes. It trims the rings
// of rejections, and records what became of events whose jobs River gave up.
type Sweep struct{}

// Kind names the job in River's table.
func (Sweep) Kind() string { return "sweep" }

// InsertOpts puts it on the queue of chores.
func (Sweep) InsertOpts() river.InsertOpts { return chore() }
