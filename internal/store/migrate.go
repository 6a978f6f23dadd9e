package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
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

// migrateLock is held while migrating, so that two processes that start together do not migrate together.
const migrateLock = 7_020_413_118_530_611_207

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

// Migrate brings the schema up, River's included, makes the roles and grants them to the login, under an advisory
// lock. Done twice it changes nothing.
func Migrate(ctx context.Context, o MigrateOptions) error {
	pool, err := openPool(ctx, o.URL, "tributary migrate", 4, nil, nil)
	if err != nil {
		return err
	}
	defer pool.Close()
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("connect as owner: %w", failure(err))
	}
	defer conn.Release()
	return owners(migrateOn(ctx, pool, conn.Conn(), o))
}

func migrateOn(ctx context.Context, pool *pgxpool.Pool, conn *pgx.Conn, o MigrateOptions) error {
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(migrateLock)); err != nil {
		return fmt.Errorf("lock migrations: %w", err)
	}
	defer func() {
		_, _ = conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(migrateLock))
	}()

	roles := RolesOf(o.RolePrefix)
	if err := makeRoles(ctx, conn, roles); err != nil {
		return err
	}
	if err := migrateRiver(ctx, pool, o.Log); err != nil {
		return err
	}
	if err := migrateHub(ctx, conn, roles, o.Log); err != nil {
		return err
	}
	if err := grantRiver(ctx, conn, roles); err != nil {
		return err
	}
	if o.Login == "" {
		return nil
	}
	return grantLogin(ctx, conn, roles, o.Login)
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
	return nil
}

func migrateRiver(ctx context.Context, pool *pgxpool.Pool, log *slog.Logger) error {
	migrator, err := rivermigrate.New(riverpgxv5.New(pool), &rivermigrate.Config{Schema: RiverSchema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return fmt.Errorf("prepare River's migrations: %w", err)
	}
	result, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil)
	if err != nil {
		return fmt.Errorf("migrate River's schema: %w", err)
	}
	if n := len(result.Versions); n > 0 {
		log.InfoContext(ctx, "river's schema migrated", "migrations", n)
	}
	return nil
}

func migrateHub(ctx context.Context, conn *pgx.Conn, roles Roles, log *slog.Logger) error {
	migrator, err := loadMigrations(ctx, conn, roles)
	if err != nil {
		return err
	}
	migrator.OnStart = func(sequence int32, name, _, _ string) {
		log.InfoContext(ctx, "schema migrating", "migration", sequence, "name", name)
	}
	if err := migrator.Migrate(ctx); err != nil {
		return fmt.Errorf("migrate schema: %w", err)
	}
	return nil
}

func loadMigrations(ctx context.Context, conn *pgx.Conn, roles Roles) (*migrate.Migrator, error) {
	migrator, err := migrate.NewMigrator(ctx, conn, versionTable)
	if err != nil {
		return nil, fmt.Errorf("prepare migrations: %w", err)
	}
	migrator.Data = map[string]any{"Tenant": quote(roles.Tenant), "Pipeline": quote(roles.Pipeline), "River": quote(roles.River)}
	if err := migrator.LoadMigrations(migrations.FS); err != nil {
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
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && pgErr.Code == "42704" {
		return hub.Errorf(hub.Invalid, "there is no login %s: make it with `CREATE ROLE %s LOGIN NOINHERIT PASSWORD '…'`, and run this again", login, quote(login))
	}
	if err != nil {
		return fmt.Errorf("grant the roles to %s: %w", login, err)
	}
	return nil
}

// MigrationStatus says which migrations the database has and which this build wants.
type MigrationStatus struct {
	Current, Wanted int
}

// Pending says that this build needs migrations that the database does not have. A database ahead of the build is
// fine: migrations are safe for the build before them.
func (s MigrationStatus) Pending() bool { return s.Current < s.Wanted }

// MigrationStatus compares the database's schema with this build's; one that was never migrated is at 0.
func (p *Pipeline) MigrationStatus(ctx context.Context) (MigrationStatus, error) {
	wanted, err := wantedMigrations()
	if err != nil {
		return MigrationStatus{}, err
	}
	status := MigrationStatus{Wanted: wanted}
	err = p.pool.QueryRow(ctx, `SELECT version FROM tributary.schema_version`).Scan(&status.Current)
	if noTable(err) {
		return status, nil
	}
	if err != nil {
		return status, fmt.Errorf("read the schema's version: %w", failure(err))
	}
	return status, nil
}

func wantedMigrations() (int, error) {
	files, err := migrate.FindMigrations(migrations.FS)
	if err != nil {
		return 0, fmt.Errorf("find migrations: %w", err)
	}
	return len(files), nil
}

// MigrationsPending says whether this build's River needs migrations of its own tables that the database does not
// have.
func (r *River) MigrationsPending(ctx context.Context) (bool, error) {
	migrator, err := rivermigrate.New(riverpgxv5.New(r.pool), &rivermigrate.Config{Schema: RiverSchema, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return false, fmt.Errorf("prepare River's migrations: %w", err)
	}
	result, err := migrator.Validate(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("look at River's migrations: %w", failure(err))
	}
	return !result.OK, nil
}
