// Package worker does what is left to do after a webhook was acknowledged: one file per kind of River job,
// housekeeping included, and the beat by which nodes know of each other. It owns no River client; app does.
package worker

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/groupcommit"
	"github.com/tributary-hub/tributary/internal/job"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/publish"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/telemetry"
)

// Options of a Worker; all are required but Now and Tracer.
type Options struct {
	Pipeline  *store.Pipeline
	River     *store.River
	Directory *directory.Directory
	Appender  *publish.Appender
	Meter     *meter.Meter
	Log       *slog.Logger
	Metrics   prometheus.Registerer
	Retention time.Duration     // of events and messages, whole days
	Now       func() time.Time  // default time.Now
	Tracer    *telemetry.Tracer // of workings whose webhook was traced; nil: none is
}

// A Worker holds what the jobs share.
type Worker struct {
	o           Options
	workingTime time.Duration // job.EventTimeout, or less in a test
	loader      *groupcommit.Group[store.EventRef, store.WorkEvent]
	failures    *failures
	metrics     metrics
}

// New makes a Worker; its jobs run only between Start and Stop.
func New(o Options) *Worker {
	if o.Now == nil {
		o.Now = time.Now
	}
	w := &Worker{o: o, workingTime: job.EventTimeout, failures: newFailures(o), metrics: newMetrics(o.Metrics)}
	w.loader = groupcommit.New(groupcommit.Options[store.EventRef]{
		MaxItems: 100,
		Alone:    func(err error) bool { return !store.IsOurs(err) },
		Panicked: func(ctx context.Context, p *groupcommit.PanicError) {
			o.Log.ErrorContext(ctx, "loading panicked", "error", p, "stack", string(p.Stack))
		},
	}, o.Pipeline.LoadEvents)
	return w
}

// Workers lists the kinds of jobs.
func (w *Worker) Workers() *river.Workers {
	workers := river.NewWorkers()
	river.AddWorker(workers, &routeEvent{w: w})
	river.AddWorker(workers, &retention{w: w})
	river.AddWorker(workers, &sweep{w: w})
	return workers
}

// Queues says how many jobs of each queue run at once, and how River looks for them: a wake-up that falls into the
// cooldown is dropped, so the queue of events has short ones; chores have long ones, or an idle hub would cost 20
// queries a second for each.
func Queues() map[string]river.QueueConfig {
	return map[string]river.QueueConfig{
		job.Events: {MaxWorkers: eventWorkers, FetchCooldown: 2 * time.Millisecond, FetchPollInterval: 50 * time.Millisecond},
		job.Chores: {MaxWorkers: 2, FetchCooldown: time.Second, FetchPollInterval: 5 * time.Second},
	}
}

// eventWorkers run at once: enough that appends coalesce, not so many that the last waits long.
const eventWorkers = 300

// Periodic lists the housekeeping.
func Periodic() []*river.PeriodicJob {
	every := func(d time.Duration, args river.JobArgs) *river.PeriodicJob {
		return river.NewPeriodicJob(river.PeriodicInterval(d), func() (river.JobArgs, *river.InsertOpts) { return args, nil },
			&river.PeriodicJobOpts{RunOnStart: true})
	}
	return []*river.PeriodicJob{
		every(15*time.Minute, job.Retention{}),
		every(time.Minute, job.Sweep{}),
	}
}

// Start begins what jobs need.
func (w *Worker) Start(ctx context.Context) error {
	return errors.Join(w.failures.Start(ctx), w.loader.Start(ctx))
}

// Stop ends it; River must have stopped before.
func (w *Worker) Stop(ctx context.Context) error {
	return errors.Join(w.loader.Stop(ctx), w.failures.Stop(ctx))
}
