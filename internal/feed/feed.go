// Package feed follows the message logs of those tenants that have subscribers on this node, and gives each
// subscription the messages of its channels, in order, each once. It owns where a subscription begins, the seam
// between replay and live, what a subscriber that falls behind loses (its queue, never its place), and which cursor
// a frame may claim. It knows no transport, no credential and no limit of a tenant.
//
// One goroutine reads all logs; who waits for a subscriber is its own stream. Locks are taken in this order: the
// feed's, a tail's, a subscription's.
package feed

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// Options of a Feed. A number of zero means the default.
type Options struct {
	Log     *slog.Logger                             // required
	Metrics prometheus.Registerer                    // required
	Store   *store.Pipeline                          // required: the logs
	Epoch   func(context.Context) (hub.Epoch, error) // required: asked at start, and again whenever connections may be new ones

	Poll     time.Duration // looks at all logs this often, whatever was heard; default 2 s
	Grace    time.Duration // a tail goes on for that long without subscribers; default 30 s
	Patience time.Duration // how long a message that is missing from a log is waited for; default 10 s
	Timeout  time.Duration // of one read; default 5 s
	Readers  int           // subscriptions that read from Postgres at the same time, of those with a pattern half as many; default 4

	RingMessages  int // kept of each tail for those who come back; default 1,000
	RingBytes     int // default 1 MiB
	QueueMessages int // wait for one subscriber; one more, and it reads from the log; default 256
	QueueBytes    int // default 256 KiB
	PageMessages  int // of one read, for a tail or a subscription; default 500
	PageBytes     int // default 512 KiB
}

// A Feed is shared by all streams of a process.
type Feed struct {
	o       Options
	metrics *metrics
	epoch   *epoch
	slots   chan struct{} // one for each subscription that reads
	scans   chan struct{} // one for each of these that looks at messages of all channels
	wakeup  chan struct{} // holds one: the reader has something to do

	mu      sync.Mutex // guards what follows
	tails   map[hub.TenantID]*tail
	woken   map[*tail]struct{} // to be read
	lookAll bool               // all tails are to be looked at
	cancel  context.CancelFunc
	done    chan struct{}
	stopped bool
}

// New makes a Feed. It serves nobody before Start.
func New(o Options) *Feed {
	o = withDefaults(o)
	f := &Feed{
		o:       o,
		metrics: newMetrics(o.Metrics),
		slots:   make(chan struct{}, o.Readers),
		scans:   make(chan struct{}, max(o.Readers/2, 1)),
		wakeup:  make(chan struct{}, 1),
		tails:   map[hub.TenantID]*tail{},
		woken:   map[*tail]struct{}{},
	}
	o.Metrics.MustRegister(newCensusCollector(f))
	f.epoch = newEpoch(o.Epoch, o.Timeout, f.epochChanged)
	return f
}

func withDefaults(o Options) Options {
	orDefault(&o.Poll, 2*time.Second)
	orDefault(&o.Grace, 30*time.Second)
	orDefault(&o.Patience, 10*time.Second)
	orDefault(&o.Timeout, 5*time.Second)
	orDefault(&o.Readers, 4)
	orDefault(&o.RingMessages, 1000)
	orDefault(&o.RingBytes, 1<<20)
	orDefault(&o.QueueMessages, 256)
	orDefault(&o.QueueBytes, 256<<10)
	orDefault(&o.PageMessages, 500)
	orDefault(&o.PageBytes, 512<<10)
	return o
}

func orDefault[N int | time.Duration](n *N, otherwise N) {
	if *n <= 0 {
		*n = otherwise
	}
}

// Start follows logs in the background until Stop. Without Postgres it starts as well: it tries on, and until it
// has got through subscriptions are refused.
func (f *Feed) Start(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.cancel != nil || f.stopped {
		return errors.New("feed: it starts once")
	}
	ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	f.done = make(chan struct{})
	go func() {
		defer close(f.done)
		f.run(ctx)
	}()
	return nil
}

// Stop ends every subscription with an Unavailable error and waits for the reader.
func (f *Feed) Stop(ctx context.Context) error {
	f.mu.Lock()
	f.stopped = true
	for _, t := range f.tails {
		t.end(errStopped())
	}
	cancel, done := f.cancel, f.done
	f.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func errStopped() error { return hub.Errorf(hub.Unavailable, "this node is stopping") }

// Wake says that logs have grown, for the listener. It returns at once.
func (f *Feed) Wake(w backplane.Wake) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if w.All {
		f.lookAll = true
	}
	for _, head := range w.Heads {
		if t, ok := f.tails[head.Tenant]; ok {
			f.woken[t] = struct{}{}
			t.heard(head.Position)
		}
	}
	if f.lookAll || len(f.woken) > 0 {
		f.wakeReader()
	}
}

// Reconnected says that signals may have been missed and that Postgres may be another one now, for the listener.
func (f *Feed) Reconnected() {
	f.mu.Lock()
	f.lookAll = true
	f.mu.Unlock()
	f.doubt()
}

// EpochIs says that what is read from now on belongs to that epoch, for the store. When it returns, every subscriber of
// another one is to be reset.
func (f *Feed) EpochIs(epoch hub.Epoch) {
	f.epoch.learn(epoch)
	f.wakeReader()
}

// doubt has the epoch asked for again before the next read.
func (f *Feed) doubt() {
	f.epoch.doubt()
	f.wakeReader()
}

func (f *Feed) wakeReader() {
	select {
	case f.wakeup <- struct{}{}:
	default:
	}
}

// mark has a tail read.
func (f *Feed) mark(tails ...*tail) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range tails {
		f.woken[t] = struct{}{}
	}
	f.wakeReader()
}

// attach gives the subscription its tenant's tail, a new one where there is none.
func (f *Feed) attach(s *Subscription) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return errStopped()
	}
	t, ok := f.tails[s.tenant]
	if !ok {
		t = newTail(s.tenant, f.o, f.metrics)
		f.tails[s.tenant] = t
		f.metrics.tails.Inc()
	}
	s.tail = t
	t.enter(s)
	f.metrics.subscribers.Inc()
	return nil
}

// sweep forgets tails that nobody has followed for a while.
func (f *Feed) sweep(now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for tenant, t := range f.tails {
		if t.idle(now.Add(-f.o.Grace)) {
			delete(f.tails, tenant)
			delete(f.woken, t)
			f.metrics.tails.Dec()
		}
	}
}

func (f *Feed) epochChanged(from, to hub.Epoch) {
	if from == "" {
		return
	}
	f.metrics.epochs.Inc()
	f.o.Log.Warn("epoch changed, every subscriber is reset", "from", from, "to", to)
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, t := range f.tails {
		t.forget()
	}
}
