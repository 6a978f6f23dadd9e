package worker_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
	"github.com/tributary-hub/tributary/internal/worker"
)

// newNode makes the node "self" on a database with one job that node works since that long.
func newNode(t *testing.T, works string, since time.Duration, mine bool) (*storetest.DB, *worker.Node) {
	t.Helper()
	db := storetest.New(t)
	_, err := db.Pipeline.InsertEvents(t.Context(), []hub.Event{db.Event(t, "stripe")})
	must(t, err)
	db.Exec(t, `
		UPDATE tributary_river.river_job SET state = 'running', attempt = 1, attempted_by = ARRAY[$1], attempted_at = now() - $2::interval`, works, since)
	pool, err := store.OpenRiver(context.WithoutCancel(t.Context()), db.URL, "", 2)
	must(t, err)
	t.Cleanup(pool.Close)
	o := nodeOptions(t, db)
	o.River, o.Mine = pool, mine
	return db, worker.NewNode(o)
}

func nodeOptions(t *testing.T, db *storetest.DB) worker.NodeOptions {
	t.Helper()
	return worker.NodeOptions{
		Pipeline: db.Pipeline, Log: canary.Logger(t), Metrics: prometheus.NewRegistry(),
		Failed: make(chan error, 1), Counted: func(time.Time) {},
		Self: store.Node{ID: "self", Roles: []string{"worker"}, Version: "test", Keyset: store.Keyset{Keys: []uint32{1}, Primary: 1, Proof: []byte("proof")}},
	}
}

func jobState(t *testing.T, db *storetest.DB) string {
	t.Helper()
	return storetest.Value[string](t, db, `SELECT state::text FROM tributary_river.river_job`)
}

// A node judges others only while its own last three beats were written: a slow Postgres makes nobody dead.
func TestNode_JudgesAfterItsOwnBeats(t *testing.T) {
	t.Parallel()
	const silent = 20 * time.Second
	missed, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tt := range []struct {
		name  string
		beats string // "x" is written, "-" is not
		want  string
	}{
		{"none yet", "", "running"},
		{"two", "xx", "running"},
		{"three", "xxx", "available"},
		{"one missed", "xxx-", "running"},
		{"two after one missed", "xxx-xx", "running"},
		{"three after one missed", "x-xxx", "available"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db, node := newNode(t, "dead", silent, false)
			for _, beat := range tt.beats {
				ctx := t.Context()
				if beat == '-' {
					ctx = missed
				}
				_ = node.Beat(ctx)
			}
			node.Look(t.Context())
			if got := jobState(t, db); got != tt.want {
				t.Errorf("the job of a silent node is %s, want %s", got, tt.want)
			}
		})
	}
}

// Beats that fail are told of when they begin to, and when they are written again: Postgres may be away all night.
func TestNode_TellsOnce(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	var log bytes.Buffer
	o := nodeOptions(t, db)
	o.Log = canary.Logger(t, slog.NewTextHandler(&log, nil))
	node := worker.NewNode(o)
	missed, cancel := context.WithCancel(t.Context())
	cancel()
	for _, beat := range "x---x--xx" {
		ctx := t.Context()
		if beat == '-' {
			ctx = missed
		}
		_ = node.Beat(ctx)
	}
	began, ended := strings.Count(log.String(), "beats cannot be written"), strings.Count(log.String(), "beats are written again")
	if began != 2 || ended != 2 {
		t.Errorf("told %d times that they fail and %d times that they do not: %s", began, ended, &log)
	}
}

// At its start a node frees the jobs of its own killed predecessor, where its id is one that it keeps.
func TestNode_FreesItsOwn(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		works string
		mine  bool
		want  string
	}{
		{"its predecessor's", "self", true, "available"},
		{"another's", "other", true, "running"},
		{"of an id that is new", "self", false, "running"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db, node := newNode(t, tt.works, 0, tt.mine)
			must(t, node.Start(t.Context()))
			if got := jobState(t, db); got != tt.want {
				t.Errorf("after the start the job is %s, want %s", got, tt.want)
			}
			must(t, node.Stop(t.Context()))
		})
	}
}

// By itself a node beats, and takes over what a dead one worked.
func TestNode_TakesOver(t *testing.T) {
	t.Parallel()
	db, node := newNode(t, "dead", 20*time.Second, false)
	node.Hurry(10 * time.Millisecond)
	must(t, node.Start(t.Context()))
	db.AwaitTrue(t, `SELECT state = 'available' FROM tributary_river.river_job`)
	db.AwaitTrue(t, `SELECT EXISTS (SELECT FROM tributary.nodes WHERE id = 'self')`)
	db.Exec(t, `UPDATE tributary.nodes SET beat_at = now() - interval '1 hour'`)
	db.AwaitTrue(t, `SELECT beat_at > now() - interval '1 minute' FROM tributary.nodes`)
	must(t, node.Stop(t.Context()))
	if n := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.nodes`); n != 0 {
		t.Errorf("%d nodes after it stopped", n)
	}
}

// A node has written what it committed within the time that the others give it, and nothing else.
func TestNode_Written(t *testing.T) {
	t.Parallel()
	_, node := newNode(t, "self", 0, false)
	missed, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, node.Start(t.Context()))
	must(t, node.Stop(t.Context()))
	must(t, node.Beat(t.Context()))
	if !node.Written() {
		t.Error("a beat that was just written does not count")
	}
	node.Age(9 * time.Second)
	_ = node.Beat(missed)
	if !node.Written() {
		t.Error("the beat of 9 s ago does not count any more")
	}
	node.Age(time.Second)
	_ = node.Beat(missed)
	if node.Written() {
		t.Error("a beat of more than 10 s ago counts")
	}
	must(t, node.Beat(t.Context()))
	if !node.Written() {
		t.Error("it is never good again")
	}
}
