package worker_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/job"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
	"github.com/tributary-hub/tributary/internal/worker"
)

// Whatever Postgres does, the event's attempts are its own: a step that hangs or loses its connection is snoozed, and
// done once Postgres answers again.
func TestRouteEvent_PostgresAway(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		table string // nobody can read or write it
		kill  bool   // the connections that wait for it are lost besides
	}{
		{name: "reading the event hangs", table: "events"},
		{name: "reading the routes hangs", table: "routes"},
		{name: "appending hangs", table: "outcomes"},
		{name: "lost while reading the event", table: "events", kill: true},
		{name: "lost while reading the routes", table: "routes", kill: true},
		{name: "lost while appending", table: "outcomes", kill: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := openShop(t)
			if !tt.kill {
				s.worker.SetWorkingTime(2 * time.Second)
			}
			s.route(t, hub.Route{Name: "all", Match: "true", Channels: []string{"all"}})
			e := s.accept(t, `{}`)
			s.Exec(t, `UPDATE tributary_river.river_job SET max_attempts = 1`) // one that is burnt is the last
			lock, err := s.Owner.Begin(t.Context())
			must(t, err)
			defer func() { _ = lock.Rollback(context.WithoutCancel(t.Context())) }()
			_, err = lock.Exec(t.Context(), `LOCK TABLE tributary.`+tt.table)
			must(t, err)
			s.work(t)
			s.AwaitTrue(t, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`)
			if tt.kill {
				s.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`)
			}
			if ended := s.await(t); ended.Kind != river.EventKindJobSnoozed {
				t.Fatalf("the working ended as %s, want snoozed", ended.Kind)
			}
			must(t, lock.Rollback(t.Context()))
			if ended := s.awaitEnd(t); ended.Kind != river.EventKindJobCompleted {
				t.Fatalf("after Postgres was back the working ended as %s", ended.Kind)
			}
			if got := s.outcome(t, e); got != "routed" {
				t.Errorf("outcome %s, want routed", got)
			}
			if diff := cmp.Diff([]string{"all"}, s.channels(t)); diff != "" {
				t.Errorf("channels (-want +got):\n%s", diff)
			}
			if burnt := storetest.Value[string](t, s.DB, `SELECT (attempt - 1) || ' attempts, ' || coalesce(cardinality(errors), 0) || ' errors' FROM tributary_river.river_job`); burnt != "0 attempts, 0 errors" {
				t.Errorf("burnt: %s", burnt)
			}
		})
	}
}

// A process that stops in the middle of a working gives nothing up: the event is worked by the next.
func TestRouteEvent_Stopped(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	e := s.accept(t, `{}`)
	s.Exec(t, `UPDATE tributary_river.river_job SET max_attempts = 1`)
	lock, err := s.Owner.Begin(t.Context())
	must(t, err)
	defer func() { _ = lock.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = lock.Exec(t.Context(), `LOCK TABLE tributary.outcomes`)
	must(t, err)
	s.work(t)
	s.AwaitTrue(t, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`)
	must(t, s.river.StopAndCancel(t.Context()))
	must(t, lock.Rollback(t.Context()))
	if state := storetest.Value[string](t, s.DB, `SELECT state::text || ' after ' || attempt FROM tributary_river.river_job`); state != "available after 0" {
		t.Errorf("job: %s, want available after 0", state)
	}
	if got := s.outcome(t, e); strings.HasPrefix(got, "failed") {
		t.Errorf("outcome %s", got)
	}
}

// endedContext is cancelled, but only who asks it directly is told: as if it ended while the routes ran.
type endedContext struct{ context.Context }

func (endedContext) Done() <-chan struct{} { return nil }
func (endedContext) Err() error            { return context.Canceled }

// The same where the routes are cut short.
func TestRouteEvent_StoppedWhileRouting(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.route(t, hub.Route{Name: "all", Match: "true", Channels: []string{"all"}})
	e := s.accept(t, `{}`)
	must(t, s.worker.Start(t.Context()))
	defer func() { must(t, s.worker.Stop(context.WithoutCancel(t.Context()))) }()
	err := s.worker.RouteEvent(endedContext{context.WithoutCancel(t.Context())}, &river.Job[job.RouteEvent]{
		JobRow: &rivertype.JobRow{Attempt: job.EventAttempts, MaxAttempts: job.EventAttempts},
		Args:   job.RouteEvent{Tenant: e.Tenant, Event: e.ID},
	})
	if _, snoozed := errors.AsType[*rivertype.JobSnoozeError](err); !snoozed {
		t.Errorf("the working ended with %v, want snoozed", err)
	}
	if got := s.outcome(t, e); got != "none" {
		t.Errorf("outcome %s", got)
	}
}

// Reading the event and its routes takes at most half of the working's time: the other half is the routes'.
func TestRouteEvent_LeavesTimeForTheRoutes(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	const whole = 6 * time.Second
	s.worker.SetWorkingTime(whole)
	e := s.accept(t, `{}`)
	lock, err := s.Owner.Begin(t.Context())
	must(t, err)
	defer func() { _ = lock.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = lock.Exec(t.Context(), `LOCK TABLE tributary.events`)
	must(t, err)
	must(t, s.worker.Start(t.Context()))
	defer func() { must(t, s.worker.Stop(context.WithoutCancel(t.Context()))) }()
	working, cancel := context.WithTimeout(t.Context(), whole)
	defer cancel()
	err = s.worker.RouteEvent(working, &river.Job[job.RouteEvent]{
		JobRow: &rivertype.JobRow{Attempt: 1, MaxAttempts: job.EventAttempts}, Args: job.RouteEvent{Tenant: e.Tenant, Event: e.ID},
	})
	if working.Err() != nil {
		t.Error("reading took all of the working's time")
	}
	if _, snoozed := errors.AsType[*rivertype.JobSnoozeError](err); !snoozed {
		t.Errorf("the working ended with %v, want snoozed", err)
	}
	must(t, lock.Rollback(t.Context())) // the read that hangs goes on, and ends before the worker does
}

// That an event is given up is recorded though its working's time is up, which may be why.
func TestGiveUp_AfterTheTimeIsUp(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	e := s.accept(t, `{}`)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	recorded, err := s.worker.GiveUp(over, job.RouteEvent{Tenant: e.Tenant, Event: e.ID}, "it took too long")
	if err != nil || !recorded {
		t.Errorf("recorded %t, %v", recorded, err)
	}
	if got := s.outcome(t, e); got != "failed: it took too long" {
		t.Errorf("outcome %s", got)
	}
}

// A page is a log that tests read.
type page struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (p *page) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.Write(b)
}

func (p *page) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// A panic is its event's failure alone. The log has where it was thrown, and nothing that may be of the event.
func TestRouteEvent_Panics(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		change  func(*worker.Options)
		log     string
		outcome string
	}{
		{
			"of the runtime", func(o *worker.Options) { o.Directory = nil },
			`panic="runtime error: invalid memory address or nil pointer dereference"`,
			"failed: the hub failed on this event, by a fault of its own",
		},
		{
			"with what is in the event, once it was appended", func(o *worker.Options) { o.Now = func() time.Time { panic("4111 1111 1111 1111") } },
			`panic=string`, "unmatched",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log page
			s := openShop(t, tt.change, func(o *worker.Options) { o.Log = canary.Logger(t, slog.NewTextHandler(&log, nil)) })
			e := s.accept(t, `{"card":"4111 1111 1111 1111"}`)
			s.Exec(t, `UPDATE tributary_river.river_job SET max_attempts = 1`)
			s.work(t)
			if ended := s.await(t); ended.Kind != river.EventKindJobFailed {
				t.Fatalf("the working ended as %s", ended.Kind)
			}
			if got := s.outcome(t, e); got != tt.outcome {
				t.Errorf("outcome %q, want %q", got, tt.outcome)
			}
			for _, want := range []string{tt.log, e.ID.String(), "route_event.go"} {
				if !strings.Contains(log.String(), want) {
					t.Errorf("the log does not have %s:\n%s", want, &log)
				}
			}
			if strings.Contains(log.String(), "4111 1111") { // of a pointer it may have 4111
				t.Errorf("the log has what is in the event:\n%s", &log)
			}
		})
	}
}

// The trail has a sentence of ours, whatever the error says.
func TestReason(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		err  error
		want string
	}{
		{fmt.Errorf("routing was cut short: %w", context.DeadlineExceeded), "its routes took longer than an event may take"},
		{fmt.Errorf("append messages: %w", &pgconn.PgError{Message: `no partition for "4111"`, Code: "23514"}), "what its routes made of it could not be stored"},
	} {
		if got := worker.Reason(tt.err); got != tt.want {
			t.Errorf("%v: %q, want %q", tt.err, got, tt.want)
		}
	}
}

// What Postgres refuses for a reason that no event causes burns no attempt either: the event waits until somebody has
// put it right.
func TestRouteEvent_RefusedByPostgres(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(t *testing.T, s *shop) (mend string){
		"a grant is missing": func(t *testing.T, s *shop) string {
			t.Helper()
			s.Exec(t, `REVOKE INSERT ON tributary.messages FROM `+store.RolesOf("").Pipeline)
			return `GRANT INSERT ON tributary.messages TO ` + store.RolesOf("").Pipeline
		},
		"a table is missing": func(t *testing.T, s *shop) string {
			t.Helper()
			s.Exec(t, `ALTER TABLE tributary.log_days RENAME TO hidden`)
			return `ALTER TABLE tributary.hidden RENAME TO log_days`
		},
		"today has no partition": func(t *testing.T, s *shop) string {
			t.Helper()
			today := storetest.Value[string](t, s.DB, `
				SELECT c.oid::regclass || ' ' || pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
				 WHERE i.inhparent = 'tributary.messages'::regclass AND c.relname LIKE '%' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')`)
			table, _, _ := strings.Cut(today, " ")
			s.Exec(t, `ALTER TABLE tributary.messages DETACH PARTITION `+table)
			return `ALTER TABLE tributary.messages ATTACH PARTITION ` + today
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := openShop(t)
			s.route(t, hub.Route{Name: "all", Match: "true", Channels: []string{"all"}})
			e := s.accept(t, `{}`)
			s.Exec(t, `UPDATE tributary_river.river_job SET max_attempts = 1`) // one that is burnt is the last
			mend := fault(t, s)
			s.work(t)
			if ended := s.await(t); ended.Kind != river.EventKindJobSnoozed {
				t.Fatalf("the working ended as %s, want snoozed", ended.Kind)
			}
			s.Exec(t, mend)
			if ended := s.awaitEnd(t); ended.Kind != river.EventKindJobCompleted {
				t.Fatalf("after it was put right the working ended as %s", ended.Kind)
			}
			if got := s.outcome(t, e); got != "routed" {
				t.Errorf("outcome %s, want routed", got)
			}
		})
	}
}
