package ingest_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/ingest"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// The failures of the commit: not done, done but reported failed, and the sender's next try after each.

func TestCommit_NotDone(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	away := atomic.Bool{}
	away.Store(true)
	intake := ingest.StartIntake(t, newKeeper(t), func(ctx context.Context, events []hub.Event) ([]hub.Receipt, error) {
		if away.Load() {
			return nil, hub.Errorf(hub.Unavailable, "the database does not answer")
		}
		return db.Pipeline.InsertEvents(ctx, events)
	})
	event := db.Event(t, "stripe")

	if _, err := intake.Commit(t.Context(), event); hub.CodeOf(err) != hub.Unavailable {
		t.Fatalf("first commit: %v, want unavailable", err)
	}
	away.Store(false)
	again := db.Event(t, "stripe", storetest.SameDelivery(event))
	receipt, err := intake.Commit(t.Context(), again)
	if err != nil || receipt.Duplicate || receipt.Event != again.ID {
		t.Fatalf("second commit: %+v, %v; want it new", receipt, err)
	}
	wantJobs(t, db, again.ID)
}

func TestCommit_LostAnswer(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	lose := atomic.Bool{}
	lose.Store(true)
	intake := ingest.StartIntake(t, newKeeper(t), func(ctx context.Context, events []hub.Event) ([]hub.Receipt, error) {
		receipts, err := db.Pipeline.InsertEvents(ctx, events)
		if lose.Load() {
			return nil, hub.Errorf(hub.Unavailable, "connection lost") // committed, but nobody heard
		}
		return receipts, err
	})
	event := db.Event(t, "stripe")

	if _, err := intake.Commit(t.Context(), event); hub.CodeOf(err) != hub.Unavailable { // the sender will retry
		t.Fatalf("first commit: %v, want unavailable", err)
	}
	lose.Store(false)
	again := db.Event(t, "stripe", storetest.SameDelivery(event))
	receipt, err := intake.Commit(t.Context(), again)
	if err != nil || !receipt.Duplicate || receipt.Event != event.ID {
		t.Fatalf("second commit: %+v, %v; want a duplicate of %s", receipt, err, event.ID)
	}
	wantJobs(t, db, event.ID)
}

func TestCommit_PoisonedNeighbour(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	release := make(chan struct{})
	var first sync.Once
	intake := ingest.StartIntake(t, newKeeper(t), func(ctx context.Context, events []hub.Event) ([]hub.Receipt, error) {
		first.Do(func() { <-release }) // holds every flush, so that the others meet in a batch
		return db.Pipeline.InsertEvents(ctx, events)
	})
	poisoned := db.Event(t, "stripe")
	poisoned.Type = "nul\x00" // which text cannot hold
	good := db.Event(t, "stripe")
	opener := db.Event(t, "stripe")

	results := make(chan error, 3)
	for _, e := range []hub.Event{opener, poisoned, good} {
		go func() {
			_, err := intake.Commit(t.Context(), e)
			if e.ID == poisoned.ID {
				if err == nil {
					err = errors.New("the poisoned event was committed")
				} else {
					err = nil
				}
			}
			results <- err
		}()
	}
	close(release)
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if got := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.events`); got != 2 {
		t.Errorf("%d events committed, want the 2 good ones", got)
	}
}

func TestCommit_SealsCredentials(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	keeper := newKeeper(t)
	intake := ingest.StartIntake(t, keeper, db.Pipeline.InsertEvents)
	event := db.Event(t, "stripe")
	event.Header = http.Header{"Authorization": {"Basic c2VjcmV0"}, "Cookie": {"a=b"}, "X-Shown": {"yes"}}
	if _, err := intake.Commit(t.Context(), event); err != nil {
		t.Fatal(err)
	}
	var header, sealed []byte
	err := db.Owner.QueryRow(t.Context(), `SELECT header, sealed FROM tributary.events WHERE id = $1`, event.ID).Scan(&header, &sealed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(http.Header{"X-Shown": {"yes"}}, store.DecodeHeader(header)); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	opened, err := keeper.Open(secret.EventHeaders, sealed, event.Tenant[:], event.ID[:])
	if err != nil {
		t.Fatal(err)
	}
	want := http.Header{"Authorization": {"Basic c2VjcmV0"}, "Cookie": {"a=b"}}
	if diff := cmp.Diff(want, store.DecodeHeader(opened)); diff != "" {
		t.Errorf("sealed (-want +got):\n%s", diff)
	}
}

// A full queue refuses at once, whether it is full of webhooks or of bytes, and what it took is committed.
func TestCommit_FullQueue(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ events, size, most int }{
		"of bytes":  {events: 200, size: 1 << 20, most: 128 + 2*8},
		"of events": {events: 10_000, size: 0, most: 8192 + 2*400},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			held := make(chan struct{})
			release := sync.OnceFunc(func() { close(held) })
			defer release()
			var committed atomic.Int64
			intake := ingest.StartIntake(t, newKeeper(t), func(_ context.Context, events []hub.Event) ([]hub.Receipt, error) {
				<-held
				committed.Add(int64(len(events)))
				return make([]hub.Receipt, len(events)), nil
			})
			body := make([]byte, c.size)
			results := make(chan error, c.events)
			for range c.events {
				go func() {
					_, err := intake.Commit(t.Context(), hub.Event{ID: hub.NewID[hub.EventID](), Provider: "stripe", Body: body})
					results <- err
				}()
			}
			deadline := time.After(30 * time.Second)
			for range c.events - c.most {
				select {
				case err := <-results:
					if hub.CodeOf(err) != hub.Unavailable {
						t.Fatalf("while nothing is committed: %v", err)
					}
				case <-deadline:
					t.Fatal("the queue takes all that comes")
				}
			}
			release()
			taken := 0
			for range c.most {
				switch err := <-results; {
				case err == nil:
					taken++
				case hub.CodeOf(err) != hub.Unavailable:
					t.Fatal(err)
				}
			}
			if int64(taken) != committed.Load() || taken < c.most/2 {
				t.Errorf("%d taken, %d committed; room is for %d", taken, committed.Load(), c.most)
			}
		})
	}
}

// Whatever the database says, the sender is not at fault: it is told to come again, and the log has the reason once,
// however many come.
func TestCommit_FaultsOfOurs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		fault error
		told  int // lines of the log: one for each stretch of a fault that all meet, else one for each event
	}{
		"a key that is taken":   {&pgconn.PgError{Code: "23505", ConstraintName: "river_job_pkey"}, 3},
		"a day without a table": {&pgconn.PgError{Code: "23514"}, 1},
		"a missing grant":       {&pgconn.PgError{Code: "42501"}, 1},
		"the database is away":  {hub.Errorf(hub.Unavailable, "the database does not answer"), 1},
		"what nobody knows":     {errors.New("what is this"), 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			intake := ingest.NewIntake(ingest.IntakeOptions{
				Keeper: newKeeper(t), Metrics: prometheus.NewRegistry(), Log: canary.Logger(t, slog.NewTextHandler(&log, nil)),
				Insert: func(context.Context, []hub.Event) ([]hub.Receipt, error) { return nil, c.fault },
			})
			if err := intake.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			for range 3 {
				_, err := intake.Commit(t.Context(), hub.Event{ID: hub.NewID[hub.EventID](), Provider: "stripe"})
				if hub.CodeOf(err) != hub.Unavailable {
					t.Errorf("commit: %v, want unavailable", err)
				}
			}
			if err := intake.Stop(t.Context()); err != nil {
				t.Error(err)
			}
			if told := strings.Count(log.String(), "\n"); told != c.told {
				t.Errorf("%d lines, want %d:\n%s", told, c.told, &log)
			}
		})
	}
}

func wantJobs(t *testing.T, db *storetest.DB, events ...hub.EventID) {
	t.Helper()
	want := make([]string, len(events))
	for i, id := range events {
		want[i] = id.String()
	}
	if diff := cmp.Diff(want, db.Jobs(t)); diff != "" {
		t.Errorf("jobs (-want +got):\n%s", diff)
	}
}

func newKeeper(t *testing.T) *secret.Keeper {
	t.Helper()
	keyset, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	keeper, err := secret.Open(keyset)
	if err != nil {
		t.Fatal(err)
	}
	return keeper
}

// A panic under a commit is logged where it was thrown, without its value.
func TestCommit_Panics(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	intake := ingest.NewIntake(ingest.IntakeOptions{
		Keeper: newKeeper(t), Metrics: prometheus.NewRegistry(), Log: canary.Logger(t, slog.NewTextHandler(&log, nil)),
		Insert: func(context.Context, []hub.Event) ([]hub.Receipt, error) { panic("4111 1111 1111 1111") },
	})
	if err := intake.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := intake.Commit(t.Context(), hub.Event{Provider: "stripe"}); hub.CodeOf(err) != hub.Unavailable {
		t.Errorf("commit: %v", err)
	}
	if err := intake.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "intake_test.go") || strings.Contains(log.String(), "4111") || strings.Count(log.String(), "\n") != 1 {
		t.Errorf("the log does not say once where it panicked, and nothing else:\n%s", &log)
	}
}

// While nothing is sealed, what carries credentials is refused for a while, and the log says so once.
func TestCommit_NothingIsSealed(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	keeper := newKeeper(t)
	keeper.SealUntil(time.Now().Add(-time.Second))
	intake := ingest.NewIntake(ingest.IntakeOptions{
		Keeper: keeper, Metrics: prometheus.NewRegistry(), Log: canary.Logger(t, slog.NewTextHandler(&log, nil)),
		Insert: func(context.Context, []hub.Event) ([]hub.Receipt, error) { return nil, errors.New("it was inserted") },
	})
	if err := intake.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		_, err := intake.Commit(t.Context(), hub.Event{Provider: "stripe", Header: http.Header{"Cookie": {"session=hush"}}})
		if hub.CodeOf(err) != hub.Unavailable {
			t.Errorf("commit: %v", err)
		}
	}
	if err := intake.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), "must be heard of again") {
		t.Errorf("%d lines:\n%s", lines, &log)
	}
}
