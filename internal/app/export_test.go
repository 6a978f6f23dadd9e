package app

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/server"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/worker"
)

// RiverConfig is how jobs are worked, and stopTimeout what they have to end in.
func RiverConfig(w *worker.Worker) (config *river.Config, stopTime time.Duration) {
	return riverConfig("test", w, slog.New(slog.DiscardHandler)), stopTimeout
}

// Quieted is what River logs to.
func Quieted(behind slog.Handler, now func() time.Time) slog.Handler {
	return quieted{behind, newTold(now)}
}

// Readiness is what must hold for the process to be sent requests.
func (a *App) Readiness(db *store.Store, keeper *secret.Keeper, l *backplane.Listener, committing func() bool) []server.Check {
	return a.readiness(&subject{db: db, keeper: keeper, listener: l, committing: committing})
}

// ReadClock has tokens and issuers' keys judged by another clock; between New and Start.
func (a *App) ReadClock(now func() time.Time) { a.now = now }

// Registry has the metrics of the process.
func (a *App) Registry() *prometheus.Registry { return a.metrics }

// Within is a step of Stop that gives up where there is no time left.
func Within(closing func()) func(context.Context) error { return within(closing) }

// Steps are those of Stop, in their order.
func (a *App) Steps() []string {
	var names []string
	for _, s := range slices.Backward(a.stops) {
		names = append(names, s.name)
	}
	return names
}

// OnStop adds a step that comes before the others.
func (a *App) OnStop(name string, fn func(context.Context) error) { a.onStop(name, fn) }

// Begin is the first use of a database by a process of production, after all checks have passed.
func Begin(ctx context.Context, db *store.Store) error {
	return (&subject{kind: production, db: db}).begin(ctx)
}
