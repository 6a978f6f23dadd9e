package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Snapshot is all configuration of one tenant as it stood at one config_version: what the directory loads.
type Snapshot struct {
	Tenant    hub.Tenant
	Endpoints []SealedEndpoint
	Secrets   []SealedSecret
	Routes    []hub.Route // in the order they were made
	Issuers   []hub.Issuer
	Keys      []HashedKey // without those revoked
}

// Snapshot reads a tenant's configuration in one transaction; hub.NotFound where there is no such tenant.
func (p *Pipeline) Snapshot(ctx context.Context, tenant hub.TenantID) (Snapshot, error) {
	var s Snapshot
	options := pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}
	err := pgx.BeginTxFunc(ctx, p.lookup, options, func(tx pgx.Tx) error {
		batch := &pgx.Batch{}
		batch.Queue(`SELECT `+tenantColumns+` FROM tributary.tenants WHERE id = $1`, tenant).Query(one(&s.Tenant, scanTenant))
		batch.Queue(`SELECT `+endpointColumns+` FROM tributary.endpoints WHERE tenant_id = $1 ORDER BY id`, tenant).Query(all(&s.Endpoints, scanEndpoint))
		batch.Queue(`SELECT `+secretColumns+` FROM tributary.secrets WHERE tenant_id = $1 ORDER BY id`, tenant).Query(all(&s.Secrets, scanSecret))
		batch.Queue(`SELECT `+routeColumns+` FROM tributary.routes WHERE tenant_id = $1 ORDER BY id`, tenant).Query(all(&s.Routes, scanRoute))
		batch.Queue(`SELECT `+issuerColumns+` FROM tributary.issuers WHERE tenant_id = $1 ORDER BY id`, tenant).Query(all(&s.Issuers, scanIssuer))
		batch.Queue(`SELECT `+keyColumns+` FROM tributary.keys WHERE tenant_id = $1 AND revoked_at IS NULL ORDER BY id`, tenant).Query(all(&s.Keys, scanKey))
		return tx.SendBatch(ctx, batch).Close()
	})
	if err != nil {
		return Snapshot{}, fmt.Errorf("load tenant: %w", absent(err, "tenant %s", tenant))
	}
	return s, nil
}

func one[T any](into *T, scan pgx.RowToFunc[T]) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*into, err = pgx.CollectExactlyOneRow(rows, scan)
		return err
	}
}

func all[T any](into *[]T, scan pgx.RowToFunc[T]) func(pgx.Rows) error {
	return func(rows pgx.Rows) (err error) {
		*into, err = pgx.CollectRows(rows, scan)
		return err
	}
}

// TenantByToken finds whose endpoint a token is; hub.NotFound where it is nobody's.
func (p *Pipeline) TenantByToken(ctx context.Context, hash [32]byte) (hub.TenantID, error) {
	return p.find(ctx, `SELECT tenant_id FROM tributary.endpoints WHERE token_hash = $1`, hash[:])
}

// TenantByKey finds whose API key a hash is; hub.NotFound where it is nobody's.
func (p *Pipeline) TenantByKey(ctx context.Context, hash [32]byte) (hub.TenantID, error) {
	return p.find(ctx, `SELECT tenant_id FROM tributary.keys WHERE hash = $1`, hash[:])
}

// TenantBySlug finds the tenant that has the slug; hub.NotFound where none has it.
func (p *Pipeline) TenantBySlug(ctx context.Context, slug string) (hub.TenantID, error) {
	return p.find(ctx, `SELECT id FROM tributary.tenants WHERE slug = $1`, slug)
}

func (p *Pipeline) find(ctx context.Context, query string, arg any) (hub.TenantID, error) {
	var tenant hub.TenantID
	err := p.lookup.QueryRow(ctx, query, arg).Scan(&tenant)
	return tenant, absent(err, "no such tenant")
}

// ConfigVersions asks for the versions of many tenants; one that is not in the answer is gone.
func (p *Pipeline) ConfigVersions(ctx context.Context, tenants []hub.TenantID) (map[hub.TenantID]int64, error) {
	rows, _ := p.lookup.Query(ctx, `
		SELECT t.id, t.config_version FROM unnest($1::uuid[]) AS w(id)
		 CROSS JOIN LATERAL (SELECT id, config_version FROM tributary.tenants t WHERE t.id = w.id ORDER BY t.id LIMIT 1) t`, tenants)
	versions := make(map[hub.TenantID]int64, len(tenants))
	var id hub.TenantID
	var version int64
	_, err := pgx.ForEachRow(rows, []any{&id, &version}, func() error {
		versions[id] = version
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("ask for config versions: %w", failure(err))
	}
	return versions, nil
}
