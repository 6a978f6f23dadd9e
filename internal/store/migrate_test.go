package store_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// cleanRoles drops roles of the cluster once the test's database, made after this is called, is gone.
func cleanRoles(t *testing.T, roles ...string) {
	t.Helper()
	url := withPath(t, storetest.New(t, storetest.Bare()).OwnerURL, "postgres")
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			t.Errorf("clean roles: %v", err)
			return
		}
		defer func() { _ = conn.Close(ctx) }()
		for _, role := range roles {
			if _, err := conn.Exec(ctx, `DROP ROLE IF EXISTS `+pgx.Identifier{role}.Sanitize()); err != nil {
				t.Errorf("clean roles: %v", err)
			}
		}
	})
}

func withPath(t *testing.T, uri, database string) string {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + database
	return u.String()
}

func withLogin(t *testing.T, uri, login string) string {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(login)
	return u.String()
}

func migrate(ctx context.Context, db *storetest.DB, prefix, login string) (said string, err error) {
	var log bytes.Buffer
	err = store.Migrate(ctx, store.MigrateOptions{URL: db.OwnerURL, RolePrefix: prefix, Login: login, Log: slog.New(slog.NewTextHandler(&log, nil))})
	return log.String(), err
}

// Migrated twice, the second time changes nothing and says nothing.
func TestMigrate_Twice(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, storetest.Bare())
	dumps := make([]string, 2)
	for i := range dumps {
		said, err := migrate(t.Context(), db, "", "tributary_test")
		if err != nil {
			t.Fatal(err)
		}
		if (said == "") != (i == 1) {
			t.Errorf("run %d said %q", i+1, said)
		}
		dumps[i] = dumpSchema(t, db) + strings.Join(storetest.Values[string](t, db, `
			SELECT 'version ' || version FROM tributary.schema_version UNION ALL SELECT 'salt ' || salt FROM tributary.epoch
			UNION ALL SELECT 'river ' || count(*) || ' ' || max(version) FROM tributary_river.river_migration
			UNION ALL SELECT 'database ' || datacl::text FROM pg_database WHERE datname = current_database()`), "\n")
	}
	if diff := cmp.Diff(dumps[0], dumps[1]); diff != "" {
		t.Errorf("the second run changed: %s", diff)
	}
}

// Two processes that start together migrate one after the other, and one of them finds nothing to do.
func TestMigrate_TwoAtOnce(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, storetest.Bare())
	var both sync.WaitGroup
	said, errs := make([]string, 3), make([]error, 3)
	for i := range said {
		both.Go(func() { said[i], errs[i] = migrate(t.Context(), db, "", "tributary_test") })
	}
	both.Wait()
	worked := 0
	for i := range said {
		if errs[i] != nil {
			t.Errorf("migration %d: %v", i, errs[i])
		}
		if strings.Contains(said[i], "schema migrating") {
			worked++
		}
	}
	if worked != 1 {
		t.Errorf("%d of them migrated", worked)
	}
	if status, err := db.Pipeline.MigrationStatus(t.Context()); err != nil || status.Pending() || status.Current == 0 {
		t.Errorf("status %+v, %v", status, err)
	}
}

// The owner need be no superuser: one that may make roles and owns its database migrates it, and the hub runs in it
// under a login of its own, with roles of another prefix.
func TestMigrate_AsAnyOwner(t *testing.T) {
	t.Parallel()
	const owner, login, prefix = "migrate_test_owner", "migrate_test_login", "migrate_test"
	roles := store.RolesOf(prefix)
	cleanRoles(t, roles.Tenant, roles.Pipeline, roles.River, login, owner)
	db := storetest.New(t, storetest.Bare())
	db.Exec(t, `CREATE ROLE `+owner+` LOGIN CREATEROLE`)
	name := storetest.Value[string](t, db, `SELECT current_database()`)
	db.Exec(t, `ALTER DATABASE `+name+` OWNER TO `+owner)
	db.OwnerURL = withLogin(t, db.OwnerURL, owner)
	if err := store.EnsureLogin(t.Context(), db.OwnerURL, login, ""); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := migrate(t.Context(), db, prefix, login); err != nil {
			t.Fatal(err)
		}
	}

	s, err := store.Open(t.Context(), store.Options{URL: withLogin(t, db.URL, login), RolePrefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	live(t, s)
	if unconfined, err := s.UnconfinedRoles(t.Context()); err != nil || len(unconfined) != 0 {
		t.Errorf("unconfined: %v, %v", unconfined, err)
	}
	river, err := store.OpenRiver(t.Context(), withLogin(t, db.URL, login), prefix, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer river.Close()
	if n, err := river.TakeOver(t.Context(), "nobody"); n != 0 || err != nil {
		t.Errorf("take over: %d, %v", n, err)
	}
	if in := storetest.Value[bool](t, db, `SELECT has_database_privilege('tributary_test', current_database(), 'CONNECT')`); in {
		t.Error("another hub's login may connect")
	}
}

// live does a little of everything that a hub does.
func live(t *testing.T, s *store.Store) {
	t.Helper()
	now := time.Now()
	if made, err := s.Pipeline.MakePartitions(t.Context(), now.AddDate(0, 0, -3), now.AddDate(0, 0, 1)); made != 15 || err != nil {
		t.Fatalf("made %d partitions, %v", made, err)
	}
	if dropped, err := s.Pipeline.DropPartition(t.Context(), store.Partition{Kind: "messages", Day: now.AddDate(0, 0, -3)}); !dropped || err != nil {
		t.Errorf("dropped: %t, %v", dropped, err)
	}
	tenant := hub.NewID[hub.TenantID]()
	_, err := s.ChangeTenant(t.Context(), operator, tenant, func(c *store.Change) error {
		if _, err := c.CreateTenant(t.Context(), hub.Tenant{Slug: "acme", Name: "acme", State: hub.Active}); err != nil {
			return err
		}
		return c.Audit(t.Context(), "tenant.create", tenant.String(), nil)
	})
	if err != nil {
		t.Fatal(err)
	}
	event := hub.Event{Tenant: tenant, ID: hub.NewID[hub.EventID](), ReceivedAt: now, Verified: true, Dedup: hub.Dedup{Keep: time.Hour}}
	if _, err := s.Pipeline.InsertEvents(t.Context(), []hub.Event{event}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pipeline.Append(t.Context(), []hub.Unit{unit(tenant, event.ID, hub.RunID{}, "ab")}); err != nil {
		t.Fatal(err)
	}
	read, err := s.Pipeline.ReadLog(t.Context(), replayOf(tenant), now)
	if err != nil || len(read.Messages) != 2 {
		t.Errorf("%d messages, %v", len(read.Messages), err)
	}
	if epoch, err := s.Pipeline.Epoch(t.Context()); epoch == "" || err != nil {
		t.Errorf("epoch %q, %v", epoch, err)
	}
}

// A login that is made a superuser after is confined all the same, by the roles that it takes. One that is one already
// is refused.
func TestMigrate_LoginIsSuperuser(t *testing.T) {
	t.Parallel()
	const login = "migrate_test_superuser"
	cleanRoles(t, login)
	db := storetest.New(t, storetest.Bare())
	db.Exec(t, `CREATE ROLE `+login+` LOGIN SUPERUSER`)
	if _, err := migrate(t.Context(), db, "", login); hub.CodeOf(err) != hub.Invalid || !strings.Contains(err.Error(), "is a superuser") {
		t.Errorf("a superuser was granted the roles: %v", err)
	}
	db.Exec(t, `ALTER ROLE `+login+` NOSUPERUSER`)
	if _, err := migrate(t.Context(), db, "", login); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `ALTER ROLE `+login+` SUPERUSER`)
	s, err := store.Open(t.Context(), store.Options{URL: withLogin(t, db.URL, login)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	live(t, s)
	seen := 0
	err = s.InTenant(t.Context(), hub.NewID[hub.TenantID](), func(tx *store.Tx) error {
		_, err := tx.Tenant(t.Context())
		if hub.CodeOf(err) != hub.NotFound {
			t.Errorf("another tenant's door: %v", err)
		}
		endpoints, err := tx.Endpoints(t.Context(), hub.EndpointID{}, 10)
		seen = len(endpoints)
		return err
	})
	if err != nil || seen != 0 {
		t.Errorf("%d endpoints seen, %v", seen, err)
	}
}

// Default privileges belong to the owner and the database, and no dump of the schemas has them: once it is loaded
// elsewhere, a migration closes what comes to strangers.
func TestMigrate_ClosesFunctionsAfterARestore(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Exec(t, `ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC`)
	if n := storetest.Value[int](t, db, `SELECT count(*) FROM pg_default_acl WHERE defaclnamespace = 0 AND defaclobjtype = 'f'`); n != 0 {
		t.Fatalf("%d default privileges are left, as a restore has none", n)
	}
	if _, err := migrate(t.Context(), db, "", "tributary_test"); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `CREATE FUNCTION tributary.later() RETURNS int LANGUAGE sql AS 'SELECT 1'`)
	if storetest.Value[bool](t, db, `SELECT has_function_privilege('tributary_test', 'tributary.later()', 'EXECUTE')`) {
		t.Error("a function that is made later is everybody's")
	}
}

// A login that is not there is an error that names it, and leaves the schema migrated.
func TestMigrate_NoSuchLogin(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, storetest.Bare())
	if _, err := migrate(t.Context(), db, "", "nobody_of_that_name"); err == nil || !strings.Contains(err.Error(), "nobody_of_that_name") {
		t.Errorf("migrate: %v", err)
	}
	if _, err := migrate(t.Context(), db, "", ""); err != nil {
		t.Errorf("migrate without a login: %v", err)
	}
}

func TestMigrationStatus(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ask := func() store.MigrationStatus {
		t.Helper()
		status, err := db.Pipeline.MigrationStatus(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	status := ask()
	if status.Pending() || status.Current < 1 || status.Current != status.Wanted {
		t.Errorf("migrated: %+v", status)
	}
	db.Exec(t, `UPDATE tributary.schema_version SET version = version + 1`)
	if ahead := ask(); ahead.Pending() || ahead.Current != status.Wanted+1 {
		t.Errorf("ahead of this build: %+v", ahead)
	}
	db.Exec(t, `UPDATE tributary.schema_version SET version = 0`)
	if behind := ask(); !behind.Pending() {
		t.Errorf("behind: %+v", behind)
	}
	db.Exec(t, `DROP TABLE tributary.schema_version`)
	if none := ask(); !none.Pending() || none.Current != 0 {
		t.Errorf("never migrated: %+v", none)
	}
}
