package worker

import (
	"context"
	"time"

	"github.com/riverqueue/river"

	"github.com/tributary-hub/tributary/internal/job"
)

// Reason is what the trail says of a working's last error.
var Reason = reason

// RouteEvent works one job, as River has it done.
func (w *Worker) RouteEvent(ctx context.Context, j *river.Job[job.RouteEvent]) error {
	return (&routeEvent{w: w}).Work(ctx, j)
}

// SetWorkingTime bounds one working of a Worker that has not begun.
func (w *Worker) SetWorkingTime(d time.Duration) { w.workingTime = d }
