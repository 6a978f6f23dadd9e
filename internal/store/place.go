package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// LogPlace says where a tenant's log stands. oldest is the first day that the tenant's retention shows; zero shows
// all.
func (p *Pipeline) LogPlace(ctx context.Context, tenant hub.TenantID, oldest time.Time) (Place, error) {
	var place Place
	err := p.pool.QueryRow(ctx, logPlaceSQL, tenant, oldest.UTC()).Scan(&place.Head, &place.At, &place.Floor)
	if err != nil {
		return Place{}, fmt.Errorf("ask for the log's place: %w", failure(err))
	}
	return place, nil
}

const logPlaceSQL = `
	SELECT coalesce(h.position, 0), coalesce(h.at, now() - interval '1 day'), coalesce(f.first_position, h.position + 1, 1)
	  FROM (SELECT 1) one
	  LEFT JOIN LATERAL (SELECT position, at FROM tributary.log_heads WHERE tenant_id = $1 ORDER BY tenant_id LIMIT 1) h ON true
	  LEFT JOIN LATERAL (SELECT first_position FROM tributary.log_days
		WHERE tenant_id = $1 AND day >= $2::date ORDER BY first_position LIMIT 1) f ON true`

// LogHeads says at which position each tenant's log ends, in the order of tenants; 0 before the first message.
func (p *Pipeline) LogHeads(ctx context.Context, tenants []hub.TenantID) ([]hub.Position, error) {
	rows, _ := p.pool.Query(ctx, logHeadsSQL, tenants)
	heads, err := pgx.CollectRows(rows, pgx.RowTo[hub.Position])
	if err != nil {
		return nil, fmt.Errorf("ask for the logs' heads: %w", failure(err))
	}
	return heads, nil
}

const logHeadsSQL = `
	SELECT coalesce(h.position, 0)
	  FROM unnest($1::uuid[]) WITH ORDINALITY AS w(tenant_id, ord)
	  LEFT JOIN LATERAL (SELECT position FROM tributary.log_heads l WHERE l.tenant_id = w.tenant_id ORDER BY l.tenant_id LIMIT 1) h ON true
	 ORDER BY w.ord`

// PositionBefore is the position after which come the messages that are not older than at: of those that place
// shows, its head where none is that young.
//
// Within a tenant at never goes back, so it halves the day of log_days that at lies in, a row a step.
func (p *Pipeline) PositionBefore(ctx context.Context, tenant hub.TenantID, at time.Time, place Place) (hub.Position, error) {
	var before hub.Position
	err := p.pool.QueryRow(ctx, positionBeforeSQL, tenant, at, place.Head).Scan(&before)
	if err != nil {
		return 0, fmt.Errorf("look for a time in the log: %w", failure(err))
	}
	return min(max(before, place.Floor-1), place.Head), nil
}

const positionBeforeSQL = `
	WITH RECURSIVE day AS MATERIALIZED (
		SELECT coalesce(d.first_position, $3::bigint + 1) AS low, coalesce(n.first_position, $3::bigint + 1) AS high, d.at, coalesce(n.at, 'infinity') AS until
		  FROM (SELECT 1) one
		  LEFT JOIN LATERAL (SELECT first_position, at FROM (
			(SELECT first_position, at, 1 AS rank FROM tributary.log_days WHERE tenant_id = $1 AND at <= $2 ORDER BY first_position DESC LIMIT 1)
			UNION ALL (SELECT first_position, at, 2 FROM tributary.log_days WHERE tenant_id = $1 ORDER BY first_position LIMIT 1)) x ORDER BY rank LIMIT 1) d ON true
		  LEFT JOIN LATERAL (SELECT first_position, at FROM tributary.log_days
			WHERE tenant_id = $1 AND first_position > d.first_position ORDER BY first_position LIMIT 1) n ON true
	), halving AS (
		SELECT low, high FROM day
		UNION ALL
		SELECT CASE WHEN m.at < $2 THEN m.position + 1 ELSE h.low END, CASE WHEN m.at < $2 THEN h.high ELSE m.position END
		  FROM halving h CROSS JOIN LATERAL (
			SELECT position, at FROM tributary.messages
			 WHERE tenant_id = $1 AND position = (h.low + h.high) / 2 AND at >= (SELECT at FROM day) AND at <= (SELECT until FROM day)
			 ORDER BY position LIMIT 1) m
		 WHERE h.low < h.high
	)
	SELECT low - 1 FROM halving ORDER BY high - low, low DESC LIMIT 1`

// LastPositions are the positions of the last n messages of these channels that place shows, youngest first.
func (p *Pipeline) LastPositions(ctx context.Context, tenant hub.TenantID, channels []string, n int, place Place, now time.Time) ([]hub.Position, error) {
	rows, _ := p.pool.Query(ctx, lastPositionsSQL, tenant, channels, place.Floor, place.Head, ahead(now), n)
	positions, err := pgx.CollectRows(rows, pgx.RowTo[hub.Position])
	if err != nil {
		return nil, fmt.Errorf("look for the last messages: %w", failure(err))
	}
	return positions, nil
}

const dayOfSQL = `SELECT at FROM tributary.log_days WHERE tenant_id = $1 AND first_position <= $3 ORDER BY first_position DESC LIMIT 1`

// Which index it takes, and why, is told at replayChannelsSQL.
const lastPositionsSQL = `
	WITH day AS MATERIALIZED (` + dayOfSQL + `)
	SELECT x.position
	  FROM unnest($2::text[]) AS c(name)
	 CROSS JOIN LATERAL (SELECT m.position FROM tributary.messages m
		WHERE m.tenant_id = $1 AND (m.channel, m.position) <= (c.name, $4::bigint) AND (m.channel, m.position) >= (c.name, $3::bigint)
		  AND m.channel >= c.name AND m.channel <= c.name AND m.at >= (SELECT at FROM day) AND m.at < $5
		ORDER BY m.channel DESC, m.position DESC LIMIT $6::int) x
	 ORDER BY x.position DESC LIMIT $6::int`

// LastMatching are the positions of the last n messages that place shows of these channels and of those whose names
// begin with one of the prefixes, youngest first. It looks at every message until it has found them: place is to
// show only so many.
func (p *Pipeline) LastMatching(ctx context.Context, tenant hub.TenantID, channels, prefixes []string, n int, place Place, now time.Time) ([]hub.Position, error) {
	rows, _ := p.pool.Query(ctx, lastMatchingSQL, tenant, channels, place.Floor, place.Head, ahead(now), n, prefixes)
	positions, err := pgx.CollectRows(rows, pgx.RowTo[hub.Position])
	if err != nil {
		return nil, fmt.Errorf("look back for the last messages: %w", failure(err))
	}
	return positions, nil
}

const lastMatchingSQL = `
	WITH day AS MATERIALIZED (` + dayOfSQL + `)
	SELECT position FROM tributary.messages m
	 WHERE m.tenant_id = $1 AND m.position >= $3 AND m.position <= $4 AND m.at >= (SELECT at FROM day) AND m.at < $5
	   AND (channel = ANY ($2::text[]) OR channel ^@ ANY ($7::text[]))
	 ORDER BY m.position DESC LIMIT $6::int`

// afterChannels comes after every character of a channel's name.
const afterChannels = "\x7f"

// ChannelsWith lists the first n channels whose names begin with prefix, of those that have messages which place
// shows or that came after it.
func (p *Pipeline) ChannelsWith(ctx context.Context, tenant hub.TenantID, prefix string, n int, place Place, now time.Time) ([]string, error) {
	rows, _ := p.pool.Query(ctx, channelsWithSQL, tenant, prefix, place.Floor, prefix+afterChannels, ahead(now), n)
	channels, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list channels: %w", failure(err))
	}
	return channels, nil
}

// It goes from one channel to the next in the index of channels, past all messages of each.
const channelsWithSQL = `
	WITH RECURSIVE day AS MATERIALIZED (` + dayOfSQL + `), listed AS (
		SELECT 0 AS nth, $2::text COLLATE "C" AS name
		UNION ALL
		SELECT nth + 1, (SELECT m.channel FROM tributary.messages m
			WHERE m.tenant_id = $1 AND m.channel > listed.name AND m.channel < $4 AND m.at >= (SELECT at FROM day) AND m.at < $5
			ORDER BY m.channel LIMIT 1)
		  FROM listed WHERE name IS NOT NULL AND nth < $6::int)
	SELECT name FROM listed WHERE nth > 0 AND name IS NOT NULL ORDER BY nth`
