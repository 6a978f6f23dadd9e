package store

import (
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

// orZero is the inverse of optional.
func orZero[T any](p *T) T {
	if p == nil {
		var zero T
		return zero
	}
	return *p
}
