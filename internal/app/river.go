package app

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
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
		Logger:                      slog.New(quieted{log.Handler(), newTold(time.Now)}),
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
// words that tell an operator nothing. Of errors it passes each on once a minute: while Postgres is away River says so
// with every look for jobs, twenty times a second. What is said of one job is always passed on.
type quieted struct {
	slog.Handler

	told *told
}

// Enabled asks the handler behind for the lowest level that a record may get.
func (h quieted) Enabled(ctx context.Context, level slog.Level) bool {
	if level < slog.LevelError {
		level = min(level, slog.LevelDebug)
	}
	return h.Handler.Enabled(ctx, level)
}

// Handle passes the record on at that level.
func (h quieted) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelError || !ofOneJob(r) && !h.told.isDue(r.Message) {
		r.Level = min(r.Level, slog.LevelDebug)
	}
	if !h.Handler.Enabled(ctx, r.Level) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

func ofOneJob(r slog.Record) (of bool) {
	r.Attrs(func(a slog.Attr) bool {
		of = of || a.Key == "job_id"
		return !of
	})
	return of
}

// WithAttrs stays quieted: River gives each of its services a logger of its own.
func (h quieted) WithAttrs(attrs []slog.Attr) slog.Handler {
	return quieted{h.Handler.WithAttrs(attrs), h.told}
}

// WithGroup stays quieted.
func (h quieted) WithGroup(name string) slog.Handler {
	return quieted{h.Handler.WithGroup(name), h.told}
}

// told remembers when each of River's texts, which are constants, was last passed on.
type told struct {
	now func() time.Time

	mu sync.Mutex // guards at
	at map[string]time.Time
}

func newTold(now func() time.Time) *told { return &told{now: now, at: map[string]time.Time{}} }

func (t *told) isDue(text string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if last, ok := t.at[text]; ok && now.Sub(last) < time.Minute {
		return false
	}
	t.at[text] = now
	return true
}
