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

// Keys lists the tenant's API keys in the order they were made, those after an id, revoked ones too.
func (tx *Tx) Keys(ctx context.Context, after hub.KeyID, limit int) ([]hub.Key, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+keyColumns+` FROM tributary.keys
		 WHERE tenant_id = tributary.current_tenant() AND id > $1 ORDER BY id LIMIT $2`, after, limit)
	keys, err := pgx.CollectRows(rows, scanBareKey)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", failure(err))
	}
	return keys, nil
}

// Key is the tenant's key of that id, revoked or not; hub.NotFound where there is none.
func (tx *Tx) Key(ctx context.Context, id hub.KeyID) (hub.Key, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+keyColumns+` FROM tributary.keys WHERE tenant_id = tributary.current_tenant() AND id = $1`, id)
	key, err := pgx.CollectExactlyOneRow(rows, scanBareKey)
	return key, absent(err, "key %s", id)
}

// LockKey is Key, and makes other changes of the key wait.
func (c *Change) LockKey(ctx context.Context, id hub.KeyID) (hub.Key, error) {
	rows, _ := c.tx.Query(ctx, `
		SELECT `+keyColumns+` FROM tributary.keys WHERE tenant_id = tributary.current_tenant() AND id = $1 FOR UPDATE`, id)
	key, err := pgx.CollectExactlyOneRow(rows, scanBareKey)
	return key, absent(err, "key %s", id)
}

// CreateKey makes an API key. Its value is nobody's to know but whoever asked for it; only the hash comes here.
func (c *Change) CreateKey(ctx context.Context, k HashedKey) (hub.Key, error) {
	rows, _ := c.tx.Query(ctx, `
		INSERT INTO tributary.keys (tenant_id, id, name, hash, scopes, expires_at, metadata)
		VALUES (tributary.current_tenant(), $1, $2, $3, $4, $5, $6)
		RETURNING `+keyColumns, k.ID, k.Name, k.Hash[:], k.Scopes, k.ExpiresAt, pairs(k.Metadata))
	created, err := pgx.CollectExactlyOneRow(rows, scanBareKey)
	if err != nil {
		return hub.Key{}, fmt.Errorf("create key: %w", failure(err))
	}
	return created, nil
}

// RevokeKey ends a key for good. Its row stays: the audit names it.
func (c *Change) RevokeKey(ctx context.Context, id hub.KeyID) error {
	tag, err := c.tx.Exec(ctx, `
		UPDATE tributary.keys SET revoked_at = now()
		 WHERE tenant_id = tributary.current_tenant() AND id = $1 AND revoked_at IS NULL`, id)
	if err != nil {
		return fmt.Errorf("revoke key: %w", failure(err))
	}
	if tag.RowsAffected() == 0 {
		return hub.Errorf(hub.NotFound, "key %s", id)
	}
	return nil
}

func scanBareKey(row pgx.CollectableRow) (hub.Key, error) {
	k, err := scanKey(row)
	return k.Key, err
}

// OperatorKey is the operator's key of that hash, revoked ones too; hub.NotFound where there is none.
func (p *Pipeline) OperatorKey(ctx context.Context, hash [32]byte) (HashedKey, error) {
	rows, _ := p.lookup.Query(ctx, `
		SELECT id, name, scopes, expires_at, last_used_at, revoked_at, '{}'::jsonb, created_at, hash
		  FROM tributary.operator_keys WHERE hash = $1`, hash[:])
	key, err := pgx.CollectExactlyOneRow(rows, scanKey)
	return key, absent(err, "operator key")
}

// TouchKeys notes when keys were last used, a tenant's or, without one, operators': at most once a minute each, so that
// a busy key is not a busy row. A key that is gone is passed over.
func (p *Pipeline) TouchKeys(ctx context.Context, tenants []hub.TenantID, keys []hub.KeyID, at []time.Time) error {
	_, err := p.pool.Exec(ctx, `
		WITH used AS MATERIALIZED (SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::timestamptz[]) AS u(tenant_id, id, at)),
		ours AS MATERIALIZED (
			SELECT k.tenant_id, k.id, u.at FROM used u JOIN tributary.keys k ON k.tenant_id = u.tenant_id AND k.id = u.id
			 WHERE k.last_used_at IS NULL OR k.last_used_at <= u.at - interval '1 minute' ORDER BY k.tenant_id, k.id FOR UPDATE OF k),
		touched AS (UPDATE tributary.keys k SET last_used_at = o.at FROM ours o WHERE k.tenant_id = o.tenant_id AND k.id = o.id),
		operators AS MATERIALIZED (
			SELECT k.id, u.at FROM used u JOIN tributary.operator_keys k ON k.id = u.id
			 WHERE k.last_used_at IS NULL OR k.last_used_at <= u.at - interval '1 minute' ORDER BY k.id FOR UPDATE OF k)
		UPDATE tributary.operator_keys k SET last_used_at = o.at FROM operators o WHERE k.id = o.id`, tenants, keys, at)
	if err != nil {
		return fmt.Errorf("touch keys: %w", failure(err))
	}
	return nil
}
