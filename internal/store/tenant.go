package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

const tenantColumns = `id, slug, name, state, limits, retention_days, settings, metadata, config_version, created_at, updated_at`

func scanTenant(row pgx.CollectableRow) (hub.Tenant, error) {
	var t hub.Tenant
	var limits map[string]int
	settings := settingsRow(hub.DefaultSettings())
	err := row.Scan(&t.ID, &t.Slug, &t.Name, &t.State, &limits, &t.RetentionDays, &settings, &t.Metadata, &t.ConfigVersion, &t.CreatedAt, &t.UpdatedAt)
	t.Settings = hub.Settings(settings)
	for _, f := range t.Limits.Fields() {
		if n, ok := limits[f.Name]; ok {
			*f.Value = &n
		}
	}
	return t, err
}

// limitsRow is what tenants.limits keeps: the limits that are set, by name.
func limitsRow(l hub.Limits) map[string]int {
	row := map[string]int{}
	for _, f := range l.Fields() {
		if *f.Value != nil {
			row[f.Name] = **f.Value
		}
	}
	return row
}

// A settingsRow is hub.Settings as tenants.settings keeps it; what is absent there is the default.
type settingsRow struct {
	AllowedOrigins    []string `json:"allowed_origins,omitempty"`
	SameSite          string   `json:"same_site"`
	TicketSeconds     int      `json:"ticket_seconds"`
	TicketReuse       string   `json:"ticket_reuse"`
	CredentialSeconds int      `json:"credential_seconds"`
	Presence          []string `json:"presence,omitempty"`
}

// Tenants lists tenants in the order they were made, those after an id.
func (p *Pipeline) Tenants(ctx context.Context, after hub.TenantID, limit int) ([]hub.Tenant, error) {
	rows, _ := p.pool.Query(ctx, `
		SELECT `+tenantColumns+` FROM tributary.tenants WHERE id > $1 ORDER BY id LIMIT $2`, after, limit)
	tenants, err := pgx.CollectRows(rows, scanTenant)
	if err != nil {
		return nil, fmt.Errorf("list tenants: %w", failure(err))
	}
	return tenants, nil
}

// Tenant is the tenant itself; hub.NotFound once it is deleted.
func (tx *Tx) Tenant(ctx context.Context) (hub.Tenant, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+tenantColumns+` FROM tributary.tenants WHERE id = tributary.current_tenant()`)
	t, err := pgx.CollectExactlyOneRow(rows, scanTenant)
	return t, absent(err, "tenant %s", tx.tenant)
}

// LockTenant is Tenant, and makes other changes of the tenant wait: whoever counts what it has, to keep a limit,
// locks it first.
func (c *Change) LockTenant(ctx context.Context) (hub.Tenant, error) {
	rows, _ := c.tx.Query(ctx, `
		SELECT `+tenantColumns+` FROM tributary.tenants WHERE id = tributary.current_tenant() FOR NO KEY UPDATE`)
	t, err := pgx.CollectExactlyOneRow(rows, scanTenant)
	return t, absent(err, "tenant %s", c.tenant)
}

// CreateTenant makes the tenant that the change was opened for. hub.Conflict where somebody has, or ever had, its
// slug.
func (c *Change) CreateTenant(ctx context.Context, t hub.Tenant) (hub.Tenant, error) {
	_, err := c.tx.Exec(ctx, `
		INSERT INTO tributary.tenant_slugs (slug, tenant_id) VALUES ($1, tributary.current_tenant())`, t.Slug)
	if constraint(err) == "tenant_slugs_pkey" {
		return hub.Tenant{}, hub.Errorf(hub.Conflict, "the slug is taken, or was once: a slug is not given out twice")
	}
	if err != nil {
		return hub.Tenant{}, fmt.Errorf("take slug: %w", failure(err))
	}
	rows, _ := c.tx.Query(ctx, `
		INSERT INTO tributary.tenants (id, slug, name, state, limits, retention_days, settings, metadata)
		VALUES (tributary.current_tenant(), $1, $2, $3, $4, $5, $6, $7)
		RETURNING `+tenantColumns, t.Slug, t.Name, t.State, limitsRow(t.Limits), t.RetentionDays, settingsRow(t.Settings), pairs(t.Metadata))
	created, err := pgx.CollectExactlyOneRow(rows, scanTenant)
	if err != nil {
		return hub.Tenant{}, fmt.Errorf("create tenant: %w", failure(err))
	}
	return created, nil
}

// UpdateTenant writes everything of the tenant but its id, slug and times.
func (c *Change) UpdateTenant(ctx context.Context, t hub.Tenant) (hub.Tenant, error) {
	rows, _ := c.tx.Query(ctx, `
		UPDATE tributary.tenants
		   SET name = $1, state = $2, limits = $3, retention_days = $4, settings = $5, metadata = $6, updated_at = now()
		 WHERE id = tributary.current_tenant()
		RETURNING `+tenantColumns, t.Name, t.State, limitsRow(t.Limits), t.RetentionDays, settingsRow(t.Settings), pairs(t.Metadata))
	updated, err := pgx.CollectExactlyOneRow(rows, scanTenant)
	return updated, absent(err, "tenant %s", c.tenant)
}

// DeleteTenant removes the tenant and all that it owns. Events, outcomes and messages, which nobody reaches any
// more, go with their days; the audit and the slug stay.
func (c *Change) DeleteTenant(ctx context.Context) error {
	// The tenant before the rest: with it goes the head of its log, whose lock every append takes first. So none comes
	// in between and leaves rows behind, and none waits for us while we wait for it.
	tag, err := c.tx.Exec(ctx, `DELETE FROM tributary.tenants WHERE id = tributary.current_tenant()`)
	if err != nil {
		return fmt.Errorf("delete tenant: %w", failure(err))
	}
	if tag.RowsAffected() == 0 {
		return hub.Errorf(hub.NotFound, "tenant %s", c.tenant)
	}
	batch := &pgx.Batch{}
	batch.Queue(`DELETE FROM tributary.state WHERE tenant_id = tributary.current_tenant()`)
	batch.Queue(`DELETE FROM tributary.log_days WHERE tenant_id = tributary.current_tenant()`)
	batch.Queue(`DELETE FROM tributary.dedup WHERE tenant_id = tributary.current_tenant()`)
	if err := c.tx.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("delete what the tenant keeps: %w", failure(err))
	}
	c.deleted = true
	return nil
}

// pairs makes nil an empty object: the column is never NULL.
func pairs[M ~map[string]V, V any](m M) M {
	if m == nil {
		return M{}
	}
	return m
}

// texts makes nil an empty array: the column is never NULL.
func texts[S ~[]E, E any](s S) S {
	if s == nil {
		return S{}
	}
	return s
}
