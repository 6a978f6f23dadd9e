package feed

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tributary-hub/tributary/internal/hub"
)

// epoch is the one that positions belong to, as far as this process knows. It is told with each connection that reads
// another history, before anything is read there; it may change under a connection too, so it is in doubt at first, and
// again whenever a read failed or contradicts what was read before.
type epoch struct {
	ask     func(context.Context) (hub.Epoch, error)
	timeout time.Duration
	changed func(from, to hub.Epoch)
	flight  singleflight.Group

	doubts  atomic.Int64 // raised by each doubt
	settled atomic.Int64 // what doubts was when the last answer was asked for

	mu      sync.Mutex // guards what follows
	current hub.Epoch
	learnt  int // how often current was told
}

func newEpoch(ask func(context.Context) (hub.Epoch, error), timeout time.Duration, changed func(from, to hub.Epoch)) *epoch {
	e := &epoch{ask: ask, timeout: timeout, changed: changed}
	e.doubts.Store(1)
	return e
}

func (e *epoch) doubt() { e.doubts.Add(1) }

func (e *epoch) get() hub.Epoch {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.current
}

// settle asks where the epoch is in doubt, and has told of a change when it returns. Callers share one question; one
// that was asked before the caller's doubt arose is no answer to it.
func (e *epoch) settle(ctx context.Context) error {
	for doubts := e.doubts.Load(); e.settled.Load() < doubts; {
		asked := e.flight.DoChan("", func() (any, error) {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), e.timeout)
			defer cancel()
			return nil, e.renew(ctx)
		})
		select {
		case answer := <-asked:
			if answer.Err != nil {
				return answer.Err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func (e *epoch) renew(ctx context.Context) error {
	doubts := e.doubts.Load()
	e.mu.Lock()
	learnt := e.learnt
	e.mu.Unlock()
	now, err := e.ask(ctx)
	if err != nil {
		return fmt.Errorf("ask for the epoch: %w", err)
	}
	e.become(now, func() bool { return e.learnt == learnt }) // what was told meanwhile is newer than the answer
	e.settled.Store(doubts)
	return nil
}

// learn is told the epoch of what is read from now on. When it returns, nothing goes on under another.
func (e *epoch) learn(now hub.Epoch) {
	e.become(now, func() bool {
		e.learnt++
		return true
	})
}

// become takes the epoch over where that still holds, which is asked with the lock.
func (e *epoch) become(now hub.Epoch, still func() bool) {
	e.mu.Lock()
	before := e.current
	ok := still()
	if ok {
		e.current = now
	}
	e.mu.Unlock()
	if ok && now != before {
		e.changed(before, now)
	}
}
