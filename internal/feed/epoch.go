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

// epoch is the one that positions belong to, as far as this process knows. It is in doubt at first, and again
// whenever a read failed or a connection was made anew: a failover ends every connection.
type epoch struct {
	ask     func(context.Context) (hub.Epoch, error)
	timeout time.Duration
	changed func(from, to hub.Epoch)
	flight  singleflight.Group

	doubts  atomic.Int64 // raised by each doubt
	settled atomic.Int64 // what doubts was when the last answer was asked for

	mu      sync.Mutex // guards current
	current hub.Epoch
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
	now, err := e.ask(ctx)
	if err != nil {
		return fmt.Errorf("ask for the epoch: %w", err)
	}
	e.mu.Lock()
	before := e.current
	e.current = now
	e.mu.Unlock()
	if now != before {
		e.changed(before, now)
	}
	e.settled.Store(doubts)
	return nil
}
