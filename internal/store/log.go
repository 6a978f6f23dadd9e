package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Place is where a tenant's log stands in Postgres at the moment of a read.
type Place struct {
	Head  hub.Position // of the last message, 0 before the first
	Floor hub.Position // the lowest that is still held; head + 1 where nothing is
}

// A Tail says from where to go on reading one tenant's log.
type Tail struct {
	Tenant hub.TenantID
	After  hub.Position
	Since  time.Time // the at of the message at After, or earlier: bounds the partitions that are read
	Oldest time.Time // the first day that the tenant's retention shows
}

// A TailRead is what followed.
type TailRead struct {
	Place
	Messages []hub.Logged // in order, positions contiguous from After+1 if nothing of it was dropped
}

const messageColumns = `position, at, id, event_id, run, channel, type, key, version_number, version_text, data`

// ReadTails reads up to limit messages of each tail, in one statement, and answers in the order of tails.
func (p *Pipeline) ReadTails(ctx context.Context, tails []Tail, limit int, now time.Time) ([]TailRead, error) {
	tenants, after, oldest := make([]hub.TenantID, len(tails)), make([]hub.Position, len(tails)), make([]time.Time, len(tails))
	since := now
	for i, t := range tails {
		tenants[i], after[i], oldest[i] = t.Tenant, t.After, t.Oldest
		if t.Since.Before(since) {
			since = t.Since
		}
	}
	rows, _ := p.pool.Query(ctx, readTailsSQL, tenants, after, oldest, since, ahead(now), limit)
	reads := make([]TailRead, len(tails))
	var ord int64
	var place Place
	var m nullableMessage
	_, err := pgx.ForEachRow(rows, append([]any{&ord, &place.Head, &place.Floor}, m.targets()...), func() error {
		read := &reads[ord-1]
		read.Place = place
		if m.Position != nil {
			read.Messages = append(read.Messages, m.logged())
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read tails: %w", failure(err))
	}
	return reads, nil
}

const readTailsSQL = `
	SELECT w.ord, coalesce(h.position, 0) AS head, coalesce(f.first_position, h.position + 1, 1) AS floor, m.*
	  FROM unnest($1::uuid[], $2::bigint[], $3::date[]) WITH ORDINALITY AS w(tenant_id, after, oldest, ord)
	  LEFT JOIN LATERAL (SELECT position FROM tributary.log_heads l WHERE l.tenant_id = w.tenant_id ORDER BY l.tenant_id LIMIT 1) h ON true
	  LEFT JOIN LATERAL (SELECT first_position FROM tributary.log_days d
		WHERE d.tenant_id = w.tenant_id AND d.day >= w.oldest ORDER BY first_position LIMIT 1) f ON true
	  LEFT JOIN LATERAL (SELECT ` + messageColumns + ` FROM tributary.messages m
		WHERE m.tenant_id = w.tenant_id AND m.position > w.after AND m.at >= $4 AND m.at < $5 ORDER BY m.position LIMIT $6::int) m ON true
	 ORDER BY w.ord, m.position`

// A Replay says which part of one tenant's log to read.
type Replay struct {
	Tenant   hub.TenantID
	Channels []string // exact names; nil reads every channel
	After    hub.Position
	Oldest   time.Time // as in Tail
	Limit    int
}

// ReadLog reads the next messages of a replay, and where the log stands as the same statement sees it: a floor
// above After+1 says that something which was asked for is gone.
func (p *Pipeline) ReadLog(ctx context.Context, r Replay, now time.Time) (TailRead, error) {
	query, args := replayAllSQL, []any{r.Tenant, r.After, r.Oldest, ahead(now), r.Limit}
	if r.Channels != nil {
		query, args = replayChannelsSQL, append(args, r.Channels)
	}
	rows, _ := p.pool.Query(ctx, query, args...)
	var read TailRead
	var m nullableMessage
	_, err := pgx.ForEachRow(rows, append([]any{&read.Head, &read.Floor}, m.targets()...), func() error {
		if m.Position != nil {
			read.Messages = append(read.Messages, m.logged())
		}
		return nil
	})
	if err != nil {
		return TailRead{}, fmt.Errorf("read log: %w", failure(err))
	}
	return read, nil
}

// A bare cursor knows no time: log_days gives the bound that the partitions need.
const replayPlaceSQL = `
	WITH place AS MATERIALIZED (
		SELECT coalesce((SELECT position FROM tributary.log_heads WHERE tenant_id = $1 ORDER BY tenant_id LIMIT 1), 0) AS head,
		       (SELECT first_position FROM tributary.log_days WHERE tenant_id = $1 AND day >= $3::date ORDER BY first_position LIMIT 1) AS floor,
		       (SELECT at FROM tributary.log_days WHERE tenant_id = $1 AND first_position <= $2 + 1 ORDER BY first_position DESC LIMIT 1) AS bound)
	SELECT p.head, coalesce(p.floor, p.head + 1) AS floor, m.* FROM place p`

const replayAllSQL = replayPlaceSQL + `
	  LEFT JOIN LATERAL (SELECT ` + messageColumns + ` FROM tributary.messages m
		WHERE m.tenant_id = $1 AND m.position > $2 AND m.at >= (SELECT bound FROM place) AND m.at < $4 ORDER BY m.position LIMIT $5::int) m ON true
	 ORDER BY m.position`

const replayChannelsSQL = replayPlaceSQL + `
	  LEFT JOIN LATERAL (SELECT x.* FROM unnest($6::text[]) AS c(name)
		CROSS JOIN LATERAL (SELECT ` + messageColumns + ` FROM tributary.messages m
			WHERE m.tenant_id = $1 AND m.channel = c.name AND m.position > $2 AND m.at >= (SELECT bound FROM place) AND m.at < $4
			ORDER BY m.position LIMIT $5::int) x
		ORDER BY x.position LIMIT $5::int) m ON true
	 ORDER BY m.position`

// ahead cuts the partitions that are made before their day.
func ahead(now time.Time) time.Time { return now.Add(24 * time.Hour) }

// LogPlace says where a tenant's log stands.
func (p *Pipeline) LogPlace(ctx context.Context, tenant hub.TenantID, oldest time.Time) (Place, error) {
	var place Place
	err := p.pool.QueryRow(ctx, `
		WITH place AS MATERIALIZED (
			SELECT coalesce((SELECT position FROM tributary.log_heads WHERE tenant_id = $1 ORDER BY tenant_id LIMIT 1), 0) AS head,
			       (SELECT first_position FROM tributary.log_days WHERE tenant_id = $1 AND day >= $2::date ORDER BY first_position LIMIT 1) AS floor)
		SELECT head, coalesce(floor, head + 1) FROM place`, tenant, oldest).Scan(&place.Head, &place.Floor)
	if err != nil {
		return Place{}, fmt.Errorf("ask for the log's place: %w", failure(err))
	}
	return place, nil
}

// nullableMessage scans the columns of a message that a LEFT JOIN may not have found.
type nullableMessage struct {
	Position *hub.Position
	at       *time.Time
	id       *hub.MessageID
	event    *hub.EventID
	run      *hub.RunID
	channel  *string
	typ      *string
	key      *string
	number   *int64
	text     *string
	data     []byte
}

func (m *nullableMessage) targets() []any {
	return []any{&m.Position, &m.at, &m.id, &m.event, &m.run, &m.channel, &m.typ, &m.key, &m.number, &m.text, &m.data}
}

func (m *nullableMessage) logged() hub.Logged {
	return hub.Logged{
		Message: hub.Message{
			ID: *m.id, Channel: *m.channel, Type: *m.typ, Key: orZero(m.key),
			Version: hub.Version{Number: m.number, Text: m.text}, Data: m.data,
		},
		Position: *m.Position, At: *m.at, Event: orZero(m.event), Run: orZero(m.run),
	}
}
