package meter

import (
	"context"
	"time"

	"github.com/tributary-hub/tributary/internal/store"
)

// Start begins to write the rollup, every few seconds.
func (m *Meter) Start(ctx context.Context) error {
	ctx, m.stop = context.WithCancel(context.WithoutCancel(ctx))
	m.stopped = make(chan struct{})
	go func() {
		defer close(m.stopped)
		m.write(ctx)
	}()
	return nil
}

// Stop writes what has been counted and ends.
func (m *Meter) Stop(ctx context.Context) error {
	if m.stop == nil {
		return nil
	}
	m.stop()
	select {
	case <-m.stopped:
	case <-ctx.Done():
		return ctx.Err()
	}
	return m.flush(ctx)
}

func (m *Meter) write(ctx context.Context) {
	ticker := time.NewTicker(m.o.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := m.flush(ctx); err != nil && ctx.Err() == nil {
			m.o.Log.WarnContext(ctx, "usage not written", "error", err)
		}
	}
}

// flush writes the counts; those of a write that failed count again in the next.
func (m *Meter) flush(ctx context.Context) error {
	hour := m.o.Now().UTC().Truncate(time.Hour)
	var usage []store.Usage
	m.mu.RLock()
	for id, t := range m.tenants {
		if u := t.take(); u != (store.Usage{}) {
			u.Tenant, u.Hour = id, hour
			usage = append(usage, u)
		}
	}
	m.mu.RUnlock()
	if len(usage) == 0 {
		return nil
	}
	err := m.o.Pipeline.AddUsage(ctx, usage)
	if err != nil {
		for _, u := range usage {
			m.of(u.Tenant).giveBack(u)
		}
	}
	return err
}

// take empties the counts. The next peak begins with the streams that are open, also with one that opens meanwhile.
func (t *tenant) take() store.Usage {
	u := store.Usage{
		Received: t.received.Swap(0), Rejected: t.rejected.Swap(0), Duplicates: t.duplicates.Swap(0),
		Messages: t.messages.Swap(0), Delivered: t.delivered.Swap(0), ConnectionsPeak: t.peak.Swap(0),
	}
	t.raisePeak(t.connections.Load())
	return u
}

func (t *tenant) giveBack(u store.Usage) {
	t.received.Add(u.Received)
	t.rejected.Add(u.Rejected)
	t.duplicates.Add(u.Duplicates)
	t.messages.Add(u.Messages)
	t.delivered.Add(u.Delivered)
	t.raisePeak(u.ConnectionsPeak)
}
