package worker

import (
	"context"
	"log/slog"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/store"
)

// WatchOptions of a Watch.
type WatchOptions struct {
	Pipeline *store.Pipeline       // required
	River    *store.River          // required
	Log      *slog.Logger          // required
	Metrics  prometheus.Registerer // required
	Interval time.Duration         // between looks; default 10 s
}

// A Watch looks at Postgres, at River's jobs and at the other nodes every few seconds, for the metrics: however many
// scrape, one loop asks. What it could not see is NaN, never what it saw before.
type Watch struct {
	o       WatchOptions
	metrics *watchMetrics

	cancel  context.CancelFunc
	stopped chan struct{}
}

// lookTime bounds one look.
const lookTime = 5 * time.Second

// NewWatch makes a Watch; it looks between Start and Stop.
func NewWatch(o WatchOptions) *Watch {
	if o.Interval <= 0 {
		o.Interval = 10 * time.Second
	}
	return &Watch{o: o, metrics: newWatchMetrics(o.Metrics)}
}

// Start begins to look, at once.
func (w *Watch) Start(ctx context.Context) error {
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w.stopped = make(chan struct{})
	go func() {
		defer close(w.stopped)
		w.run(ctx)
	}()
	return nil
}

// Stop ends the looking.
func (w *Watch) Stop(ctx context.Context) error {
	if w.cancel == nil {
		return nil
	}
	w.cancel()
	select {
	case <-w.stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Watch) run(ctx context.Context) {
	ticker := time.NewTicker(w.o.Interval)
	defer ticker.Stop()
	for {
		w.look(ctx)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (w *Watch) look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	asked := time.Now()
	sight, err := w.o.Pipeline.Sight(ctx)
	if err != nil {
		w.o.Log.DebugContext(ctx, "postgres not looked at", "error", err) // readiness says the same aloud
	}
	// Postgres read its clock somewhere between question and answer.
	w.metrics.saw(sight, asked.Add(time.Since(asked)/2), err)
	partitions, err := w.o.Pipeline.Partitions(ctx)
	if err != nil {
		w.o.Log.DebugContext(ctx, "partitions not listed", "error", err)
	}
	w.metrics.listed(partitions, store.DayOf(asked), err)
	backlog, err := w.o.River.Backlog(ctx)
	if err != nil {
		w.o.Log.DebugContext(ctx, "jobs not counted", "error", err)
	}
	w.metrics.counted(backlog)
}

type watchMetrics struct {
	ok, failed      prometheus.Counter // looks
	jobs            *prometheus.GaugeVec
	age             prometheus.Gauge
	skew, notify    prometheus.Gauge
	nodes, versions prometheus.Gauge
	ahead           prometheus.Gauge // days
}

func newWatchMetrics(r prometheus.Registerer) *watchMetrics {
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help + " NaN where it could not be asked for."})
		g.Set(math.NaN())
		r.MustRegister(g)
		return g
	}
	looks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_watch_looks_total", Help: "Looks at Postgres and the other nodes for these metrics, by result: ok or error.",
	}, []string{"result"})
	m := &watchMetrics{
		ok: looks.WithLabelValues("ok"), failed: looks.WithLabelValues("error"),
		jobs: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "tributary_river_jobs",
			Help: "Jobs of events, by River's state; counted to 10,000 and no further. All processes see the same.",
		}, []string{"state"}),
		age:      gauge("tributary_river_oldest_available_seconds", "How long ago the oldest job of an event that waits for a worker was made, however often it was put off."),
		skew:     gauge("tributary_postgres_clock_skew_seconds", "This process's clock less Postgres's."),
		notify:   gauge("tributary_postgres_notification_queue_ratio", "How full Postgres's queue of notifications is, from 0 to 1; full, nothing that notifies can commit."),
		nodes:    gauge("tributary_nodes", "Processes of the hub that live, by their beats in Postgres."),
		versions: gauge("tributary_nodes_versions", "Builds that the living processes are of; more than 1 during an upgrade."),
		ahead:    gauge("tributary_partitions_ahead", "Days after today that have all their partitions. Below 0 nothing is taken in. All processes see the same."),
	}
	r.MustRegister(looks, m.jobs)
	m.counted(nil)
	return m
}

func (m *watchMetrics) saw(s store.Sight, at time.Time, err error) {
	if err != nil {
		m.failed.Inc()
		for _, g := range []prometheus.Gauge{m.skew, m.notify, m.nodes, m.versions} {
			g.Set(math.NaN())
		}
		return
	}
	m.ok.Inc()
	m.skew.Set(at.Sub(s.Clock).Seconds())
	m.notify.Set(s.Notify)
	m.nodes.Set(float64(s.Nodes))
	m.versions.Set(float64(s.Versions))
}

func (m *watchMetrics) listed(partitions []store.Partition, today time.Time, err error) {
	if err != nil {
		m.ahead.Set(math.NaN())
		return
	}
	m.ahead.Set(float64(daysAhead(partitions, today)))
}

// counted shows a backlog; nil where there was nothing to be seen.
func (m *watchMetrics) counted(backlog []store.Backlog) {
	m.age.Set(math.NaN())
	for _, state := range store.BacklogStates() {
		m.jobs.WithLabelValues(state).Set(math.NaN())
	}
	for _, b := range backlog {
		m.jobs.WithLabelValues(b.State).Set(float64(b.Jobs))
		if b.State == "available" {
			m.age.Set(b.Age.Seconds())
		}
	}
}
