package app_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/app"
	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// newApp is a process that has bound its ports and begun nothing else.
func newApp(t *testing.T, dev bool) *app.App {
	t.Helper()
	a, err := app.New(t.Context(), app.Options{
		Config: config.Config{Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0"}, Log: slog.New(slog.DiscardHandler), Dev: dev,
	})
	must(t, err)
	t.Cleanup(func() { must(t, a.Stop(context.WithoutCancel(t.Context()))) })
	return a
}

// open is another store on the test's database: its connections are new.
func open(t *testing.T, db *storetest.DB, rolePrefix string) *store.Store {
	t.Helper()
	s, err := store.Open(context.WithoutCancel(t.Context()), store.Options{URL: db.URL, RolePrefix: rolePrefix})
	must(t, err)
	t.Cleanup(s.Close)
	return s
}

func newKeeper(t *testing.T) *secret.Keeper {
	t.Helper()
	encoded, err := secret.NewKeyset()
	must(t, err)
	keeper, err := secret.Open(encoded)
	must(t, err)
	return keeper
}

// A harm is what is wrong with a database.
type harm func(t *testing.T, db *storetest.DB)

// shiftClock makes Postgres's clock wrong, for connections that are opened after.
func shiftClock(by string) harm {
	return does(`CREATE SCHEMA wrong;
		CREATE FUNCTION wrong.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.clock_timestamp() + interval '` + by + `' $$;
		GRANT USAGE ON SCHEMA wrong TO PUBLIC;
		GRANT EXECUTE ON FUNCTION wrong.clock_timestamp() TO PUBLIC;
		DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = wrong, pg_catalog', current_database()); END $$`)
}

func does(sql string) harm {
	return func(t *testing.T, db *storetest.DB) {
		t.Helper()
		db.Exec(t, sql)
	}
}

// A process refuses a database that it must not run on, and says which of its conditions does not hold.
func TestCheckDatabase(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		dev     bool
		prefix  string // of the roles
		harm    harm
		refused string // "": it is taken
	}{
		"all is well":           {},
		"all is well, with dev": {dev: true},
		"away":                  {prefix: "nobody_made", refused: "reach the database: "},
		"not migrated": {
			harm:    does(`UPDATE tributary.schema_version SET version = 0`),
			refused: "the schema is at migration 0 and this build needs ",
		},
		"a single role that row-level security does not hold": {
			prefix: "check_lax",
			harm: func(t *testing.T, db *storetest.DB) {
				t.Helper()
				db.Exec(t, `DROP ROLE IF EXISTS check_lax_tenant, check_lax_pipeline, check_lax_river`) // of a run that was killed
				db.Exec(t, `CREATE ROLE check_lax_tenant IN ROLE tributary_tenant;
					CREATE ROLE check_lax_pipeline IN ROLE tributary_pipeline;
					CREATE ROLE check_lax_river IN ROLE tributary_river BYPASSRLS;
					GRANT check_lax_tenant, check_lax_pipeline, check_lax_river TO tributary_test`)
				t.Cleanup(func() {
					_, err := db.Owner.Exec(context.WithoutCancel(t.Context()), `DROP ROLE check_lax_tenant, check_lax_pipeline, check_lax_river`)
					must(t, err)
				})
			},
			refused: "row-level security does not hold for check_lax_river: ",
		},
		"dev on production's": {
			dev: true, harm: mark("production"),
			refused: "the database is marked production by its first use, and this process is of kind dev: ",
		},
		"production on dev's": {
			harm:    mark("dev"),
			refused: "the database is marked dev by its first use, and this process is of kind production: ",
		},
		"filled with another keyset": {
			harm: func(t *testing.T, db *storetest.DB) {
				t.Helper()
				db.Endpoint(t, db.Tenant(t), "stripe") // no keyset opens its token
			},
			refused: "the keyset cannot open what the database holds",
		},
		"its clock is ahead":  {harm: shiftClock("10 minutes"), refused: "this machine's clock and Postgres's are 10m"},
		"its clock is behind": {harm: shiftClock("-10 minutes"), refused: "this machine's clock and Postgres's are 10m"},
		"its clock is nearly right": {
			harm: shiftClock("1 minute"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			if tt.harm != nil {
				tt.harm(t, db)
			}
			err := newApp(t, tt.dev).CheckDatabase(t.Context(), open(t, db, tt.prefix), newKeeper(t))
			if tt.refused != "" {
				if err == nil || !strings.Contains(err.Error(), tt.refused) {
					t.Errorf("%v; want it refused, by %q", err, tt.refused)
				}
				return
			}
			must(t, err)
			kind := map[bool]string{true: "dev", false: "production"}[tt.dev]
			if is := storetest.Value[string](t, db, `SELECT kind FROM tributary.installation`); is != kind {
				t.Errorf("the database was marked %q, want %q", is, kind)
			}
			week := storetest.Value[bool](t, db, `SELECT to_regclass('tributary.events_' || to_char((now() AT TIME ZONE 'UTC')::date + 6, 'YYYYMMDD')) IS NOT NULL`)
			if !week {
				t.Error("no partitions for the days to come")
			}
		})
	}
}

func mark(kind string) harm {
	return func(t *testing.T, db *storetest.DB) {
		t.Helper()
		_, err := db.Pipeline.MarkInstallation(t.Context(), kind)
		must(t, err)
	}
}

// What a process cannot do without makes it unready, each by its name, and so does that it stops.
func TestReadiness(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		before  harm
		after   func(context.Context, *testing.T, *app.App, *store.Store, *backplane.Listener)
		failing []string
	}{
		"all is well": {},
		"the database is away": {
			after:   func(_ context.Context, _ *testing.T, _ *app.App, s *store.Store, _ *backplane.Listener) { s.Close() },
			failing: []string{"database", "migrations", "clock"},
		},
		"not migrated": {
			before:  does(`UPDATE tributary.schema_version SET version = 0`),
			failing: []string{"migrations"},
		},
		"the clock is wrong": {
			before:  shiftClock("10 minutes"),
			failing: []string{"clock"},
		},
		"it does not listen": {
			after: func(ctx context.Context, t *testing.T, _ *app.App, _ *store.Store, l *backplane.Listener) {
				t.Helper()
				must(t, l.Stop(ctx))
			},
			failing: []string{"listener"},
		},
		"it stops": {
			after: func(ctx context.Context, t *testing.T, a *app.App, _ *store.Store, _ *backplane.Listener) {
				t.Helper()
				must(t, a.Stop(ctx))
			},
			failing: []string{"draining"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := context.WithoutCancel(t.Context())
			db := storetest.New(t)
			if tt.before != nil {
				tt.before(t, db)
			}
			s, a := open(t, db, ""), newApp(t, false)
			listener, err := backplane.NewListener(backplane.Options{URL: db.URL, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry()})
			must(t, err)
			must(t, listener.Start(ctx))
			t.Cleanup(func() { must(t, listener.Stop(ctx)) })
			must(t, listener.CheckHears(ctx)) // it has connected
			if tt.after != nil {
				tt.after(ctx, t, a, s, listener)
			}
			var failing []string
			for _, check := range a.Readiness(s, listener) {
				if check.Run(ctx) != nil {
					failing = append(failing, check.Name)
				}
			}
			if diff := cmp.Diff(tt.failing, failing); diff != "" {
				t.Errorf("checks that fail (-want +got):\n%s", diff)
			}
		})
	}
}
