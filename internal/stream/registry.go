package stream

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"
)

// A registry knows the open streams of this node, and ends them when it stops.
type registry struct {
	stopping chan struct{} // closed by stop: nobody enters any more
	spread   time.Duration // over which streams end

	mu      sync.Mutex // guards what follows
	open    map[*stream]struct{}
	stopped bool
	empty   chan struct{} // closed when stopped and nothing is open
}

func newRegistry(spread time.Duration) *registry {
	return &registry{spread: spread, stopping: make(chan struct{}), open: map[*stream]struct{}{}, empty: make(chan struct{})}
}

// enter reports false once the registry stops.
func (g *registry) enter(s *stream) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return false
	}
	g.open[s] = struct{}{}
	return true
}

func (g *registry) isStopping() bool {
	select {
	case <-g.stopping:
		return true
	default:
		return false
	}
}

func (g *registry) leave(s *stream) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.open, s)
	if g.stopped && len(g.open) == 0 {
		close(g.empty)
	}
}

func (g *registry) stop(ctx context.Context) error {
	spread := g.spread
	if end, ok := ctx.Deadline(); ok {
		spread = min(spread, time.Until(end)/2)
	}
	g.begin(spread)
	select {
	case <-g.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin has each stream end at a moment of its own: their clients come back one by one, not all at once to the node
// that is left.
func (g *registry) begin(spread time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return
	}
	g.stopped = true
	close(g.stopping)
	for s := range g.open {
		if spread <= 0 {
			s.drain()
			continue
		}
		time.AfterFunc(rand.N(spread), s.drain) //nolint:gosec // nobody gains by guessing it
	}
	if len(g.open) == 0 {
		close(g.empty)
	}
}
