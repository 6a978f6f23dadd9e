package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/riverqueue/river"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/job"
	"github.com/tributary-hub/tributary/internal/routing"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/telemetry"
)

// routeEvent works one event: it runs the tenant's routes and appends what they emit. The gate of the append makes
// it safe to run twice.
type routeEvent struct {
	river.WorkerDefaults[job.RouteEvent]
	w *Worker
}

// snooze is how long a job waits after a failure of ours that passes: it burns no attempt.
const snooze = 250 * time.Millisecond

// Timeout bounds one working.
func (r *routeEvent) Timeout(*river.Job[job.RouteEvent]) time.Duration { return r.w.workingTime }

var errPanicked = errors.New("the working of the event panicked")

// Work ends in one of four ways: done; snoozed, when Postgres is away, hangs or refuses what no event causes, or the
// process stops; failed, to be tried again; given up, at the last attempt, when the outcome says so in the event's
// trail.
func (r *routeEvent) Work(ctx context.Context, j *river.Job[job.RouteEvent]) error {
	ctx, span := r.w.o.Tracer.Continue(ctx, j.Args.Traceparent, "work event")
	defer span.End()
	began := time.Now()
	r.w.metrics.running.Inc()
	defer r.w.metrics.running.Dec()
	err := r.work(ctx, j.Args)
	r.w.metrics.working.Observe(time.Since(began).Seconds())
	telemetry.Fail(span, err)
	switch {
	case err == nil:
		r.w.metrics.done.Inc()
		describe(span, j, "done")
		return nil
	case store.IsOurs(err), errors.Is(err, context.Canceled): // the process stops, others go on
		r.w.metrics.snoozed.Inc()
		describe(span, j, "snoozed")
		return river.JobSnooze(snooze)
	case j.Attempt < j.MaxAttempts:
		r.w.metrics.failed.Inc()
		describe(span, j, "failed")
		return err
	}
	describe(span, j, "given_up")
	r.w.o.Log.ErrorContext(ctx, "event given up", "tenant", j.Args.Tenant, "event", j.Args.Event, "error", err)
	if _, gaveUp := r.w.giveUp(ctx, j.Args, reason(err)); gaveUp != nil {
		return errors.Join(err, gaveUp) // the sweep finds it, and counts it
	}
	r.w.metrics.givenUp.Inc()
	return err
}

// describe says in the span of a working which it was, and what came of it.
func describe(span trace.Span, j *river.Job[job.RouteEvent], result string) {
	if !span.IsRecording() {
		return
	}
	span.SetAttributes(
		attribute.String("tributary.tenant", j.Args.Tenant.String()),
		attribute.String("tributary.event", j.Args.Event.String()),
		attribute.Int64("tributary.job", j.ID),
		attribute.Int("tributary.attempt", j.Attempt),
		attribute.String("tributary.result", result),
	)
	if !j.Args.Run.IsZero() {
		span.SetAttributes(attribute.String("tributary.run", j.Args.Run.String()))
	}
}

// work is the way of one event from its job to the log. A panic, of ours or of a library under a route, is this
// event's failure alone.
func (r *routeEvent) work(ctx context.Context, args job.RouteEvent) (err error) {
	defer func() {
		if p := recover(); p != nil {
			r.w.o.Log.ErrorContext(ctx, "working panicked", "tenant", args.Tenant, "event", args.Event, "panic", panicText(p), "stack", string(debug.Stack()))
			err = errPanicked
		}
	}()
	event, tenant, err := r.w.load(ctx, args)
	if hub.CodeOf(err) == hub.NotFound { // its day was dropped, or its tenant deleted
		return nil
	}
	if err != nil {
		return err
	}
	name := ""
	if ep := tenant.Endpoint(event.Endpoint); ep != nil {
		name = ep.Name
	}
	messages, outcome, err := route(ctx, tenant, &event.Event, name)
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
		r.w.metrics.recorded(outcome)
		r.w.metrics.age.Observe(r.w.o.Now().Sub(event.ReceivedAt).Seconds())
	}
	return nil
}

// route runs the tenant's routes.
func route(ctx context.Context, tenant *directory.Tenant, event *hub.Event, endpoint string) ([]hub.Message, hub.Outcome, error) {
	ctx, span := telemetry.Begin(ctx, "run routes")
	defer span.End()
	messages, outcome, err := routing.Work(ctx, tenant.Routes, routing.NewInput(event, endpoint))
	if span.IsRecording() {
		span.SetAttributes(attribute.Int("tributary.messages", len(messages)), attribute.String("tributary.outcome", string(outcome.State)))
	}
	telemetry.Fail(span, err)
	return messages, outcome, err
}

// panicText is what a log may have of a panic's value: the runtime's own texts name types and numbers, any other may
// hold what is in the event.
func panicText(p any) string {
	if err, ok := p.(runtime.Error); ok {
		return err.Error()
	}
	return fmt.Sprintf("%T", p)
}

// load reads the event and its tenant with routes that are no older: an event is routed once, so never by old rules.
// It may take half of the working's time, so that routes which run out of time have had some. hub.NotFound where the
// event or its tenant is gone, hub.Unavailable where the time is up: that says nothing about the event.
func (w *Worker) load(ctx context.Context, args job.RouteEvent) (store.WorkEvent, *directory.Tenant, error) {
	ctx, span := telemetry.Begin(ctx, "load event")
	defer span.End()
	ctx, cancel := context.WithTimeout(ctx, w.workingTime/2)
	defer cancel()
	event, err := w.loader.Do(ctx, store.EventRef{Tenant: args.Tenant, Event: args.Event})
	var tenant *directory.Tenant
	switch {
	case err == nil && !event.Found:
		err = hub.Errorf(hub.NotFound, "no such event")
	case err == nil:
		tenant, err = w.o.Directory.TenantAt(ctx, args.Tenant, event.ConfigVersion)
	}
	if ctx.Err() != nil && hub.CodeOf(err) != hub.NotFound {
		err = hub.Errorf(hub.Unavailable, "the event and its routes were not read in time")
	}
	telemetry.Fail(span, err)
	if err != nil {
		return store.WorkEvent{}, nil, fmt.Errorf("load event: %w", err)
	}
	return event, tenant, nil
}

// reason is a working's last error as its tenant reads it in the trail. What Postgres or a panic said is for the
// operator's log: it may name addresses and statements, and quote the event.
func reason(err error) string {
	switch {
	case errors.Is(err, errPanicked):
		return "the hub failed on this event, by a fault of its own"
	case errors.Is(err, context.DeadlineExceeded):
		return "its routes took longer than an event may take"
	}
	return "what its routes made of it could not be stored"
}

// giveUp records that the event's working failed for good, and says whether nobody had recorded one: a working that
// was recorded after all stays as it is.
func (w *Worker) giveUp(ctx context.Context, args job.RouteEvent, reason string) (recorded bool, err error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	outcome := hub.Outcome{Event: args.Event, Run: args.Run, State: hub.EventFailed, Error: reason}
	placed, err := w.o.Appender.Append(ctx, hub.Unit{Tenant: args.Tenant, Outcome: outcome})
	if err != nil {
		return false, fmt.Errorf("record that the event was given up: %w", err)
	}
	return placed.Passed, nil
}
