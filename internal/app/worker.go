package app

import (
	"context"
	"strings"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/keyset"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/publish"
	"github.com/tributary-hub/tributary/internal/secret"
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

// startNode makes this process known to the others, by its roles.
func (a *App) startNode(ctx context.Context, db *store.Store, river *store.River, keeper *secret.Keeper, metrics prometheus.Registerer) (*worker.Node, error) {
	keys, err := keyset.Of(keeper)
	if err != nil {
		return nil, err
	}
	node := worker.NewNode(worker.NodeOptions{
		Pipeline: db.Pipeline, River: river, Log: a.o.Log, Metrics: metrics, Mine: a.o.NodeID != "", Failed: a.failed, Counted: keeper.SealUntil,
		Self: store.Node{ID: a.nodeID, Roles: strings.Split(a.o.Config.Roles.String(), ","), Version: a.o.Version, Keyset: keys},
	})
	return node, a.start(ctx, "node", node)
}

// startWorker starts the role that works jobs: what they share, and River.
func (a *App) startWorker(ctx context.Context, p workerParts) error {
	w := worker.New(worker.Options{
		Pipeline: p.db.Pipeline, River: p.river, Directory: p.tenants, Appender: p.appender, Meter: p.usage,
		Log: a.o.Log, Metrics: p.metrics, Tracer: a.tracer, Retention: a.o.Config.Retention,
	})
	if err := a.start(ctx, "worker", w); err != nil {
		return err
	}
	client, err := newRiver(p.river.Pool(), a.nodeID, w, a.o.Log)
	if err != nil {
		return err
	}
	return a.start(ctx, "river", client)
}
