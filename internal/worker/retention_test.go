package worker_test

import (
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/tributary-hub/tributary/internal/storetest"
	"github.com/tributary-hub/tributary/internal/worker"
)

// keepHouse has the job done, and says how it ended.
func (s *shop) keepHouse(t *testing.T) river.EventKind {
	t.Helper()
	s.Exec(t, `INSERT INTO tributary_river.river_job (args, kind, max_attempts, queue) VALUES ('{}', 'retention', 1, 'chores')`)
	return s.await(t).Kind
}

// Days are dropped when the retention is over and not a day before, and a week is made ahead.
func TestRetention(t *testing.T) {
	t.Parallel()
	now := time.Now()
	today := now.UTC().Truncate(24 * time.Hour)
	s := openShop(t, func(o *worker.Options) { o.Now = func() time.Time { return now } }) // it keeps 30 days
	for _, ago := range []int{60, 31, 30, 29, 16, 15, 14, 2} {
		day := today.AddDate(0, 0, -ago)
		_, err := s.Pipeline.MakePartitions(t.Context(), day, day)
		must(t, err)
	}
	s.work(t)
	if ended := s.keepHouse(t); ended != river.EventKindJobCompleted {
		t.Errorf("the job ended as %s", ended)
	}

	days := map[string][]int{}
	partitions, err := s.Pipeline.Partitions(t.Context())
	must(t, err)
	for _, p := range partitions {
		days[p.Kind] = append(days[p.Kind], int(p.Day.Sub(today).Hours()/24))
	}
	left := []int{-30, -29, -16, -15, -14, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7}
	if diff := cmp.Diff(map[string][]int{"events": left, "outcomes": left, "messages": left}, days); diff != "" {
		t.Errorf("days that are left (-want +got):\n%s", diff)
	}
}

// Partitions are made from yesterday's on: an id of a clock behind ours falls into it.
func TestMakePartitions(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	today := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 10) // of whose days there is none yet
	must(t, worker.MakePartitions(t.Context(), db.Pipeline, today.Add(time.Minute)))
	partitions, err := db.Pipeline.Partitions(t.Context())
	must(t, err)
	days := map[string][]int{}
	for _, p := range partitions {
		if day := int(p.Day.Sub(today).Hours() / 24); day > -5 {
			days[p.Kind] = append(days[p.Kind], day)
		}
	}
	made := []int{-1, 0, 1, 2, 3, 4, 5, 6, 7}
	if diff := cmp.Diff(map[string][]int{"events": made, "outcomes": made, "messages": made}, days); diff != "" {
		t.Errorf("days that were made (-want +got):\n%s", diff)
	}
}

// The gauge is what was seen last, less the days since: a process that cannot make partitions, or no longer looks,
// does not say that all is well. Who never looked says nothing.
func TestRetention_DaysAhead(t *testing.T) {
	t.Parallel()
	begin := time.Now()
	var passed atomic.Int64 // days
	registry := prometheus.NewRegistry()
	s := openShop(t, func(o *worker.Options) {
		o.Metrics = registry
		o.Now = func() time.Time { return begin.AddDate(0, 0, int(passed.Load())) }
	})
	want := func(when string, want float64) {
		t.Helper()
		if diff := cmp.Diff(want, gauge(t, registry, "tributary_partitions_ahead"), cmpopts.EquateNaNs()); diff != "" {
			t.Errorf("days ahead %s (-want +got):\n%s", when, diff)
		}
	}
	want("before the first look", math.NaN())
	s.work(t)
	s.keepHouse(t)
	want("after it made them", 7)
	passed.Store(2)
	want("two days later", 5)

	s.Exec(t, `REVOKE EXECUTE ON FUNCTION tributary.make_partition(text, date) FROM tributary_pipeline`)
	s.Exec(t, `DROP TABLE tributary.outcomes_`+begin.UTC().AddDate(0, 0, 5).Format("20060102"))
	if ended := s.keepHouse(t); ended != river.EventKindJobFailed {
		t.Errorf("the job that could not make partitions ended as %s", ended)
	}
	want("where one kind of the third is missing and cannot be made", 2)
	passed.Store(5)
	s.keepHouse(t)
	want("where today's is missing", -1)
}

func gauge(t *testing.T, r *prometheus.Registry, name string) float64 {
	t.Helper()
	families, err := r.Gather()
	must(t, err)
	for _, family := range families {
		if family.GetName() == name {
			return family.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
