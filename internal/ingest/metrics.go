package ingest

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
	"github.com/tributary-hub/tributary/internal/provider"
)

// Verdicts that are no cause.
const (
	verdictOK        = "ok"
	verdictHandshake = "handshake"
	verdictFault     = "fault" // ours: a key that cannot be fetched, a secret that does not open
)

// Answers that are no problem's code.
const (
	answerAccepted  = "accepted"
	answerDuplicate = "duplicate"
	answerShaken    = "handshake"
)

var causes = []hub.Cause{
	hub.NoSignature, hub.MalformedSignature, hub.UnknownSchemeVersion, hub.SignatureMismatch, hub.TimestampMissing,
	hub.TimestampTooOld, hub.TimestampInFuture, hub.NoActiveSecret, hub.WrongAccount, hub.HandshakeFailed,
}

// wayMetrics count the way of one webhook until its answer. What has a label is resolved once: a webhook must not look
// its counters up.
type wayMetrics struct {
	received prometheus.Counter
	verdicts map[string]prometheus.Counter
	verify   prometheus.Histogram
	answers  map[string]prometheus.Counter
	answer   prometheus.Histogram
}

func newWayMetrics(r prometheus.Registerer, held func() int) wayMetrics {
	verdicts := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_ingest_verdicts_total",
		Help: "Webhooks that were verified, by the verdict: ok, handshake, the cause why not, or fault where the hub could not tell.",
	}, []string{"verdict"})
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_ingest_answers_total",
		Help: "Webhooks that were answered: accepted, duplicate, handshake, or the code of the problem that the sender got.",
	}, []string{"answer"})
	m := wayMetrics{
		received: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "tributary_ingest_received_total", Help: "Webhooks whose body has come in whole, to an endpoint that takes them.",
		}),
		verify: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_ingest_verify_seconds", Help: "Verifying one webhook, a look at Postgres for newer secrets included.",
			Buckets: []float64{.00001, .000025, .00005, .0001, .00025, .0005, .001, .0025, .01, .05, .25, 1},
		}),
		answer: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_ingest_answer_seconds", Help: "From a webhook's last byte to its answer, whichever that is.",
			Buckets: prometheus.ExponentialBuckets(.001, 2, 14),
		}),
		verdicts: map[string]prometheus.Counter{}, answers: map[string]prometheus.Counter{},
	}
	for _, verdict := range []string{verdictOK, verdictHandshake, verdictFault} {
		m.verdicts[verdict] = verdicts.WithLabelValues(verdict)
	}
	for _, cause := range causes {
		m.verdicts[string(cause)] = verdicts.WithLabelValues(string(cause))
	}
	for _, answer := range []string{answerAccepted, answerDuplicate, answerShaken} {
		m.answers[answer] = answers.WithLabelValues(answer)
	}
	for _, code := range problem.Codes() {
		m.answers[string(code.Code)] = answers.WithLabelValues(string(code.Code))
	}
	r.MustRegister(m.received, verdicts, m.verify, answers, m.answer,
		gauge("tributary_ingest_bodies_bytes", "Memory that holds the bodies of webhooks which are being answered, but the first 32 KiB of each.", held),
		gauge("tributary_ingest_bodies_capacity_bytes", "What they may hold; a webhook above it is answered 503.", func() int { return maxHeld }))
	return m
}

// done is deferred to the answer of a webhook whose last byte came at began.
func (m *wayMetrics) done(began time.Time) { m.answer.Observe(time.Since(began).Seconds()) }

func (m *wayMetrics) verified(v provider.Verdict, err error, took time.Duration) {
	m.verify.Observe(took.Seconds())
	switch {
	case hub.CodeOf(err) == hub.EndpointDisabled, hub.CodeOf(err) == hub.TenantSuspended: // meanwhile, by another node
	case err != nil:
		m.verdicts[verdictFault].Inc()
	case v.Handshake != nil:
		m.verdicts[verdictHandshake].Inc()
	case v.OK:
		m.verdicts[verdictOK].Inc()
	default:
		m.verdicts[string(v.Cause)].Inc()
	}
}

func (m *wayMetrics) answered(a answer, err error) {
	if err != nil {
		m.answers[string(problem.From(err, "").Code)].Inc()
		return
	}
	m.answers[a.name].Inc()
}

type intakeMetrics struct {
	fresh, duplicate, failed prometheus.Counter // events
	flushes                  flushMetrics
	commit                   prometheus.Histogram
}

// flushMetrics count one group commit's flushes.
type flushMetrics struct {
	ok, failed prometheus.Counter
	size, took prometheus.Histogram
}

func newIntakeMetrics(r prometheus.Registerer, waiting, waitingBytes func() int) intakeMetrics {
	events := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_intake_events_total",
		Help: "Webhooks that were given to a flush: new and duplicate ones are committed; failed counts each flush that failed again.",
	}, []string{"result"})
	flushes := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_intake_flushes_total", Help: "Transactions of the intake, by result: ok or error.",
	}, []string{"result"})
	m := intakeMetrics{
		fresh: events.WithLabelValues("new"), duplicate: events.WithLabelValues("duplicate"), failed: events.WithLabelValues("failed"),
		flushes: flushMetrics{
			ok: flushes.WithLabelValues("ok"), failed: flushes.WithLabelValues("error"),
			size: prometheus.NewHistogram(prometheus.HistogramOpts{
				Name: "tributary_intake_flush_events", Help: "Webhooks in one transaction.", Buckets: prometheus.ExponentialBuckets(1, 2, 10),
			}),
			took: prometheus.NewHistogram(prometheus.HistogramOpts{
				Name: "tributary_intake_flush_seconds", Help: "One transaction of the intake.", Buckets: prometheus.ExponentialBuckets(.0005, 2, 15),
			}),
		},
		commit: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "tributary_intake_commit_seconds", Help: "From handing a webhook to the intake to its commit: the wait for a flush, and the flush.",
			Buckets: prometheus.ExponentialBuckets(.0005, 2, 15),
		}),
	}
	r.MustRegister(events, flushes, m.flushes.size, m.flushes.took, m.commit,
		gauge("tributary_intake_waiting", "Webhooks that wait for a flush.", waiting),
		gauge("tributary_intake_capacity", "Webhooks that may wait; one more is answered 503.", func() int { return queueEvents }),
		gauge("tributary_intake_waiting_bytes", "Size of the webhooks that wait for a flush.", waitingBytes),
		gauge("tributary_intake_capacity_bytes", "Size that may wait; one more is answered 503.", func() int { return queueBytes }))
	return m
}

func (m *intakeMetrics) flushed(receipts []hub.Receipt, events int, err error, took time.Duration) {
	m.flushes.took.Observe(took.Seconds())
	m.flushes.size.Observe(float64(events))
	if err != nil {
		m.flushes.failed.Inc()
		m.failed.Add(float64(events))
		return
	}
	m.flushes.ok.Inc()
	duplicates := 0
	for i := range receipts {
		if receipts[i].Duplicate {
			duplicates++
		}
	}
	m.duplicate.Add(float64(duplicates))
	m.fresh.Add(float64(len(receipts) - duplicates))
}

// notebookMetrics count rejections by what became of them.
type notebookMetrics struct {
	written, failed, dropped, muted prometheus.Counter
}

func newNotebookMetrics(r prometheus.Registerer, waiting, waitingBytes func() int) notebookMetrics {
	rejections := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "tributary_notebook_rejections_total",
		Help: "Refused webhooks to be noted: written, failed, dropped since too many waited, muted since their sender had its share.",
	}, []string{"result"})
	r.MustRegister(rejections,
		gauge("tributary_notebook_waiting", "Rejections that wait to be written.", waiting),
		gauge("tributary_notebook_capacity", "Rejections that may wait; one more is dropped.", func() int { return queueRejected }),
		gauge("tributary_notebook_waiting_bytes", "Size of the bodies of rejections that wait.", waitingBytes),
		gauge("tributary_notebook_capacity_bytes", "Size that may wait; one more is dropped.", func() int { return queueBodies }))
	return notebookMetrics{
		written: rejections.WithLabelValues("written"), failed: rejections.WithLabelValues("failed"),
		dropped: rejections.WithLabelValues("dropped"), muted: rejections.WithLabelValues("muted"),
	}
}

func gauge(name, help string, value func() int) prometheus.GaugeFunc {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 { return float64(value()) })
}
