package worker_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/job"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/publish"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
	"github.com/tributary-hub/tributary/internal/worker"
)

// A shop is a worker on a database of its own, with a River client that works for it.
type shop struct {
	*storetest.DB
	worker *worker.Worker
	river  *river.Client[pgx.Tx]
	done   <-chan *river.Event
	tenant hub.TenantID
}

// openShop makes a shop that does not work yet. Changes are to its worker's options.
func openShop(t *testing.T, changes ...func(*worker.Options)) *shop {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	db := storetest.New(t)
	log := canary.Logger(t)
	metrics := prometheus.NewRegistry()
	keyset, err := secret.NewKeyset()
	must(t, err)
	keeper, err := secret.Open(keyset)
	must(t, err)
	pool, err := store.OpenRiver(ctx, db.URL, "", 4)
	must(t, err)
	t.Cleanup(pool.Close)
	tenants, err := directory.New(directory.Options{Pipeline: db.Pipeline, Keeper: keeper, Log: log})
	must(t, err)
	appender := publish.NewAppender(publish.Options{Append: db.Pipeline.Append, Metrics: metrics, Log: log})
	must(t, appender.Start(ctx))
	t.Cleanup(func() { must(t, appender.Stop(ctx)) })
	s := &shop{DB: db, tenant: db.Tenant(t)}
	o := worker.Options{
		Pipeline: db.Pipeline, River: pool, Directory: tenants, Appender: appender,
		Meter: meter.New(meter.Options{Pipeline: db.Pipeline, Log: log}), Log: log, Metrics: metrics, Retention: 30 * 24 * time.Hour,
	}
	for _, change := range changes {
		change(&o)
	}
	s.worker = worker.New(o)
	queues := worker.Queues()
	queues[job.Chores] = queues[job.Events] // nobody waits 5 s for a chore
	s.river, err = river.NewClient(riverpgxv5.New(pool.Pool()), &river.Config{
		Schema: store.RiverSchema, Logger: log, Queues: queues, Workers: s.worker.Workers(),
		RetryPolicy: worker.RetryPolicy{}, ReindexerSchedule: river.NeverSchedule(),
	})
	must(t, err)
	done, cancel := s.river.Subscribe(river.EventKindJobCompleted, river.EventKindJobFailed, river.EventKindJobSnoozed, river.EventKindJobCancelled)
	t.Cleanup(cancel)
	s.done = done
	return s
}

// work starts the worker and the client, and stops them with the test.
func (s *shop) work(t *testing.T) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	must(t, s.worker.Start(ctx))
	must(t, s.river.Start(ctx))
	t.Cleanup(func() {
		must(t, s.river.StopAndCancel(ctx))
		must(t, s.worker.Stop(ctx))
	})
}

// await waits for the next end of a job.
func (s *shop) await(t *testing.T) *river.Event {
	t.Helper()
	select {
	case e := <-s.done:
		return e
	case <-time.After(20 * time.Second):
		t.Fatal("no job ended within 20 s")
		return nil
	}
}

// awaitEnd waits for the next end of a job that is no snooze.
func (s *shop) awaitEnd(t *testing.T) *river.Event {
	t.Helper()
	for {
		if e := s.await(t); e.Kind != river.EventKindJobSnoozed {
			return e
		}
	}
}

// route makes a route of the tenant.
func (s *shop) route(t *testing.T, r hub.Route) hub.RouteID {
	t.Helper()
	r.ID, r.State = hub.NewID[hub.RouteID](), hub.Enabled
	_, err := s.ChangeTenant(t.Context(), hub.Principal{Kind: hub.PrincipalSystem}, s.tenant, func(c *store.Change) error {
		if _, err := c.CreateRoute(t.Context(), r); err != nil {
			return err
		}
		return c.Audit(t.Context(), "route.create", r.ID.String(), nil)
	})
	must(t, err)
	return r.ID
}

// accept commits an event of the tenant, as ingest does.
func (s *shop) accept(t *testing.T, body string) hub.Event {
	t.Helper()
	e := s.Event(t, "stripe", storetest.To(s.tenant, s.Endpoint(t, s.tenant, "stripe").ID))
	e.Type, e.Body = "payment_intent.succeeded", []byte(body)
	_, err := s.Pipeline.InsertEvents(t.Context(), []hub.Event{e})
	must(t, err)
	return e
}

func (s *shop) outcome(t *testing.T, e hub.Event) string {
	t.Helper()
	return storetest.Value[string](t, s.DB, `
		SELECT coalesce(string_agg(state || CASE WHEN error = '' THEN '' ELSE ': ' || error END, ', '), 'none')
		  FROM tributary.outcomes WHERE event_id = $1`, e.ID)
}

func (s *shop) channels(t *testing.T) []string {
	t.Helper()
	return storetest.Values[string](t, s.DB, `SELECT channel FROM tributary.messages ORDER BY position`)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
