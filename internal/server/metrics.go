package server

import (
	"context"
	"math"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count one port's requests.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge

	certificate atomic.Pointer[certificate] // nil: the port speaks plain HTTP, or does not listen yet
}

// noRoute stands where no pattern fits: the path is a stranger's, and never a label.
const noRoute = "none"

func newMetrics(r prometheus.Registerer, name string) *metrics {
	of := prometheus.Labels{"server": name}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_http_requests_total", ConstLabels: of,
			Help: "Requests that were answered, by port, route, method and class of the status.",
		}, []string{"route", "method", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tributary_http_request_seconds", ConstLabels: of,
			Help:    "From a request's header to the end of its answer, by port and route; a stream's is its life.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"route"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "tributary_http_requests_in_flight", ConstLabels: of, Help: "Requests that are being answered, by port; streams are among them.",
		}),
	}
	m.requests.WithLabelValues(noRoute, "GET", "4xx") // so that the family is there before the first request
	m.seconds.WithLabelValues(noRoute)
	r.MustRegister(m.requests, m.seconds, m.inFlight, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "tributary_http_certificate_expiry_timestamp_seconds", ConstLabels: of,
		Help: "Until when the certificate that is served is good, by port; NaN where the port speaks plain HTTP.",
	}, m.expiry))
	return m
}

// expiry looks at the files as a handshake would: on a quiet port, too, a renewed certificate shows.
func (m *metrics) expiry() float64 {
	c := m.certificate.Load()
	if c == nil {
		return math.NaN()
	}
	return float64(c.current().Leaf.NotAfter.Unix())
}

// answered counts a request. The labels are bounded: patterns are the mux's own, methods those that HTTP has.
func (m *metrics) answered(a *access, w *response) {
	m.inFlight.Dec()
	route := pathOf(a.route) // the method is a label of its own
	if route == "" {
		route = noRoute
	}
	m.requests.WithLabelValues(route, a.method, strconv.Itoa(w.result()/100)+"xx").Inc()
	m.seconds.WithLabelValues(route).Observe(time.Since(a.began).Seconds())
}

// A checkCollector runs the checks of readiness for whoever scrapes, as for a probe.
type checkCollector struct {
	ready         *readiness
	passed, whole *prometheus.Desc
}

func newCheckCollector(ready *readiness) *checkCollector {
	return &checkCollector{
		ready:  ready,
		passed: prometheus.NewDesc("tributary_check_passed", "1 where a check of readiness holds, else 0, by its name.", []string{"check"}, nil),
		whole:  prometheus.NewDesc("tributary_ready", "1 while the process is ready: all its checks hold.", nil, nil),
	}
}

func (c *checkCollector) Describe(all chan<- *prometheus.Desc) {
	all <- c.passed
	all <- c.whole
}

func (c *checkCollector) Collect(all chan<- prometheus.Metric) {
	failed := map[string]bool{}
	for _, f := range c.ready.failures(context.Background()) {
		failed[f.Name] = true
	}
	for _, check := range c.ready.checks {
		all <- prometheus.MustNewConstMetric(c.passed, prometheus.GaugeValue, oneIf(!failed[check.Name]), check.Name)
	}
	all <- prometheus.MustNewConstMetric(c.whole, prometheus.GaugeValue, oneIf(len(failed) == 0))
}

func oneIf(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
