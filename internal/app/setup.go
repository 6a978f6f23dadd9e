package app

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/tributary-hub/tributary/internal/api"
	"github.com/tributary-hub/tributary/internal/auth"
	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/browser"
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/docs"
	"github.com/tributary-hub/tributary/internal/egress"
	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/ingest"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/publish"
	"github.com/tributary-hub/tributary/internal/server"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/stream"
	"github.com/tributary-hub/tributary/internal/worker"
)

// setup makes, wires and starts the process, in one straight line: what stands later may use what stands before, and
// is stopped before it.
//
//nolint:gocognit // it is long and has no branches but the roles and the errors
func (a *App) setup(ctx context.Context) error {
	o, log, metrics := a.o, a.o.Log, a.metrics

	pools := poolSizes(o.Config.DatabaseConnections)
	db, err := store.Open(ctx, store.Options{
		URL: o.Config.DatabaseURL.Reveal(), DirectURL: o.Config.DirectDatabaseURL.Reveal(), RolePrefix: o.Config.RolePrefix,
		Tenant: pools.tenant, Pipeline: pools.pipeline,
	})
	if err != nil {
		if refused := Refused(Examine(ctx, o.Config, nil)); refused != nil {
			return refused // a URL that Postgres's client does not understand, with what else is wrong
		}
		return err
	}
	a.onStop("store", within(db.Close))
	river, err := store.OpenRiver(ctx, o.Config.DirectDatabaseURL.Reveal(), o.Config.RolePrefix, pools.river)
	if err != nil {
		return err
	}
	a.onStop("river pool", within(river.Close))
	checked := &subject{config: o.Config, kind: production, db: db, river: river}
	if o.Dev {
		checked.kind = development
	}
	findings := examine(ctx, checked, nil)
	if err := Refused(findings); err != nil {
		return err
	}
	a.warn(ctx, findings)
	if err := checked.begin(ctx); err != nil {
		return err
	}
	if err := worker.MakePartitions(ctx, db.Pipeline, time.Now()); err != nil {
		return err
	}
	keeper := checked.keeper
	store.Measure(metrics, db, river)
	if err := a.start(ctx, "watch", worker.NewWatch(worker.WatchOptions{Pipeline: db.Pipeline, River: river, Log: log, Metrics: metrics})); err != nil {
		return err
	}
	node, err := a.startNode(ctx, db, river, keeper, metrics) // it takes over what its killed predecessor left before River begins
	if err != nil {
		return err
	}
	checked.committing = node.Written

	// What several roles share.
	client, err := egress.NewClient(egress.Options{Allow: o.Config.EgressAllow, Dev: o.Dev, Logger: log})
	if err != nil {
		return fmt.Errorf("prepare outgoing requests: %w", err)
	}
	keys := egress.NewKeys(egress.KeysOptions{Client: client, Now: a.now, Logger: log, Registerer: metrics})
	a.onStop("issuers' keys", keys.Stop)
	tenants, err := directory.New(directory.Options{
		Pipeline: db.Pipeline, Keeper: keeper, Log: log, Metrics: metrics, Limits: o.Config.Limits, Retention: o.Config.Retention,
	})
	if err != nil {
		return err
	}
	db.Pipeline.OnEpoch(func(string) { tenants.Forget() })
	if err := a.start(ctx, "directory", tenants); err != nil {
		return err
	}
	usage := meter.New(meter.Options{Pipeline: db.Pipeline, Log: log, Metrics: metrics})
	if err := a.start(ctx, "meter", usage); err != nil {
		return err
	}
	appender := publish.NewAppender(publish.Options{Append: db.Pipeline.Append, Metrics: metrics, Log: log, Tracer: a.tracer})
	if err := a.start(ctx, "appender", appender); err != nil {
		return err
	}
	apiKeys := auth.NewKeys(auth.KeysOptions{Directory: tenants, Pipeline: db.Pipeline, Log: log})
	if err := a.start(ctx, "keys", apiKeys); err != nil {
		return err
	}
	tokens := auth.NewVerifier(auth.VerifierOptions{Keys: keys, Now: a.now})

	// The roles.
	roles := o.Config.Roles
	if roles.Worker {
		if err := a.startWorker(ctx, workerParts{db: db, river: river, tenants: tenants, appender: appender, usage: usage, metrics: metrics}); err != nil {
			return err
		}
	}
	intake := ingest.NewIntake(ingest.IntakeOptions{Insert: db.Pipeline.InsertEvents, Keeper: keeper, Metrics: metrics, Log: log, Tracer: a.tracer})
	if err := a.start(ctx, "intake", intake); err != nil {
		return err
	}
	if roles.Ingest {
		notes := ingest.NewNotebook(ingest.NotebookOptions{Pipeline: db.Pipeline, Keeper: keeper, Metrics: metrics, Log: log})
		if err := a.start(ctx, "notebook", notes); err != nil {
			return err
		}
		a.mux.Handle("/in/{token}", ingest.NewHandler(ingest.HandlerOptions{
			Directory: tenants, Meter: usage, Intake: intake, Notes: notes, Metrics: metrics, Now: time.Now, ClockSkewed: db.Pipeline.ClockSkewed,
		}))
	}
	tail := feed.New(feed.Options{
		Store: db.Pipeline, Log: log, Metrics: metrics,
		Epoch: func(ctx context.Context) (hub.Epoch, error) {
			epoch, err := db.Pipeline.Epoch(ctx)
			return hub.Epoch(epoch), err
		},
	})
	db.Pipeline.OnEpoch(func(epoch string) { tail.EpochIs(hub.Epoch(epoch)) })
	listener, err := backplane.NewListener(backplane.Options{
		URL: o.Config.DirectDatabaseURL.Reveal(), Log: log, Metrics: metrics,
		OnWake:    tail.Wake,
		OnChanged: func(c backplane.Changed) { tenants.Heard(c.Tenant, c.Version) },
		OnEpoch:   func() { tenants.Look(); tail.Reconnected() }, // the look asks for the epoch too
		OnConnect: func() { tenants.Look(); tail.Reconnected() },
	})
	if err != nil {
		return err
	}
	if err := a.start(ctx, "listener", listener); err != nil {
		return err
	}
	checked.listener = listener
	var streams *stream.Handler
	if roles.Stream {
		if err := a.start(ctx, "feed", tail); err != nil {
			return err
		}
		door := &entry{tenants: tenants, keys: apiKeys, tokens: tokens, now: a.now}
		streams = stream.New(stream.Options{Feed: tail, Meter: usage, Metrics: metrics, Authorize: door.admit, DrainSpread: a.drainSpread()})
		a.mux.Handle("GET /stream/{tenant}", streams)
		a.mux.Handle("GET /stream/{tenant}/selftest", streams.Selftest())
		for pattern, page := range browser.Pages() {
			a.mux.Handle(pattern, page)
		}
	}
	if roles.API {
		admin := api.New(api.Options{
			Store: db, Directory: tenants, Keys: apiKeys, Verifier: tokens, Keeper: keeper, Accept: intake.Commit, PublicURL: a.url, Log: log,
			CheckIssuer: keys.Check, Limits: o.Config.Limits, Retention: o.Config.Retention, Dev: o.Dev,
		})
		a.mux.Handle("/v1/", admin)
		a.mux.Handle("/openapi.yaml", admin)
		a.mux.Handle("/openapi.json", admin)
		a.mux.Handle("/openapi-3.0.yaml", admin)
		pages, err := documentation()
		if err != nil {
			return err
		}
		a.mux.Handle("GET /docs", pages)
		a.mux.Handle("GET /docs/", pages)
		a.mux.Handle("GET /{$}", http.RedirectHandler("/docs", http.StatusSeeOther))
		a.mux.Handle("GET /favicon.ico", docs.Icon())
	}

	// The ports, last to open and first to close.
	checks := a.readiness(checked)
	a.mux.Handle("GET /healthz", server.Healthz(checks))
	for pattern, handler := range o.Mount {
		a.mux.Handle(pattern, handler)
	}
	a.opsMux.Handle("/", server.NewOps(server.OpsOptions{Checks: checks, Gatherer: metrics, Metrics: metrics}))
	for _, p := range a.ports() {
		if err := a.serve(ctx, p); err != nil {
			return err
		}
	}
	if streams != nil {
		a.onStop("streams", streams.Stop) // before the port, which waits for its requests
	}
	a.onStop("accepting", a.public.Drain) // first of all: who is told goodbye must not come back here
	return nil
}
