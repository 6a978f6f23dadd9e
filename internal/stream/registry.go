package stream

import (
	"context"
	"sync"
)

// A registry knows the open streams of this node, and ends them when it stops.
type registry struct {
	stopping chan struct{} // closed by stop

	mu      sync.Mutex // guards what follows
	open    map[*stream]struct{}
	stopped bool
	empty   chan struct{} // closed when stopped and nothing is open
}

func newRegistry() *registry {
	return &registry{stopping: make(chan struct{}), open: map[*stream]struct{}{}, empty: make(chan struct{})}
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
	g.begin()
	select {
	case <-g.empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *registry) begin() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.stopped {
		return
	}
	g.stopped = true
	close(g.stopping)
	for s := range g.open {
		s.out.hurry(s.o.DrainTimeout)
	}
	if len(g.open) == 0 {
		close(g.empty)
	}
}
