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
	At    time.Time    // what comes after Head is not earlier: that message's at, or yesterday before the first
	Floor hub.Position // the lowest that is still held; head + 1 where nothing is
}

// A Tail says from where to go on reading one tenant's log.
type Tail struct {
	Tenant hub.TenantID
	After  hub.Position
	Since  time.Time // the at of the message at After, or earlier: bounds the partitions that are read
	Oldest time.Time // the first day that the tenant's retention shows; zero shows all
}

// A Page bounds one read of a log. It always takes one message, however large.
type Page struct {
	Messages int
	Bytes    int // of their data
}

// A LogRead is what followed.
type LogRead struct {
	Place
	Messages []hub.Logged // in order
	// Through is the highest position up to which everything that was asked for is in Messages: the head, unless
	// the page was full.
	Through hub.Position
	// Hole is, for a Replay with prefixes, the last position of those that are missing right after Through; 0 where
	// none is. Whoever asked for every message sees for himself, and the index of channels cannot know.
	Hole hub.Position
}

const (
	messageHead    = `position, at, id, event_id, run, channel, type, key, version_number, version_text`
	messageColumns = messageHead + `, data`
)

// A page is cut by bytes in Postgres: the length of a value that is stored aside is known without reading it. found
// counts the rows before that cut, so that an answer tells whether it is all.
const pageSQL = `
	SELECT * FROM (SELECT page.*, count(*) OVER () AS found,
	                      sum(octet_length(data)) OVER (ORDER BY position ROWS UNBOUNDED PRECEDING) - octet_length(data) AS before`

// ReadTails reads the next page of each tail, in one statement, and answers in the order of tails. Messages are
// contiguous from After+1 unless some of them are gone.
func (p *Pipeline) ReadTails(ctx context.Context, tails []Tail, page Page, now time.Time) ([]LogRead, error) {
	tenants, after := make([]hub.TenantID, len(tails)), make([]hub.Position, len(tails))
	since, oldest := make([]time.Time, len(tails)), make([]time.Time, len(tails))
	for i, t := range tails {
		tenants[i], after[i], since[i], oldest[i] = t.Tenant, t.After, t.Since, t.Oldest.UTC()
	}
	rows, _ := p.pool.Query(ctx, readTailsSQL, tenants, after, since, oldest, ahead(now), page.Messages, page.Bytes)
	reads := make([]LogRead, len(tails))
	found := make([]int, len(tails))
	var ord int64
	var place Place
	var m nullableMessage
	_, err := pgx.ForEachRow(rows, append([]any{&ord, &place.Head, &place.At, &place.Floor}, m.targets()...), func() error {
		reads[ord-1].Place = place
		found[ord-1] = m.collect(&reads[ord-1])
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read tails: %w", failure(err))
	}
	for i := range reads {
		reads[i].conclude(found[i], page)
	}
	return reads, nil
}

const readTailsSQL = `
	SELECT w.ord, coalesce(head, 0), coalesce(head_at, now() - interval '1 day'), coalesce(floor, head + 1, 1), ` + messageColumns + `, found
	  FROM unnest($1::uuid[], $2::bigint[], $3::timestamptz[], $4::date[]) WITH ORDINALITY AS w(tenant_id, after, since, oldest, ord)
	  LEFT JOIN LATERAL (SELECT l.position, l.at FROM tributary.log_heads l WHERE l.tenant_id = w.tenant_id ORDER BY l.tenant_id LIMIT 1) h(head, head_at) ON true
	  LEFT JOIN LATERAL (SELECT first_position FROM tributary.log_days d
		WHERE d.tenant_id = w.tenant_id AND d.day >= w.oldest ORDER BY first_position LIMIT 1) f(floor) ON true
	  LEFT JOIN LATERAL (` + pageSQL + `
		FROM (SELECT ` + messageColumns + ` FROM tributary.messages m
			WHERE m.tenant_id = w.tenant_id AND m.position > w.after AND m.at >= w.since AND m.at < $5
			ORDER BY m.position LIMIT $6::int) page) cut WHERE before < $7::int) m ON true
	 ORDER BY w.ord, position`

// A Replay says which part of one tenant's log to read.
type Replay struct {
	Tenant   hub.TenantID
	Channels []string // exact names; nil reads every channel, unless there are prefixes
	Prefixes []string // what further channels' names begin with
	Look     int      // with Prefixes: at how many messages, of whichever channels, to look at most
	After    hub.Position
	Oldest   time.Time // as in Tail
	Page     Page
}

// ReadLog reads the next messages of a replay, and where the log stands as the same statement sees it: a floor
// above After+1 says that something which was asked for is gone.
func (p *Pipeline) ReadLog(ctx context.Context, r Replay, now time.Time) (LogRead, error) {
	if len(r.Prefixes) > 0 {
		return p.readMatching(ctx, r, now)
	}
	query, args := replayAllSQL, []any{r.Tenant, r.After, r.Oldest.UTC(), ahead(now), r.Page.Messages, r.Page.Bytes}
	if r.Channels != nil {
		query, args = replayChannelsSQL, append(args, r.Channels)
	}
	rows, _ := p.pool.Query(ctx, query, args...)
	var read LogRead
	var found int
	var m nullableMessage
	_, err := pgx.ForEachRow(rows, append([]any{&read.Head, &read.At, &read.Floor}, m.targets()...), func() error {
		found = m.collect(&read)
		return nil
	})
	if err != nil {
		return LogRead{}, fmt.Errorf("read log: %w", failure(err))
	}
	read.conclude(found, r.Page)
	return read, nil
}

// readMatching looks through all messages, since the index of channels does not tell whether one is missing.
func (p *Pipeline) readMatching(ctx context.Context, r Replay, now time.Time) (LogRead, error) {
	rows, _ := p.pool.Query(ctx, replayMatchingSQL,
		r.Tenant, r.After, r.Oldest.UTC(), ahead(now), r.Page.Messages, r.Page.Bytes, r.Channels, r.Prefixes, r.Look)
	read := LogRead{Through: r.After}
	var matches *bool
	var before *hub.Position
	var m nullableMessage
	_, err := pgx.ForEachRow(rows, append([]any{&read.Head, &read.At, &read.Floor, &matches, &before}, m.targets()...), func() error {
		switch {
		case m.Position == nil, read.Hole > 0:
		case *before != *m.Position-1:
			read.Through, read.Hole = *before, *m.Position-1
		default:
			read.Through = *m.Position
			if *matches {
				m.collect(&read)
			}
		}
		return nil
	})
	if err != nil {
		return LogRead{}, fmt.Errorf("read log: %w", failure(err))
	}
	if read.Through == r.After && read.Hole == 0 && read.Head > r.After {
		read.Hole = read.Head // nothing is there at all
	}
	return read, nil
}

// conclude says how far the read went: it was cut where the page was full, by number or by bytes.
func (r *LogRead) conclude(found int, page Page) {
	r.Through = r.Head
	if n := len(r.Messages); n > 0 && (found >= page.Messages || n < found) {
		r.Through = r.Messages[n-1].Position
	}
}

// A bare cursor knows no time: log_days gives the bound that the partitions need.
const replayPlaceSQL = `
	WITH place AS MATERIALIZED (
		SELECT h.position AS head, h.at AS head_at,
		       (SELECT first_position FROM tributary.log_days WHERE tenant_id = $1 AND day >= $3::date ORDER BY first_position LIMIT 1) AS floor,
		       (SELECT at FROM tributary.log_days WHERE tenant_id = $1 AND first_position <= $2 + 1 ORDER BY first_position DESC LIMIT 1) AS bound
		  FROM (SELECT 1) one
		  LEFT JOIN LATERAL (SELECT position, at FROM tributary.log_heads WHERE tenant_id = $1 ORDER BY tenant_id LIMIT 1) h ON true)
	SELECT coalesce(p.head, 0), coalesce(p.head_at, now() - interval '1 day'), coalesce(p.floor, p.head + 1, 1) AS floor, `

const replayAllSQL = replayPlaceSQL + messageColumns + `, found
	  FROM place p
	  LEFT JOIN LATERAL (` + pageSQL + `
		FROM (SELECT ` + messageColumns + ` FROM tributary.messages m
			WHERE m.tenant_id = $1 AND m.position > $2 AND m.at >= (SELECT bound FROM place) AND m.at < $4
			ORDER BY m.position LIMIT $5::int) page) cut WHERE before < $6::int) m ON true
	 ORDER BY m.position`

// A channel is bounded, not compared for equality: the planner would then take the order by channel as given, have
// that by position from the primary key too, and, where statistics say that few channels have nearly all messages,
// walk through the whole log for a quiet one. Ordered by both columns only the index of channels will do. The rows
// say where in it to begin and to end; the bounds of channel alone, which follow from them, how little that is.
const replayChannelsSQL = replayPlaceSQL + messageColumns + `, found
	  FROM place p
	  LEFT JOIN LATERAL (` + pageSQL + `
		FROM (SELECT x.* FROM unnest($7::text[]) AS c(name)
			CROSS JOIN LATERAL (SELECT ` + messageColumns + ` FROM tributary.messages m
				WHERE m.tenant_id = $1 AND (m.channel, m.position) > (c.name, $2::bigint) AND m.channel >= c.name AND m.channel <= c.name
				  AND m.at >= (SELECT bound FROM place) AND m.at < $4
				ORDER BY m.channel, m.position LIMIT $5::int) x
			ORDER BY x.position LIMIT $5::int) page) cut WHERE before < $6::int) m ON true
	 ORDER BY m.position`

// It stops at a full page, or when it has looked at as many messages as it may. Of those that do not match it gives
// only the ones that say how far it came: where one is missing before them, and the last. Their data is not read.
const replayMatchingSQL = replayPlaceSQL + `matches, previous, ` + messageColumns + `, found
	  FROM place p
	  LEFT JOIN LATERAL (` + pageSQL + `
		FROM (SELECT ` + messageHead + `, CASE WHEN matches THEN data ELSE '' END AS data, matches, previous
			FROM (SELECT ` + messageColumns + `, (channel = ANY ($7::text[]) OR channel ^@ ANY ($8::text[])) IS TRUE AS matches,
			             coalesce(lag(position) OVER w, $2) AS previous, lead(position) OVER w IS NULL AS is_last
				FROM (SELECT ` + messageColumns + ` FROM tributary.messages m
					WHERE m.tenant_id = $1 AND m.position > $2 AND m.at >= (SELECT bound FROM place) AND m.at < $4
					ORDER BY m.position LIMIT $9::int) x WINDOW w AS (ORDER BY position)) looked
			WHERE matches OR is_last OR previous <> position - 1
			ORDER BY position LIMIT $5::int) page) cut WHERE before < $6::int) m ON true
	 ORDER BY m.position`

// ahead cuts the partitions that are made before their day.
func ahead(now time.Time) time.Time { return now.Add(24 * time.Hour) }

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
	found    *int
}

func (m *nullableMessage) targets() []any {
	return []any{&m.Position, &m.at, &m.id, &m.event, &m.run, &m.channel, &m.typ, &m.key, &m.number, &m.text, &m.data, &m.found}
}

// collect adds the message to the read, where there is one, and says how many its page found.
func (m *nullableMessage) collect(read *LogRead) (found int) {
	if m.Position == nil {
		return 0
	}
	read.Messages = append(read.Messages, m.logged())
	return *m.found
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
