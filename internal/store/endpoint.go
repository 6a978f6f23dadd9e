package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A SealedEndpoint is an endpoint whose token is as it is stored: looked up by its hash, and sealed so that its
// URL can be shown again.
type SealedEndpoint struct {
	hub.Endpoint
	TokenHash   [32]byte
	TokenSealed []byte
}

const endpointColumns = `id, name, provider, state, mode, config, token_hash, token_sealed, armed_until, metadata, created_at, updated_at`

func scanEndpoint(row pgx.CollectableRow) (SealedEndpoint, error) {
	var e SealedEndpoint
	var hash []byte
	err := row.Scan(&e.ID, &e.Name, &e.Provider, &e.State, &e.Mode, &e.Config, &hash, &e.TokenSealed, &e.ArmedUntil, &e.Metadata, &e.CreatedAt, &e.UpdatedAt)
	copy(e.TokenHash[:], hash)
	return e, err
}

// Endpoints lists the tenant's endpoints in the order they were made, those after an id.
func (tx *Tx) Endpoints(ctx context.Context, after hub.EndpointID, limit int) ([]SealedEndpoint, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+endpointColumns+` FROM tributary.endpoints
		 WHERE tenant_id = tributary.current_tenant() AND id > $1 ORDER BY id LIMIT $2`, after, limit)
	endpoints, err := pgx.CollectRows(rows, scanEndpoint)
	if err != nil {
		return nil, fmt.Errorf("list endpoints: %w", failure(err))
	}
	return endpoints, nil
}

// Endpoint is the tenant's endpoint of that id or name; hub.NotFound where there is none.
func (tx *Tx) Endpoint(ctx context.Context, ref Ref[hub.EndpointID]) (SealedEndpoint, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+endpointColumns+` FROM tributary.endpoints
		 WHERE tenant_id = tributary.current_tenant() AND (id = $1 OR name = $2)`, ref.ID, ref.Name)
	e, err := pgx.CollectExactlyOneRow(rows, scanEndpoint)
	return e, absent(err, "no such endpoint")
}

// LockEndpoint is Endpoint, and makes other changes of the endpoint wait.
func (c *Change) LockEndpoint(ctx context.Context, ref Ref[hub.EndpointID]) (SealedEndpoint, error) {
	rows, _ := c.tx.Query(ctx, `
		SELECT `+endpointColumns+` FROM tributary.endpoints
		 WHERE tenant_id = tributary.current_tenant() AND (id = $1 OR name = $2) FOR UPDATE`, ref.ID, ref.Name)
	e, err := pgx.CollectExactlyOneRow(rows, scanEndpoint)
	return e, absent(err, "no such endpoint")
}

// CountEndpoints says how many endpoints the tenant has.
func (tx *Tx) CountEndpoints(ctx context.Context) (int, error) {
	return tx.count(ctx, `SELECT count(*) FROM tributary.endpoints WHERE tenant_id = tributary.current_tenant()`)
}

// CreateEndpoint makes an endpoint; hub.Conflict where its name is taken.
func (c *Change) CreateEndpoint(ctx context.Context, e SealedEndpoint) (SealedEndpoint, error) {
	rows, _ := c.tx.Query(ctx, `
		INSERT INTO tributary.endpoints (tenant_id, id, name, provider, state, mode, token_hash, token_sealed, config, metadata)
		VALUES (tributary.current_tenant(), $1, $2, $3, $4, $5, $6, $7, $8, $9)
		RETURNING `+endpointColumns,
		e.ID, e.Name, e.Provider, e.State, e.Mode, e.TokenHash[:], e.TokenSealed, pairs(e.Config), pairs(e.Metadata))
	created, err := pgx.CollectExactlyOneRow(rows, scanEndpoint)
	if err != nil {
		return SealedEndpoint{}, fmt.Errorf("create endpoint: %w", taken(err, "endpoints_tenant_id_name_key", "endpoint"))
	}
	return created, nil
}

// UpdateEndpoint writes everything of the endpoint but its id, armed_until and times; hub.Conflict where its new
// name is taken.
func (c *Change) UpdateEndpoint(ctx context.Context, e SealedEndpoint) (SealedEndpoint, error) {
	rows, _ := c.tx.Query(ctx, `
		UPDATE tributary.endpoints
		   SET name = $2, provider = $3, state = $4, mode = $5, token_hash = $6, token_sealed = $7, config = $8, metadata = $9, updated_at = now()
		 WHERE tenant_id = tributary.current_tenant() AND id = $1
		RETURNING `+endpointColumns,
		e.ID, e.Name, e.Provider, e.State, e.Mode, e.TokenHash[:], e.TokenSealed, pairs(e.Config), pairs(e.Metadata))
	updated, err := pgx.CollectExactlyOneRow(rows, scanEndpoint)
	if err != nil {
		return SealedEndpoint{}, fmt.Errorf("update endpoint: %w", taken(err, "endpoints_tenant_id_name_key", "endpoint"))
	}
	return updated, nil
}

// ArmEndpoint takes a handshake that sets the secret until then.
func (c *Change) ArmEndpoint(ctx context.Context, id hub.EndpointID, until time.Time) (SealedEndpoint, error) {
	rows, _ := c.tx.Query(ctx, `
		UPDATE tributary.endpoints SET armed_until = $2, updated_at = now()
		 WHERE tenant_id = tributary.current_tenant() AND id = $1
		RETURNING `+endpointColumns, id, until)
	armed, err := pgx.CollectExactlyOneRow(rows, scanEndpoint)
	return armed, absent(err, "endpoint %s", id)
}

// DeleteEndpoint removes an endpoint with its secrets and rejections; its events stay. hub.Conflict while a route
// names it.
func (c *Change) DeleteEndpoint(ctx context.Context, id hub.EndpointID) error {
	tag, err := c.tx.Exec(ctx, `
		DELETE FROM tributary.endpoints WHERE tenant_id = tributary.current_tenant() AND id = $1`, id)
	if constraint(err) == "routes_tenant_id_endpoint_id_fkey" {
		return hub.Errorf(hub.Conflict, "a route names the endpoint: change or delete the route first")
	}
	if err != nil {
		return fmt.Errorf("delete endpoint: %w", failure(err))
	}
	if tag.RowsAffected() == 0 {
		return hub.Errorf(hub.NotFound, "endpoint %s", id)
	}
	return nil
}

// taken says that a name is taken where err is that constraint's.
func taken(err error, unique, noun string) error {
	if constraint(err) == unique {
		return hub.Errorf(hub.Conflict, "another %s has that name", noun)
	}
	return absent(err, "no such %s", noun)
}

func (tx *Tx) count(ctx context.Context, query string, args ...any) (int, error) {
	var n int
	if err := tx.tx.QueryRow(ctx, query, args...).Scan(&n); err != nil {
		return 0, fmt.Errorf("count: %w", failure(err))
	}
	return n, nil
}
