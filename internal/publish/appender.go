// Package publish is the one door into the message log: the appender, a group commit across all who have messages at
// that moment. It keeps no message; waking whoever reads them is the append statement's own NOTIFY.
package publish

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/groupcommit"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/telemetry"
)

// AppendFunc adds units in one statement; store.Pipeline.Append is the one there is, and tests of batches stand
// before it.
type AppendFunc func(ctx context.Context, units []hub.Unit) ([]hub.Placed, error)

// Options of an Appender.
type Options struct {
	Append  AppendFunc            // required
	Metrics prometheus.Registerer // required
	Log     *slog.Logger          // required
	Tracer  *telemetry.Tracer     // of flushes; nil: none is traced
}

// An Appender adds units to their tenants' logs. A flush takes tenants in turn, so that a loud one does not hold up
// the others.
type Appender struct {
	group   *groupcommit.Group[hub.Unit, hub.Placed]
	metrics metrics
	failing telemetry.Stretch // by a fault of ours
}

// The bounds of one flush: 100 units took 6 ms when measured.
const (
	flushUnits = 200
	flushBytes = 4 << 20
	queueUnits = 8192
	queueBytes = 64 << 20
)

// NewAppender makes an Appender; it serves nobody before Start.
func NewAppender(o Options) *Appender {
	a := &Appender{}
	a.group = groupcommit.New(groupcommit.Options[hub.Unit]{
		MaxItems:   flushUnits,
		MaxBytes:   flushBytes,
		Queue:      queueUnits,
		QueueBytes: queueBytes,
		Size:       sizeOf,
		Turn:       func(u hub.Unit) [16]byte { return u.Tenant },
		Alone:      func(err error) bool { return !store.IsOurs(err) },
		Panicked: func(ctx context.Context, p *groupcommit.PanicError) {
			o.Log.ErrorContext(ctx, "appending panicked", "error", p, "stack", string(p.Stack))
		},
	}, func(ctx context.Context, units []hub.Unit) ([]hub.Placed, error) {
		ctx, span := o.Tracer.Flush(ctx, "append units", len(units), func(i int) string { return units[i].Trace })
		defer span.End()
		began := time.Now()
		placed, err := o.Append(ctx, units)
		telemetry.Fail(span, err)
		a.metrics.flushed(units, placed, err, time.Since(began))
		a.tell(ctx, o.Log, err)
		return placed, err
	})
	a.metrics = newMetrics(o.Metrics, a.group.Waiting, a.group.WaitingBytes)
	return a
}

// Append adds the unit and says where its messages stand. hub.Unavailable where the queue is full, or the database
// does not answer before ctx ends: then a unit of an event may be tried again, since its working passes once.
func (a *Appender) Append(ctx context.Context, u hub.Unit) (hub.Placed, error) {
	ctx, span := telemetry.Begin(ctx, "append messages")
	defer span.End()
	u.Trace = telemetry.Traceparent(ctx)
	placed, err := a.append(ctx, u)
	telemetry.Fail(span, err)
	return placed, err
}

func (a *Appender) append(ctx context.Context, u hub.Unit) (hub.Placed, error) {
	began := time.Now()
	placed, err := a.group.Do(ctx, u)
	switch {
	case errors.Is(err, groupcommit.ErrFull):
		return hub.Placed{}, hub.Errorf(hub.Unavailable, "too many messages wait to be appended")
	case errors.Is(err, groupcommit.ErrStopped):
		return hub.Placed{}, hub.Errorf(hub.Unavailable, "the hub is stopping")
	case err != nil && ctx.Err() != nil:
		return hub.Placed{}, hub.Errorf(hub.Unavailable, "the messages were not appended in time")
	case err != nil:
		return hub.Placed{}, fmt.Errorf("append messages: %w", err)
	}
	a.metrics.wait.Observe(time.Since(began).Seconds())
	return placed, nil
}

// tell logs that nothing can be appended, once for each stretch: who has it appended tries again and again.
func (a *Appender) tell(ctx context.Context, log *slog.Logger, err error) {
	switch {
	case err == nil && a.failing.Ends():
		log.InfoContext(ctx, "messages are appended again")
	case store.IsOurs(err) && a.failing.Begins():
		log.ErrorContext(ctx, "messages cannot be appended, and wait", "error", err)
	}
}

// Start lets flushes begin.
func (a *Appender) Start(ctx context.Context) error { return a.group.Start(ctx) }

// Stop refuses new units and returns when those that wait are flushed, or ctx is done.
func (a *Appender) Stop(ctx context.Context) error { return a.group.Stop(ctx) }

func sizeOf(u hub.Unit) int {
	size := 64
	for i := range u.Messages {
		m := &u.Messages[i]
		size += 128 + len(m.Channel) + len(m.Type) + len(m.Key) + len(m.Data)
	}
	return size
}
