package worker

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	worked *prometheus.CounterVec
	age    prometheus.Histogram
}

func newMetrics(r prometheus.Registerer) metrics {
	m := metrics{
		worked: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_events_worked_total", Help: "Workings of events, by how they ended: done, snoozed, failed, given_up.",
		}, []string{"result"}),
		age: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_event_age_seconds", Help: "From a webhook's arrival to its messages in the log.",
			Buckets: prometheus.ExponentialBuckets(0.002, 2, 16),
		}),
	}
	r.MustRegister(m.worked, m.age)
	return m
}
