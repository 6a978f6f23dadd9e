package stream

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
)

type metrics struct {
	open     prometheus.Gauge
	frames   prometheus.Counter
	messages prometheus.Counter
	age      prometheus.Histogram
	ended    *prometheus.CounterVec
	refused  *prometheus.CounterVec
}

func newMetrics(r prometheus.Registerer) *metrics {
	m := &metrics{
		open:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "tributary_stream_open", Help: "Streams that are open."}),
		frames: prometheus.NewCounter(prometheus.CounterOpts{Name: "tributary_stream_frames_total", Help: "Frames written, the hub's own and messages."}),
		messages: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_stream_messages_total", Help: "Messages that subscribers' sockets took, replayed ones too.",
		}),
		age: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "tributary_stream_delivery_age_seconds",
			Help:    "From a message's place in the log, by Postgres's clock, to its subscriber's socket: of the first message of each write to a subscriber that is live.",
			Buckets: prometheus.ExponentialBuckets(.001, 2, 16),
		}),
		ended: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_stream_ended_total", Help: "Streams that ended, by the reason that was told; gone: the client left or took nothing.",
		}, []string{"reason"}),
		refused: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "tributary_stream_refused_total", Help: "Requests for a stream that got none, by code.",
		}, []string{"code"}),
	}
	m.ended.WithLabelValues(gone)
	for _, reason := range []frame.ByeReason{
		frame.ByeDrain, frame.ByeExpired, frame.ByeClosed, frame.ByeMaxAge, frame.ByeLimit, frame.ByeUnavailable,
	} {
		m.ended.WithLabelValues(string(reason))
	}
	for _, code := range []hub.Code{hub.Unauthenticated, hub.NoGrants, hub.ChannelNotGranted, hub.LimitExceeded, hub.Unavailable, hub.KeyUnavailable} {
		m.refused.WithLabelValues(string(code))
	}
	r.MustRegister(m.open, m.frames, m.messages, m.age, m.ended, m.refused)
	return m
}

// gone is the end of a stream whose client left or took nothing.
const gone = "gone"

// refusal counts a request that got no stream, by the code of the answer.
func (m *metrics) refusal(err error) {
	m.refused.WithLabelValues(string(problem.From(err, "").Code)).Inc()
}

// delivered counts what the socket took; where it came live, also how old the first of it is.
func (m *metrics) delivered(first time.Time, messages int, live bool) {
	if live && !first.IsZero() {
		m.age.Observe(max(time.Since(first), 0).Seconds()) // less than nothing where Postgres's clock is ahead
	}
	m.messages.Add(float64(messages))
}
