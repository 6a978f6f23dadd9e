// Package tally counts things by key and has the counts written every few seconds, so that what happens often is not
// written often. It knows neither what is counted nor where it is written to.
package tally

import (
	"context"
	"sync"
	"time"
)

// A Tally counts by key. What a write could not write counts again in the next; one whose answer was lost may so
// count twice. It holds as many counts as there are keys.
type Tally[K comparable, V any] struct {
	*Writer

	add   func(sum, more V) V
	write func(context.Context, map[K]V) error

	mu     sync.Mutex // guards counts
	counts map[K]V
}

// New makes a Tally: add joins two counts of one key, of which more came later.
func New[K comparable, V any](o Options, add func(sum, more V) V, write func(context.Context, map[K]V) error) *Tally[K, V] {
	t := &Tally[K, V]{add: add, write: write, counts: map[K]V{}}
	t.Writer = NewWriter(o, t.flush)
	return t
}

// Add counts; it never waits for a write.
func (t *Tally[K, V]) Add(key K, more V) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if sum, ok := t.counts[key]; ok {
		more = t.add(sum, more)
	}
	t.counts[key] = more
}

func (t *Tally[K, V]) flush(ctx context.Context) error {
	t.mu.Lock()
	counts := t.counts
	t.counts = map[K]V{}
	t.mu.Unlock()
	if len(counts) == 0 {
		return nil
	}
	err := t.write(ctx, counts)
	if err != nil {
		t.giveBack(counts)
	}
	return err
}

// giveBack puts what was not written before what was counted meanwhile.
func (t *Tally[K, V]) giveBack(counts map[K]V) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, sum := range counts {
		if more, ok := t.counts[key]; ok {
			sum = t.add(sum, more)
		}
		t.counts[key] = sum
	}
}

// Options say when counts are written.
type Options struct {
	Interval time.Duration                // required: between writes
	Failed   func(context.Context, error) // required: told of the first of writes that fail in a row; the next one comes after the interval
}

// A Writer writes what has been counted every few seconds, and what is left when it ends.
type Writer struct {
	o     Options
	write func(context.Context) error

	cancel context.CancelFunc
	done   chan struct{}
}

// writeTime bounds one write: a connection that hangs must not end the writing.
const writeTime = 5 * time.Second

// NewWriter makes a Writer that writes by calling write.
func NewWriter(o Options, write func(context.Context) error) *Writer {
	return &Writer{o: o, write: write}
}

// Start begins to write.
func (w *Writer) Start(ctx context.Context) error {
	ctx, w.cancel = context.WithCancel(context.WithoutCancel(ctx))
	w.done = make(chan struct{})
	go func() {
		defer close(w.done)
		w.run(ctx)
	}()
	return nil
}

// Stop lets a write that has begun end, writes what is left and ends. Before Start it does nothing.
func (w *Writer) Stop(ctx context.Context) error {
	if w.cancel == nil {
		return nil
	}
	w.cancel()
	select {
	case <-w.done:
		return w.write(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (w *Writer) run(ctx context.Context) {
	ticker := time.NewTicker(w.o.Interval)
	defer ticker.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		err := w.writeOnce(ctx)
		if err != nil && !failing {
			w.o.Failed(ctx, err)
		}
		failing = err != nil
	}
}

// writeOnce is not cut short by Stop: what was written and not heard of would be written again.
func (w *Writer) writeOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), writeTime)
	defer cancel()
	return w.write(ctx)
}
