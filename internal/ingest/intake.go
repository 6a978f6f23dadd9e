package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/groupcommit"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/telemetry"
)

// InsertFunc commits events in one transaction; store.Pipeline.InsertEvents is the one there is, and tests of
// failures stand before it.
type InsertFunc func(ctx context.Context, events []hub.Event) ([]hub.Receipt, error)

// IntakeOptions of an Intake.
type IntakeOptions struct {
	Insert  InsertFunc            // required
	Keeper  *secret.Keeper        // required: seals headers that carry credentials
	Metrics prometheus.Registerer // required
	Log     *slog.Logger          // required
	Tracer  *telemetry.Tracer     // of flushes; nil: none is traced
}

// An Intake commits events: callers each wait for their own receipt while one transaction serves many.
type Intake struct {
	group   *groupcommit.Group[hub.Event, hub.Receipt]
	metrics intakeMetrics
	keeper  *secret.Keeper
	log     *slog.Logger
	failing telemetry.Stretch // by a fault of ours
}

// The bounds of the intake. A full queue is 503: the provider keeps the webhook and comes again.
const (
	flushEvents = 400
	flushBytes  = 8 << 20
	queueEvents = 8192
	queueBytes  = 128 << 20

	flushTime  = 5 * time.Second // of one transaction
	commitTime = 8 * time.Second // of one webhook's, with the wait for its turn: then it is 503, and may have been committed
)

// NewIntake makes an Intake; it serves nobody before Start.
func NewIntake(o IntakeOptions) *Intake {
	i := &Intake{keeper: o.Keeper, log: o.Log}
	i.group = groupcommit.New(groupcommit.Options[hub.Event]{
		MaxItems:     flushEvents,
		MaxBytes:     flushBytes,
		Queue:        queueEvents,
		QueueBytes:   queueBytes,
		FlushTimeout: flushTime,
		Size:         func(e hub.Event) int { return 512 + len(e.Body) + len(e.SealedBody) },
		Turn:         func(e hub.Event) [16]byte { return e.Tenant },
		Alone:        func(err error) bool { return !store.IsOurs(err) }, // a lost connection may have committed, and another will not help
		Panicked: func(ctx context.Context, p *groupcommit.PanicError) {
			o.Log.ErrorContext(ctx, "committing panicked", "error", p, "stack", string(p.Stack))
		},
	}, func(ctx context.Context, events []hub.Event) ([]hub.Receipt, error) {
		ctx, span := o.Tracer.Flush(ctx, "insert events", len(events), func(i int) string { return events[i].Trace })
		defer span.End()
		began := time.Now()
		receipts, err := o.Insert(ctx, events)
		telemetry.Fail(span, err)
		i.metrics.flushed(receipts, len(events), err, time.Since(began))
		i.tell(ctx, len(events), err)
		return receipts, err
	})
	i.metrics = newIntakeMetrics(o.Metrics, i.group.Waiting, i.group.WaitingBytes)
	return i
}

// Commit returns after the commit that holds the event. hub.Unavailable where the queue is full, the keyset does not
// seal or the database does not take it: the event may have been committed all the same, and the sender's retry is
// told of a duplicate.
func (i *Intake) Commit(ctx context.Context, e hub.Event) (hub.Receipt, error) {
	ctx, span := telemetry.Begin(ctx, "commit event")
	defer span.End()
	e.Trace = telemetry.Traceparent(ctx)
	receipt, err := i.commit(ctx, e)
	telemetry.Fail(span, err)
	return receipt, err
}

func (i *Intake) commit(ctx context.Context, e hub.Event) (hub.Receipt, error) {
	if err := i.seal(&e); err != nil {
		if hub.CodeOf(err) == hub.Unavailable { // for a while nothing is
			i.tell(ctx, 1, err)
		} else {
			i.log.ErrorContext(ctx, "event not sealed", "event", e.ID, "error", err)
		}
		return hub.Receipt{}, hub.Errorf(hub.Unavailable, "the event's credentials cannot be sealed")
	}
	began := time.Now()
	asked := ctx
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	receipt, err := i.group.Do(ctx, e)
	switch {
	case errors.Is(err, groupcommit.ErrFull):
		return hub.Receipt{}, hub.Errorf(hub.Unavailable, "too many webhooks wait to be committed")
	case errors.Is(err, groupcommit.ErrStopped):
		return hub.Receipt{}, hub.Errorf(hub.Unavailable, "the hub is stopping")
	case err != nil && asked.Err() != nil:
		return hub.Receipt{}, hub.Errorf(hub.Unavailable, "the sender left before the commit")
	case err != nil && ctx.Err() != nil:
		return hub.Receipt{}, hub.Errorf(hub.Unavailable, "the webhook was not committed in time")
	case err != nil: // whatever it is, the sender is not at fault, and the flush has logged it
		return hub.Receipt{}, hub.Errorf(hub.Unavailable, "the webhook could not be committed")
	}
	i.metrics.commit.Observe(time.Since(began).Seconds())
	return receipt, nil
}

// tell logs what is not committed: that nothing is, for a reason of ours, once for each stretch, since senders come
// again and again.
func (i *Intake) tell(ctx context.Context, events int, err error) {
	switch {
	case err == nil:
		if i.failing.Ends() {
			i.log.InfoContext(ctx, "events are committed again")
		}
	case !store.IsOurs(err):
		i.log.WarnContext(ctx, "events not committed", "events", events, "error", err)
	case i.failing.Begins():
		i.log.ErrorContext(ctx, "events cannot be committed, and are refused", "error", err)
	}
}

// seal puts what carries credentials where only the keyset opens it.
func (i *Intake) seal(e *hub.Event) error {
	sender, _ := provider.Get(e.Provider)
	shown, credentials := splitHeader(sender, e.Header)
	e.Header = shown
	if credentials != nil {
		sealed, err := i.keeper.Seal(secret.EventHeaders, store.EncodeHeader(credentials), e.Tenant[:], e.ID[:])
		if err != nil {
			return fmt.Errorf("seal headers: %w", err)
		}
		e.Sealed = sealed
	}
	if e.Original != nil {
		sealed, err := i.keeper.Seal(secret.EventBody, e.Original, e.Tenant[:], e.ID[:])
		if err != nil {
			return fmt.Errorf("seal body: %w", err)
		}
		e.SealedBody, e.Original = sealed, nil
	}
	return nil
}

// Start lets flushes begin.
func (i *Intake) Start(ctx context.Context) error { return i.group.Start(ctx) }

// Stop refuses new events and returns when those that wait are committed, or ctx is done.
func (i *Intake) Stop(ctx context.Context) error { return i.group.Stop(ctx) }
