package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// AuditEntries lists who changed what of the tenant, the newest first, those before an id; zero is before none.
func (tx *Tx) AuditEntries(ctx context.Context, before hub.AuditID, limit int) ([]hub.AuditEntry, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT id, at, actor_kind, actor_key, actor_name, action, object, detail FROM tributary.audit
		 WHERE tenant_id = tributary.current_tenant() AND ($1::uuid IS NULL OR id < $1)
		 ORDER BY id DESC LIMIT $2`, optional(before), limit)
	entries, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (hub.AuditEntry, error) {
		var e hub.AuditEntry
		var key *hub.KeyID
		err := row.Scan(&e.ID, &e.At, &e.Actor.Kind, &key, &e.Actor.Name, &e.Action, &e.Object, &e.Detail)
		e.Actor.Key = orZero(key)
		return e, err
	})
	if err != nil {
		return nil, fmt.Errorf("list audit entries: %w", failure(err))
	}
	return entries, nil
}
