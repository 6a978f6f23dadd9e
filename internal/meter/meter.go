// Package meter counts what each tenant does, refuses what is above its limits, and writes the hourly rollup.
// Rates are per process: a tenant behind n nodes has n times its rate.
package meter

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/tally"
)

// Options of a Meter.
type Options struct {
	Pipeline *store.Pipeline       // required: where the rollup is written
	Log      *slog.Logger          // required
	Metrics  prometheus.Registerer // default: counted for nobody
	Interval time.Duration         // between writes; default 10 s: what a crash forgets
	Now      func() time.Time      // default time.Now
}

// A Meter is safe for use by many goroutines. It writes the rollup between Start and Stop.
type Meter struct {
	*tally.Writer

	o       Options
	metrics metrics

	mu      sync.RWMutex // guards tenants
	tenants map[hub.TenantID]*tenant
}

// New makes a Meter; it writes nothing before Start.
func New(o Options) *Meter {
	if o.Interval == 0 {
		o.Interval = 10 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	m := &Meter{o: o, tenants: map[hub.TenantID]*tenant{}}
	m.metrics = newMetrics(o.Metrics, m.size)
	m.Writer = tally.NewWriter(tally.Options{
		Interval: o.Interval,
		Failed:   func(ctx context.Context, err error) { o.Log.WarnContext(ctx, "usage not written", "error", err) },
	}, m.flush)
	return m
}

// tenant is one tenant's counts since the last write, and its rates.
type tenant struct {
	received, rejected, duplicates, messages, delivered atomic.Int64
	connections, peak                                   atomic.Int64

	mu       sync.Mutex // guards webhooks
	webhooks *rate.Limiter
}

// size is how many tenants there are counts of: a gauge.
func (m *Meter) size() int {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return len(m.tenants)
}

func (m *Meter) of(id hub.TenantID) *tenant {
	m.mu.RLock()
	t := m.tenants[id]
	m.mu.RUnlock()
	if t != nil {
		return t
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if t = m.tenants[id]; t == nil {
		t = &tenant{}
		m.tenants[id] = t
	}
	return t
}

// AdmitWebhook spends one of the tenant's webhooks; hub.LimitExceeded where its rate is spent. Only verified
// webhooks are asked for, so that whoever knows a URL cannot silence the tenant.
func (m *Meter) AdmitWebhook(id hub.TenantID, limits hub.Limits) error {
	if limits.WebhooksPerSecond == nil {
		return nil
	}
	t := m.of(id)
	wait := t.admit(m.o.Now(), *limits.WebhooksPerSecond, limits.WebhooksBurst)
	if wait == 0 {
		return nil
	}
	m.metrics.refused.Inc()
	return &hub.Error{
		Code: hub.LimitExceeded, Message: "more webhooks per second than the tenant may send", Limit: "webhooks_per_second",
		Rate: &hub.Rate{Name: "webhooks", PerSecond: *limits.WebhooksPerSecond}, RetryAfter: wait,
	}
}

// admit says how long to wait, 0 where one may go now. A limit that was changed takes the place of the old one.
func (t *tenant) admit(now time.Time, perSecond int, burst *int) time.Duration {
	size := perSecond
	if burst != nil {
		size = *burst
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.webhooks == nil || t.webhooks.Limit() != rate.Limit(perSecond) || t.webhooks.Burst() != size {
		t.webhooks = rate.NewLimiter(rate.Limit(perSecond), size)
	}
	r := t.webhooks.ReserveN(now, 1)
	if !r.OK() { // a burst of nothing
		return time.Second
	}
	wait := r.DelayFrom(now)
	if wait > 0 {
		r.CancelAt(now)
	}
	return wait
}

// Received counts an accepted webhook.
func (m *Meter) Received(id hub.TenantID, duplicate bool) {
	t := m.of(id)
	if duplicate {
		t.duplicates.Add(1)
		return
	}
	t.received.Add(1)
}

// Rejected counts a webhook that was refused for its signature.
func (m *Meter) Rejected(id hub.TenantID) { m.of(id).rejected.Add(1) }

// Appended counts messages that came into the log.
func (m *Meter) Appended(id hub.TenantID, messages int) { m.of(id).messages.Add(int64(messages)) }

// A Connection counts for one open stream. It takes no lock, however often it counts.
type Connection struct{ t *tenant }

// Connected counts an open stream until it is closed.
func (m *Meter) Connected(id hub.TenantID) *Connection {
	t := m.of(id)
	t.raisePeak(t.connections.Add(1))
	return &Connection{t}
}

// Delivered counts messages that were written to the subscriber's socket.
func (c *Connection) Delivered(messages int) { c.t.delivered.Add(int64(messages)) }

// Close says that the stream has ended, once.
func (c *Connection) Close() { c.t.connections.Add(-1) }

// raisePeak keeps the highest number seen, whoever else raises it at the same moment.
func (t *tenant) raisePeak(open int64) {
	for {
		peak := t.peak.Load()
		if open <= peak || t.peak.CompareAndSwap(peak, open) {
			return
		}
	}
}
