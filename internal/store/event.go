package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// An EventFilter says which of a tenant's events to list. Low and High bound their ids, and with them the
// partitions that are read; a filter that is empty lets everything pass.
type EventFilter struct {
	Low, High  hub.EventID // the lowest id that is listed, and the lowest that is not any more
	Endpoint   hub.EndpointID
	Provider   string
	Type       string
	ProviderID string
	State      hub.EventState
}

// A ListedEvent is an event without headers and body, with what became of it.
type ListedEvent struct {
	hub.Event
	State hub.EventState
	Error string // of a job that was given up
}

// An EventPage is a part of the list, the newest first.
type EventPage struct {
	Events []ListedEvent
	Next   hub.EventID // the next page has lower ids; zero: there is none
}

// scanEvents is how many events one page looks at. Where few match, a page ends before it is full: the list of a
// tenant with millions of events must not become one query over them.
const scanEvents = 10_000

// Events lists up to limit events that match. A page that is not full, even an empty one, is not the last while it
// has a Next.
func (tx *Tx) Events(ctx context.Context, f EventFilter, limit int) (EventPage, error) {
	if err := tx.planAnew(ctx); err != nil {
		return EventPage{}, err
	}
	rows, _ := tx.tx.Query(ctx, listEventsSQL, f.Low, f.High, f.ProviderID, optional(f.Endpoint), f.Provider, f.Type, f.State, scanEvents, limit+1)
	events, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (ListedEvent, error) {
		e := ListedEvent{Event: hub.Event{Tenant: tx.tenant}}
		var secret *hub.SecretID
		err := row.Scan(&e.ID, &e.Endpoint, &e.Provider, &e.Type, &e.ProviderID, &e.ReceivedAt, &e.Verified, &e.Cause, &secret, &e.State, &e.Error)
		e.Secret = orZero(secret)
		return e, err
	})
	if err != nil {
		return EventPage{}, fmt.Errorf("list events: %w", failure(err))
	}
	if len(events) > limit {
		return EventPage{Events: events[:limit], Next: events[limit-1].ID}, nil
	}
	page := EventPage{Events: events}
	err = tx.tx.QueryRow(ctx, `
		SELECT id FROM tributary.events
		 WHERE tenant_id = tributary.current_tenant() AND id >= $1 AND id < $2 AND ($3 = '' OR provider_id = $3 AND provider_id <> '')
		 ORDER BY id DESC OFFSET $4 LIMIT 1`, f.Low, f.High, f.ProviderID, scanEvents-1).Scan(&page.Next)
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return EventPage{}, fmt.Errorf("ask how far the page looked: %w", failure(err))
	}
	// An event that came in between has moved the edge up: what is below it now is the next page's.
	page.Events = slices.DeleteFunc(page.Events, func(e ListedEvent) bool { return bytes.Compare(e.ID[:], page.Next[:]) < 0 })
	return page, nil
}

// The inner LIMIT bounds the work, the outer one the page; the second condition on provider_id is that of its partial
// index.
const listEventsSQL = `
	SELECT e.id, e.endpoint_id, e.provider, e.type, e.provider_id, e.received_at, e.verified, e.cause, e.secret_id,
	       coalesce(o.state, 'pending'), coalesce(o.error, '')
	  FROM (SELECT id, endpoint_id, provider, type, provider_id, received_at, verified, cause, secret_id FROM tributary.events
	         WHERE tenant_id = tributary.current_tenant() AND id >= $1 AND id < $2 AND ($3 = '' OR provider_id = $3 AND provider_id <> '')
	         ORDER BY id DESC LIMIT $8::int) e
	  LEFT JOIN LATERAL (SELECT state, error FROM tributary.outcomes o
	         WHERE o.tenant_id = tributary.current_tenant() AND o.event_id = e.id AND o.run = '00000000-0000-0000-0000-000000000000'
	           AND o.event_id >= $1 AND o.event_id < $2 ORDER BY o.event_id LIMIT 1) o ON true
	 WHERE ($4::uuid IS NULL OR e.endpoint_id = $4) AND ($5 = '' OR e.provider = $5) AND ($6 = '' OR e.type = $6)
	   AND ($7 = '' OR coalesce(o.state, 'pending') = $7)
	 ORDER BY e.id DESC LIMIT $9::int`

// Event is the tenant's event; hub.NotFound where there is none, or its id is below low, which retention no longer
// shows.
func (tx *Tx) Event(ctx context.Context, id, low hub.EventID) (hub.Event, error) {
	if err := tx.planAnew(ctx); err != nil {
		return hub.Event{}, err
	}
	rows, _ := tx.tx.Query(ctx, `
		SELECT `+eventColumns+` FROM tributary.events e
		 WHERE e.tenant_id = tributary.current_tenant() AND e.id = $1 AND e.id >= $2`, id, low)
	e, err := pgx.CollectExactlyOneRow(rows, func(row pgx.CollectableRow) (hub.Event, error) { return scanEvent(row) })
	e.Tenant = tx.tenant
	return e, absent(err, "no such event")
}

// EventBody is the raw body of an event, or, where it held a credential, sealed is that and body has it left out;
// errors as Event's.
func (tx *Tx) EventBody(ctx context.Context, id, low hub.EventID) (body, sealed []byte, err error) {
	if err := tx.planAnew(ctx); err != nil {
		return nil, nil, err
	}
	err = tx.tx.QueryRow(ctx, `
		SELECT body, sealed_body FROM tributary.events
		 WHERE tenant_id = tributary.current_tenant() AND id = $1 AND id >= $2`, id, low).Scan(&body, &sealed)
	return body, sealed, absent(err, "no such event")
}

// Outcomes is what became of an event, run by run, the first working first; nothing while it is pending.
func (tx *Tx) Outcomes(ctx context.Context, event hub.EventID) ([]hub.Outcome, error) {
	rows, _ := tx.tx.Query(ctx, `
		SELECT run, state, error, routes, worked_at FROM tributary.outcomes
		 WHERE tenant_id = tributary.current_tenant() AND event_id = $1 ORDER BY run LIMIT 1000`, event)
	outcomes, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (hub.Outcome, error) {
		o := hub.Outcome{Event: event}
		var routes []routeRow
		err := row.Scan(&o.Run, &o.State, &o.Error, &routes, &o.WorkedAt)
		for _, r := range routes {
			o.Routes = append(o.Routes, hub.RouteOutcome(r))
		}
		return o, err
	})
	if err != nil {
		return nil, fmt.Errorf("read outcomes: %w", failure(err))
	}
	return outcomes, nil
}

// EventMessages is what was made of an event, without its data, in the order of positions, up to limit; since and
// until bound when it was worked, and with that the partitions that are read.
func (tx *Tx) EventMessages(ctx context.Context, event hub.EventID, since, until time.Time, limit int) ([]hub.Logged, error) {
	if err := tx.planAnew(ctx); err != nil {
		return nil, err
	}
	rows, _ := tx.tx.Query(ctx, `
		SELECT position, at, id, run, channel, type, coalesce(key, '') FROM tributary.messages
		 WHERE tenant_id = tributary.current_tenant() AND event_id = $1 AND at >= $2 AND at < $3 ORDER BY position LIMIT $4`,
		event, since, until, limit)
	messages, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (hub.Logged, error) {
		m := hub.Logged{Event: event}
		err := row.Scan(&m.Position, &m.At, &m.ID, &m.Run, &m.Channel, &m.Type, &m.Key)
		return m, err
	})
	if err != nil {
		return nil, fmt.Errorf("read messages of event: %w", failure(err))
	}
	return messages, nil
}

// planAnew makes the statements that follow be planned for their arguments, by the indexes: a plan kept from when a
// day's partition was empty would scan it for the rest of its day. Local to the transaction, since this pool may
// pass a pooler.
func (tx *Tx) planAnew(ctx context.Context) error {
	_, err := tx.tx.Exec(ctx, `
		SELECT set_config('plan_cache_mode', 'force_custom_plan', true), set_config('enable_seqscan', 'off', true)`)
	if err != nil {
		return fmt.Errorf("set planner: %w", failure(err))
	}
	return nil
}
