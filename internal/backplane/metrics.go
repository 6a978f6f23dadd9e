package backplane

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	wakes, changes, epochs, echoes, undecodable prometheus.Counter // signals
	connects                                    prometheus.Counter
	connected                                   prometheus.Gauge
	heard                                       prometheus.Gauge
}

func newMetrics(r prometheus.Registerer) *metrics {
	signals := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_backplane_signals_total",
		Help: "Signals that the listener heard, by kind: wake, changed, epoch, echo, or undecodable, which were dropped.",
	}, []string{"kind"})
	m := &metrics{
		wakes: signals.WithLabelValues("wake"), changes: signals.WithLabelValues("changed"), epochs: signals.WithLabelValues("epoch"), echoes: signals.WithLabelValues("echo"),
		undecodable: signals.WithLabelValues("undecodable"),
		connects: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_backplane_connects_total", Help: "Times that the listener connected.",
		}),
		connected: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tributary_backplane_connected", Help: "1 while the listener is connected, else 0.",
		}),
		heard: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tributary_backplane_heard_timestamp_seconds",
			Help: "When the listener last heard from Postgres: a signal, or the answer to a ping, which it sends after 2 s of silence; at first, when it was made.",
		}),
	}
	m.heard.SetToCurrentTime()
	r.MustRegister(signals, m.connects, m.connected, m.heard)
	return m
}
