package worker

import (
	"context"
	"time"

	"github.com/riverqueue/river"

	"github.com/tributary-hub/tributary/internal/job"
)

// Reason is what the trail says of a working's last error.
var Reason = reason

// Beat writes one beat, as a Node does again and again between Start and Stop.
func (n *Node) Beat(ctx context.Context) error { return n.beat(ctx) }

// Age lets that much time pass for Written.
func (n *Node) Age(d time.Duration) { n.began = n.began.Add(-d) }

// Look judges the others.
func (n *Node) Look(ctx context.Context) { n.look(ctx) }

// Hurry shortens the rhythm of a Node that has not started.
func (n *Node) Hurry(every time.Duration) { n.beatEvery, n.lookEvery = every, every }

// RouteEvent works one job, as River has it done.
func (w *Worker) RouteEvent(ctx context.Context, j *river.Job[job.RouteEvent]) error {
	return (&routeEvent{w: w}).Work(ctx, j)
}

// SetWorkingTime bounds one working of a Worker that has not begun.
func (w *Worker) SetWorkingTime(d time.Duration) { w.workingTime = d }

// GiveUp records that the event's working failed for good.
func (w *Worker) GiveUp(ctx context.Context, args job.RouteEvent, reason string) (recorded bool, err error) {
	return w.giveUp(ctx, args, reason)
}
