package app

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/worker"
)

// newRiver makes the client that works jobs. Its id is the node's. The reindexer is off, since it needs ownership;
// completed jobs are kept minutes; River's own rescue is only the net below the nodes' beat.
func newRiver(pool *pgxpool.Pool, id string, w *worker.Worker, log *slog.Logger) (*river.Client[pgx.Tx], error) {
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{
		ID:                          id,
		Schema:                      store.RiverSchema,
		Logger:                      slog.New(atLeast{Handler: log.Handler(), level: slog.LevelWarn}), // it counts its jobs every minute
		Queues:                      worker.Queues(),
		Workers:                     w.Workers(),
		PeriodicJobs:                worker.Periodic(),
		RetryPolicy:                 worker.RetryPolicy{},
		JobTimeout:                  30 * time.Second,
		RescueStuckJobsAfter:        90 * time.Second, // for chores; events are taken over by the nodes' beat
		SoftStopTimeout:             10 * time.Second,
		CompletedJobRetentionPeriod: 5 * time.Minute,
		CancelledJobRetentionPeriod: time.Hour,
		DiscardedJobRetentionPeriod: 24 * time.Hour,
		ReindexerSchedule:           river.NeverSchedule(),
	})
	if err != nil {
		return nil, fmt.Errorf("prepare River: %w", err)
	}
	return client, nil
}

// atLeast passes on what is that grave or graver.
type atLeast struct {
	slog.Handler

	level slog.Level
}

// Enabled asks the handler behind too.
func (h atLeast) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= h.level && h.Handler.Enabled(ctx, level)
}

// WithAttrs keeps the level: River gives each of its services a logger of its own.
func (h atLeast) WithAttrs(attrs []slog.Attr) slog.Handler {
	return atLeast{Handler: h.Handler.WithAttrs(attrs), level: h.level}
}

// WithGroup keeps the level.
func (h atLeast) WithGroup(name string) slog.Handler {
	return atLeast{Handler: h.Handler.WithGroup(name), level: h.level}
}
