package stream

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	open    prometheus.Gauge
	frames  prometheus.Counter
	ended   *prometheus.CounterVec
	refused *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		open:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "tributary_stream_open", Help: "Streams that are open."}),
		frames: prometheus.NewCounter(prometheus.CounterOpts{Name: "tributary_stream_frames_total", Help: "Frames written."}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_stream_ended_total", Help: "Streams that ended, by the reason that was told; gone: the client left or took nothing.",
		}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_stream_refused_total", Help: "Requests for a stream that got none, by code.",
		}, []string{"code"}),
	}
	r.MustRegister(m.open, m.frames, m.ended, m.refused)
	return m
}
