package worker_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
	"github.com/tributary-hub/tributary/internal/worker"
)

// What the others do while they do not hear of the node "self", which has key 1.
const (
	silent  = `UPDATE tributary.nodes SET beat_at = now() - interval '11 seconds'`
	swept   = `DELETE FROM tributary.nodes`
	retired = `INSERT INTO tributary.keyset_keys (key_id, proof) VALUES (2, 'proof');
		UPDATE tributary.keyset_keys SET retired_at = now() WHERE key_id = 1`
	promoted = `INSERT INTO tributary.keyset_keys (key_id, proof) VALUES (2, 'proof')`
)

// A node that was silent, be it that its beats failed or that it was frozen and never saw one fail, comes back where
// it may, and stays dead to the others where they have gone on without it.
func TestNode_ComesBack(t *testing.T) {
	t.Parallel()
	missed, cancel := context.WithCancel(t.Context())
	cancel()
	for name, tt := range map[string]struct {
		meanwhile []string
		refused   string // "": it comes back
	}{
		"nothing has changed":                   {[]string{silent}, ""},
		"its row was swept":                     {[]string{swept}, ""},
		"its key was retired":                   {[]string{silent, retired}, "which `tributary keyset prune` has retired"},
		"its key was retired, its row swept":    {[]string{swept, retired}, "which `tributary keyset prune` has retired"},
		"a key was promoted that it lacks":      {[]string{silent, promoted}, "it lacks key 2"},
		"the same, and its row was swept":       {[]string{swept, promoted}, "it lacks key 2"},
		"a key is new, but it counts still":     {[]string{promoted}, ""},
		"a key that it lacks, after three days": {[]string{promoted, `UPDATE tributary.nodes SET beat_at = now() - interval '3 days'`}, "it lacks key 2"},
	} {
		for how, frozen := range map[string]bool{"frozen": true, "cut off": false} {
			t.Run(how+", "+name, func(t *testing.T) {
				t.Parallel()
				db := storetest.New(t)
				node := worker.NewNode(nodeOptions(t, db))
				for range 3 {
					must(t, node.Beat(t.Context()))
				}
				if !frozen && node.Beat(missed) == nil {
					t.Fatal("it did not miss one")
				}
				for _, sql := range tt.meanwhile {
					db.Exec(t, sql)
				}
				want := 1
				if tt.refused != "" {
					want = 0
				}
				for range 2 {
					err := node.Beat(t.Context())
					if tt.refused == "" && err != nil || tt.refused != "" && (hub.CodeOf(err) != hub.Conflict || !strings.Contains(err.Error(), tt.refused)) {
						t.Errorf("%v; want it refused: %q", err, tt.refused)
					}
					if n := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.nodes WHERE beat_at > now() - interval '10 seconds'`); n != want {
						t.Errorf("%d nodes, want %d", n, want)
					}
				}
			})
		}
	}
}

// Where it is refused it says so once, to whoever ends the process, and beats no more.
func TestNode_EndsWhereItIsRefused(t *testing.T) {
	t.Parallel()
	db, failed := storetest.New(t), make(chan error, 1)
	o := nodeOptions(t, db)
	o.Failed = failed
	node := worker.NewNode(o)
	node.Hurry(10 * time.Millisecond)
	must(t, node.Start(t.Context()))
	db.Exec(t, retired)
	db.Exec(t, swept)
	select {
	case err := <-failed:
		if hub.CodeOf(err) != hub.Conflict || !strings.Contains(err.Error(), "has retired: use the keyset that prune printed") {
			t.Errorf("it says %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on")
	}
	db.Exec(t, `UPDATE tributary.keyset_keys SET retired_at = NULL WHERE key_id = 1; DELETE FROM tributary.keyset_keys WHERE key_id = 2`)
	must(t, node.Stop(t.Context()))
	if n := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.nodes`); n != 0 {
		t.Errorf("%d nodes", n)
	}
}

// How long the others count on it is told after each beat that they have seen, from a moment before they saw it.
func TestNode_CountedUntil(t *testing.T) {
	t.Parallel()
	missed, cancel := context.WithCancel(t.Context())
	cancel()
	db := storetest.New(t)
	var until time.Time
	o := nodeOptions(t, db)
	o.Counted = func(t time.Time) { until = t }
	node := worker.NewNode(o)
	told := func(want bool, when string) {
		t.Helper()
		if got := !until.IsZero(); got != want {
			t.Errorf("%s: told %v, want %v", when, got, want)
		}
		if want && !until.IsZero() {
			seen := storetest.Value[time.Time](t, db, `SELECT beat_at FROM tributary.nodes`).Add(store.NodeSilent)
			if until.After(seen) || seen.Sub(until) > time.Minute {
				t.Errorf("%s: until %s, the others %s", when, until, seen)
			}
		}
		until = time.Time{}
	}
	node.Hurry(time.Hour) // this test beats itself
	must(t, node.Start(t.Context()))
	told(true, "the first")
	must(t, node.Beat(t.Context()))
	told(true, "one in time")
	if node.Beat(missed) == nil {
		t.Fatal("it did not miss one")
	}
	told(false, "one that was missed")
	db.Exec(t, silent)
	must(t, node.Beat(t.Context()))
	told(true, "it is back")
	db.Exec(t, silent)
	db.Exec(t, promoted)
	if node.Beat(t.Context()) == nil {
		t.Fatal("it was not refused")
	}
	told(false, "it was refused")
	must(t, node.Stop(t.Context()))
}
