package backplane

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	heard       *prometheus.CounterVec
	undecodable prometheus.Counter
	connects    prometheus.Counter
	connected   prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		heard: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_backplane_signals_total", Help: "Signals heard, by kind.",
		}, []string{"kind"}),
		undecodable: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_backplane_undecodable_total", Help: "Signals that were not understood and dropped.",
		}),
		connects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_backplane_connects_total", Help: "Times that the listener connected.",
		}),
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tributary_backplane_connected", Help: "1 while the listener is connected.",
		}),
	}
	r.MustRegister(m.heard, m.undecodable, m.connects, m.connected)
	return m
}
