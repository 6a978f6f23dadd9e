package worker

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"

	"github.com/tributary-hub/tributary/internal/job"
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

// recordGivenUp writes the outcome of events whose job River discarded when nobody could: its node died in the last
// attempt, or Postgres was away at that moment.
func (w *Worker) recordGivenUp(ctx context.Context) error {
	jobs, err := w.o.River.GivenUp(ctx, 2*time.Hour)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		if err := w.giveUp(ctx, j.RouteEvent, j.Error); err != nil {
			return err
		}
	}
	return nil
}
