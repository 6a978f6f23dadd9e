package publish

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/hub"
)

type metrics struct {
	passed, repeated, failedUnits prometheus.Counter
	messages                      prometheus.Counter
	flushes, failedFlushes        prometheus.Counter
	size, took, wait              prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, waiting, waitingBytes func() int) metrics {
	units := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_append_units_total",
		Help: "Units (workings of events, publish requests) that were given to a flush: passed; repeated, which were in the log already; failed counts each flush that failed again.",
	}, []string{"result"})
	flushes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_append_flushes_total", Help: "Append statements, by result: ok or error.",
	}, []string{"result"})
	m := metrics{
		passed: units.WithLabelValues("passed"), repeated: units.WithLabelValues("repeated"), failedUnits: units.WithLabelValues("failed"),
		messages: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_append_messages_total", Help: "Messages that came into the log.",
		}),
		flushes: flushes.WithLabelValues("ok"), failedFlushes: flushes.WithLabelValues("error"),
		size: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_append_flush_units", Help: "Units in one append statement.", Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_append_flush_seconds", Help: "One append statement.", Buckets: prometheus.ExponentialBuckets(.0005, 2, 15),
		}),
		wait: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_append_commit_seconds", Help: "From handing a unit to the appender to its commit: the wait for a flush, and the flush.",
			Buckets: prometheus.ExponentialBuckets(.0005, 2, 15),
		}),
	}
	gauge := func(name, help string, value func() int) prometheus.GaugeFunc {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	r.MustRegister(units, m.messages, flushes, m.size, m.took, m.wait,
		gauge("tributary_append_waiting", "Units that wait for a flush.", waiting),
		gauge("tributary_append_capacity", "Units that may wait; one more is refused.", func() int { return queueUnits }),
		gauge("tributary_append_waiting_bytes", "Size of the units that wait for a flush.", waitingBytes),
		gauge("tributary_append_capacity_bytes", "Size that may wait; one more is refused.", func() int { return queueBytes }))
	return m
}

func (m *metrics) flushed(units []hub.Unit, placed []hub.Placed, err error, took time.Duration) {
	m.took.Observe(took.Seconds())
	m.size.Observe(float64(len(units)))
	if err != nil {
		m.failedFlushes.Inc()
		m.failedUnits.Add(float64(len(units)))
		return
	}
	m.flushes.Inc()
	passed, messages := 0, 0
	for i := range min(len(placed), len(units)) {
		if placed[i].Passed {
			passed++
			messages += len(units[i].Messages)
		}
	}
	m.passed.Add(float64(passed))
	m.repeated.Add(float64(len(placed) - passed))
	m.messages.Add(float64(messages))
}
