package publish_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/publish"
)

// A press takes what the appender would append, and keeps every batch in hand until it is let go.
type press struct {
	mu      sync.Mutex // guards batches
	batches [][]hub.Unit
	held    chan struct{} // closed: let go; nil: nothing is held
	fails   error         // of each statement; nil: all are appended
}

func (p *press) append(_ context.Context, units []hub.Unit) ([]hub.Placed, error) {
	p.mu.Lock()
	p.batches = append(p.batches, slices.Clone(units))
	p.mu.Unlock()
	if p.held != nil {
		<-p.held
	}
	return make([]hub.Placed, len(units)), p.fails
}

// appendTogether lets all these units wait, in this order, before the appender starts, so that it takes full batches.
// The errors come once all are answered.
func (p *press) appendTogether(t *testing.T, units []hub.Unit) <-chan error {
	t.Helper()
	a := publish.NewAppender(publish.Options{Append: p.append, Metrics: prometheus.NewRegistry(), Log: canary.Logger(t)})
	answers := make(chan error, len(units))
	for _, u := range units {
		go func() {
			_, err := a.Append(t.Context(), u)
			answers <- err
		}()
		synctest.Wait()
	}
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
	return answers
}

func unitsOf(tenant hub.TenantID, n int, data []byte) []hub.Unit {
	units := make([]hub.Unit, n)
	for i := range units {
		units[i] = working(tenant, hub.NewID[hub.EventID](), "a")
		units[i].Messages[0].Data = data
	}
	return units
}

// A tenant whose messages fill the queue holds up another's by no more than the batch that runs.
func TestAppend_TenantsTakeTurns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &press{held: make(chan struct{})}
		quiet := hub.NewID[hub.TenantID]()
		answers := p.appendTogether(t, append(unitsOf(hub.NewID[hub.TenantID](), 1000, nil), unitsOf(quiet, 1, nil)...))
		flushed := slices.Concat(p.batches...)
		if len(flushed) == 0 || len(flushed) > 900 {
			t.Fatalf("%d units in the first flushes, want less than all", len(flushed))
		}
		if !slices.ContainsFunc(flushed, func(u hub.Unit) bool { return u.Tenant == quiet }) {
			t.Errorf("the quiet tenant's unit is not among the first %d", len(flushed))
		}
		close(p.held)
		for range cap(answers) {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
	})
}

// Whatever is wrong with one unit of a batch, its neighbours are tried without it; where the database is at fault,
// all are told at once.
func TestAppend_TriesAgainAlone(t *testing.T) {
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
				answers := p.appendTogether(t, unitsOf(hub.NewID[hub.TenantID](), 5, nil))
				for range cap(answers) {
					if err := <-answers; hub.CodeOf(err) != hub.CodeOf(c.err) {
						t.Error(err)
					}
				}
				var sizes []int
				for _, batch := range p.batches {
					sizes = append(sizes, len(batch))
				}
				if diff := cmp.Diff(c.want, sizes); diff != "" {
					t.Errorf("statements (-want +got):\n%s", diff)
				}
			})
		})
	}
}

// One statement carries at most 4 MiB, and at most 64 MiB wait: what comes then is refused at once.
func TestAppend_BoundsOfBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := &press{held: make(chan struct{})}
		answers := p.appendTogether(t, unitsOf(hub.NewID[hub.TenantID](), 70, make([]byte, 1<<20-10_000)))
		for range 70 - 64 {
			select {
			case err := <-answers:
				if hub.CodeOf(err) != hub.Unavailable {
					t.Error(err)
				}
			default:
				t.Fatal("the queue takes more than 64 units of almost 1 MiB")
			}
		}
		for _, batch := range p.batches {
			if len(batch) != 4 {
				t.Errorf("%d units of almost 1 MiB in one statement", len(batch))
			}
		}
		close(p.held)
		for range 64 {
			if err := <-answers; err != nil {
				t.Error(err)
			}
		}
	})
}
