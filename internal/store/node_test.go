package store_test

import (
	"regexp"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/job"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func TestNodes(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	nodes := func() []string {
		return storetest.Values[string](t, db, `SELECT id || ' ' || array_to_string(roles, '+') || ' ' || version || (CASE WHEN beat_at > now() - interval '5 seconds' THEN '' ELSE ' silent' END) FROM tributary.nodes ORDER BY id`)
	}
	beat(t, db, "a", 3600)
	beat(t, db, "b", 3600)
	beat(t, db, "c", 0)
	if err := db.Pipeline.Join(t.Context(), store.Node{ID: "a", Roles: []string{"api", "ingest"}, Version: "next", Keyset: oneKey}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"a api+ingest next", "b worker test silent", "c worker test"}, nodes()); diff != "" {
		t.Error(diff)
	}
	if n, err := db.Pipeline.SweepNodes(t.Context(), 30*time.Minute); n != 1 || err != nil {
		t.Errorf("swept %d, %v; want 1", n, err)
	}
	for range 2 {
		if err := db.Pipeline.RemoveNode(t.Context(), "a"); err != nil {
			t.Error(err)
		}
	}
	if diff := cmp.Diff([]string{"c worker test"}, nodes()); diff != "" {
		t.Error(diff)
	}
}

// A beat counts where the others still count on the node, by Postgres's clock, and writes nothing elsewhere: what was
// silent must not be heard of again by the way.
func TestBeat_OnlyWhereItCounts(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		silent time.Duration
		swept  bool
		want   bool
	}{
		{silent: 0, want: true},
		{silent: store.NodeSilent / 4, want: true},
		{silent: store.NodeSilent/2 + time.Second},
		{silent: store.NodeSilent + time.Second},
		{swept: true},
	} {
		t.Run(tt.silent.String(), func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			beat(t, db, "a", 0)
			beat(t, db, "other", 0)
			db.Exec(t, `UPDATE tributary.nodes SET beat_at = now() - $1::interval WHERE id = 'a'`, tt.silent)
			if tt.swept {
				db.Exec(t, `DELETE FROM tributary.nodes WHERE id = 'a'`)
			}
			row := func() []string {
				return storetest.Values[string](t, db, `SELECT beat_at::text || xmin::text FROM tributary.nodes WHERE id = 'a'`)
			}
			before := row()
			counted, err := db.Pipeline.Beat(t.Context(), "a")
			if counted != tt.want || err != nil {
				t.Errorf("it counts: %v, %v; want %v", counted, err, tt.want)
			}
			if wrote := !cmp.Equal(before, row()); wrote != tt.want {
				t.Errorf("it was written: %v", wrote)
			}
		})
	}
}

// The epoch stays while the history of positions does, and changes with each of its parts that can be changed here.
func TestEpoch(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	seen := map[string]string{}
	ask := func(after string) string {
		t.Helper()
		epoch, err := db.Pipeline.Epoch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if !regexp.MustCompile(`^[0-9a-f]{8}$`).MatchString(epoch) {
			t.Errorf("epoch %q", epoch)
		}
		if before, ok := seen[epoch]; ok {
			t.Errorf("the epoch after %s is that of %s", after, before)
		}
		seen[epoch] = after
		return epoch
	}
	first := ask("the beginning")
	db.Exec(t, `UPDATE tributary.log_heads SET position = position`)
	if again, err := db.Pipeline.Epoch(t.Context()); again != first || err != nil {
		t.Errorf("asked twice: %q and %q, %v", first, again, err)
	}
	db.Exec(t, `UPDATE tributary.epoch SET salt = gen_random_uuid()::text`)
	ask("a new salt")
	db.Exec(t, `ALTER TABLE tributary.log_heads RENAME TO old_heads`)
	db.Exec(t, `CREATE TABLE tributary.log_heads (LIKE tributary.old_heads)`)
	ask("a table made anew, as by a dump that was loaded")
}

func TestMarkInstallation(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for _, kind := range []string{"dev", "dev", "production"} {
		if is, err := db.Pipeline.MarkInstallation(t.Context(), kind); is != "dev" || err != nil {
			t.Errorf("marked %s: it is %q, %v", kind, is, err)
		}
	}
}

func TestClock(t *testing.T) {
	t.Parallel()
	now, err := storetest.New(t).Pipeline.Clock(t.Context())
	if err != nil || time.Since(now).Abs() > time.Minute {
		t.Errorf("it is %s, %v", now, err)
	}
}

// What River gave up is listed with its last error, once it is over and as long as was asked.
func TestGivenUp(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	pool := riverPool(t, db)
	event := db.Event(t, "stripe")
	if _, err := db.Pipeline.InsertEvents(t.Context(), []hub.Event{event}); err != nil {
		t.Fatal(err)
	}
	listed := func() []store.GivenUpJob {
		t.Helper()
		jobs, err := pool.GivenUp(t.Context(), time.Hour, store.GivenUpJob{})
		if err != nil {
			t.Fatal(err)
		}
		return jobs
	}
	if jobs := listed(); len(jobs) != 0 {
		t.Errorf("listed before: %+v", jobs)
	}
	db.Exec(t, `UPDATE tributary_river.river_job SET state = 'discarded', finalized_at = now(), errors = ARRAY['{"error": "first"}', '{"error": "last"}']::jsonb[]`)
	want := []store.GivenUpJob{{RouteEvent: job.RouteEvent{Tenant: event.Tenant, Event: event.ID}, Error: "last"}}
	if diff := cmp.Diff(want, listed(), cmpopts.IgnoreFields(store.GivenUpJob{}, "ID", "At")); diff != "" {
		t.Error(diff)
	}
	db.Exec(t, `UPDATE tributary_river.river_job SET finalized_at = now() - interval '2 hours'`)
	if jobs := listed(); len(jobs) != 0 {
		t.Errorf("listed after: %+v", jobs)
	}
}

// Pages go on behind the last of the page before, in the order of discarding, and leave out what was marked.
func TestGivenUp_Pages(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	pool := riverPool(t, db)
	runningJobs(t, db, 2100, "n", 20)
	db.Exec(t, `UPDATE tributary_river.river_job SET state = 'discarded', finalized_at = now() - (id / 7) * interval '1 second'`)
	listed := func() (ids []int64, pages int) {
		t.Helper()
		for last := (store.GivenUpJob{}); ; pages++ {
			jobs, err := pool.GivenUp(t.Context(), time.Hour, last)
			if err != nil {
				t.Fatal(err)
			}
			if len(jobs) == 0 {
				return ids, pages
			}
			for _, j := range jobs {
				ids = append(ids, j.ID)
			}
			last = jobs[len(jobs)-1]
		}
	}
	const inOrder = `SELECT id FROM tributary_river.river_job WHERE NOT metadata ? 'recorded' ORDER BY finalized_at, id`
	all, pages := listed()
	if diff := cmp.Diff(storetest.Values[int64](t, db, inOrder), all); diff != "" || pages != 3 {
		t.Errorf("%d pages: %s", pages, diff)
	}
	if err := pool.MarkRecorded(t.Context(), all[500:1900]); err != nil {
		t.Fatal(err)
	}
	rest, pages := listed()
	if diff := cmp.Diff(append(all[:500:500], all[1900:]...), rest); diff != "" || pages != 1 {
		t.Errorf("after some were marked, %d pages: %s", pages, diff)
	}
}
