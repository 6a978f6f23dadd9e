package store

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/tern/v2/migrate"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"

	"github.com/tributary-hub/tributary/migrations"
)

// MigrationStatus says which migrations the database has and which this build wants.
type MigrationStatus struct {
	Current, Wanted int
}

// Pending says that this build needs migrations that the database does not have. A database ahead of the build is
// fine: migrations are safe for the build before them.
func (s MigrationStatus) Pending() bool { return s.Current < s.Wanted }

// MigrationStatus compares the database's schema with this build's; one that was never migrated is at 0.
func (p *Pipeline) MigrationStatus(ctx context.Context) (MigrationStatus, error) {
	return migrationStatus(ctx, p.pool)
}

// OwnersMigrationStatus is MigrationStatus for the commands of operators.
func OwnersMigrationStatus(ctx context.Context, ownerURL string) (status MigrationStatus, err error) {
	err = asOwner(ctx, ownerURL, func(conn *pgx.Conn) (err error) {
		status, err = migrationStatus(ctx, conn)
		return err
	})
	return status, err
}

func migrationStatus(ctx context.Context, db querier) (MigrationStatus, error) {
	files, err := migrate.FindMigrations(migrations.FS)
	if err != nil {
		return MigrationStatus{}, fmt.Errorf("find migrations: %w", err)
	}
	status := MigrationStatus{Wanted: len(files)}
	err = db.QueryRow(ctx, `SELECT version FROM tributary.schema_version`).Scan(&status.Current)
	if is := code(err); is == "42P01" || is == "3F000" { // no table, no schema
		return status, nil
	}
	if err != nil {
		return status, fmt.Errorf("read the schema's version: %w", failure(err))
	}
	return status, nil
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
