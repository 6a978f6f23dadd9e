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

// newRiver makes the client that works jobs.
func newRiver(pool *pgxpool.Pool, id string, w *worker.Worker, log *slog.Logger) (*river.Client[pgx.Tx], error) {
	client, err := river.NewClient(riverpgxv5.New(pool), riverConfig(id, w, log))
	if err != nil {
		return nil, fmt.Errorf("prepare River: %w", err)
	}
	return client, nil
}

// riverConfig is how jobs are worked. The client's id is the node's. The reindexer is off, since it needs ownership;
// completed jobs are kept minutes; River's own rescue is only the net below the nodes' beat.
func riverConfig(id string, w *worker.Worker, log *slog.Logger) *river.Config {
	return &river.Config{
		ID:                          id,
		Schema:                      store.RiverSchema,
		Logger:                      slog.New(quieted{log.Handler()}),
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
	}
}

// quieted takes all but errors down to debug: River speaks of its own affairs, such as who leads its maintenance, in
// words that tell an operator nothing.
type quieted struct{ slog.Handler }

func lowered(level slog.Level) slog.Level {
	if level < slog.LevelError {
		return min(level, slog.LevelDebug)
	}
	return level
}

// Enabled asks the handler behind for the level that it will get.
func (h quieted) Enabled(ctx context.Context, level slog.Level) bool {
	return h.Handler.Enabled(ctx, lowered(level))
}

// Handle passes the record on at that level.
func (h quieted) Handle(ctx context.Context, r slog.Record) error {
	r.Level = lowered(r.Level)
	return h.Handler.Handle(ctx, r)
}

// WithAttrs stays quieted: River gives each of its services a logger of its own.
func (h quieted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quieted{h.Handler.WithAttrs(attrs)}
}

// WithGroup stays quieted.
func (h quieted) WithGroup(name string) slog.Handler {
	return quieted{h.Handler.WithGroup(name)}
}
