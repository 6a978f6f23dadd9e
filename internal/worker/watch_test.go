package worker_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
	"github.com/tributary-hub/tributary/internal/worker"
)

// What there is to see is shown; what can no longer be asked for is no number, and not what it was.
func TestWatch(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	_, err := db.Pipeline.InsertEvents(t.Context(), []hub.Event{db.Event(t, "stripe"), db.Event(t, "stripe"), db.Event(t, "stripe")})
	must(t, err)
	db.Exec(t, `UPDATE tributary_river.river_job SET created_at = now() - interval '1 minute' WHERE id = (SELECT min(id) FROM tributary_river.river_job)`)
	db.Exec(t, `UPDATE tributary_river.river_job SET state = 'running', attempt = 1, attempted_at = now() WHERE id = (SELECT max(id) FROM tributary_river.river_job)`)
	db.Exec(t, `INSERT INTO tributary.nodes (id, roles, version, beat_at)
		VALUES ('a', '{}', 'v1', now()), ('b', '{}', 'v2', now()), ('c', '{}', 'v2', now()), ('dead', '{}', 'v3', now() - interval '1 minute')`)
	s, err := store.Open(context.WithoutCancel(t.Context()), store.Options{URL: db.URL})
	must(t, err)
	river, err := store.OpenRiver(context.WithoutCancel(t.Context()), db.URL, "", 2)
	must(t, err)
	registry := prometheus.NewRegistry()
	store.Measure(registry, s, river)
	watch := worker.NewWatch(worker.WatchOptions{
		Pipeline: s.Pipeline, River: river, Log: canary.Logger(t), Metrics: registry, Interval: 20 * time.Millisecond,
	})
	if n := storetest.Metric(t, registry, "tributary_nodes"); !math.IsNaN(n) {
		t.Errorf("%v nodes before anybody looked", n)
	}
	must(t, watch.Start(t.Context()))
	t.Cleanup(func() { must(t, watch.Stop(context.WithoutCancel(t.Context()))) })

	storetest.Await(t, "the nodes that live", func() bool { return storetest.Metric(t, registry, "tributary_nodes") == 3 })
	storetest.Await(t, "the jobs", func() bool { return storetest.Metric(t, registry, "tributary_river_jobs", "available") == 2 })
	for name, want := range map[string][2]float64{ // at least, at most
		"tributary_nodes_versions":                    {2, 2},
		"tributary_postgres_notification_queue_ratio": {0, .5},
		"tributary_postgres_clock_skew_seconds":       {-60, 60},
		"tributary_river_oldest_available_seconds":    {60, 3600},
	} {
		if got := storetest.Metric(t, registry, name); !(got >= want[0] && got <= want[1]) {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	for state, want := range map[string]float64{"running": 1, "discarded": 0} {
		if got := storetest.Metric(t, registry, "tributary_river_jobs", state); got != want {
			t.Errorf("%v jobs are %s, want %v", got, state, want)
		}
	}
	for _, pool := range []string{"pipeline", "river"} {
		if n := storetest.Metric(t, registry, "tributary_pool_acquires_total", pool); n < 1 {
			t.Errorf("%s: %v connections taken", pool, n)
		}
	}
	if n := storetest.Metric(t, registry, "tributary_pool_connections_limit", "river"); n != 2 {
		t.Errorf("River's pool has %v connections", n)
	}

	s.Close()
	river.Close()
	for _, name := range []string{
		"tributary_nodes", "tributary_postgres_clock_skew_seconds", "tributary_river_oldest_available_seconds", "tributary_river_jobs",
		"tributary_partitions_ahead",
	} {
		storetest.Await(t, name+" to be no number", func() bool { return math.IsNaN(storetest.Metric(t, registry, name)) })
	}
	if n := storetest.Metric(t, registry, "tributary_watch_looks_total", "error"); n < 1 {
		t.Errorf("%v looks failed", n)
	}
}

// How far the partitions reach is what Postgres has at each look, on a process that makes none too.
func TestWatch_DaysAhead(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	river, err := store.OpenRiver(context.WithoutCancel(t.Context()), db.URL, "", 2)
	must(t, err)
	t.Cleanup(func() { river.Close() })
	registry := prometheus.NewRegistry()
	watch := worker.NewWatch(worker.WatchOptions{
		Pipeline: db.Pipeline, River: river, Log: canary.Logger(t), Metrics: registry, Interval: 20 * time.Millisecond,
	})
	now := time.Now()
	must(t, worker.MakePartitions(t.Context(), db.Pipeline, now))
	must(t, watch.Start(t.Context()))
	t.Cleanup(func() { must(t, watch.Stop(context.WithoutCancel(t.Context()))) })
	await := func(what string, days float64) {
		t.Helper()
		storetest.Await(t, what, func() bool { return storetest.Metric(t, registry, "tributary_partitions_ahead") == days })
	}
	await("a week", 7)
	db.Exec(t, `DROP TABLE tributary.outcomes_`+now.UTC().AddDate(0, 0, 3).Format("20060102"))
	await("the third day to lack one kind", 2)
	db.Exec(t, `DROP TABLE tributary.messages_`+now.UTC().Format("20060102"))
	await("today to lack one", -1)
	must(t, worker.MakePartitions(t.Context(), db.Pipeline, now))
	await("them to be made again", 7)
}

// What becomes of events and of housekeeping is counted.
func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	s := openShop(t, func(o *worker.Options) { o.Metrics = registry })
	s.route(t, hub.Route{Name: "all", Match: "true", Channels: []string{"all"}})
	s.route(t, hub.Route{Name: "broken", Match: "event.body.nothing.there == 1", Channels: []string{"all"}})
	s.work(t)
	s.accept(t, `{"a":1}`)
	s.await(t)
	s.keepHouse(t)
	storetest.Metrics(t, registry, "tributary_worker_", map[string]float64{
		"events_total done":     1,
		"events_total given_up": 0,
		"outcomes_total failed": 1,
		"outcomes_total routed": 0,
		"route_failures_total":  1, "event_seconds": 1, "event_age_seconds": 1, "capacity": 300,
	})
	if n := storetest.Metric(t, registry, "tributary_worker_chores_total", "retention", "ok"); n < 1 {
		t.Errorf("%v runs of retention", n)
	}
	s.Exec(t, `REVOKE EXECUTE ON FUNCTION tributary.make_partition(text, date) FROM tributary_pipeline`)
	s.Exec(t, `DROP TABLE tributary.outcomes_`+time.Now().UTC().AddDate(0, 0, 5).Format("20060102"))
	before := storetest.Metric(t, registry, "tributary_worker_chore_success_timestamp_seconds", "retention")
	s.keepHouse(t)
	if n := storetest.Metric(t, registry, "tributary_worker_chores_total", "retention", "error"); n < 1 {
		t.Errorf("%v runs of retention failed", n)
	}
	if after := storetest.Metric(t, registry, "tributary_worker_chore_success_timestamp_seconds", "retention"); after != before {
		t.Errorf("a run that failed moved the last success from %v to %v", before, after)
	}
}
