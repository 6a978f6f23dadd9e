package ingest_test

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/ingest"
)

// A press takes what the intake would insert, and keeps every batch in hand until it is let go.
type press struct {
	mu      sync.Mutex // guards batches
	batches [][]hub.Event
	held    chan struct{} // closed: let go; nil: nothing is held
	fails   error         // of each insert; nil: all are committed
}

func (p *press) insert(_ context.Context, events []hub.Event) ([]hub.Receipt, error) {
	p.mu.Lock()
	p.batches = append(p.batches, slices.Clone(events))
	p.mu.Unlock()
	if p.held != nil {
		<-p.held
	}
	return make([]hub.Receipt, len(events)), p.fails
}

// commitTogether lets all these events wait, in this order, before the intake starts, so that it takes full batches.
// The errors come once all are answered.
func (p *press) commitTogether(t *testing.T, events []hub.Event) <-chan error {
	t.Helper()
	intake := ingest.NewIntake(ingest.IntakeOptions{Insert: p.insert, Keeper: newKeeper(t), Metrics: prometheus.NewRegistry(), Log: canary.Logger(t)})
	answers := make(chan error, len(events))
	for _, e := range events {
		go func() {
			_, err := intake.Commit(t.Context(), e)
			answers <- err
		}()
		synctest.Wait()
	}
	if err := intake.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := intake.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return answers
}

func eventsOf(tenant hub.TenantID, n int, body []byte) []hub.Event {
	events := make([]hub.Event, n)
	for i := range events {
		events[i] = hub.Event{ID: hub.NewID[hub.EventID](), Tenant: tenant, Provider: "stripe", Body: body}
	}
	return events
}

// A tenant whose webhooks fill the queue holds up another's by no more than the batch that runs.
func TestIntake_TenantsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &press{held: make(chan struct{})}
		quiet := hub.NewID[hub.TenantID]()
		answers := p.commitTogether(t, append(eventsOf(hub.NewID[hub.TenantID](), 1500, nil), eventsOf(quiet, 1, nil)...))
		flushed := slices.Concat(p.batches...)
		if len(flushed) == 0 || len(flushed) > 1000 {
			t.Fatalf("%d events in the first flushes, want less than all", len(flushed))
		}
		if !slices.ContainsFunc(flushed, func(e hub.Event) bool { return e.Tenant == quiet }) {
			t.Errorf("the quiet tenant's event is not among the first %d", len(flushed))
		}
		close(p.held)
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
	})
}

// Whatever is wrong with one event of a batch, its neighbours are tried without it; where the database is at fault,
// all are told at once. Either way it is no fault of the sender's.
func TestIntake_TriesAgainAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		err  error
		want []int
	}{
		"connection lost": {hub.Errorf(hub.Unavailable, "connection lost"), []int{5}},
		"a grant missing": {&pgconn.PgError{Code: "42501"}, []int{5}},
		"a value refused": {&pgconn.PgError{Code: "22021"}, []int{5, 1, 1, 1, 1, 1}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := &press{fails: c.err}
				answers := p.commitTogether(t, eventsOf(hub.NewID[hub.TenantID](), 5, nil))
				for range cap(answers) {
					if err := <-answers; hub.CodeOf(err) != hub.Unavailable {
						t.Error(err)
					}
				}
				var sizes []int
				for _, batch := range p.batches {
					sizes = append(sizes, len(batch))
				}
				if diff := cmp.Diff(c.want, sizes); diff != "" {
					t.Errorf("inserts (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// While Postgres hangs each webhook is refused within 8 s of its commit's beginning, however many wait before it; what
// waited is not tried after.
func TestIntake_PostgresHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		tried := atomic.Int64{}
		intake := ingest.StartIntake(t, newKeeper(t), func(ctx context.Context, events []hub.Event) ([]hub.Receipt, error) {
			tried.Add(int64(len(events)))
			<-ctx.Done()
			return nil, hub.Errorf(hub.Unavailable, "the database does not answer")
		})
		began := time.Now()
		var asking sync.WaitGroup
		events := eventsOf(hub.NewID[hub.TenantID](), 3000, nil)
		for _, e := range events {
			asking.Go(func() {
				_, err := intake.Commit(t.Context(), e)
				if took := time.Since(began); hub.CodeOf(err) != hub.Unavailable || took > 8*time.Second {
					t.Errorf("%v after %s", err, took)
				}
			})
		}
		asking.Wait()
		if n := tried.Load(); n >= int64(len(events)) {
			t.Errorf("all %d were tried: the test no longer fits", n)
		}
	})
}

// One insert carries at most 8 MiB, bodies that are sealed included.
func TestIntake_BatchOfBytes(t *testing.T) {
	t.Parallel()
	body := make([]byte, 1<<20-10_000)
	for name, seal := range map[string]bool{"shown": false, "sealed": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				events := eventsOf(hub.NewID[hub.TenantID](), 40, body)
				if seal {
					for i := range events {
						events[i].Body, events[i].Original = nil, body
					}
				}
				p := &press{held: make(chan struct{})}
				answers := p.commitTogether(t, events)
				if len(p.batches) == 0 {
					t.Fatal("nothing is inserted")
				}
				for _, batch := range p.batches {
					if len(batch) != 8 {
						t.Errorf("%d bodies of almost 1 MiB in one insert", len(batch))
					}
				}
				close(p.held)
				for range cap(answers) {
					if err := <-answers; err != nil {
						t.Error(err)
					}
				}
			})
		})
	}
}
