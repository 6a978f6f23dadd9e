package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/riverqueue/river"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/job"
	"github.com/tributary-hub/tributary/internal/routing"
	"github.com/tributary-hub/tributary/internal/store"
)

// routeEvent works one event: it runs the tenant's routes and appends what they emit. The gate of the append makes
// it safe to run twice.
type routeEvent struct {
	river.WorkerDefaults[job.RouteEvent]
	w *Worker
}

// snooze is how long a job waits after a failure of ours that passes: it burns no attempt.
const snooze = 250 * time.Millisecond

// Timeout bounds one working, waits for the append included.
func (*routeEvent) Timeout(*river.Job[job.RouteEvent]) time.Duration { return 10 * time.Second }

// Work ends in one of four ways: done; snoozed, when Postgres is away; failed, to be tried again; given up, at the
// last attempt, when the outcome says so in the event's trail.
func (r *routeEvent) Work(ctx context.Context, j *river.Job[job.RouteEvent]) error {
	err := r.work(ctx, j.Args)
	switch {
	case err == nil:
		r.w.metrics.worked.WithLabelValues("done").Inc()
		return nil
	case store.IsUnavailable(err):
		r.w.metrics.worked.WithLabelValues("snoozed").Inc()
		return river.JobSnooze(snooze)
	case j.Attempt < j.MaxAttempts:
		r.w.metrics.worked.WithLabelValues("failed").Inc()
		return err
	}
	r.w.metrics.worked.WithLabelValues("given_up").Inc()
	if gaveUp := r.w.giveUp(ctx, j.Args, err.Error()); gaveUp != nil {
		return errors.Join(err, gaveUp) // the sweep finds it
	}
	return err
}

// work is the way of one event from its job to the log. A panic, of ours or of a library under a route, is this
// event's failure alone.
func (r *routeEvent) work(ctx context.Context, args job.RouteEvent) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.w.o.Log.ErrorContext(ctx, "working panicked", "tenant", args.Tenant, "event", args.Event, "panic", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = errors.New("the working of this event panicked")
		}
	}()
	event, err := r.w.loader.Do(ctx, store.EventRef{Tenant: args.Tenant, Event: args.Event})
	if err != nil {
		return fmt.Errorf("load event: %w", err)
	}
	if !event.Found { // its day was dropped, or its tenant deleted
		return nil
	}
	tenant, err := r.w.o.Directory.TenantAt(ctx, args.Tenant, event.ConfigVersion) // an event is routed once, so never by old rules
	if hub.CodeOf(err) == hub.NotFound {
		return nil
	}
	if err != nil {
		return fmt.Errorf("load routes: %w", err)
	}
	name := ""
	if ep := tenant.Endpoint(event.Endpoint); ep != nil {
		name = ep.Name
	}
	messages, outcome, err := routing.Work(ctx, tenant.Routes, routing.NewInput(&event.Event, name))
	if err != nil {
		return err // recording it would end the event's working with routes that did nothing wrong
	}
	outcome.Event, outcome.Run = args.Event, args.Run
	placed, err := r.w.o.Appender.Append(ctx, hub.Unit{Tenant: args.Tenant, Outcome: outcome, Messages: messages})
	if err != nil {
		return err
	}
	if placed.Passed {
		r.w.o.Meter.Appended(args.Tenant, len(messages))
		r.w.failures.note(args.Tenant, outcome)
		r.w.metrics.age.Observe(r.w.o.Now().Sub(event.ReceivedAt).Seconds())
	}
	return nil
}

// giveUp records that the event's working failed for good. A working that was recorded after all stays as it is.
func (w *Worker) giveUp(ctx context.Context, args job.RouteEvent, reason string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	outcome := hub.Outcome{Event: args.Event, Run: args.Run, State: hub.EventFailed, Error: reason}
	if _, err := w.o.Appender.Append(ctx, hub.Unit{Tenant: args.Tenant, Outcome: outcome}); err != nil {
		return fmt.Errorf("record that the event was given up: %w", err)
	}
	return nil
}
