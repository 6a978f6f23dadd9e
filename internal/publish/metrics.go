package publish

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	units   prometheus.Counter
	flushes *prometheus.CounterVec
	size    prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, waiting func() int) metrics {
	m := metrics{
		units: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_append_units_total", Help: "Units given to a flush: workings of events, and publish requests.",
		}),
		flushes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_append_flushes_total", Help: "Append statements, by result.",
		}, []string{"result"}),
		size: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_append_flush_units", Help: "Units in one append statement.", Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
	}
	r.MustRegister(m.units, m.flushes, m.size, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tributary_append_waiting", Help: "Units that wait for a flush; at most 8192.",
	}, func() float64 { return float64(waiting()) }))
	return m
}

func (m metrics) flushed(units int, err error) {
	result := "ok"
	if err != nil {
		result = "error"
	}
	m.units.Add(float64(units))
	m.flushes.WithLabelValues(result).Inc()
	m.size.Observe(float64(units))
}
