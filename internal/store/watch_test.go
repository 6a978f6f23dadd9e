package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// Who has been silent for more than 10 s is no node any more, wherever nodes are counted.
func TestNodes_OnlyTheLiving(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	beat(t, db, "alive", 0)
	beat(t, db, "dead", 11)
	db.Exec(t, `UPDATE tributary.nodes SET version = 'before' WHERE id = 'dead'`)
	nodes, err := db.Pipeline.Nodes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := []store.Node{{ID: "alive", Roles: []string{"worker"}, Version: "test"}}
	if diff := cmp.Diff(want, nodes, cmpopts.EquateEmpty()); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	if sight, err := db.Pipeline.Sight(t.Context()); err != nil || sight.Nodes != 1 || sight.Versions != 1 {
		t.Errorf("seen %+v, %v; want one node, of one build", sight, err)
	}
	if state, err := db.Pipeline.KeysetState(t.Context()); err != nil || len(state.Nodes) != 1 {
		t.Errorf("keysets of %+v, %v; want one node's", state.Nodes, err)
	}
}

// Jobs are counted by state, and no further than BacklogMost: the count is asked for every few seconds, and most of all
// while there are too many.
func TestBacklog(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	pool := riverPool(t, db)
	runningJobs(t, db, 3, "n", 0)
	runningJobs(t, db, 1, "n", 0)
	db.Exec(t, `
		INSERT INTO tributary_river.river_job (state, max_attempts, kind, queue, args)
		SELECT 'available', max_attempts, kind, queue, args FROM (SELECT * FROM tributary_river.river_job LIMIT 1) j, generate_series(1, $1::int)`,
		store.BacklogMost+1)
	found, err := pool.Backlog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	jobs := map[string]int{}
	for _, b := range found {
		jobs[b.State] = b.Jobs
	}
	want := map[string]int{"available": store.BacklogMost, "running": 4, "retryable": 0, "scheduled": 0, "discarded": 0}
	if diff := cmp.Diff(want, jobs); diff != "" {
		t.Errorf("counted (-want +got):\n%s", diff)
	}
}
