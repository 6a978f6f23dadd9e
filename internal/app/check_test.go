package app_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/app"
	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// newApp is a process that has bound its ports and begun nothing else.
func newApp(t *testing.T, dev bool) *app.App {
	t.Helper()
	a, err := app.New(t.Context(), app.Options{
		Config: config.Config{Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0"}, Log: canary.Logger(t), Dev: dev,
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

// A harm is what is wrong with a database.
type harm func(t *testing.T, db *storetest.DB)

// shiftClock makes Postgres's clock wrong, for connections that are opened after.
func shiftClock(by string) harm {
	return pretends(`clock_timestamp()`, `timestamptz`, `pg_catalog.clock_timestamp() + interval '`+by+`'`)
}

// pretends has Postgres answer something else, likewise.
func pretends(function, kind, answer string) harm {
	return does(`CREATE SCHEMA wrong;
		CREATE FUNCTION wrong.` + function + ` RETURNS ` + kind + ` LANGUAGE sql AS $$ SELECT ` + answer + ` $$;
		GRANT USAGE ON SCHEMA wrong TO PUBLIC;
		GRANT EXECUTE ON FUNCTION wrong.` + function + ` TO PUBLIC;
		DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = wrong, pg_catalog', current_database()); END $$`)
}

func does(sql string) harm {
	return func(t *testing.T, db *storetest.DB) {
		t.Helper()
		db.Exec(t, sql)
	}
}

// whole is a configuration with which serve starts on the database.
func whole(t *testing.T, db *storetest.DB) config.Config {
	t.Helper()
	keyset, err := secret.NewKeyset()
	must(t, err)
	return config.Config{
		DatabaseURL: secret.New(db.URL), DirectDatabaseURL: secret.New(db.URL), DatabaseConnections: 11,
		PublicURL: &url.URL{Scheme: "https", Host: "hub.example.com"}, Keyset: keyset, Roles: config.AllRoles(),
		Retention: 720 * time.Hour, Limits: hub.DefaultLimits(), Listen: "127.0.0.1:0", OpsListen: "127.0.0.1:0",
	}
}

// Each thing that is wrong is found, by the check that is for it and with its remedy; what cannot be asked then is not
// guessed, and everything else is still looked at.
func TestExamine(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	expired, ending, lasting := newCertificate(t, -time.Minute), newCertificate(t, 13*day), newCertificate(t, 15*day)
	for name, tt := range map[string]struct {
		harm    harm
		setting func(*config.Config, *storetest.DB)
		failed  string // check: detail, of the only one that fails; "" where serve would start
		warning string // likewise
	}{
		"all is well": {},
		"no public URL": {
			setting: func(c *config.Config, _ *storetest.DB) { c.PublicURL = nil },
			failed:  "public URL: none is set",
		},
		"no keyset": {
			setting: func(c *config.Config, _ *storetest.DB) { c.Keyset = secret.String{} },
			failed:  "keyset: none is set",
		},
		"no keyset at all": {
			setting: func(c *config.Config, _ *storetest.DB) { c.Keyset = secret.New("bm90IG9uZQ==") },
			failed:  "keyset: the keyset is not a cleartext Tink keyset in JSON",
		},
		"no such certificate": {
			setting: func(c *config.Config, _ *storetest.DB) { c.TLSCertFile, c.TLSKeyFile = "none.pem", "none.key" },
			failed:  "certificate: read the certificate: stat none.pem: no such file or directory",
		},
		"a certificate that was good": {
			setting: func(c *config.Config, _ *storetest.DB) { c.TLSCertFile, c.TLSKeyFile = expired.cert, expired.key },
			failed:  "certificate: it has expired at 2",
		},
		"a certificate that ends soon": {
			setting: func(c *config.Config, _ *storetest.DB) { c.TLSCertFile, c.TLSKeyFile = ending.cert, ending.key },
			warning: "certificate's end: it expires at 2",
		},
		"a certificate that lasts": {
			setting: func(c *config.Config, _ *storetest.DB) { c.TLSCertFile, c.TLSKeyFile = lasting.cert, lasting.key },
		},
		"a certificate of another host": {
			setting: func(c *config.Config, _ *storetest.DB) {
				c.TLSCertFile, c.TLSKeyFile = lasting.cert, lasting.key
				c.PublicURL = &url.URL{Scheme: "https", Host: "hub.example.org:8443"}
			},
			warning: "certificate's names: x509: certificate is valid for hub.example.com, not hub.example.org",
		},
		"no database": {
			setting: func(c *config.Config, _ *storetest.DB) {
				c.DatabaseURL, c.DirectDatabaseURL = secret.String{}, secret.String{}
			},
			failed: "server: no database is named",
		},
		"a server that is not there": {
			setting: func(c *config.Config, _ *storetest.DB) {
				c.DirectDatabaseURL = secret.New("postgres://hub@127.0.0.1:1/hub")
			},
			failed: "server: no Postgres answers at 127.0.0.1:1: connect: connection refused",
		},
		"a login that is not let in": {
			setting: func(c *config.Config, db *storetest.DB) {
				c.DirectDatabaseURL = secret.New(as(db.URL, "nobody_knows_it"))
			},
			failed: "server: the Postgres at /",
		},
		"an owner's URL beside": {
			setting: func(c *config.Config, db *storetest.DB) { c.OwnerDatabaseURL = secret.New(db.OwnerURL) },
			failed:  "owner: TRIBUTARY_OWNER_DATABASE_URL is set",
		},
		"a Postgres of before": {
			harm: pretends(`current_setting(text)`, `text`, `CASE $1 WHEN 'server_version_num' THEN '140022' WHEN 'server_version' THEN '14.22'
				ELSE pg_catalog.current_setting($1) END`),
			failed: "server: it is Postgres 14.22, and the hub needs 15 or newer",
		},
		"a standby": {
			harm:   pretends(`pg_is_in_recovery()`, `boolean`, `true`),
			failed: "server: it is a standby, and takes no writes",
		},
		"a superuser": {
			setting: func(c *config.Config, db *storetest.DB) {
				c.DatabaseURL, c.DirectDatabaseURL = secret.New(db.OwnerURL), secret.New(db.OwnerURL)
			},
			failed: "login: postgres is a superuser or has BYPASSRLS: nothing would keep tenants apart",
		},
		"an owner": {
			harm: func(t *testing.T, db *storetest.DB) {
				t.Helper()
				db.Exec(t, `CREATE TABLE tributary.mine (); ALTER TABLE tributary.mine OWNER TO tributary_test`)
			},
			failed: "login: tributary_test owns the hub's schema: row-level security does not hold an owner",
		},
		"a database without the roles": {
			setting: func(c *config.Config, _ *storetest.DB) { c.RolePrefix = "nobody_made" },
			failed:  "roles: there is no role nobody_made_tenant, nobody_made_pipeline, nobody_made_river",
		},
		"a login that may not take them": {
			setting: func(c *config.Config, db *storetest.DB) {
				c.DatabaseURL, c.DirectDatabaseURL = secret.New(as(db.URL, "check_stranger")), secret.New(as(db.URL, "check_stranger"))
			},
			harm: func(t *testing.T, db *storetest.DB) {
				t.Helper()
				db.Exec(t, `DROP ROLE IF EXISTS check_stranger`) // of a run that was killed
				db.Exec(t, `CREATE ROLE check_stranger LOGIN; DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO check_stranger', current_database()); END $$`)
				t.Cleanup(func() {
					_, err := db.Owner.Exec(context.WithoutCancel(t.Context()), `DROP OWNED BY check_stranger; DROP ROLE check_stranger`)
					must(t, err)
				})
			},
			failed: "roles: check_stranger may not take the role tributary_tenant, tributary_pipeline, tributary_river",
		},
		"a login that may make roles": {
			setting: func(c *config.Config, db *storetest.DB) {
				c.DatabaseURL, c.DirectDatabaseURL = secret.New(as(db.URL, "check_maker")), secret.New(as(db.URL, "check_maker"))
			},
			harm: func(t *testing.T, db *storetest.DB) {
				t.Helper()
				db.Exec(t, `DROP ROLE IF EXISTS check_maker`) // of a run that was killed
				db.Exec(t, `CREATE ROLE check_maker LOGIN NOINHERIT CREATEROLE; GRANT tributary_tenant, tributary_pipeline, tributary_river TO check_maker;
					GRANT USAGE ON SCHEMA tributary, tributary_river TO check_maker;
					DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO check_maker', current_database()); END $$`)
				t.Cleanup(func() {
					_, err := db.Owner.Exec(context.WithoutCancel(t.Context()), `DROP OWNED BY check_maker; DROP ROLE check_maker`)
					must(t, err)
				})
			},
			warning: "login's ways out: check_maker may make roles",
		},
		"commits that are not on disk": {
			harm:   setDatabase("synchronous_commit = off"),
			failed: "durability: synchronous_commit is off",
		},
		"not migrated": {
			harm:   does(`UPDATE tributary.schema_version SET version = 0`),
			failed: "migrations: the schema is at migration 0 and this build needs ",
		},
		"River's tables of another build": {
			harm:   does(`DELETE FROM tributary_river.river_migration WHERE version = (SELECT max(version) FROM tributary_river.river_migration)`),
			failed: "migrations: the tables of River are older than this build needs",
		},
		"a role that row-level security does not hold": {
			setting: func(c *config.Config, db *storetest.DB) { // a login of its own: the tests beside this one have the other
				c.RolePrefix = "check_lax"
				c.DatabaseURL, c.DirectDatabaseURL = secret.New(as(db.URL, "check_lax")), secret.New(as(db.URL, "check_lax"))
			},
			harm: func(t *testing.T, db *storetest.DB) {
				t.Helper()
				db.Exec(t, `DROP ROLE IF EXISTS check_lax, check_lax_tenant, check_lax_pipeline, check_lax_river`) // of a run that was killed
				db.Exec(t, `CREATE ROLE check_lax LOGIN NOINHERIT;
					CREATE ROLE check_lax_tenant IN ROLE tributary_tenant;
					CREATE ROLE check_lax_pipeline IN ROLE tributary_pipeline;
					CREATE ROLE check_lax_river IN ROLE tributary_river BYPASSRLS;
					GRANT check_lax_tenant, check_lax_pipeline, check_lax_river TO check_lax;
					DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO check_lax', current_database()); END $$`)
				t.Cleanup(func() {
					_, err := db.Owner.Exec(context.WithoutCancel(t.Context()), `DROP OWNED BY check_lax; DROP ROLE check_lax, check_lax_tenant, check_lax_pipeline, check_lax_river`)
					must(t, err)
				})
			},
			failed:  "confinement: row-level security does not hold for check_lax_river",
			warning: "login's ways out: check_lax may become check_lax_river",
		},
		"a database of dev": {
			harm:   mark("dev"),
			failed: "installation: the database is marked dev by its first use, and this process is of kind production",
		},
		"filled with another keyset": {
			harm: func(t *testing.T, db *storetest.DB) {
				t.Helper()
				db.Endpoint(t, db.Tenant(t), "stripe") // no keyset opens its token
			},
			failed: "sealed data: the keyset cannot open what the database holds",
		},
		"a clock that is ahead":  {harm: shiftClock("10 minutes"), failed: "clock: this machine's clock and Postgres's are 10m"},
		"a clock that is behind": {harm: shiftClock("-10 minutes"), failed: "clock: this machine's clock and Postgres's are 10m"},
		"a clock nearly right":   {harm: shiftClock("1 minute")},
		"a function that is refused": {
			harm:    does(`REVOKE EXECUTE ON FUNCTION pg_control_system() FROM PUBLIC`),
			warning: "epoch: the server refuses pg_control_system(): a failover or restore may go unnoticed",
		},
		"more connections than there are": {
			setting: func(c *config.Config, _ *storetest.DB) { c.DatabaseConnections = 9000 },
			warning: "connections: nodes want 9000, those that run (0) and one more, and Postgres gives ",
		},
		"connections for all that run and not for a rolling restart": {
			harm:    does(`INSERT INTO tributary.nodes (id, roles, version) VALUES ('a', '{worker}', '1')`),
			setting: func(c *config.Config, _ *storetest.DB) { c.DatabaseConnections = 300 }, // of the 397 that the tests' cluster gives
			warning: "connections: nodes want 600, those that run (1) and one more, and Postgres gives ",
		},
		"tenants' connections are refused": {
			setting: func(c *config.Config, _ *storetest.DB) { c.DatabaseURL = secret.New("postgres://hub@127.0.0.1:1/hub") },
			failed:  "database: enter tenant: the database does not answer: failed to connect to",
		},
		"River's connections are refused": {
			setting: func(c *config.Config, db *storetest.DB) {
				c.DirectDatabaseURL = secret.New(storetest.Relay(t, db.URL, refuseRiver))
			},
			failed: "database: the database does not answer: failed to connect to",
		},
		"a pooler that takes LISTEN and delivers nothing": {
			setting: func(c *config.Config, db *storetest.DB) {
				c.DirectDatabaseURL = secret.New(storetest.Relay(t, db.URL, deaf))
			},
			failed: "listener: the listener does not hear what is sent to it",
		},
		"a server that takes no writes": {
			harm:   does(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_read_only = on', current_database()); END $$`),
			failed: "writes: the server takes no writes: transaction_read_only is on",
		},
		"a standby that never confirms": {
			harm:   pretends(`pg_logical_emit_message(boolean, text, text)`, `pg_lsn`, `pg_catalog.pg_current_wal_lsn() FROM pg_catalog.pg_sleep(60)`),
			failed: "writes: a commit takes more than 5s: a standby of synchronous_standby_names may be away",
		},
		"no partition for today": {
			harm:    does(dropToday + `; INSERT INTO tributary.nodes (id, roles, version) VALUES ('a', '{worker}', '1')`),
			warning: "partitions: there is no partition for today of events, messages, and nothing can be written there",
		},
		"no partition, and nothing has run yet": {harm: does(dropToday)},
		"nobody who works": {
			harm:    does(`INSERT INTO tributary.nodes (id, roles, version) VALUES ('a', '{ingest}', '1')`),
			warning: "workers: no process that runs has the role worker",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			if tt.harm != nil {
				tt.harm(t, db)
			}
			c := whole(t, db)
			if tt.setting != nil {
				tt.setting(&c, db)
			}
			var failed, warnings []string
			for _, f := range app.Examine(t.Context(), c, nil) {
				if (f.State == app.Failed || f.State == app.Warning) == (f.Remedy == "") {
					t.Errorf("%s is %s, and its remedy %q", f.Check, f.State, f.Remedy)
				}
				switch {
				case f.State == app.Failed:
					failed = append(failed, f.Check+": "+f.Detail)
				case f.State == app.Warning && f.Check != "open files" && f.Check != "fsync": // this machine's, and the tests' cluster's
					warnings = append(warnings, f.Check+": "+f.Detail)
				}
			}
			begins(t, "failed", failed, tt.failed)
			begins(t, "warned", warnings, tt.warning)
			if kind := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.installation WHERE kind = 'production'`); kind != 0 {
				t.Error("it has marked the database")
			}
		})
	}
}

// A PgBouncer in transaction mode may stand before the tenants' connections, where the URL says that it knows no
// prepared statements, and never before the others.
func TestExamine_Pooler(t *testing.T) {
	t.Parallel()
	pooler := storetest.NewPooler(t, 4)
	const exec = "&default_query_exec_mode=exec"
	for name, tt := range map[string]struct {
		tenants, direct func(url string) string
		failed          string // as in TestExamine
	}{
		"before the tenants' alone":            {tenants: func(url string) string { return pooler.URL(url) + exec }},
		"before them, and nobody told the hub": {tenants: pooler.URL, failed: "pooler: there is a pooler in between that does not know prepared statements"},
		"before all": {
			tenants: func(url string) string { return pooler.URL(url) + exec }, direct: func(url string) string { return pooler.URL(url) + exec },
			failed: "direct connection: a session of it has now one connection to Postgres and now another",
		},
		"before all, and nobody told the hub": {tenants: pooler.URL, direct: pooler.URL, failed: "direct connection: a session of it has now one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			c := whole(t, db)
			c.DatabaseURL = secret.New(tt.tenants(db.URL))
			if tt.direct != nil {
				c.DirectDatabaseURL = secret.New(tt.direct(db.URL))
			}
			var failed []string
			for _, f := range app.Examine(t.Context(), c, nil) {
				if f.State == app.Failed {
					failed = append(failed, f.Check+": "+f.Detail)
				}
			}
			begins(t, "failed", failed, tt.failed)
		})
	}
}

// deaf passes all that client and server say, but no notification: what a pooler in transaction mode does.
func deaf(client, backend net.Conn) {
	between(client, backend, func() {
		header := make([]byte, 5) // the kind of a message, and its length without that
		for {
			if _, err := io.ReadFull(backend, header); err != nil {
				return
			}
			to, size := io.Writer(client), int64(binary.BigEndian.Uint32(header[1:]))-4
			if header[0] == 'A' {
				to = io.Discard
			}
			_, err := to.Write(header)
			_, err2 := io.CopyN(to, backend, size)
			if err != nil || err2 != nil {
				return
			}
		}
	})
}

// refuseRiver hangs up on who asks for River's role, as a server whose connections are all in use may.
func refuseRiver(client, backend net.Conn) {
	first := make([]byte, 4<<10)
	n, err := client.Read(first)
	if err != nil || bytes.Contains(first[:n], []byte("tributary_river")) {
		_, _ = client.Close(), backend.Close()
		return
	}
	if _, err := backend.Write(first[:n]); err != nil {
		return
	}
	between(client, backend, func() { _, _ = io.Copy(client, backend) })
}

// between passes on what the client says, and has answer do it with what the server does.
func between(client, backend net.Conn, answer func()) {
	var sides sync.WaitGroup
	sides.Go(func() {
		defer func() { _ = backend.Close() }()
		_, _ = io.Copy(backend, client)
	})
	sides.Go(func() {
		defer func() { _ = client.Close() }()
		answer()
	})
	sides.Wait()
}

// What is wrong with the machine, and with the tests' own cluster.
func TestExamine_Warns(t *testing.T) { //nolint:paralleltest // the limit is the whole process's
	var limit syscall.Rlimit
	must(t, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	few := limit
	few.Cur = min(limit.Max, 9999)
	must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &few))
	defer func() { must(t, syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)) }()
	warnings := map[string]string{}
	for _, f := range app.Examine(t.Context(), whole(t, storetest.New(t)), nil) {
		if f.State == app.Warning {
			warnings[f.Check] = f.Detail
		}
	}
	want := map[string]string{"open files": fmt.Sprintf("a process may open %d files, and so serve fewer streams", few.Cur), "fsync": "fsync is off"}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

// begins wants one finding that begins so, or none.
func begins(t *testing.T, what string, got []string, want string) {
	t.Helper()
	if want == "" && len(got) == 0 || want != "" && len(got) == 1 && strings.HasPrefix(got[0], want) {
		return
	}
	t.Errorf("%s: %q; want %q", what, got, want)
}

// A pool that does not close, for a server that hangs, keeps no process.
func TestWithin(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	hangs := make(chan struct{})
	defer close(hangs)
	cancel()
	if err := app.Within(func() { <-hangs })(ctx); err == nil {
		t.Error("it says that what hangs is closed")
	}
	closed := false
	must(t, app.Within(func() { closed = true })(t.Context()))
	if !closed {
		t.Error("it has not closed")
	}
}

// Both ports are named where both are taken, each with the variable that moves it.
func TestNew_PortsTaken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer func() { must(t, taken.Close()) }()
	at := taken.Addr().String()
	_, err = app.New(t.Context(), app.Options{Config: config.Config{Listen: at, OpsListen: at}, Log: canary.Logger(t)})
	if err == nil || !strings.Contains(err.Error(), "TRIBUTARY_OPS_LISTEN names another address") || !strings.Contains(err.Error(), "TRIBUTARY_LISTEN names another address") {
		t.Errorf("%v; want both ports", err)
	}
}

// One message has all that is wrong, and where a process refuses it has left nothing behind.
func TestStart_Refuses(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	mark("dev")(t, db)
	shiftClock("10 minutes")(t, db)
	a, err := app.New(t.Context(), app.Options{Config: whole(t, db), Log: canary.Logger(t)})
	must(t, err)
	err = a.Start(t.Context())
	if err == nil {
		t.Fatal("it started")
	}
	for _, part := range []string{"the hub cannot serve:", "installation: the database is marked dev", "use another database", "clock: this machine's", "NTP"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v\nhas no %q", err, part)
		}
	}
	if nodes := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.nodes`); nodes != 0 {
		t.Error("it has joined the nodes")
	}
}

// A process that starts has marked its database by its kind and made its partitions.
func TestStart_Begins(t *testing.T) {
	t.Parallel()
	for kind, isDev := range map[string]bool{"production": false, "dev": true} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			a, err := app.New(t.Context(), app.Options{Config: whole(t, db), Log: canary.Logger(t), Dev: isDev})
			must(t, err)
			must(t, a.Start(t.Context()))
			t.Cleanup(func() { must(t, a.Stop(context.WithoutCancel(t.Context()))) })
			if is := storetest.Value[string](t, db, `SELECT kind FROM tributary.installation`); is != kind {
				t.Errorf("the database was marked %q", is)
			}
			if !storetest.Value[bool](t, db, `SELECT to_regclass('tributary.events_' || to_char((now() AT TIME ZONE 'UTC')::date + 6, 'YYYYMMDD')) IS NOT NULL`) {
				t.Error("no partitions for the days to come")
			}
		})
	}
}

// Of two first uses at once one marks the database, and the other is refused although no check found it marked.
func TestBegin_Second(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	mark("dev")(t, db)
	if err := app.Begin(t.Context(), db.Store); hub.CodeOf(err) != hub.Invalid {
		t.Errorf("%v; want it refused", err)
	}
	if is := storetest.Value[string](t, db, `SELECT kind FROM tributary.installation`); is != "dev" {
		t.Errorf("the database is marked %q", is)
	}
}

// as is the URL with another login in it.
func as(database, login string) string {
	u, err := url.Parse(database)
	if err != nil {
		return database
	}
	u.User = url.User(login)
	return u.String()
}

func setDatabase(setting string) harm {
	return does(`DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET ` + setting + `', current_database()); END $$`)
}

func mark(kind string) harm {
	return func(t *testing.T, db *storetest.DB) {
		t.Helper()
		_, err := db.Pipeline.MarkInstallation(t.Context(), kind)
		must(t, err)
	}
}

// dropToday leaves no partition of events and of messages for today.
const dropToday = `DO $$ BEGIN EXECUTE format('DROP TABLE tributary.events_%1$s, tributary.messages_%1$s', to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')); END $$`

// What a process cannot do without makes it unready, each by its name, and so does that it stops.
func TestReadiness(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		before  harm
		after   func(context.Context, *testing.T, *app.App, *store.Store, *backplane.Listener)
		stuck   bool // nothing is committed
		failing []string
	}{
		"all is well":          {},
		"nothing is committed": {stuck: true, failing: []string{"writes"}},
		"no partition": {
			before:  does(dropToday),
			failing: []string{"partitions"},
		},
		"the database is away": {
			after:   func(_ context.Context, _ *testing.T, _ *app.App, s *store.Store, _ *backplane.Listener) { s.Close() },
			failing: []string{"database", "migrations", "partitions", "sealed data", "clock"},
		},
		"not migrated": {
			before:  does(`UPDATE tributary.schema_version SET version = 0`),
			failing: []string{"migrations"},
		},
		"another key seals": {
			before: func(t *testing.T, db *storetest.DB) {
				t.Helper()
				db.Endpoint(t, db.Tenant(t), "stripe") // no keyset opens its token
			},
			failing: []string{"sealed data"},
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
			listener, err := backplane.NewListener(backplane.Options{URL: db.URL, Log: canary.Logger(t), Metrics: prometheus.NewRegistry()})
			must(t, err)
			must(t, listener.Start(ctx))
			t.Cleanup(func() { must(t, listener.Stop(ctx)) })
			must(t, listener.CheckHears(ctx)) // it has connected
			if tt.after != nil {
				tt.after(ctx, t, a, s, listener)
			}
			keyset, err := secret.NewKeyset()
			must(t, err)
			keeper, err := secret.Open(keyset)
			must(t, err)
			var failing []string
			for _, check := range a.Readiness(s, keeper, listener, func() bool { return !tt.stuck }) {
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
