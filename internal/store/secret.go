package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A SealedSecret is a signing secret with its value sealed.
type SealedSecret struct {
	hub.Secret
	Sealed []byte
}

const secretColumns = `id, endpoint_id, state, expires_at, last_used_at, matches, created_at, updated_at, sealed`

func scanSecret(row pgx.CollectableRow) (SealedSecret, error) {
	var s SealedSecret
	err := row.Scan(&s.ID, &s.Endpoint, &s.State, &s.ExpiresAt, &s.LastUsedAt, &s.Matches, &s.CreatedAt, &s.UpdatedAt, &s.Sealed)
	return s, err
}

// Secrets lists an endpoint's secrets in the order they were made, those after an id.
func (tx *Tx) Secrets(ctx context.Context, endpoint hub.EndpointID, after hub.SecretID, limit int) ([]SealedSecret, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+secretColumns+` FROM tributary.secrets
		 WHERE tenant_id = tributary.current_tenant() AND endpoint_id = $1 AND id > $2 ORDER BY id LIMIT $3`, endpoint, after, limit)
	secrets, err := pgx.CollectRows(rows, scanSecret)
	if err != nil {
		return nil, fmt.Errorf("list secrets: %w", failure(err))
	}
	return secrets, nil
}

// Secret is an endpoint's secret; hub.NotFound where there is none.
func (tx *Tx) Secret(ctx context.Context, endpoint hub.EndpointID, id hub.SecretID) (SealedSecret, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+secretColumns+` FROM tributary.secrets
		 WHERE tenant_id = tributary.current_tenant() AND endpoint_id = $1 AND id = $2`, endpoint, id)
	s, err := pgx.CollectExactlyOneRow(rows, scanSecret)
	return s, absent(err, "secret %s", id)
}

// LockSecret is Secret, and makes other changes of the secret wait.
func (c *Change) LockSecret(ctx context.Context, endpoint hub.EndpointID, id hub.SecretID) (SealedSecret, error) {
	rows, _ := c.tx.Query(ctx, `
		SELECT `+secretColumns+` FROM tributary.secrets
		 WHERE tenant_id = tributary.current_tenant() AND endpoint_id = $1 AND id = $2 FOR UPDATE`, endpoint, id)
	s, err := pgx.CollectExactlyOneRow(rows, scanSecret)
	return s, absent(err, "secret %s", id)
}

// CountSecrets says how many secrets an endpoint has.
func (tx *Tx) CountSecrets(ctx context.Context, endpoint hub.EndpointID) (int, error) {
	return tx.count(ctx, `
		SELECT count(*) FROM tributary.secrets WHERE tenant_id = tributary.current_tenant() AND endpoint_id = $1`, endpoint)
}

// CreateSecret adds a secret to an endpoint.
func (c *Change) CreateSecret(ctx context.Context, s SealedSecret) (hub.Secret, error) {
	rows, _ := c.tx.Query(ctx, `
		INSERT INTO tributary.secrets (tenant_id, endpoint_id, id, state, sealed, expires_at)
		VALUES (tributary.current_tenant(), $1, $2, $3, $4, $5)
		RETURNING `+secretColumns, s.Endpoint, s.ID, s.State, s.Sealed, s.ExpiresAt)
	created, err := pgx.CollectExactlyOneRow(rows, scanSecret)
	if err != nil {
		return hub.Secret{}, fmt.Errorf("create secret: %w", failure(err))
	}
	return created.Secret, nil
}

// UpdateSecret writes a secret's state and expiry.
func (c *Change) UpdateSecret(ctx context.Context, s hub.Secret) (hub.Secret, error) {
	rows, _ := c.tx.Query(ctx, `
		UPDATE tributary.secrets SET state = $3, expires_at = $4, updated_at = now()
		 WHERE tenant_id = tributary.current_tenant() AND endpoint_id = $1 AND id = $2
		RETURNING `+secretColumns, s.Endpoint, s.ID, s.State, s.ExpiresAt)
	updated, err := pgx.CollectExactlyOneRow(rows, scanSecret)
	return updated.Secret, absent(err, "secret %s", s.ID)
}

// DeleteSecret removes a secret of an endpoint.
func (c *Change) DeleteSecret(ctx context.Context, endpoint hub.EndpointID, id hub.SecretID) error {
	tag, err := c.tx.Exec(ctx, `
		DELETE FROM tributary.secrets
		 WHERE tenant_id = tributary.current_tenant() AND endpoint_id = $1 AND id = $2`, endpoint, id)
	if err != nil {
		return fmt.Errorf("delete secret: %w", failure(err))
	}
	if tag.RowsAffected() == 0 {
		return hub.Errorf(hub.NotFound, "secret %s", id)
	}
	return nil
}
