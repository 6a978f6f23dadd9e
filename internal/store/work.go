package store

import (
	"bytes"
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// An EventRef names one event of one tenant.
type EventRef struct {
	Tenant hub.TenantID
	Event  hub.EventID
}

// A WorkEvent is an event as its job needs it.
type WorkEvent struct {
	hub.Event
	ConfigVersion int64 // what its tenant has now: the event must not be routed by older rules
	Found         bool  // false: the event was dropped with its day, or its tenant is gone
}

// LoadEvents reads events by their ids, each with its tenant's config_version, and answers in the order asked.
func (p *Pipeline) LoadEvents(ctx context.Context, refs []EventRef) ([]WorkEvent, error) {
	tenants, ids := make([]hub.TenantID, len(refs)), make([]hub.EventID, len(refs))
	for i, r := range refs {
		tenants[i], ids[i] = r.Tenant, r.Event
	}
	low, high := bounds(ids)
	rows, _ := p.pool.Query(ctx, loadEventsSQL, tenants, ids, low, high)
	found := make([]WorkEvent, len(refs))
	_, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (struct{}, error) {
		var ord, version int64
		e, err := scanEvent(row, &ord, &version)
		if err == nil {
			e.Tenant = tenants[ord-1]
			found[ord-1] = WorkEvent{Event: e, ConfigVersion: version, Found: true}
		}
		return struct{}{}, err
	})
	if err != nil {
		return nil, fmt.Errorf("load events: %w", failure(err))
	}
	return found, nil
}

const eventColumns = `e.id, e.endpoint_id, e.provider, e.type, e.provider_id, e.received_at, e.verified, e.cause, e.secret_id, e.header, e.sealed, e.body`

const loadEventsSQL = `
	SELECT w.ord, t.config_version, ` + eventColumns + `
	  FROM unnest($1::uuid[], $2::uuid[]) WITH ORDINALITY AS w(tenant_id, id, ord)
	 CROSS JOIN LATERAL (SELECT config_version FROM tributary.tenants t WHERE t.id = w.tenant_id ORDER BY t.id LIMIT 1) t
	 CROSS JOIN LATERAL (SELECT ` + eventColumns + ` FROM tributary.events e
		WHERE e.tenant_id = w.tenant_id AND e.id = w.id AND e.id >= $3 AND e.id <= $4 ORDER BY e.id LIMIT 1) e`

// scanEvent scans eventColumns after what comes before them.
func scanEvent(row pgx.CollectableRow, before ...any) (hub.Event, error) {
	var e hub.Event
	var secret *hub.SecretID
	var header []byte
	err := row.Scan(append(before, &e.ID, &e.Endpoint, &e.Provider, &e.Type, &e.ProviderID, &e.ReceivedAt, &e.Verified, &e.Cause,
		&secret, &header, &e.Sealed, &e.Body)...)
	e.Secret, e.Header = orZero(secret), DecodeHeader(header)
	return e, err
}

// bounds are the lowest and highest of ids: parameters on the partition key, without which every partition is planned.
func bounds(ids []hub.EventID) (low, high hub.EventID) {
	for i, id := range ids {
		if i == 0 || bytes.Compare(id[:], low[:]) < 0 {
			low = id
		}
		if i == 0 || bytes.Compare(id[:], high[:]) > 0 {
			high = id
		}
	}
	return low, high
}
