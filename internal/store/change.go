package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/hub"
)

// A Change is a Tx for a change that somebody asked for. It commits only with exactly one audit entry, raises the
// tenant's config_version and tells the other nodes.
type Change struct {
	Tx
	roles   Roles
	actor   hub.Principal
	entries int
	deleted bool // the tenant itself: there is no version left to raise
}

// errUnaudited is a fault of ours: a change that forgot its audit entry, or wrote two.
var errUnaudited = errors.New("a change commits with exactly one audit entry")

// ChangeTenant runs fn as the tenant and commits what it changed, together with its audit entry. The new
// config_version is that of the directory that must be loaded to see the change.
func (s *Store) ChangeTenant(ctx context.Context, actor hub.Principal, tenant hub.TenantID, fn func(*Change) error) (version int64, err error) {
	err = s.within(ctx, tenant, func(tx pgx.Tx) error {
		c := &Change{Tx: Tx{tx: tx, tenant: tenant}, roles: s.roles, actor: actor}
		if err := fn(c); err != nil {
			return err
		}
		if c.entries != 1 {
			return errUnaudited
		}
		version, err = c.raise(ctx)
		return err
	})
	return version, err
}

// Audit writes the change's one entry: action is noun.verb, object the changed object's id, detail what changed and
// never a secret.
func (c *Change) Audit(ctx context.Context, action, object string, detail map[string]any) error {
	c.entries++
	if detail == nil {
		detail = map[string]any{}
	}
	_, err := c.tx.Exec(ctx, `
		INSERT INTO tributary.audit (tenant_id, id, actor_kind, actor_key, actor_name, action, object, detail)
		VALUES (tributary.current_tenant(), $1, $2, $3, $4, $5, $6, $7)`,
		hub.NewID[hub.AuditID](), c.actor.Kind, optional(c.actor.Key), c.actor.Name, action, object, detail)
	if err != nil {
		return fmt.Errorf("write audit entry: %w", failure(err))
	}
	return nil
}

// raise takes the next config_version and sends the signal with the commit. The row lock it takes orders a
// tenant's changes.
func (c *Change) raise(ctx context.Context) (int64, error) {
	var version int64
	if !c.deleted {
		err := c.tx.QueryRow(ctx, `
			UPDATE tributary.tenants SET config_version = config_version + 1
			WHERE id = tributary.current_tenant() RETURNING config_version`).Scan(&version)
		if err != nil {
			return 0, fmt.Errorf("raise config_version: %w", absent(err, "tenant %s", c.tenant))
		}
	}
	if err := backplane.Send(ctx, c.tx, backplane.Changed{Tenant: c.tenant, Version: version}); err != nil {
		return 0, fmt.Errorf("tell the change: %w", failure(err))
	}
	return version, nil
}

// asPipeline runs fn, a statement on a table that has no tenant, as the pipeline's role, and takes the tenant's again
// whatever fn says.
func (c *Change) asPipeline(ctx context.Context, fn func() error) error {
	if err := c.take(ctx, c.roles.Pipeline); err != nil {
		return err
	}
	err := fn()
	if back := c.take(ctx, c.roles.Tenant); err == nil {
		err = back
	}
	return err
}

func (c *Change) take(ctx context.Context, role string) error {
	if _, err := c.tx.Exec(ctx, `SELECT set_config('role', $1, true)`, role); err != nil {
		return fmt.Errorf("take role: %w", failure(err))
	}
	return nil
}

// optional is id, or NULL where it was never set.
func optional[I interface {
	comparable
	IsZero() bool
}](id I) *I {
	if id.IsZero() {
		return nil
	}
	return &id
}
