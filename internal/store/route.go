package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

const routeColumns = `id, name, endpoint_id, match, channels, type, data, key, version, state, metadata,
	failures, last_error, last_failed_event, last_failed_at, created_at, updated_at`

func scanRoute(row pgx.CollectableRow) (hub.Route, error) {
	var r hub.Route
	var endpoint *hub.EndpointID
	var event *hub.EventID
	err := row.Scan(&r.ID, &r.Name, &endpoint, &r.Match, &r.Channels, &r.Type, &r.Data, &r.Key, &r.Version, &r.State, &r.Metadata,
		&r.Failures.Count, &r.Failures.LastError, &event, &r.Failures.LastAt, &r.CreatedAt, &r.UpdatedAt)
	r.Endpoint, r.Failures.LastEvent = orZero(endpoint), orZero(event)
	return r, err
}

// Routes lists the tenant's routes in the order they were made, those after an id.
func (tx *Tx) Routes(ctx context.Context, after hub.RouteID, limit int) ([]hub.Route, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+routeColumns+` FROM tributary.routes
		 WHERE tenant_id = tributary.current_tenant() AND id > $1 ORDER BY id LIMIT $2`, after, limit)
	routes, err := pgx.CollectRows(rows, scanRoute)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", failure(err))
	}
	return routes, nil
}

// Route is the tenant's route of that id or name; hub.NotFound where there is none.
func (tx *Tx) Route(ctx context.Context, ref Ref[hub.RouteID]) (hub.Route, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+routeColumns+` FROM tributary.routes
		 WHERE tenant_id = tributary.current_tenant() AND (id = $1 OR name = $2)`, ref.ID, ref.Name)
	r, err := pgx.CollectExactlyOneRow(rows, scanRoute)
	return r, absent(err, "no such route")
}

// LockRoute is Route, and makes other changes of the route wait.
func (c *Change) LockRoute(ctx context.Context, ref Ref[hub.RouteID]) (hub.Route, error) {
	rows, _ := c.tx.Query(ctx, `
		SELECT `+routeColumns+` FROM tributary.routes
		 WHERE tenant_id = tributary.current_tenant() AND (id = $1 OR name = $2) FOR UPDATE`, ref.ID, ref.Name)
	r, err := pgx.CollectExactlyOneRow(rows, scanRoute)
	return r, absent(err, "no such route")
}

// CountRoutes says how many routes the tenant has.
func (tx *Tx) CountRoutes(ctx context.Context) (int, error) {
	return tx.count(ctx, `SELECT count(*) FROM tributary.routes WHERE tenant_id = tributary.current_tenant()`)
}

// CreateRoute makes a route; hub.Conflict where its name is taken, hub.Invalid where its endpoint is not the
// tenant's.
func (c *Change) CreateRoute(ctx context.Context, r hub.Route) (hub.Route, error) {
	rows, _ := c.tx.Query(ctx, `
		INSERT INTO tributary.routes (tenant_id, id, name, endpoint_id, match, channels, type, data, key, version, state, metadata)
		VALUES (tributary.current_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
		RETURNING `+routeColumns,
		r.ID, r.Name, optional(r.Endpoint), r.Match, texts(r.Channels), r.Type, r.Data, r.Key, r.Version, r.State, pairs(r.Metadata))
	created, err := pgx.CollectExactlyOneRow(rows, scanRoute)
	return created, routeFailure(err)
}

// UpdateRoute writes everything of the route but its id, failures and times; errors as CreateRoute's.
func (c *Change) UpdateRoute(ctx context.Context, r hub.Route) (hub.Route, error) {
	rows, _ := c.tx.Query(ctx, `
		UPDATE tributary.routes
		   SET name = $2, endpoint_id = $3, match = $4, channels = $5, type = $6, data = $7, key = $8, version = $9, state = $10, metadata = $11, updated_at = now()
		 WHERE tenant_id = tributary.current_tenant() AND id = $1
		RETURNING `+routeColumns,
		r.ID, r.Name, optional(r.Endpoint), r.Match, texts(r.Channels), r.Type, r.Data, r.Key, r.Version, r.State, pairs(r.Metadata))
	updated, err := pgx.CollectExactlyOneRow(rows, scanRoute)
	return updated, routeFailure(err)
}

func routeFailure(err error) error {
	if constraint(err) == "routes_tenant_id_endpoint_id_fkey" {
		return hub.FieldErrorf("body.endpoint", "no such endpoint")
	}
	if err != nil {
		return fmt.Errorf("save route: %w", taken(err, "routes_tenant_id_name_key", "route"))
	}
	return nil
}

// DeleteRoute removes a route.
func (c *Change) DeleteRoute(ctx context.Context, id hub.RouteID) error {
	tag, err := c.tx.Exec(ctx, `
		DELETE FROM tributary.routes WHERE tenant_id = tributary.current_tenant() AND id = $1`, id)
	if err != nil {
		return fmt.Errorf("delete route: %w", failure(err))
	}
	if tag.RowsAffected() == 0 {
		return hub.Errorf(hub.NotFound, "route %s", id)
	}
	return nil
}

// orZero is the inverse of optional.
func orZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
