package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

const rejectionColumns = `id, endpoint_id, cause, detail, received_at, header, sealed, body, sealed_body, truncated, event_id`

func (tx *Tx) scanRejection(row pgx.CollectableRow) (Rejected, error) {
	r := Rejected{Tenant: tx.tenant}
	var event *hub.EventID
	err := row.Scan(&r.ID, &r.Endpoint, &r.Cause, &r.Detail, &r.ReceivedAt, &r.Header, &r.Sealed, &r.Body, &r.SealedBody, &r.Truncated, &event)
	r.Retried = orZero(event)
	return r, err
}

// Rejections lists an endpoint's rejections, the newest first, those before an id; zero is before none.
func (tx *Tx) Rejections(ctx context.Context, endpoint hub.EndpointID, before hub.RejectionID, limit int) ([]Rejected, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+rejectionColumns+` FROM tributary.rejections
		 WHERE tenant_id = tributary.current_tenant() AND endpoint_id = $1 AND ($2::uuid IS NULL OR id < $2)
		 ORDER BY id DESC LIMIT $3`, endpoint, optional(before), limit)
	rejections, err := pgx.CollectRows(rows, tx.scanRejection)
	if err != nil {
		return nil, fmt.Errorf("list rejections: %w", failure(err))
	}
	return rejections, nil
}

// Rejection is an endpoint's rejection; hub.NotFound where there is none, or the ring has lost it.
func (tx *Tx) Rejection(ctx context.Context, endpoint hub.EndpointID, id hub.RejectionID) (Rejected, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+rejectionColumns+` FROM tributary.rejections
		 WHERE tenant_id = tributary.current_tenant() AND endpoint_id = $1 AND id = $2`, endpoint, id)
	r, err := pgx.CollectExactlyOneRow(rows, tx.scanRejection)
	return r, absent(err, "no such rejection")
}

// RetryRejection notes which event a retry makes of a rejection, unless one was noted before: that one stands. It
// answers the event that is noted now.
func (c *Change) RetryRejection(ctx context.Context, endpoint hub.EndpointID, id hub.RejectionID, event hub.EventID) (hub.EventID, error) {
	var noted hub.EventID
	err := c.tx.QueryRow(ctx, `
		UPDATE tributary.rejections SET event_id = coalesce(event_id, $3)
		 WHERE tenant_id = tributary.current_tenant() AND endpoint_id = $1 AND id = $2
		RETURNING event_id`, endpoint, id, event).Scan(&noted)
	return noted, absent(err, "no such rejection")
}

// CorrectRejection replaces the noted event by the one that the webhook turned out to be a duplicate of. It changes
// no configuration and follows a retry that was audited, so it needs no change.
func (tx *Tx) CorrectRejection(ctx context.Context, endpoint hub.EndpointID, id hub.RejectionID, event hub.EventID) error {
	_, err := tx.tx.Exec(ctx, `
		UPDATE tributary.rejections SET event_id = $3
		 WHERE tenant_id = tributary.current_tenant() AND endpoint_id = $1 AND id = $2`, endpoint, id, event)
	if err != nil {
		return fmt.Errorf("correct rejection: %w", failure(err))
	}
	return nil
}
