package feed

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
)

type metrics struct {
	tails       prometheus.Gauge
	subscribers prometheus.Gauge
	messages    prometheus.Counter
	age         prometheus.Histogram
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
		age: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_feed_read_age_seconds", Help: "From a message's place in the log, by Postgres's clock, to its reading by a tail.",
			Buckets: prometheus.ExponentialBuckets(.001, 2, 16),
		}),
		queued:   counter("queued_total", "Frames queued for subscribers that are live."),
		replayed: counter("replayed_total", "Frames read from the log for single subscribers."),
		reads: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "tributary_feed_read_seconds", Help: "Reads from Postgres, by who asked: poll, tails, tenants or subscriptions.",
			Buckets: []float64{.0002, .0005, .001, .0025, .005, .01, .025, .1, .5, 2.5},
		}, []string{"for"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_feed_read_failures_total", Help: "Reads that failed, by who asked.",
		}, []string{"for"}),
		lagging: counter("lagging_total", "Subscribers that lost their queue and went on from the log."),
		resets: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_feed_resets_total", Help: "Subscribers whose continuity broke, by reason: retention, epoch, future or malformed.",
		}, []string{"reason"}),
		gaps:   counter("gaps_total", "Times that a message was missing from a log: a fault of the hub."),
		lost:   counter("lost_total", "Times that a missing message was given up."),
		epochs: counter("epoch_changes_total", "Changes of the epoch while running."),
	}
	for _, who := range []string{"poll", "tails", "tenants", "subscriptions"} {
		m.reads.WithLabelValues(who)
		m.failures.WithLabelValues(who)
	}
	for _, reason := range []frame.ResetReason{frame.ResetRetention, frame.ResetEpoch, frame.ResetFuture, frame.ResetMalformed} {
		m.resets.WithLabelValues(string(reason))
	}
	r.MustRegister(m.tails, m.subscribers, m.messages, m.age, m.queued, m.replayed, m.reads, m.failures, m.lagging, m.resets, m.gaps, m.lost, m.epochs)
	return m
}

// A census is what the feed looks like at this moment. It is taken when somebody asks: keeping it up to date would
// cost each message something.
type census struct {
	behind      uint64 // messages that logs are known to have and tails have not read
	behindTails int
	replaying   int // subscriptions that read for themselves
	waiting     int // frames, in all queues
	fullest     float64
	subscribers int
}

func (f *Feed) census() census {
	f.mu.Lock()
	tails := make([]*tail, 0, len(f.tails))
	for _, t := range f.tails {
		tails = append(tails, t)
	}
	f.mu.Unlock()
	var c census
	for _, t := range tails {
		t.count(&c)
	}
	return c
}

func (t *tail) count(c *census) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.placed && t.head > t.position {
		c.behind += uint64(t.head - t.position)
		c.behindTails++
	}
	for s := range t.all {
		live, waiting, full := s.fill()
		c.subscribers++
		c.waiting += waiting
		c.fullest = max(c.fullest, full)
		if !live {
			c.replaying++
		}
	}
}

// fill says how much waits for the subscriber, and which part of the queue that is.
func (s *Subscription) fill() (live bool, waiting int, full float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.feed.o
	return s.live, len(s.queue), max(float64(len(s.queue))/float64(o.QueueMessages), float64(s.bytes)/float64(o.QueueBytes))
}

// ends notes where the log ends, as Postgres has it.
func (t *tail) ends(head hub.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.head = head
}

// heard notes where the log is said to end: a hint, good until Postgres was asked.
func (t *tail) heard(head hub.Position) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.head = max(t.head, head)
}

// A censusCollector takes the census for a registry.
type censusCollector struct {
	feed                                             *Feed
	behind, behindTails, replaying, waiting, fullest *prometheus.Desc
	capacity                                         *prometheus.Desc
}

func newCensusCollector(f *Feed) *censusCollector {
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("tributary_feed_"+name, help, nil, nil)
	}
	return &censusCollector{
		feed:        f,
		behind:      desc("behind_messages", "Messages that are known to be in logs and that tails have not read yet."),
		behindTails: desc("behind_tails", "Tails that have not read all that is known to be in their log."),
		replaying:   desc("replaying", "Subscriptions that read from the log for themselves: they catch up, or fell behind."),
		waiting:     desc("waiting", "Frames that wait in the queues of all subscribers together."),
		capacity:    desc("capacity", "Frames that may wait in the queues of all subscribers together; one whose own is full goes on from the log."),
		fullest:     desc("fullest_queue_ratio", "How full the fullest queue of a subscriber is, from 0 to 1."),
	}
}

func (c *censusCollector) Describe(all chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.behind, c.behindTails, c.replaying, c.waiting, c.capacity, c.fullest} {
		all <- d
	}
}

func (c *censusCollector) Collect(all chan<- prometheus.Metric) {
	now := c.feed.census()
	gauge := func(d *prometheus.Desc, v float64) { all <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v) }
	gauge(c.behind, float64(now.behind))
	gauge(c.behindTails, float64(now.behindTails))
	gauge(c.replaying, float64(now.replaying))
	gauge(c.waiting, float64(now.waiting))
	gauge(c.capacity, float64(now.subscribers*c.feed.o.QueueMessages))
	gauge(c.fullest, now.fullest)
}
