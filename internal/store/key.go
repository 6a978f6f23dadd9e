package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A HashedKey is an API key and the hash of its value.
type HashedKey struct {
	hub.Key
	Hash [32]byte
}

const keyColumns = `id, name, scopes, expires_at, last_used_at, revoked_at, metadata, created_at, hash`

func scanKey(row pgx.CollectableRow) (HashedKey, error) {
	var k HashedKey
	var hash []byte
	err := row.Scan(&k.ID, &k.Name, &k.Scopes, &k.ExpiresAt, &k.LastUsedAt, &k.RevokedAt, &k.Metadata, &k.CreatedAt, &hash)
	copy(k.Hash[:], hash)
	return k, err
}

// OperatorKey is the operator's key of that hash, revoked ones too; hub.NotFound where there is none.
func (p *Pipeline) OperatorKey(ctx context.Context, hash [32]byte) (HashedKey, error) {
	rows, _ := p.lookup.Query(ctx, `
		SELECT id, name, scopes, expires_at, last_used_at, revoked_at, '{}'::jsonb, created_at, hash
		  FROM tributary.operator_keys WHERE hash = $1`, hash[:])
	key, err := pgx.CollectExactlyOneRow(rows, scanKey)
	return key, absent(err, "operator key")
}

// TouchKeys notes when keys were last used, at most once a minute each; sorted by whoever calls.
func (p *Pipeline) TouchKeys(ctx context.Context, tenants []hub.TenantID, keys []hub.KeyID, at []time.Time) error {
	_, err := p.pool.Exec(ctx, `
		WITH used AS (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS u(tenant_id, id, at)),
		ours AS (UPDATE tributary.keys k SET last_used_at = u.at FROM used u
			WHERE k.tenant_id = u.tenant_id AND k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at < u.at))
		UPDATE tributary.operator_keys k SET last_used_at = u.at FROM used u
		 WHERE k.id = u.id AND (k.last_used_at IS NULL OR k.last_used_at < u.at)`, tenants, keys, at)
	if err != nil {
		return fmt.Errorf("touch keys: %w", failure(err))
	}
	return nil
}
