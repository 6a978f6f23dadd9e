package egress

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count fetches of others' key sets by what became of them.
type metrics struct {
	ok, failed, refused prometheus.Counter
	took                prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, held func() int) metrics {
	fetches := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_egress_key_fetches_total",
		Help: "Fetches of others' key sets, by result: ok, failed, or refused since that host was asked too often.",
	}, []string{"result"})
	m := metrics{
		ok: fetches.WithLabelValues("ok"), failed: fetches.WithLabelValues("failed"), refused: fetches.WithLabelValues("refused"),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_egress_key_fetch_seconds", Help: "One fetch of a key set, the discovery document included.",
			Buckets: prometheus.ExponentialBuckets(.01, 2, 11),
		}),
	}
	if r != nil {
		r.MustRegister(fetches, m.took, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "tributary_egress_key_sets", Help: "Key sets that are held or asked for.",
		}, func() float64 { return float64(held()) }))
	}
	return m
}

func (m *metrics) fetched(began time.Time, err error) {
	m.took.Observe(time.Since(began).Seconds())
	if err != nil {
		m.failed.Inc()
		return
	}
	m.ok.Inc()
}
