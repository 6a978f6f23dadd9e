package worker

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/tally"
)

// failures counts, per route, the events that it failed on, and shows the last; a crash forgets what was not written,
// the events' trails have it all the same.
type failures struct {
	*tally.Tally[hub.RouteID, store.RouteFailure]

	now func() time.Time
}

const failuresInterval = 2 * time.Second

func newFailures(o Options) *failures {
	options := tally.Options{
		Interval: failuresInterval,
		Failed: func(ctx context.Context, err error) {
			o.Log.WarnContext(ctx, "failures of routes not counted", "error", err)
		},
	}
	add := func(sum, more store.RouteFailure) store.RouteFailure {
		more.Count += sum.Count
		return more
	}
	write := func(ctx context.Context, counts map[hub.RouteID]store.RouteFailure) error {
		return o.Pipeline.CountRouteFailures(ctx, slices.Collect(maps.Values(counts)))
	}
	return &failures{tally.New(options, add, write), o.Now}
}

func (f *failures) note(tenant hub.TenantID, o hub.Outcome) {
	for _, route := range o.Routes {
		if route.Error == "" {
			continue
		}
		f.Add(route.Route, store.RouteFailure{Tenant: tenant, Route: route.Route, Count: 1, Error: route.Error, Event: o.Event, At: f.now()})
	}
}
