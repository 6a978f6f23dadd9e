package publish_test

import (
	"context"
	"errors"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/publish"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// Units are counted by what became of them, messages once, and what waits stands beside how much may.
func TestMetrics(t *testing.T) {
	t.Parallel()
	db, registry := storetest.New(t), prometheus.NewRegistry()
	refused := errors.New("refused")
	fails := false
	a := publish.NewAppender(publish.Options{Metrics: registry, Log: canary.Logger(t), Append: func(ctx context.Context, units []hub.Unit) ([]hub.Placed, error) {
		if fails {
			return nil, refused
		}
		return db.Pipeline.Append(ctx, units)
	}})
	unit := working(db.Tenant(t), hub.NewID[hub.EventID](), "first", "second")
	waiting, cancel := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := a.Append(waiting, unit)
		left <- err
	}()
	for storetest.Metric(t, registry, "tributary_append_waiting") == 0 { // until it waits
		if t.Context().Err() != nil {
			t.Fatal("it never waited")
		}
	}
	if n := storetest.Metric(t, registry, "tributary_append_waiting_bytes"); n < 2*128 {
		t.Errorf("%v bytes wait", n)
	}
	cancel()
	if err := <-left; hub.CodeOf(err) != hub.Unavailable {
		t.Fatal(err)
	}

	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	for range 3 {
		if _, err := a.Append(t.Context(), unit); err != nil {
			t.Fatal(err)
		}
	}
	fails = true
	if _, err := a.Append(t.Context(), unit); !errors.Is(err, refused) {
		t.Fatal(err)
	}
	storetest.Metrics(t, registry, "tributary_append_", map[string]float64{
		"units_total passed":   1,
		"units_total repeated": 2,
		"units_total failed":   1,
		"flushes_total ok":     3,
		"flushes_total error":  1,
		"messages_total":       2, "flush_seconds": 4, "flush_units": 4, "commit_seconds": 3, "waiting": 0, "waiting_bytes": 0, "capacity": 8192, "capacity_bytes": 64 << 20,
	})
}
