package worker

import (
	"context"
	"errors"
	"time"

	"github.com/riverqueue/river"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/job"
	"github.com/tributary-hub/tributary/internal/store"
)

// partitionsAhead is how many days of partitions there are before they are needed.
const partitionsAhead = 7

// retention makes partitions ahead, drops the days that are over, and forgets tombstones of that age. Those have no
// index, which would cost each write of state; so they are looked for here, not every minute.
type retention struct {
	river.WorkerDefaults[job.Retention]
	w *Worker
}

// Timeout leaves room for the waits behind long readers.
func (*retention) Timeout(*river.Job[job.Retention]) time.Duration { return 80 * time.Second }

func (r *retention) Work(ctx context.Context, _ *river.Job[job.Retention]) error {
	return r.w.metrics.chore(ctx, job.Retention{}.Kind(), r.keepDays)
}

func (r *retention) keepDays(ctx context.Context) error {
	err := MakePartitions(ctx, r.w.o.Pipeline, r.w.o.Now())
	partitions, unlisted := r.w.o.Pipeline.Partitions(ctx)
	if unlisted != nil {
		return errors.Join(err, unlisted)
	}
	oldest := oldestDay(r.w.o.Now(), r.w.o.Retention)
	for _, p := range partitions {
		if p.Day.Before(oldest) {
			err = errors.Join(err, r.w.drop(ctx, p))
		}
	}
	return errors.Join(err, batches(ctx, func(ctx context.Context) (int64, error) {
		return r.w.o.Pipeline.SweepTombstones(ctx, r.w.o.Retention)
	}))
}

// MakePartitions makes those that are missing, from yesterday, for ids of a clock behind ours, until a week ahead.
// It is asked at start too: without today's nothing can be taken in.
func MakePartitions(ctx context.Context, p *store.Pipeline, now time.Time) error {
	today := store.DayOf(now)
	_, err := p.MakePartitions(ctx, today.AddDate(0, 0, -1), today.AddDate(0, 0, partitionsAhead))
	return err
}

func oldestDay(now time.Time, retention time.Duration) time.Time {
	return store.DayOf(now.Add(-retention))
}

// daysAhead is how many days after today, in a row, have the partitions of all kinds: below 0 where today has not.
func daysAhead(partitions []store.Partition, today time.Time) int {
	kinds := map[time.Time]int{}
	for _, p := range partitions {
		kinds[p.Day.UTC()]++
	}
	days := 0
	for kinds[today.AddDate(0, 0, days)] == store.PartitionKinds {
		days++
	}
	return days - 1
}

// drop waits for a busy table a few times, with the lock timeout between; then the next run tries again.
func (w *Worker) drop(ctx context.Context, p store.Partition) error {
	for range 5 {
		_, err := w.o.Pipeline.DropPartition(ctx, p)
		if err == nil {
			w.o.Log.InfoContext(ctx, "day dropped", "table", p.Kind, "day", p.Day.Format(time.DateOnly))
			return nil
		}
		if !store.IsBusy(err) {
			return err
		}
	}
	return hub.Errorf(hub.Unavailable, "%s of %s is in use", p.Kind, p.Day.Format(time.DateOnly))
}
