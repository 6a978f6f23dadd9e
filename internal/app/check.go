package app

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/keyset"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/server"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/worker"
)

// maxClockSkew is how far a process's clock may be from Postgres's: ids carry the one, partitions follow the other.
const maxClockSkew = 5 * time.Minute

// checkDatabase refuses a database that this process must not run on, and makes the partitions that it needs at once.
func (a *App) checkDatabase(ctx context.Context, db *store.Store, keeper *secret.Keeper) error {
	if err := db.Pipeline.Ping(ctx); err != nil {
		return fmt.Errorf("reach the database: %w", err)
	}
	if err := checkMigrations(ctx, db.Pipeline); err != nil {
		return err
	}
	unconfined, err := db.UnconfinedRoles(ctx)
	if err != nil {
		return err
	}
	if len(unconfined) > 0 {
		return fmt.Errorf("row-level security does not hold for %s: make them roles without SUPERUSER and BYPASSRLS that own nothing", strings.Join(unconfined, ", "))
	}
	kind := "production"
	if a.o.Dev {
		kind = "dev"
	}
	is, err := db.Pipeline.MarkInstallation(ctx, kind)
	if err != nil {
		return err
	}
	if is != kind {
		return fmt.Errorf("the database is marked %s by its first use, and this process is of kind %s: use a database of its own for each", is, kind)
	}
	if err := keyset.Check(ctx, db.Pipeline, keeper); err != nil {
		return err
	}
	if err := checkClock(ctx, db.Pipeline); err != nil {
		return err
	}
	return worker.MakePartitions(ctx, db.Pipeline, time.Now())
}

func checkMigrations(ctx context.Context, p *store.Pipeline) error {
	status, err := p.MigrationStatus(ctx)
	if err != nil {
		return err
	}
	if status.Pending() {
		return hub.Errorf(hub.Unavailable, "the schema is at migration %d and this build needs %d: `tributary dev` brings it there when it starts", status.Current, status.Wanted)
	}
	return nil
}

func checkClock(ctx context.Context, p *store.Pipeline) error {
	now, err := p.Clock(ctx)
	if err != nil {
		return err
	}
	if skew := time.Since(now).Abs(); skew > maxClockSkew {
		return hub.Errorf(hub.Unavailable, "this machine's clock and Postgres's are %s apart, and at most %s will do", skew.Round(time.Second), maxClockSkew)
	}
	return nil
}

// readiness is what must hold for the process to be sent requests.
func (a *App) readiness(db *store.Store, listener *backplane.Listener) []server.Check {
	return []server.Check{
		{Name: "database", Run: db.Pipeline.Ping},
		{Name: "migrations", Run: func(ctx context.Context) error { return checkMigrations(ctx, db.Pipeline) }},
		{Name: "clock", Run: func(ctx context.Context) error { return checkClock(ctx, db.Pipeline) }},
		{Name: "listener", Run: func(context.Context) error { return listening(listener) }},
		{Name: "draining", Run: func(context.Context) error { return a.accepting() }},
	}
}

func listening(l *backplane.Listener) error {
	if !l.Healthy() {
		return hub.Errorf(hub.Unavailable, "the connection that hears of new messages is down")
	}
	return nil
}

// accepting is refused from the moment that Stop begins.
func (a *App) accepting() error {
	select {
	case <-a.stopping:
		return hub.Errorf(hub.Unavailable, "the process is stopping")
	default:
		return nil
	}
}
