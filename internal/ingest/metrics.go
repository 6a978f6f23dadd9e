package ingest

import "github.com/prometheus/client_golang/prometheus"

type intakeMetrics struct {
	events  *prometheus.CounterVec
	flushes *prometheus.CounterVec
	size    prometheus.Histogram
}

func newIntakeMetrics(r prometheus.Registerer, waiting func() int) intakeMetrics {
	m := intakeMetrics{
		events: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_intake_events_total", Help: "Verified webhooks given to a flush, by the flush's result.",
		}, []string{"result"}),
		flushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_intake_flushes_total", Help: "Transactions of the intake, by result.",
		}, []string{"result"}),
		size: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_intake_flush_events", Help: "Webhooks in one transaction.", Buckets: prometheus.ExponentialBuckets(1, 2, 10),
		}),
	}
	r.MustRegister(m.events, m.flushes, m.size, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tributary_intake_waiting", Help: "Webhooks that wait for a flush; at most 8192.",
	}, func() float64 { return float64(waiting()) }))
	return m
}

func (m intakeMetrics) flushed(events int, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.events.WithLabelValues(result).Add(float64(events))
	m.flushes.WithLabelValues(result).Inc()
	m.size.Observe(float64(events))
}
