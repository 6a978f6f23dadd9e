package worker_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
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
