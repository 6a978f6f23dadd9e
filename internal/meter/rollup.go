package meter

import (
	"context"
	"time"

	"github.com/tributary-hub/tributary/internal/store"
)

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
		m.metrics.unwritten.Inc()
		for _, u := range usage {
			m.of(u.Tenant).giveBack(u)
		}
		return err
	}
	m.metrics.written.Inc()
	return nil
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
