package store

import (
	"context"
	"fmt"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A SecretUse says how many webhooks matched a signing secret since the last count.
type SecretUse struct {
	Tenant  hub.TenantID
	Secret  hub.SecretID
	Matches int64
	LastAt  time.Time
}

// CountSecretUses adds to the secrets' matches. A secret that is gone is passed over.
func (p *Pipeline) CountSecretUses(ctx context.Context, uses []SecretUse) error {
	tenants, secrets := make([]hub.TenantID, len(uses)), make([]hub.SecretID, len(uses))
	matches, last := make([]int64, len(uses)), make([]time.Time, len(uses))
	for i, u := range uses {
		tenants[i], secrets[i], matches[i], last[i] = u.Tenant, u.Secret, u.Matches, u.LastAt
	}
	_, err := p.pool.Exec(ctx, `
		WITH use AS MATERIALIZED (
			SELECT s.tenant_id, s.id, u.matches, u.at FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::timestamptz[]) AS u(tenant_id, id, matches, at)
			  JOIN tributary.secrets s ON s.tenant_id = u.tenant_id AND s.id = u.id ORDER BY s.tenant_id, s.id FOR UPDATE OF s)
		UPDATE tributary.secrets s SET matches = s.matches + u.matches, last_used_at = greatest(s.last_used_at, u.at)
		  FROM use u WHERE s.tenant_id = u.tenant_id AND s.id = u.id`, tenants, secrets, matches, last)
	if err != nil {
		return fmt.Errorf("count uses of secrets: %w", failure(err))
	}
	return nil
}

// A RouteFailure says on how many events a route failed since the last count, and shows the last.
type RouteFailure struct {
	Tenant hub.TenantID
	Route  hub.RouteID
	Count  int64
	Error  string
	Event  hub.EventID
	At     time.Time
}

// CountRouteFailures adds to the routes' failures. A route that is gone is passed over.
func (p *Pipeline) CountRouteFailures(ctx context.Context, failures []RouteFailure) error {
	n := len(failures)
	tenants, routes, counts := make([]hub.TenantID, n), make([]hub.RouteID, n), make([]int64, n)
	errs, events, at := make([]string, n), make([]hub.EventID, n), make([]time.Time, n)
	for i, f := range failures {
		tenants[i], routes[i], counts[i], errs[i], events[i], at[i] = f.Tenant, f.Route, f.Count, f.Error, f.Event, f.At
	}
	_, err := p.pool.Exec(ctx, `
		WITH failure AS MATERIALIZED (
			SELECT r.tenant_id, r.id, f.failures, f.error, f.event, f.at
			  FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::text[], $5::uuid[], $6::timestamptz[]) AS f(tenant_id, id, failures, error, event, at)
			  JOIN tributary.routes r ON r.tenant_id = f.tenant_id AND r.id = f.id ORDER BY r.tenant_id, r.id FOR UPDATE OF r)
		UPDATE tributary.routes r SET failures = r.failures + f.failures, last_error = f.error, last_failed_event = f.event, last_failed_at = f.at
		  FROM failure f WHERE r.tenant_id = f.tenant_id AND r.id = f.id`, tenants, routes, counts, errs, events, at)
	if err != nil {
		return fmt.Errorf("count failures of routes: %w", failure(err))
	}
	return nil
}

// Usage is what a tenant did in one hour, or since the last count of it.
type Usage struct {
	Tenant          hub.TenantID
	Hour            time.Time
	Received        int64
	Rejected        int64
	Duplicates      int64
	Messages        int64
	Delivered       int64
	ConnectionsPeak int64
}

// AddUsage adds to the hours' rollups; peaks are kept, not added. A tenant that is gone is passed over.
func (p *Pipeline) AddUsage(ctx context.Context, usage []Usage) error {
	n := len(usage)
	tenants, hours := make([]hub.TenantID, n), make([]time.Time, n)
	numbers := make([][]int64, 6)
	for i, u := range usage {
		tenants[i], hours[i] = u.Tenant, u.Hour
		for j, v := range []int64{u.Received, u.Rejected, u.Duplicates, u.Messages, u.Delivered, u.ConnectionsPeak} {
			numbers[j] = append(numbers[j], v)
		}
	}
	_, err := p.pool.Exec(ctx, `
		INSERT INTO tributary.usage AS o (tenant_id, hour, received, rejected, duplicates, messages, delivered, connections_peak)
		SELECT u.* FROM unnest($1::uuid[], $2::timestamptz[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[])
		       AS u(tenant_id, hour, received, rejected, duplicates, messages, delivered, connections_peak)
		 WHERE EXISTS (SELECT FROM tributary.tenants t WHERE t.id = u.tenant_id)
		 ORDER BY u.tenant_id, u.hour
		ON CONFLICT (tenant_id, hour) DO UPDATE SET received = o.received + EXCLUDED.received, rejected = o.rejected + EXCLUDED.rejected,
			duplicates = o.duplicates + EXCLUDED.duplicates, messages = o.messages + EXCLUDED.messages,
			delivered = o.delivered + EXCLUDED.delivered, connections_peak = greatest(o.connections_peak, EXCLUDED.connections_peak)`,
		tenants, hours, numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5])
	if err != nil {
		return fmt.Errorf("add usage: %w", failure(err))
	}
	return nil
}
