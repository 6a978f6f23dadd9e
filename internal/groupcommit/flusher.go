package groupcommit

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
)

// PanicError is what the callers of a flush get that panicked.
type PanicError struct {
	Value any    // what was given to panic
	Stack []byte // of the flusher, as debug.Stack formats it
}

// Error leaves out a value that is not the runtime's own: it may hold what a log must not.
func (e *PanicError) Error() string {
	if err, ok := e.Value.(runtime.Error); ok {
		return "flush panicked: " + err.Error()
	}
	return fmt.Sprintf("flush panicked with a %T", e.Value)
}

// Start runs the flushers in the background, until Stop. What ctx carries reaches every flush, its end
// does not. A Group starts once.
func (g *Group[In, Out]) Start(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.stopping:
		return ErrStopped
	case g.ended != nil:
		return errors.New("group commit: started twice")
	}
	ctx, g.abort = context.WithCancelCause(context.WithoutCancel(ctx))
	g.ended = make(chan struct{})
	g.running = g.options.Flushers
	for range g.options.Flushers {
		go g.run(ctx)
	}
	return nil
}

// Stop refuses new callers at once, flushes what waits, and returns when all flushers ended. When ctx ends
// before that it returns ctx's error: what still waits gets ErrStopped, and the flushes that run are
// cancelled. It may be called twice, and on a Group that never started.
func (g *Group[In, Out]) Stop(ctx context.Context) error {
	g.mu.Lock()
	g.stopping = true
	g.wake.Broadcast()
	ended := g.ended
	if ended == nil {
		g.refuseLocked()
	}
	g.mu.Unlock()
	if ended == nil {
		return nil
	}

	select {
	case <-ended:
		return nil
	case <-ctx.Done():
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.running == 0 {
		return nil
	}
	g.refuseLocked()
	g.abort(ErrStopped)
	return fmt.Errorf("stop group commit: %w", ctx.Err())
}

// refuseLocked answers all who wait.
func (g *Group[In, Out]) refuseLocked() {
	for _, w := range g.waiting.take(nil, g.waiting.items, g.waiting.bytes) {
		w.err = ErrStopped
		w.done <- struct{}{}
	}
}

func (g *Group[In, Out]) run(ctx context.Context) {
	defer g.leave()
	var batch []*waiter[In, Out]
	for {
		batch = g.next(batch[:0])
		if len(batch) == 0 {
			return
		}
		g.serve(ctx, batch)
		clear(batch) // or the last batch of an idle flusher would keep its items alive
	}
}

// next waits until somebody waits. Its batch is empty once the Group stops and nobody does.
func (g *Group[In, Out]) next(batch []*waiter[In, Out]) []*waiter[In, Out] {
	g.mu.Lock()
	defer g.mu.Unlock()
	for g.waiting.items == 0 && !g.stopping {
		g.wake.Wait()
	}
	return g.waiting.take(batch, g.options.MaxItems, g.options.MaxBytes)
}

func (g *Group[In, Out]) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.running--
	if g.running == 0 {
		g.abort(nil)
		close(g.ended)
	}
}

// serve flushes the batch, each item once more alone if that failed, and answers each waiter once.
func (g *Group[In, Out]) serve(ctx context.Context, batch []*waiter[In, Out]) {
	items := make([]In, len(batch))
	for i, w := range batch {
		items[i] = w.item
	}
	all := g.call(ctx, items)
	if !all.again || len(batch) == 1 {
		answer(batch, all)
		return
	}
	for i := range batch {
		one := g.call(ctx, items[i:i+1:i+1])
		if one.err != nil && !one.again {
			answer(batch[i:], one) // the rest would fail likewise, one slow call after the other
			return
		}
		answer(batch[i:i+1], one)
	}
}

// result is what came of one call of flush.
type result[Out any] struct {
	outs  []Out // one an item, unless err is set
	err   error
	again bool // it failed, but smaller calls may do better
}

func (g *Group[In, Out]) call(ctx context.Context, items []In) result[Out] {
	ctx, cancel := context.WithTimeout(ctx, g.options.FlushTimeout)
	defer cancel()
	outs, err := g.guardedFlush(ctx, items)
	if err != nil {
		return result[Out]{err: err, again: ctx.Err() == nil && g.options.Alone(err)}
	}
	if len(outs) != len(items) { // carried out, but whose result is whose? A second try would not tell
		return result[Out]{err: fmt.Errorf("flush returned %d results for %d items", len(outs), len(items))}
	}
	return result[Out]{outs: outs}
}

func (g *Group[In, Out]) guardedFlush(ctx context.Context, items []In) (outs []Out, err error) {
	defer func() {
		if v := recover(); v != nil {
			panicked := &PanicError{Value: v, Stack: debug.Stack()}
			g.options.Panicked(ctx, panicked)
			outs, err = nil, panicked
		}
	}()
	return g.flush(ctx, items)
}

func answer[In, Out any](batch []*waiter[In, Out], r result[Out]) {
	for i, w := range batch {
		w.err = r.err
		if r.err == nil {
			w.out = r.outs[i]
		}
		w.done <- struct{}{}
	}
}
