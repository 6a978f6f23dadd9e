package store

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// Append records the outcome of each unit's working and adds its messages to its tenant's log, in one statement:
// the gate (a working passes once), positions from the tenants' head rows, log_days, the messages, their state, and
// one NOTIFY for all. Placed answers units in order; a unit that did not pass had been worked before. Messages of
// a unit keep their order; units of a tenant are placed in the order given.
func (p *Pipeline) Append(ctx context.Context, units []hub.Unit) ([]hub.Placed, error) {
	args, err := appendArguments(units)
	if err != nil {
		return nil, err
	}
	rows, _ := p.pool.Query(ctx, appendSQL, args...)
	placed := make([]hub.Placed, len(units))
	var unit int64
	var at *time.Time
	var first, last *int64
	_, err = pgx.ForEachRow(rows, []any{&unit, &at, &first, &last}, func() error {
		place := &placed[unit-1]
		place.Passed = true
		if at != nil {
			place.First, place.Last, place.At = hub.Position(*first), hub.Position(*last), *at
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("append: %w", failure(err))
	}
	return placed, nil
}

func appendArguments(units []hub.Unit) ([]any, error) {
	var (
		tenants  = make([]hub.TenantID, len(units))
		events   = make([]*hub.EventID, len(units))
		runs     = make([]hub.RunID, len(units))
		states   = make([]string, len(units))
		errs     = make([]string, len(units))
		routes   = make([][]byte, len(units))
		places   []int64
		ids      []hub.MessageID
		channels []string
		types    []string
		keys     []*string
		numbers  []*int64
		texts    []*string
		data     [][]byte
	)
	for i := range units {
		u := &units[i]
		tenants[i], events[i], runs[i] = u.Tenant, optional(u.Outcome.Event), u.Outcome.Run
		states[i], errs[i] = string(u.Outcome.State), u.Outcome.Error
		if len(u.Outcome.Routes) > 0 {
			encoded, err := json.Marshal(routeRows(u.Outcome.Routes))
			if err != nil {
				return nil, fmt.Errorf("encode outcome: %w", err)
			}
			routes[i] = encoded
		}
		for _, m := range u.Messages {
			places = append(places, int64(i+1))
			ids = append(ids, m.ID)
			channels = append(channels, m.Channel)
			types = append(types, m.Type)
			keys = append(keys, notEmpty(m.Key))
			numbers = append(numbers, m.Version.Number)
			texts = append(texts, m.Version.Text)
			data = append(data, m.Data)
		}
	}
	return []any{tenants, events, runs, states, errs, routes, places, ids, channels, types, keys, numbers, texts, data}, nil
}

// A routeRow is hub.RouteOutcome as outcomes.routes keeps it.
type routeRow struct {
	Route    hub.RouteID `json:"route"`
	Messages int         `json:"messages"`
	Skipped  int         `json:"skipped,omitempty"`
	Error    string      `json:"error,omitempty"`
}

func routeRows(outcomes []hub.RouteOutcome) []routeRow {
	rows := make([]routeRow, len(outcomes))
	for i, o := range outcomes {
		rows[i] = routeRow(o)
	}
	return rows
}

func notEmpty(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Tried before it was built; what is subtle is said beside it.
const appendSQL = `
	WITH unit AS MATERIALIZED (      -- $1..$6: one a caller, event NULL where it was published; the same working twice in a flush: the first counts
		SELECT DISTINCT ON (tenant_id, event_id, run) u.*
		  FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::jsonb[]) WITH ORDINALITY
		       AS u(tenant_id, event_id, run, state, error, routes, unit)
		 WHERE event_id IS NOT NULL ORDER BY tenant_id, event_id, run, unit
	), gate AS (
		INSERT INTO tributary.outcomes (tenant_id, event_id, run, state, error, routes, worked_at)
		SELECT tenant_id, event_id, run, state, error, routes, statement_timestamp() FROM unit ORDER BY tenant_id, event_id, run
		ON CONFLICT DO NOTHING RETURNING tenant_id, event_id, run
	), passed AS MATERIALIZED (      -- IS TRUE keeps a hashed subplan; a join here is a nested loop on this pool, quadratic
		SELECT unit FROM unit u WHERE ((tenant_id, event_id, run) IN (SELECT tenant_id, event_id, run FROM gate)) IS TRUE
		UNION ALL SELECT unit FROM unnest($2::uuid[]) WITH ORDINALITY AS u(event_id, unit) WHERE event_id IS NULL
	), message AS MATERIALIZED (     -- $7..$14, in the order of units; slot is the tenant's place in base's arrays
		SELECT m.*, row_number() OVER (PARTITION BY tenant_id ORDER BY ord) AS nth, count(*) OVER (PARTITION BY tenant_id) AS n,
		       dense_rank() OVER (ORDER BY tenant_id) AS slot
		  FROM (SELECT ($1::uuid[])[m.unit] AS tenant_id, ($2::uuid[])[m.unit] AS event_id, ($3::uuid[])[m.unit] AS run, m.*
		          FROM unnest($7::bigint[], $8::uuid[], $9::text[], $10::text[], $11::text[], $12::bigint[], $13::text[], $14::bytea[])
		               WITH ORDINALITY AS m(unit, id, channel, type, key, version_number, version_text, data, ord)
		         WHERE (m.unit IN (SELECT unit FROM passed)) IS TRUE) m
	), head AS (                     -- rows are locked in tenant order; SET reads the locked row, and the clock once for both, else a flush at midnight misses the new day
		INSERT INTO tributary.log_heads AS h (tenant_id, position, at, day_start)
		SELECT tenant_id, n, clock_timestamp(), 1 FROM message WHERE nth = 1 ORDER BY tenant_id
		ON CONFLICT (tenant_id) DO UPDATE SET position = h.position + EXCLUDED.position,
		  (at, day_start) = (SELECT c.at, CASE WHEN (c.at AT TIME ZONE 'UTC')::date = (h.at AT TIME ZONE 'UTC')::date THEN h.day_start ELSE h.position + 1 END
		                       FROM (SELECT greatest(clock_timestamp(), h.at) AS at) c)
		RETURNING tenant_id, position, at, day_start
	), base AS MATERIALIZED (
		SELECT array_agg(position ORDER BY tenant_id) AS position, array_agg(at ORDER BY tenant_id) AS at,
		       array_agg(day_start ORDER BY tenant_id) AS day_start, string_agg(tenant_id || ':' || position, ',') AS pairs FROM head
	), placed AS MATERIALIZED (
		SELECT m.*, b.position[slot] - n + nth AS position, b.at[slot] AS at, b.day_start[slot] AS day_start FROM message m CROSS JOIN base b
	), day AS (
		INSERT INTO tributary.log_days (tenant_id, first_position, day, at)
		SELECT tenant_id, day_start, (at AT TIME ZONE 'UTC')::date, at FROM placed WHERE position = day_start
	), logged AS (
		INSERT INTO tributary.messages (tenant_id, position, at, id, event_id, run, channel, type, key, version_number, version_text, data)
		SELECT tenant_id, position, at, id, event_id, run, channel, type, key, version_number, version_text, data FROM placed
	), writes AS (                   -- everything before a key's last write without a version is forgotten
		SELECT p.*, max(position) FILTER (WHERE version_number IS NULL AND version_text IS NULL) OVER (PARTITION BY tenant_id, channel, key) AS plain
		  FROM placed p WHERE key IS NOT NULL
	), kept AS (
		INSERT INTO tributary.state AS s (tenant_id, channel, key, position, at, type, version_number, version_text, forget, data)
		SELECT DISTINCT ON (tenant_id, channel, key) tenant_id, channel, key, position, at, type, version_number, version_text, plain IS NOT NULL, NULLIF(data, 'null'::bytea)
		  FROM writes WHERE plain IS NULL OR position >= plain
		 ORDER BY tenant_id, channel, key, version_text COLLATE "C" DESC NULLS LAST, version_number DESC NULLS LAST, position  -- byte by byte, as the column; equal versions: the first stays
		ON CONFLICT (tenant_id, channel, key) DO UPDATE SET position = EXCLUDED.position, at = EXCLUDED.at, type = EXCLUDED.type, data = EXCLUDED.data,
		  forget = EXCLUDED.forget, version_number = EXCLUDED.version_number, version_text = EXCLUDED.version_text
		WHERE EXCLUDED.forget OR (s.version_number IS NULL AND s.version_text IS NULL)
		   OR CASE WHEN EXCLUDED.version_text IS NULL AND s.version_text IS NULL THEN EXCLUDED.version_number > s.version_number
		           ELSE coalesce(EXCLUDED.version_text > s.version_text, s.version_text IS NULL) END
	), notify AS MATERIALIZED (      -- a SELECT in a CTE runs only if it is read
		SELECT pg_notify('tributary', CASE WHEN octet_length(pairs) < 8000 THEN pairs ELSE '*' END) FROM base WHERE pairs IS NOT NULL
	)
	SELECT unit, min(at) AS at, min(position) AS first, max(position) AS last
	  FROM (SELECT unit, at, position FROM placed UNION ALL SELECT unit, NULL, NULL FROM passed) r
	 WHERE (SELECT count(*) FROM notify) >= 0 GROUP BY unit`
