package worker

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/job"
)

type metrics struct {
	done, snoozed, failed, givenUp prometheus.Counter // workings
	routed, unmatched, routeFailed prometheus.Counter // outcomes
	working                        prometheus.Histogram
	age                            prometheus.Histogram
	running                        prometheus.Gauge
	routeFailures                  prometheus.Counter
	chores                         map[string]*choreMetrics // by kind
}

// choreMetrics are of one kind of housekeeping.
type choreMetrics struct {
	ok, failed prometheus.Counter
	took       prometheus.Observer
	succeeded  prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) metrics {
	workings := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_worker_events_total",
		Help: "Workings of events, by how they ended: done, snoozed for a fault of ours that passes, failed and tried again, given_up.",
	}, []string{"result"})
	outcomes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_worker_outcomes_total",
		Help: "Events that were worked, by what became of them: routed, unmatched by any route, failed where a route failed.",
	}, []string{"state"})
	m := metrics{
		done: workings.WithLabelValues("done"), snoozed: workings.WithLabelValues("snoozed"),
		failed: workings.WithLabelValues("failed"), givenUp: workings.WithLabelValues("given_up"),
		routed: outcomes.WithLabelValues("routed"), unmatched: outcomes.WithLabelValues("unmatched"), routeFailed: outcomes.WithLabelValues("failed"),
		working: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_worker_event_seconds", Help: "One working of an event, however it ended: loading, routing, the wait for the append.",
			Buckets: prometheus.ExponentialBuckets(.001, 2, 15),
		}),
		age: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_worker_event_age_seconds", Help: "From a webhook's arrival to its messages in the log.",
			Buckets: prometheus.ExponentialBuckets(.002, 2, 18),
		}),
		running: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tributary_worker_running", Help: "Events that are being worked.",
		}),
		routeFailures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_worker_route_failures_total", Help: "Routes that failed on an event; tenants see theirs at the route.",
		}),
	}
	m.chores = newChoreMetrics(r)
	r.MustRegister(workings, outcomes, m.working, m.age, m.running, m.routeFailures,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tributary_worker_capacity", Help: "Events that may be worked at once.",
		}, func() float64 { return eventWorkers }))
	return m
}

func newChoreMetrics(r prometheus.Registerer) map[string]*choreMetrics {
	runs := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_worker_chores_total", Help: "Runs of housekeeping on this process, by kind and result: ok or error.",
	}, []string{"chore", "result"})
	took := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "tributary_worker_chore_seconds", Help: "One run of housekeeping.", Buckets: prometheus.ExponentialBuckets(.005, 3, 10),
	}, []string{"chore"})
	succeeded := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "tributary_worker_chore_success_timestamp_seconds",
		Help: "When housekeeping last succeeded on this process, or when the process began: of all processes the latest counts, since each run is on one.",
	}, []string{"chore"})
	r.MustRegister(runs, took, succeeded)
	all := map[string]*choreMetrics{}
	for _, chore := range []string{job.Retention{}.Kind(), job.Sweep{}.Kind()} {
		m := &choreMetrics{
			ok: runs.WithLabelValues(chore, "ok"), failed: runs.WithLabelValues(chore, "error"),
			took: took.WithLabelValues(chore), succeeded: succeeded.WithLabelValues(chore),
		}
		m.succeeded.SetToCurrentTime()
		all[chore] = m
	}
	return all
}

// chore runs a piece of housekeeping and counts it.
func (m *metrics) chore(ctx context.Context, kind string, run func(context.Context) error) error {
	began := time.Now()
	err := run(ctx)
	c := m.chores[kind]
	c.took.Observe(time.Since(began).Seconds())
	switch {
	case err == nil:
		c.ok.Inc()
		c.succeeded.SetToCurrentTime()
	case !errors.Is(err, context.Canceled): // the process stops
		c.failed.Inc()
	}
	return err
}

// recorded counts an outcome that came into the log.
func (m *metrics) recorded(o hub.Outcome) {
	switch o.State {
	case hub.EventRouted:
		m.routed.Inc()
	case hub.EventUnmatched:
		m.unmatched.Inc()
	case hub.EventFailed:
		m.routeFailed.Inc()
	case hub.EventPending: // no outcome is
	}
	for _, route := range o.Routes {
		if route.Error != "" {
			m.routeFailures.Inc()
		}
	}
}

// nodeMetrics are of the beat by which nodes know of each other.
type nodeMetrics struct {
	written, unwritten prometheus.Counter
	taken              prometheus.Counter
}

func newNodeMetrics(r prometheus.Registerer) nodeMetrics {
	beats := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_node_beats_total", Help: "Beats of this node, by result: ok, or error where one was not written in time.",
	}, []string{"result"})
	m := nodeMetrics{
		written: beats.WithLabelValues("ok"), unwritten: beats.WithLabelValues("error"),
		taken: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_node_jobs_taken_over_total", Help: "Jobs of dead nodes that this node made available again.",
		}),
	}
	r.MustRegister(beats, m.taken)
	return m
}
