package feed

import (
	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	tails       prometheus.Gauge
	subscribers prometheus.Gauge
	messages    prometheus.Counter
	queued      prometheus.Counter
	replayed    prometheus.Counter
	reads       *prometheus.HistogramVec
	failures    *prometheus.CounterVec
	lagging     prometheus.Counter
	resets      *prometheus.CounterVec
	gaps        prometheus.Counter
	lost        prometheus.Counter
	epochs      prometheus.Counter
}

func newMetrics(r prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "tributary_feed_" + name, Help: help})
	}
	m := &metrics{
		tails:       prometheus.NewGauge(prometheus.GaugeOpts{Name: "tributary_feed_tails", Help: "Tenants whose logs are followed."}),
		subscribers: prometheus.NewGauge(prometheus.GaugeOpts{Name: "tributary_feed_subscribers", Help: "Subscriptions that are open."}),
		messages:    counter("messages_total", "Messages read by tails."),
		queued:      counter("queued_total", "Frames queued for subscribers that are live."),
		replayed:    counter("replayed_total", "Frames read from the log for single subscribers."),
		reads: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tributary_feed_read_seconds", Help: "Reads from Postgres, by who asked.",
			Buckets: []float64{.0002, .0005, .001, .0025, .005, .01, .025, .1, .5, 2.5},
		}, []string{"for"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_feed_read_failures_total", Help: "Reads that failed, by who asked.",
		}, []string{"for"}),
		lagging: counter("lagging_total", "Subscribers that lost their queue and went on from the log."),
		resets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_feed_resets_total", Help: "Subscribers whose continuity broke, by reason.",
		}, []string{"reason"}),
		gaps:   counter("gaps_total", "Times that a message was missing from a log: a fault of the hub."),
		lost:   counter("lost_total", "Times that a missing message was given up."),
		epochs: counter("epoch_changes_total", "Changes of the epoch while running."),
	}
	r.MustRegister(m.tails, m.subscribers, m.messages, m.queued, m.replayed, m.reads, m.failures, m.lagging, m.resets, m.gaps, m.lost, m.epochs)
	return m
}
