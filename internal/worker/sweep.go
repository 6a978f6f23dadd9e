package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/riverqueue/river"

	"github.com/tributary-hub/tributary/internal/job"
	"github.com/tributary-hub/tributary/internal/store"
)

// silentNodes are forgotten after that long: they have been taken over long before.
const silentNodes = time.Hour

// sweep removes what has expired outside partitions, in small batches, and records what River gave up.
type sweep struct {
	river.WorkerDefaults[job.Sweep]
	w *Worker
}

// Timeout is short of the period.
func (*sweep) Timeout(*river.Job[job.Sweep]) time.Duration { return 50 * time.Second }

func (s *sweep) Work(ctx context.Context, _ *river.Job[job.Sweep]) error {
	return s.w.metrics.chore(ctx, job.Sweep{}.Kind(), s.clear)
}

func (s *sweep) clear(ctx context.Context) error {
	p := s.w.o.Pipeline
	_, nodes := p.SweepNodes(ctx, silentNodes)
	_, rejections := p.TrimRejections(ctx)
	return errors.Join(
		s.w.recordGivenUp(ctx),
		batches(ctx, p.SweepDedup),
		batches(ctx, p.SweepIdempotency),
		nodes, rejections,
	)
}

// batches sweeps until nothing is left or the time is up; the next run goes on.
func batches(ctx context.Context, sweep func(context.Context) (int64, error)) error {
	for ctx.Err() == nil {
		if n, err := sweep(ctx); err != nil || n == 0 {
			return err
		}
	}
	return nil
}

// unrecorded is what the trail says where nobody could say more at the time. The log has what River says.
const unrecorded = "its last attempt was lost with its process, or failed while nothing could be recorded"

// recordGivenUp writes the outcome of events whose job River discarded when nobody could: its node died in the last
// attempt, or Postgres was away at that moment. One that cannot be recorded holds up no other, and is tried again by
// the next sweep; where Postgres is away, all are.
func (w *Worker) recordGivenUp(ctx context.Context) error {
	var failed error
	for last := (store.GivenUpJob{}); ; {
		jobs, err := w.o.River.GivenUp(ctx, 2*time.Hour, last)
		if err != nil || len(jobs) == 0 {
			return errors.Join(failed, err)
		}
		done, err := w.recordPage(ctx, jobs)
		if err != nil {
			failed = err // one for all: River keeps the text
		}
		err = w.o.River.MarkRecorded(ctx, done)
		if err != nil || store.IsUnavailable(failed) {
			return errors.Join(failed, err)
		}
		last = jobs[len(jobs)-1]
	}
}

// recordPage says which of the jobs need not be looked at again, and an error of those that must. All are given to the
// appender at once: that is one statement for many.
func (w *Worker) recordPage(ctx context.Context, jobs []store.GivenUpJob) (done []int64, failed error) {
	errs := make([]error, len(jobs))
	var all sync.WaitGroup
	for i, j := range jobs {
		all.Go(func() {
			recorded, err := w.giveUp(ctx, j.RouteEvent, unrecorded)
			if recorded {
				w.metrics.givenUp.Inc()
				w.o.Log.ErrorContext(ctx, "event given up", "tenant", j.Tenant, "event", j.Event, "error", j.Error)
			}
			errs[i] = err
		})
	}
	all.Wait()
	for i, j := range jobs {
		if errs[i] != nil {
			failed = fmt.Errorf("event %s: %w", j.Event, errs[i])
			continue
		}
		done = append(done, j.ID)
	}
	return done, failed
}
