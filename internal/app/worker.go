package app

import (
	"context"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/publish"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/worker"
)

// workerParts are what the worker role is made of.
type workerParts struct {
	db       *store.Store
	river    *store.River
	tenants  *directory.Directory
	appender *publish.Appender
	usage    *meter.Meter
	metrics  prometheus.Registerer
}

// startWorker starts the role that works jobs: what they share, the node that others know it by, and River.
func (a *App) startWorker(ctx context.Context, p workerParts) error {
	w := worker.New(worker.Options{
		Pipeline: p.db.Pipeline, River: p.river, Directory: p.tenants, Appender: p.appender, Meter: p.usage,
		Log: a.o.Log, Metrics: p.metrics, Retention: a.o.Config.Retention,
	})
	if err := a.start(ctx, "worker", w); err != nil {
		return err
	}
	id := a.o.NodeID
	if id == "" {
		id = uuid.NewString()
	}
	node := worker.NewNode(worker.NodeOptions{
		Pipeline: p.db.Pipeline, River: p.river, Log: a.o.Log, Metrics: p.metrics, Mine: a.o.NodeID != "",
		Self: store.Node{ID: id, Roles: []string{"worker"}, Version: a.o.Version},
	})
	if err := a.start(ctx, "node", node); err != nil {
		return err
	}
	client, err := newRiver(p.river.Pool(), id, w, a.o.Log)
	if err != nil {
		return err
	}
	return a.start(ctx, "river", client)
}
