package app

import (
	"context"
	"log/slog"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/server"
	"github.com/tributary-hub/tributary/internal/store"
)

// CheckDatabase is what a process asks of its database before it starts anything on it.
func (a *App) CheckDatabase(ctx context.Context, db *store.Store, keeper *secret.Keeper) error {
	return a.checkDatabase(ctx, db, keeper)
}

// Quieted is what River logs to.
func Quieted(behind slog.Handler) slog.Handler { return quieted{behind} }

// Readiness is what must hold for the process to be sent requests.
func (a *App) Readiness(db *store.Store, l *backplane.Listener) []server.Check {
	return a.readiness(db, l)
}
