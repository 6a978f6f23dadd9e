package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/tern/v2/migrate"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/migrations"
)

// RiverSchema is where River's tables live; ours are in schema tributary. No query relies on search_path.
const RiverSchema = "tributary_river"

const versionTable = "tributary.schema_version"

// Roles are the three roles that own nothing; two hubs in one cluster have different ones.
type Roles struct{ Tenant, Pipeline, River string }

// RolesOf names the roles of a prefix; "" is "tributary".
func RolesOf(prefix string) Roles {
	if prefix == "" {
		prefix = "tributary"
	}
	return Roles{Tenant: prefix + "_tenant", Pipeline: prefix + "_pipeline", River: prefix + "_river"}
}

func (r Roles) all() []string { return []string{r.Tenant, r.Pipeline, r.River} }

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }

// MigrateOptions say what to migrate.
type MigrateOptions struct {
	URL        string       // required: the owner's
	RolePrefix string       // default "tributary"
	Login      string       // gets the three roles; "" grants them to nobody
	Log        *slog.Logger // required
}

// Migrate brings the schema up, River's included, makes the roles and grants them to the login. Done twice it changes
// nothing; several at once go one after the other. The hub goes on meanwhile: migrations only add, and wait for no lock
// for longer than lockPatience. A schema that a later build has migrated stays as it is.
func Migrate(ctx context.Context, o MigrateOptions) error {
	return migrateFrom(ctx, o, migrations.FS, lockTries)
}

func migrateFrom(ctx context.Context, o MigrateOptions, files fs.FS, tries int) error {
	patience := map[string]string{"lock_timeout": strconv.FormatInt(lockPatience.Milliseconds(), 10)}
	pool, err := openPool(ctx, o.URL, "tributary migrate", 4, patience, limits{}, nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect as owner: %w", failure(err))
	}
	defer conn.Release()
	if err := checkGrantee(ctx, conn.Conn(), o.Login); err != nil {
		return err
	}
	unlock, err := lockMigrations(ctx, conn.Conn(), o.Log)
	if err != nil {
		return err
	}
	defer unlock()
	m := &migration{pool: pool, conn: conn.Conn(), roles: RolesOf(o.RolePrefix), log: o.Log, tries: tries}
	return owners(m.run(ctx, files, o.Login))
}

// checkGrantee refuses a login that serve would refuse, before anything is done. "" is none.
func checkGrantee(ctx context.Context, conn *pgx.Conn, login string) error {
	if login == "" {
		return nil
	}
	var privileged, migrates bool
	err := conn.QueryRow(ctx, `SELECT rolsuper OR rolbypassrls, rolname = session_user FROM pg_roles WHERE rolname = $1`, login).Scan(&privileged, &migrates)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return hub.Errorf(hub.Invalid, "there is no login %s: make it with `CREATE ROLE %s LOGIN NOINHERIT PASSWORD '…'`, and run this again", login, quote(login))
	case err != nil:
		return fmt.Errorf("look for the login %s: %w", login, failure(err))
	case privileged:
		return hub.Errorf(hub.Invalid, "%s is a superuser or has BYPASSRLS: nothing would keep tenants apart; name a login of its own for serve", login)
	case migrates:
		return hub.Errorf(hub.Invalid, "%s is the owner itself, whom row-level security does not hold: name a login of its own for serve", login)
	}
	return nil
}

// A migration is one run of it, by who holds its lock.
type migration struct {
	pool  *pgxpool.Pool
	conn  *pgx.Conn
	roles Roles
	log   *slog.Logger
	tries int // of each step, to get its locks
}

func (m *migration) run(ctx context.Context, files fs.FS, login string) error {
	if err := m.patiently(ctx, "roles and schemas", func() error { return makeRoles(ctx, m.conn, m.roles) }); err != nil {
		return err
	}
	if err := m.migrateRiver(ctx); err != nil {
		return err
	}
	if err := m.migrateHub(ctx, files); err != nil {
		return err
	}
	return m.patiently(ctx, "grants", func() error {
		if err := grantRiver(ctx, m.conn, m.roles); err != nil || login == "" {
			return err
		}
		return grantLogin(ctx, m.conn, m.roles, login)
	})
}

func makeRoles(ctx context.Context, conn *pgx.Conn, roles Roles) error {
	for _, role := range roles.all() {
		// Roles belong to the cluster: another database's migration may make them at the same moment.
		_, err := conn.Exec(ctx, `DO $$ BEGIN
			CREATE ROLE `+quote(role)+` NOLOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOINHERIT;
			EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
		END $$`)
		if err != nil {
			return fmt.Errorf("create role %s: %w", role, err)
		}
	}
	_, err := conn.Exec(ctx, `CREATE SCHEMA IF NOT EXISTS tributary; CREATE SCHEMA IF NOT EXISTS `+RiverSchema)
	if err != nil {
		return fmt.Errorf("create schemas: %w", err)
	}
	// Also in 001, once; but a default belongs to the owner and the database, so no dump of the schemas has it.
	if _, err := conn.Exec(ctx, `ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC`); err != nil {
		return fmt.Errorf("close functions to strangers: %w", err)
	}
	return nil
}

// migrateRiver runs each of River's own migrations in a transaction of its own.
func (m *migration) migrateRiver(ctx context.Context) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(m.pool), &rivermigrate.Config{Schema: RiverSchema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("prepare River's migrations: %w", err)
	}
	for {
		var result *rivermigrate.MigrateResult
		err := m.patiently(ctx, "River's next migration", func() (err error) {
			result, err = migrator.Migrate(ctx, rivermigrate.DirectionUp, &rivermigrate.MigrateOpts{MaxSteps: 1})
			return err
		})
		if err != nil {
			return fmt.Errorf("migrate River's schema: %w", err)
		}
		if len(result.Versions) == 0 {
			return nil
		}
		m.log.InfoContext(ctx, "river's schema migrated", "migration", result.Versions[0].Version)
	}
}

// migrateHub runs each migration in a transaction of its own, but for those that say that they must not be in one.
func (m *migration) migrateHub(ctx context.Context, files fs.FS) error {
	migrator, err := loadMigrations(ctx, m.conn, m.roles, files)
	if err != nil {
		return err
	}
	current, err := migrator.GetCurrentVersion(ctx)
	if err != nil {
		return fmt.Errorf("read the schema's version: %w", err)
	}
	if ahead := int(current) - len(migrator.Migrations); ahead > 0 {
		m.log.InfoContext(ctx, "the schema is ahead of this build, which is fine", "migration", current, "wanted", len(migrator.Migrations))
		return nil
	}
	for _, next := range migrator.Migrations[current:] {
		m.log.InfoContext(ctx, "schema migrating", "migration", next.Sequence, "name", next.Name)
		err := m.patiently(ctx, "migration "+next.Name, func() error {
			if outsideTransaction(next.UpSQL) {
				return m.migrateSlowly(ctx, migrator, next.Sequence)
			}
			return migrator.MigrateTo(ctx, next.Sequence)
		})
		if err != nil {
			return fmt.Errorf("migrate schema: %w", err)
		}
	}
	return nil
}

// outsideTransaction says that a migration consists of statements that Postgres runs in no transaction, such as
// CREATE INDEX CONCURRENTLY.
func outsideTransaction(sql string) bool { return strings.Contains(sql, "---- tern: disable-tx ----") }

// migrateSlowly runs such a migration. What it has waits for all transactions that are older, and stops nobody: it may
// take hours, and a time to wait would end it half done. The migrator resets all settings when it has run.
func (m *migration) migrateSlowly(ctx context.Context, migrator *migrate.Migrator, sequence int32) error {
	if _, err := m.conn.Exec(ctx, `SET lock_timeout = 0`); err != nil {
		return fmt.Errorf("wait for locks: %w", err)
	}
	return migrator.MigrateTo(ctx, sequence)
}

func loadMigrations(ctx context.Context, conn *pgx.Conn, roles Roles, files fs.FS) (*migrate.Migrator, error) {
	migrator, err := migrate.NewMigrator(ctx, conn, versionTable)
	if err != nil {
		return nil, fmt.Errorf("prepare migrations: %w", err)
	}
	migrator.Data = map[string]any{"Tenant": quote(roles.Tenant), "Pipeline": quote(roles.Pipeline), "River": quote(roles.River)}
	if err := migrator.LoadMigrations(files); err != nil {
		return nil, fmt.Errorf("load migrations: %w", err)
	}
	return migrator, nil
}

// grantRiver gives River's tables to the river role, and to the pipeline the right to enqueue and nothing else. It
// runs after each migration, since River's own may bring new tables.
func grantRiver(ctx context.Context, conn *pgx.Conn, roles Roles) error {
	pipeline, river := quote(roles.Pipeline), quote(roles.River)
	_, err := conn.Exec(ctx, `
		REVOKE ALL ON SCHEMA tributary_river FROM PUBLIC;
		REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA tributary_river FROM PUBLIC;
		GRANT USAGE ON SCHEMA tributary_river TO `+pipeline+`, `+river+`;
		GRANT INSERT ON tributary_river.river_job TO `+pipeline+`;
		GRANT USAGE ON ALL SEQUENCES IN SCHEMA tributary_river TO `+pipeline+`, `+river+`;
		GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA tributary_river TO `+pipeline+`, `+river+`;
		GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA tributary_river TO `+river+`;
		REVOKE INSERT, UPDATE, DELETE ON tributary_river.river_migration FROM `+river)
	if err != nil {
		return fmt.Errorf("grant River's tables: %w", err)
	}
	return nil
}

// grantLogin lets a login take the three roles, without inheriting what they may, and closes the database to
// everybody else.
func grantLogin(ctx context.Context, conn *pgx.Conn, roles Roles, login string) error {
	var database string
	var version int
	err := conn.QueryRow(ctx, `SELECT current_database(), current_setting('server_version_num')::int`).Scan(&database, &version)
	if err != nil {
		return fmt.Errorf("ask for the database's name: %w", err)
	}
	with := ""
	if version >= 160000 {
		with = " WITH INHERIT FALSE, SET TRUE"
	}
	// A role belongs to the cluster, where two migrations that change it at once fail: so only if it needs a change.
	_, err = conn.Exec(ctx, `
		DO $$ BEGIN
			IF (SELECT rolinherit FROM pg_roles WHERE rolname = `+literal(login)+`) THEN ALTER ROLE `+quote(login)+` NOINHERIT; END IF;
		END $$;
		GRANT `+quote(roles.Tenant)+`, `+quote(roles.Pipeline)+`, `+quote(roles.River)+` TO `+quote(login)+with+`;
		REVOKE CONNECT ON DATABASE `+quote(database)+` FROM PUBLIC;
		GRANT CONNECT ON DATABASE `+quote(database)+` TO `+quote(login)+`;
		GRANT USAGE ON SCHEMA tributary, tributary_river TO `+quote(login)) // pgx prepares a batch before the role in it is taken
	if err != nil {
		return fmt.Errorf("grant the roles to %s: %w", login, err)
	}
	return nil
}
