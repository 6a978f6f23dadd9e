package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// failures counts, per route, the events that it failed on, and writes the counts every few seconds; a crash
// forgets the last of them, the events' trails have them all the same.
type failures struct {
	pipeline *store.Pipeline
	log      *slog.Logger
	now      func() time.Time

	mu  sync.Mutex // guards all
	all map[hub.RouteID]store.RouteFailure

	cancel  context.CancelFunc
	stopped chan struct{}
}

const failuresInterval = 2 * time.Second

func newFailures(o Options) *failures {
	return &failures{pipeline: o.Pipeline, log: o.Log, now: o.Now, all: map[hub.RouteID]store.RouteFailure{}}
}

func (f *failures) note(tenant hub.TenantID, o hub.Outcome) {
	for _, route := range o.Routes {
		if route.Error == "" {
			continue
		}
		f.mu.Lock()
		count := f.all[route.Route].Count
		f.all[route.Route] = store.RouteFailure{
			Tenant: tenant, Route: route.Route, Count: count + 1, Error: route.Error, Event: o.Event, At: f.now(),
		}
		f.mu.Unlock()
	}
}

func (f *failures) start(ctx context.Context) {
	ctx, f.cancel = context.WithCancel(context.WithoutCancel(ctx))
	f.stopped = make(chan struct{})
	go func() {
		defer close(f.stopped)
		ticker := time.NewTicker(failuresInterval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if err := f.flush(ctx); err != nil && ctx.Err() == nil {
					f.log.WarnContext(ctx, "failures of routes not counted", "error", err)
				}
			}
		}
	}()
}

func (f *failures) stop(ctx context.Context) error {
	if f.cancel == nil {
		return nil
	}
	f.cancel()
	select {
	case <-f.stopped:
		return f.flush(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (f *failures) flush(ctx context.Context) error {
	f.mu.Lock()
	batch := make([]store.RouteFailure, 0, len(f.all))
	for _, failure := range f.all {
		batch = append(batch, failure)
	}
	clear(f.all)
	f.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	return f.pipeline.CountRouteFailures(ctx, batch)
}
