package store_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/job"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func riverPool(t *testing.T, db *storetest.DB) *store.River {
	t.Helper()
	pool, err := store.OpenRiver(context.WithoutCancel(t.Context()), db.URL, "", 8)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// runningJobs makes n jobs of events that a node works since that many seconds.
func runningJobs(t *testing.T, db *storetest.DB, n int, node string, seconds int) {
	t.Helper()
	batch := make([]hub.Event, n)
	for i := range batch {
		batch[i] = db.Event(t, "stripe")
	}
	if _, err := db.Pipeline.InsertEvents(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `
		UPDATE tributary_river.river_job SET state = 'running', attempt = 1, attempted_by = ARRAY[$1], attempted_at = now() - $2::int * interval '1 second'
		 WHERE state = 'available'`, node, seconds)
}

// Whose jobs are made available again: those of nodes that have been silent for 10 s, and of the id that is mine.
func TestTakeOver(t *testing.T) {
	t.Parallel()
	const taken, kept, discarded = "available, attempt 1, 1 errors", "running, attempt 1, 0 errors", "discarded, attempt 8, 1 errors, over"
	tests := []struct {
		name   string
		set    string // what is so about the job of node n, whose last beat was 11 s ago
		beat   int    // seconds ago, or ahead where negative; -1: no row
		mine   string
		want   string
		nobody bool // nothing is taken over
	}{
		{name: "a silent node's", beat: 11, want: taken},
		{name: "a living node's", beat: 1, want: kept, nobody: true},
		{name: "a living node's that never heard of it", set: `attempted_at = now() - interval '31 seconds'`, beat: 1, want: taken},
		{name: "a node's that has no row", beat: -1, want: taken},
		{name: "fetched before the first beat", set: `attempted_at = now() - interval '3 seconds'`, beat: -1, want: kept, nobody: true},
		{name: "mine, fetched a moment ago", set: `attempted_at = now()`, beat: 0, mine: "n", want: taken},
		{name: "not mine", beat: 0, mine: "m", want: kept, nobody: true},
		{name: "in its last attempt", set: `attempt = 8`, beat: 11, want: discarded},
		{name: "of a silent node, then of a living one", set: `attempted_by = '{n,alive}'`, beat: 11, want: kept, nobody: true},
		{name: "of a living node, then of a silent one", set: `attempted_by = '{alive,n}'`, beat: 11, want: taken},
		{name: "a node's that died before Postgres's clock was set back", set: `attempted_at = now() + interval '1 hour'`, beat: -3600, want: taken},
		{name: "one fetched before that, of a living node's that may not know", set: `attempted_at = now() + interval '1 hour'`, beat: 0, want: taken},
		{name: "a living node's whose clock is a little ahead", set: `attempted_at = now() + interval '3 seconds'`, beat: -3, want: kept, nobody: true},
		{name: "a chore", set: `queue = 'chores'`, beat: 11, want: kept, nobody: true},
		{name: "one that waits", set: `state = 'available'`, beat: 11, want: "available, attempt 1, 0 errors", nobody: true},
		{name: "one that is done", set: `state = 'completed', finalized_at = now()`, beat: 11, want: "completed, attempt 1, 0 errors, over", nobody: true},
	}
	db := storetest.New(t)
	pool := riverPool(t, db)
	for _, tt := range tests {
		db.Exec(t, `DELETE FROM tributary_river.river_job`)
		db.Exec(t, `DELETE FROM tributary.nodes`)
		runningJobs(t, db, 1, "n", 20)
		if tt.set != "" {
			db.Exec(t, `UPDATE tributary_river.river_job SET `+tt.set)
		}
		beat(t, db, "alive", 0)
		if tt.beat != -1 {
			beat(t, db, "n", tt.beat)
		}
		n, err := pool.TakeOver(t.Context(), tt.mine)
		if err != nil || n != map[bool]int64{false: 1, true: 0}[tt.nobody] {
			t.Errorf("%s: took over %d, %v", tt.name, n, err)
		}
		got := storetest.Value[string](t, db, `
			SELECT concat_ws(', ', state, 'attempt ' || attempt, coalesce(array_length(errors, 1), 0) || ' errors', CASE WHEN finalized_at IS NOT NULL THEN 'over' END)
			  FROM tributary_river.river_job`)
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
		if n, err := pool.TakeOver(t.Context(), tt.mine); n != 0 || err != nil {
			t.Errorf("%s: took over again %d, %v", tt.name, n, err)
		}
	}
}

// oneKey is a keyset as far as the store is concerned.
var oneKey = store.Keyset{Keys: []uint32{1}, Primary: 1, Proof: []byte("proof")}

// beat writes a node's beat, that many seconds ago.
func beat(t *testing.T, db *storetest.DB, node string, seconds int) {
	t.Helper()
	if err := db.Pipeline.Join(t.Context(), store.Node{ID: node, Roles: []string{"worker"}, Version: "test", Keyset: oneKey}); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `UPDATE tributary.nodes SET beat_at = now() - $2::int * interval '1 second' WHERE id = $1`, node, seconds)
}

// Nodes that look at once share the jobs, and none is taken over twice; one look takes no more than 1,000.
func TestTakeOver_ManyAtOnce(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	pool := riverPool(t, db)
	runningJobs(t, db, 2500, "n", 20)
	var mu sync.Mutex // guards sum
	var sum int64
	var nodes sync.WaitGroup
	for range 4 {
		nodes.Go(func() {
			for {
				n, err := pool.TakeOver(t.Context(), "")
				if err != nil || n > 1000 {
					t.Errorf("took over %d, %v", n, err)
				}
				if n == 0 || err != nil {
					return
				}
				mu.Lock()
				sum += n
				mu.Unlock()
			}
		})
	}
	nodes.Wait()
	if once := storetest.Value[int64](t, db, `SELECT count(*) FROM tributary_river.river_job WHERE state = 'available' AND array_length(errors, 1) = 1`); sum != 2500 || once != 2500 {
		t.Errorf("%d takeovers, %d jobs taken over once; want 2500", sum, once)
	}
}

// A job that somebody else holds, such as the node that settles it at this moment, is passed over, not waited for.
func TestTakeOver_WaitsForNobody(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	pool := riverPool(t, db)
	runningJobs(t, db, 2, "n", 20)
	holder, err := db.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = holder.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := holder.Exec(t.Context(), `SELECT FROM tributary_river.river_job ORDER BY id LIMIT 1 FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if n, err := pool.TakeOver(ctx, ""); n != 1 || err != nil {
		t.Errorf("took over %d, %v; want the one that is free", n, err)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := pool.TakeOver(t.Context(), ""); n != 1 || err != nil {
		t.Errorf("took over %d, %v; want the other", n, err)
	}
}

// A node that stood still, as under SIGSTOP, while its job was taken over and worked elsewhere: whatever it does when
// it goes on, the event is worked once.
func TestTakeOver_LateNode(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		late   error // what the late working ends with
		during bool  // it ends while the other node works the job
	}{
		{"completes after the other", nil, false},
		{"fails after the other", errors.New("woken too late"), false},
		{"completes while the other works", nil, true},
		{"fails while the other works", errors.New("woken too late"), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			pool := riverPool(t, db)
			event := db.Event(t, "stripe")
			if _, err := db.Pipeline.InsertEvents(t.Context(), []hub.Event{event}); err != nil {
				t.Fatal(err)
			}
			late := startNode(t, pool, "late")
			<-late.works
			db.Exec(t, `UPDATE tributary_river.river_job SET attempted_at = now() - interval '11 seconds'`)
			if n, err := pool.TakeOver(t.Context(), ""); n != 1 || err != nil {
				t.Fatalf("took over %d, %v", n, err)
			}
			other := startNode(t, pool, "other")
			<-other.works

			end := func(node *riverNode, letters string, err error, passes bool) {
				placed := appendAll(t, db, unit(event.Tenant, event.ID, hub.RunID{}, letters))
				if placed[0].Passed != passes {
					t.Errorf("working that would add %q: passed is %t", letters, placed[0].Passed)
				}
				node.finish(t, err)
			}
			want := "ab"
			if tt.during {
				end(late, "xy", tt.late, true)
				end(other, "ab", nil, false)
				want = "xy"
			} else {
				end(other, "ab", nil, true)
				end(late, "xy", tt.late, false)
			}
			if log := logOf(t, db, event.Tenant); log != want {
				t.Errorf("log %q, want %q", log, want)
			}
			state := storetest.Value[string](t, db, `SELECT state::text || ' ' || coalesce(errors[1]->>'error', '') FROM tributary_river.river_job`)
			if !strings.HasSuffix(state, "node late fell silent") {
				t.Errorf("job: %s", state)
			}
			if tt.late == nil && !strings.HasPrefix(state, "completed") {
				t.Errorf("job: %s", state)
			}
		})
	}
}

// A riverNode is a River client whose one worker says that it works, and ends when it is told to.
type riverNode struct {
	client *river.Client[pgx.Tx]
	works  chan struct{}
	result chan error
}

type gatedWorker struct {
	river.WorkerDefaults[job.RouteEvent]
	node *riverNode
}

func (w gatedWorker) Work(ctx context.Context, _ *river.Job[job.RouteEvent]) error {
	select {
	case w.node.works <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-w.node.result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func startNode(t *testing.T, pool *store.River, id string) *riverNode {
	t.Helper()
	node := &riverNode{works: make(chan struct{}), result: make(chan error)}
	workers := river.NewWorkers()
	river.AddWorker(workers, gatedWorker{node: node})
	client, err := river.NewClient(riverpgxv5.New(pool.Pool()), &river.Config{
		ID: id, Schema: store.RiverSchema, Workers: workers, LeaderElectionDisabled: true, Logger: slog.New(slog.DiscardHandler),
		Queues: map[string]river.QueueConfig{job.Events: {MaxWorkers: 1, FetchCooldown: 2 * time.Millisecond, FetchPollInterval: 20 * time.Millisecond}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := client.Start(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
	node.client = client
	return node
}

// finish lets the working end and waits until River has settled the job and stopped.
func (n *riverNode) finish(t *testing.T, err error) {
	t.Helper()
	settled, cancel := n.client.Subscribe(river.EventKindJobCompleted, river.EventKindJobFailed, river.EventKindJobSnoozed)
	defer cancel()
	n.result <- err
	select {
	case <-settled:
	case <-time.After(10 * time.Second):
		t.Error("River did not settle the job")
	}
	if err := n.client.Stop(t.Context()); err != nil {
		t.Errorf("stop River: %v", err)
	}
}
