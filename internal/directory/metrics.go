package directory

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	complete, incomplete prometheus.Counter // looks
	looked               prometheus.Gauge
	behind               prometheus.Gauge
	loaded, unloaded     prometheus.Counter // tenants
	load                 prometheus.Histogram
}

func newMetrics(r prometheus.Registerer, known func() int) metrics {
	looks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_directory_looks_total",
		Help: "Looks for newer configuration of the tenants that are known, by result: ok, or error where one of them could not be read.",
	}, []string{"result"})
	loads := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_directory_loads_total", Help: "Tenants that were read whole, by result: ok or error.",
	}, []string{"result"})
	m := metrics{
		complete: looks.WithLabelValues("ok"), incomplete: looks.WithLabelValues("error"),
		loaded: loads.WithLabelValues("ok"), unloaded: loads.WithLabelValues("error"),
		looked: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tributary_directory_look_timestamp_seconds",
			Help: "When the last look for newer configuration was complete: revocations and changes until then count here.",
		}),
		behind: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tributary_directory_behind_tenants",
			Help: "Tenants whose newer config_version was seen by the last look and could not be loaded, or that it could not ask for.",
		}),
		load: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_directory_load_seconds", Help: "Reading one tenant whole, and making its configuration ready.",
			Buckets: prometheus.ExponentialBuckets(.001, 2, 13),
		}),
	}
	m.looked.SetToCurrentTime() // nobody is known yet
	r.MustRegister(looks, m.looked, m.behind, loads, m.load, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tributary_directory_tenants", Help: "Tenants whose configuration is in memory.",
	}, func() float64 { return float64(known()) }))
	return m
}

func (m *metrics) wasLoaded(began time.Time, err error) {
	m.load.Observe(time.Since(began).Seconds())
	if err != nil {
		m.unloaded.Inc()
		return
	}
	m.loaded.Inc()
}

// haveLooked notes a look that left so many tenants behind.
func (m *metrics) haveLooked(at time.Time, behind int) {
	m.behind.Set(float64(behind))
	if behind > 0 {
		m.incomplete.Inc()
		return
	}
	m.complete.Inc()
	m.looked.Set(float64(at.UnixMilli()) / 1000)
}
