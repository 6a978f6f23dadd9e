package publish_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/publish"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func startAppender(t *testing.T, db *storetest.DB) *publish.Appender {
	t.Helper()
	a := publish.NewAppender(publish.Options{Append: db.Pipeline.Append, Metrics: prometheus.NewRegistry(), Log: canary.Logger(t)})
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return a
}

func working(tenant hub.TenantID, event hub.EventID, channels ...string) hub.Unit {
	u := hub.Unit{Tenant: tenant, Outcome: hub.Outcome{Event: event, State: hub.EventRouted}}
	for _, channel := range channels {
		u.Messages = append(u.Messages, hub.Message{ID: hub.NewID[hub.MessageID](), Channel: channel, Type: "t", Data: []byte(`1`)})
	}
	return u
}

// Many workings at once: each passes once, positions are contiguous, and a unit's messages stand together in order.
func TestAppend_Together(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	a := startAppender(t, db)
	tenants := []hub.TenantID{db.Tenant(t), db.Tenant(t), db.Tenant(t)}
	const units = 300
	passed := make([]int, units)
	var wait sync.WaitGroup
	for i := range units {
		unit := working(tenants[i%len(tenants)], hub.NewID[hub.EventID](), "first", "second")
		for range 2 { // the job ran twice
			wait.Go(func() {
				placed, err := a.Append(t.Context(), unit)
				if err != nil {
					t.Error(err)
				}
				if placed.Passed {
					passed[i]++
					if placed.Last != placed.First+1 {
						t.Errorf("two messages at %d to %d", placed.First, placed.Last)
					}
				}
			})
		}
	}
	wait.Wait()
	for i, n := range passed {
		if n != 1 {
			t.Errorf("working %d passed %d times", i, n)
		}
	}
	bad := storetest.Value[int](t, db, `
		SELECT count(*) FROM (SELECT tenant_id, position, lag(position) OVER (PARTITION BY tenant_id ORDER BY position) AS before FROM tributary.messages) m
		 WHERE position <> coalesce(before, 0) + 1`)
	disorder := storetest.Value[int](t, db, `
		SELECT count(*) FROM tributary.messages m WHERE channel = 'second'
		   AND NOT EXISTS (SELECT FROM tributary.messages o WHERE o.tenant_id = m.tenant_id AND o.event_id = m.event_id AND o.position = m.position - 1 AND o.channel = 'first')`)
	if bad != 0 || disorder != 0 {
		t.Errorf("gaps %d, disorder %d", bad, disorder)
	}
}

// One unit that Postgres cannot take fails alone.
func TestAppend_PoisonedNeighbour(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	a := startAppender(t, db)
	tenant := db.Tenant(t)
	var wait sync.WaitGroup
	for i := range 50 {
		poisoned := i == 20
		channel := "good"
		if poisoned {
			channel = "nul\x00"
		}
		unit := working(tenant, hub.NewID[hub.EventID](), channel)
		wait.Go(func() {
			placed, err := a.Append(t.Context(), unit)
			if poisoned != (err != nil) || poisoned == placed.Passed {
				t.Errorf("poisoned %t: %+v, %v", poisoned, placed, err)
			}
		})
	}
	wait.Wait()
}

func TestAppend_Stopped(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	a := startAppender(t, db)
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(t.Context(), working(db.Tenant(t), hub.NewID[hub.EventID](), "a")); hub.CodeOf(err) != hub.Unavailable {
		t.Errorf("append after stop: %v, want unavailable", err)
	}
}

// A panic under an append is logged where it was thrown, without its value.
func TestAppend_Panics(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	a := publish.NewAppender(publish.Options{
		Metrics: prometheus.NewRegistry(), Log: canary.Logger(t, slog.NewTextHandler(&log, nil)),
		Append: func(context.Context, []hub.Unit) ([]hub.Placed, error) { panic("4111 1111 1111 1111") },
	})
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Append(t.Context(), working(hub.NewID[hub.TenantID](), hub.NewID[hub.EventID](), "a")); hub.CodeOf(err) != hub.Internal {
		t.Errorf("append: %v", err)
	}
	if err := a.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "appender_test.go") || strings.Contains(log.String(), "4111") || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("the log does not say once where it panicked:\n%s", &log)
	}
}
