package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Rejected is a rejection as ingest writes it.
type Rejected struct {
	hub.Rejection
	Tenant hub.TenantID
	Sealed []byte // headers that carry credentials

	SealedBody []byte // the raw bytes, where Body is without a credential
}

// InsertRejections adds rejections to their endpoints' rings. One whose endpoint is gone is passed over.
func (p *Pipeline) InsertRejections(ctx context.Context, rejections []Rejected) error {
	n := len(rejections)
	tenants, endpoints, ids := make([]hub.TenantID, n), make([]hub.EndpointID, n), make([]hub.RejectionID, n)
	causes, details, received := make([]hub.Cause, n), make([]string, n), make([]time.Time, n)
	headers, sealed, bodies, truncated := make([][]byte, n), make([][]byte, n), make([][]byte, n), make([]bool, n)
	sealedBodies := make([][]byte, n)
	for i, r := range rejections {
		tenants[i], endpoints[i], ids[i] = r.Tenant, r.Endpoint, r.ID
		causes[i], details[i], received[i] = r.Cause, r.Detail, r.ReceivedAt
		headers[i], sealed[i], bodies[i], truncated[i] = bytesOf(r.Header), r.Sealed, bytesOf(r.Body), r.Truncated
		sealedBodies[i] = r.SealedBody
	}
	_, err := p.pool.Exec(ctx, `
		INSERT INTO tributary.rejections (tenant_id, endpoint_id, id, cause, detail, received_at, header, sealed, body, truncated, sealed_body)
		SELECT r.* FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::timestamptz[], $7::bytea[], $8::bytea[], $9::bytea[], $10::boolean[], $11::bytea[])
		       AS r(tenant_id, endpoint_id, id, cause, detail, received_at, header, sealed, body, truncated, sealed_body)
		 WHERE EXISTS (SELECT FROM tributary.endpoints e WHERE e.tenant_id = r.tenant_id AND e.id = r.endpoint_id)
		 ORDER BY r.tenant_id, r.id`,
		tenants, endpoints, ids, causes, details, received, headers, sealed, bodies, truncated, sealedBodies)
	if err != nil {
		return fmt.Errorf("insert rejections: %w", failure(err))
	}
	return nil
}
