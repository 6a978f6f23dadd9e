package worker

import (
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/store"
)

type metrics struct {
	worked *prometheus.CounterVec
	age    prometheus.Histogram
	ahead  *ahead
}

func newMetrics(r prometheus.Registerer, now func() time.Time) metrics {
	m := metrics{
		ahead: &ahead{now: now},
		worked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_events_worked_total", Help: "Workings of events, by how they ended: done, snoozed, failed, given_up.",
		}, []string{"result"}),
		age: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_event_age_seconds", Help: "From a webhook's arrival to its messages in the log.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 16),
		}),
	}
	r.MustRegister(m.worked, m.age, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tributary_partitions_ahead",
		Help: "Days after today that have all their partitions, as this process saw last; it falls by itself, and is NaN where the process never looked. Below 0 nothing is taken in.",
	}, m.ahead.days))
	return m
}

// ahead is how far the partitions reach. It keeps the day, not the count: a process that looks no more must not say
// for ever that all is well.
type ahead struct {
	now func() time.Time

	mu   sync.Mutex // guards last
	last time.Time  // the last day in a row from today that has all its partitions; zero: nobody looked
}

func (a *ahead) set(last time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.last = last
}

func (a *ahead) days() float64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.last.IsZero() {
		return math.NaN()
	}
	return a.last.Sub(store.DayOf(a.now())).Hours() / 24
}
