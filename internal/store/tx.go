package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Tx sees one tenant. Postgres confines it by role and row-level security; no method of it takes a tenant, so
// none can forget it.
type Tx struct {
	tx     pgx.Tx
	tenant hub.TenantID
}

// InTenant runs fn as the tenant, in a transaction that takes role and tenant in its first statement and leaves
// them with its end. It commits unless fn fails; fn's error comes back as it is.
func (s *Store) InTenant(ctx context.Context, tenant hub.TenantID, fn func(*Tx) error) error {
	return s.within(ctx, tenant, func(tx pgx.Tx) error {
		return fn(&Tx{tx: tx, tenant: tenant})
	})
}

func (s *Store) within(ctx context.Context, tenant hub.TenantID, fn func(pgx.Tx) error) error {
	// One round trip: the settings are an id and a role's name, nothing that somebody could write. A server in recovery
	// is treated as away: it cannot be made to write, and says so.
	begin := fmt.Sprintf(`BEGIN; SELECT CASE WHEN pg_is_in_recovery() THEN set_config('transaction_read_only', 'off', true) END,
		set_config('role', '%s', true), set_config('tributary.tenant', '%s', true), set_config('idle_in_transaction_session_timeout', '%s', true)`,
		s.roles.Tenant, tenant.UUID(), leftOpen)
	tx, err := s.tenant.BeginTx(ctx, pgx.TxOptions{BeginQuery: begin})
	if is := code(err); is == "25001" || is == "0A000" || is == "42501" || is == "22023" { // the last two: the role was taken away, or dropped
		err = unavailable(err)
	}
	if err != nil {
		return fmt.Errorf("enter tenant: %w", failure(err))
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if err := fn(tx); err != nil {
		return err
	}
	if err := tx.Commit(ctx); err != nil {
		return fmt.Errorf("commit: %w", failure(err))
	}
	return nil
}
