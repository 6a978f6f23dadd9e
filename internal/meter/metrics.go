package meter

import "github.com/prometheus/client_golang/prometheus"

// metrics are of the meter itself. What each tenant does is in the rollup, and never a label.
type metrics struct {
	refused            prometheus.Counter
	written, unwritten prometheus.Counter // rollups
}

func newMetrics(r prometheus.Registerer, tenants func() int) metrics {
	rollups := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_meter_rollups_total", Help: "Writes of tenants' usage, by result: ok or error; what was not written is written with the next.",
	}, []string{"result"})
	m := metrics{
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_meter_refused_total", Help: "Webhooks that were refused since their tenant's rate was spent.",
		}),
		written: rollups.WithLabelValues("ok"), unwritten: rollups.WithLabelValues("error"),
	}
	r.MustRegister(m.refused, rollups, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tributary_meter_tenants", Help: "Tenants that did anything since this process began.",
	}, func() float64 { return float64(tenants()) }))
	return m
}
