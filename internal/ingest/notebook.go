package ingest

import (
	"context"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/server"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/tally"
	"github.com/tributary-hub/tributary/internal/telemetry"
)

// NotebookOptions of a Notebook.
type NotebookOptions struct {
	Pipeline *store.Pipeline       // required
	Keeper   *secret.Keeper        // required: seals headers that carry credentials
	Log      *slog.Logger          // required
	Metrics  prometheus.Registerer // required
	Interval time.Duration         // between counts of secrets' uses; default 5 s
	Now      func() time.Time      // default time.Now
}

// A Notebook is what ingest writes beside events: rejections, at once, and which secrets match, every few seconds.
// Nobody waits for it. Its queue is bounded, and what does not fit is dropped: a flood of bad requests must not
// become a flood of writes.
type Notebook struct {
	o       NotebookOptions
	queue   chan rejected
	held    atomic.Int64 // bytes of the bodies in queue
	senders *meter.Senders
	uses    *tally.Tally[hub.SecretID, store.SecretUse]
	metrics notebookMetrics
	failing telemetry.Stretch // writes of rejections

	stop    chan struct{}
	once    sync.Once
	stopped chan struct{}
}

// rejected is a webhook that was refused, before it is explained and written.
type rejected struct {
	endpoint *directory.Endpoint
	request  *http.Request
	body     []byte
	verdict  provider.Verdict
	at       time.Time
}

const (
	queueRejected = 256
	queueBodies   = 16 << 20 // bytes: while Postgres is away, what waits must not grow with what is sent
	batchRejected = 32
	wholeBody     = 64 << 10 // a larger body is kept as its first KiB and cannot be retried
	firstBytes    = 1 << 10
)

// NewNotebook makes a Notebook; it writes nothing before Start.
func NewNotebook(o NotebookOptions) *Notebook {
	if o.Interval == 0 {
		o.Interval = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	n := &Notebook{
		o: o, queue: make(chan rejected, queueRejected), senders: meter.NewSenders(o.Now), uses: newUses(o), stop: make(chan struct{}),
	}
	n.metrics = newNotebookMetrics(o.Metrics, func() int { return len(n.queue) }, func() int { return int(n.held.Load()) })
	return n
}

func newUses(o NotebookOptions) *tally.Tally[hub.SecretID, store.SecretUse] {
	options := tally.Options{
		Interval: o.Interval,
		Failed: func(ctx context.Context, err error) {
			o.Log.WarnContext(ctx, "uses of secrets not counted", "error", err)
		},
	}
	add := func(sum, more store.SecretUse) store.SecretUse {
		more.Matches += sum.Matches
		return more
	}
	return tally.New(options, add, func(ctx context.Context, counts map[hub.SecretID]store.SecretUse) error {
		return o.Pipeline.CountSecretUses(ctx, slices.Collect(maps.Values(counts)))
	})
}

// Start begins to write.
func (n *Notebook) Start(ctx context.Context) error {
	n.stopped = make(chan struct{})
	go func() {
		defer close(n.stopped)
		n.write(context.WithoutCancel(ctx))
	}()
	return n.uses.Start(ctx)
}

// Stop writes what is there and ends.
func (n *Notebook) Stop(ctx context.Context) error {
	n.once.Do(func() { close(n.stop) })
	if n.stopped == nil {
		return nil
	}
	select {
	case <-n.stopped:
		return n.uses.Stop(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reject notes a refused webhook, unless the queue is full, and says whether its sender is within its share at this
// endpoint: past it nothing is noted.
func (n *Notebook) reject(r rejected) (within bool) {
	if !n.senders.Take(r.endpoint.ID, server.ClientAddr(r.request.Context())) {
		n.metrics.muted.Inc()
		return false
	}
	n.enqueue(r)
	return true
}

// enqueue drops r where the queue has its number or its bytes.
func (n *Notebook) enqueue(r rejected) {
	size := int64(len(r.body))
	if n.held.Add(size) > queueBodies {
		n.held.Add(-size)
		n.metrics.dropped.Inc()
		return
	}
	select {
	case n.queue <- r:
	default:
		n.held.Add(-size)
		n.metrics.dropped.Inc()
	}
}

// used counts the secrets that matched, candidates too.
func (n *Notebook) used(ep *directory.Endpoint, v provider.Verdict, at time.Time) {
	count := func(id hub.SecretID) {
		n.uses.Add(id, store.SecretUse{Tenant: ep.Tenant.ID, Secret: id, Matches: 1, LastAt: at})
	}
	if !v.Secret.IsZero() {
		count(v.Secret)
	}
	for _, id := range v.Candidates {
		count(id)
	}
}

func (n *Notebook) write(ctx context.Context) {
	for {
		select {
		case r := <-n.queue:
			n.writeRejections(ctx, r)
		case <-n.stop:
			for len(n.queue) > 0 {
				n.writeRejections(ctx, <-n.queue)
			}
			return
		}
	}
}

// writeRejections writes first and what waits behind it.
func (n *Notebook) writeRejections(ctx context.Context, first rejected) {
	batch := []store.Rejected{n.explain(first)}
	n.held.Add(-int64(len(first.body)))
	for len(n.queue) > 0 && len(batch) < batchRejected {
		next := <-n.queue
		batch = append(batch, n.explain(next))
		n.held.Add(-int64(len(next.body)))
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := n.o.Pipeline.InsertRejections(ctx, batch); err != nil {
		n.metrics.failed.Add(float64(len(batch)))
		if n.failing.Begins() {
			n.o.Log.WarnContext(ctx, "rejections cannot be written, and are lost", "rejections", len(batch), "error", err)
		}
		return
	}
	if n.failing.Ends() {
		n.o.Log.InfoContext(ctx, "rejections are written again")
	}
	n.metrics.written.Add(float64(len(batch)))
}

// explain is the slow lane: it may try what the verdict need not, to say what went wrong.
func (n *Notebook) explain(r rejected) store.Rejected {
	detail := r.verdict.Detail
	if sentences := r.endpoint.Provider.Explain(requestOf(r.endpoint, r.request, r.body, r.at)); len(sentences) > 0 {
		detail = sentences[0]
	}
	shown, credentials := splitHeader(r.endpoint.Provider, r.request.Header)
	body, original := splitBody(r.endpoint.Provider, r.body)
	out := store.Rejected{
		Tenant: r.endpoint.Tenant.ID,
		Rejection: hub.Rejection{
			ID: hub.NewID[hub.RejectionID](), Endpoint: r.endpoint.ID, Cause: r.verdict.Cause, Detail: detail,
			ReceivedAt: r.at, Header: store.EncodeHeader(shown), Body: body,
		},
	}
	if len(r.body) > wholeBody {
		out.Body, out.Truncated = body[:min(len(body), firstBytes)], true
		return out
	}
	if credentials != nil {
		out.Sealed = n.seal(secret.EventHeaders, out, store.EncodeHeader(credentials))
	}
	if original != nil {
		out.SealedBody = n.seal(secret.EventBody, out, original)
	}
	return out
}

// seal is nil where it fails: without it a retry fails too, and says so.
func (n *Notebook) seal(purpose secret.Purpose, r store.Rejected, value []byte) []byte {
	sealed, err := n.o.Keeper.Seal(purpose, value, r.Tenant[:], r.ID[:])
	if err != nil {
		return nil
	}
	return sealed
}
