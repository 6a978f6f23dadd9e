// Package groupcommit lets many callers share one flush, each waiting for its own result. It owns the
// queue, who is served next, and what a failed batch means for each of its items; what a flush does is
// its user's business. No timer holds a batch back: a flusher that is free takes what waits at that
// moment, so one caller alone pays no delay, and batches grow by themselves while flushes are slow.
package groupcommit

import (
	"context"
	"errors"
	"sync"
	"time"
)

// ErrFull is what Do returns when the queue holds as many items or bytes as it may.
var ErrFull = errors.New("group commit: queue is full")

// ErrStopped is what Do returns once Stop was called.
var ErrStopped = errors.New("group commit: stopped")

// Options of a Group. A number of zero or below means the default.
type Options[In any] struct {
	// Flushers is how many flushes may run at once; default 2. More of them only split the batches.
	Flushers int
	// MaxItems bounds the items of one flush; default 200.
	MaxItems int
	// MaxBytes bounds one flush by Size; default 4 MiB. One item that is larger is flushed alone.
	MaxBytes int
	// Queue bounds the items that wait; default 4096. One more is refused with ErrFull.
	Queue int
	// QueueBytes bounds what waits by Size; default 64 MiB. What would exceed it is refused with ErrFull.
	QueueBytes int
	// Size gives an item's bytes. Required when bytes are to be bounded; by default an item has none.
	Size func(In) int
	// Turn gives the key by which items take turns, such as a tenant's id: a batch takes one item of each
	// key in turn, and keeps the order of arrival within a key. By default all items have one key.
	Turn func(In) [16]byte
	// Alone says whether each item is flushed once more, alone, after a batch failed with this error, so
	// that one poisoned item does not fail its neighbours. False suits errors that a second try would only
	// repeat, such as a lost connection: then all get the batch's error. Never asked after a flush that
	// ran out of time. By default always.
	Alone func(error) bool
	// Panicked is told of each call of flush that panicked, once, however many wait for it: log the stack
	// there, and of the value no more than the error's text. By default nobody is told.
	Panicked func(context.Context, *PanicError)
	// FlushTimeout bounds one call of flush, whatever its callers' contexts say; default 10 s.
	FlushTimeout time.Duration
}

// Group gathers callers into batches. Make it with New.
type Group[In, Out any] struct {
	options Options[In]
	flush   func(context.Context, []In) ([]Out, error)
	idle    sync.Pool // of *waiter that nobody else holds

	mu       sync.Mutex // guards what follows
	wake     *sync.Cond // on mu; said when an item arrives, and at Stop
	waiting  *queue[In, Out]
	stopping bool
	running  int                     // flushers that have not ended
	ended    chan struct{}           // made by Start, closed when the last flusher ended
	abort    context.CancelCauseFunc // made by Start; ends the flushes that run
}

// waiter is one call of Do. It belongs to its caller until it is queued, and again once done was received;
// a caller that leaves during a flush leaves it to the flusher.
type waiter[In, Out any] struct {
	item In
	key  [16]byte
	size int
	lane *lane[In, Out]         // nil while not queued
	link node[*waiter[In, Out]] // in lane

	out  Out
	err  error
	done chan struct{} // holds one, so that nobody waits for a caller that left
}

// New makes a Group; it serves nobody before Start. flush gets at least one item and returns one result
// for each, in their order, or an error for all. An item may come to it twice: again alone after a batch
// that failed, even if that batch was carried out. Several flushes run at once, so items of one key
// may be flushed side by side.
func New[In, Out any](o Options[In], flush func(ctx context.Context, items []In) ([]Out, error)) *Group[In, Out] {
	g := &Group[In, Out]{options: withDefaults(o), flush: flush, waiting: newQueue[In, Out]()}
	g.wake = sync.NewCond(&g.mu)
	return g
}

func withDefaults[In any](o Options[In]) Options[In] {
	positive := func(n *int, otherwise int) {
		if *n <= 0 {
			*n = otherwise
		}
	}
	positive(&o.Flushers, 2)
	positive(&o.MaxItems, 200)
	positive(&o.MaxBytes, 4<<20)
	positive(&o.Queue, 4096)
	positive(&o.QueueBytes, 64<<20)
	if o.Size == nil {
		o.Size = func(In) int { return 0 }
	}
	if o.Turn == nil {
		o.Turn = func(In) [16]byte { return [16]byte{} }
	}
	if o.Alone == nil {
		o.Alone = func(error) bool { return true }
	}
	if o.Panicked == nil {
		o.Panicked = func(context.Context, *PanicError) {}
	}
	if o.FlushTimeout <= 0 {
		o.FlushTimeout = 10 * time.Second
	}
	return o
}

// Do hands item to a flush and waits for its own result. Errors: ErrFull and ErrStopped, the item was not
// flushed; ctx's, when ctx ends first (an item that still waits is taken out of the queue, but one whose
// flush runs may be carried out all the same); a *PanicError; else what flush returned.
func (g *Group[In, Out]) Do(ctx context.Context, item In) (Out, error) {
	var none Out
	if err := ctx.Err(); err != nil {
		return none, err
	}
	w := g.borrow(item)
	if err := g.enqueue(w); err != nil {
		g.giveBack(w)
		return none, err
	}
	select {
	case <-w.done:
	case <-ctx.Done():
		if g.withdraw(w) {
			g.giveBack(w)
			return none, ctx.Err()
		}
		select {
		case <-w.done: // the result came at the same moment, and says more than ctx's error
		default:
			return none, ctx.Err()
		}
	}
	out, err := w.out, w.err
	g.giveBack(w)
	return out, err
}

// Waiting is how many items are queued and not yet in a flush: a gauge.
func (g *Group[In, Out]) Waiting() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting.items
}

// WaitingBytes is their size, by Options.Size: a gauge.
func (g *Group[In, Out]) WaitingBytes() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.waiting.bytes
}

func (g *Group[In, Out]) enqueue(w *waiter[In, Out]) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.stopping:
		return ErrStopped
	case g.waiting.items >= g.options.Queue, g.waiting.bytes+w.size > g.options.QueueBytes:
		return ErrFull
	}
	g.waiting.push(w)
	g.wake.Signal()
	return nil
}

// withdraw reports whether w still waited, and takes it out of the queue.
func (g *Group[In, Out]) withdraw(w *waiter[In, Out]) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if w.lane == nil {
		return false
	}
	g.waiting.remove(w)
	return true
}

func (g *Group[In, Out]) borrow(item In) *waiter[In, Out] {
	w, ok := g.idle.Get().(*waiter[In, Out])
	if !ok {
		w = &waiter[In, Out]{done: make(chan struct{}, 1)}
		w.link.value = w
	}
	w.item, w.key, w.size = item, g.options.Turn(item), g.options.Size(item)
	return w
}

// giveBack forgets the item and its result first: a body must not live on in the pool.
func (g *Group[In, Out]) giveBack(w *waiter[In, Out]) {
	var item In
	var out Out
	w.item, w.out, w.err = item, out, nil
	g.idle.Put(w)
}
