package api

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

// EventSummary is an event in a list: without headers and body.
type EventSummary struct {
	ID           hub.EventID    `json:"id" example:"evt_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	Endpoint     hub.EndpointID `json:"endpoint" example:"ep_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	EndpointName string         `json:"endpoint_name,omitempty" example:"stripe" doc:"What the endpoint is called now; absent where it is gone."`
	Provider     string         `json:"provider" example:"stripe"`
	Type         string         `json:"type,omitempty" example:"payment_intent.succeeded" doc:"What the provider calls it; absent where it has no types."`
	ProviderID   string         `json:"provider_id,omitempty" example:"evt_1PqR" doc:"What the provider calls this event."`
	ReceivedAt   time.Time      `json:"received_at"`
	Verified     bool           `json:"verified"`
	Cause        hub.Cause      `json:"cause,omitempty" example:"signature_mismatch" doc:"Why it did not verify, in monitor mode."`
	Secret       hub.SecretID   `json:"secret,omitzero" doc:"Which secret verified it."`
	State        hub.EventState `json:"state" enum:"pending,routed,unmatched,failed" doc:"What became of its first working."`
	Error        string         `json:"error,omitempty" doc:"Why its job was given up."`
}

// An Event is an accepted webhook. What carries credentials in it is left out.
type Event struct {
	EventSummary
	Headers  map[string][]string `json:"headers"`
	Body     any                 `json:"body" doc:"Parsed: JSON as it is, a form as an object, other text as a string, bytes as null."`
	BodySize int                 `json:"body_size" doc:"In bytes."`
}

func (c *call) fromEvent(e hub.Event, state hub.EventState, failure string) EventSummary {
	out := EventSummary{
		ID: e.ID, Endpoint: e.Endpoint, Provider: e.Provider, Type: e.Type, ProviderID: e.ProviderID, ReceivedAt: e.ReceivedAt.UTC(),
		Verified: e.Verified, Cause: e.Cause, Secret: e.Secret, State: state, Error: failure,
	}
	if endpoint := c.config.Endpoint(e.Endpoint); endpoint != nil {
		out.EndpointName = endpoint.Name
	}
	return out
}

// parsedBody shows a body as what it is.
func parsedBody(contentType string, body []byte) any {
	kind, _, _ := mime.ParseMediaType(contentType)
	switch {
	case len(body) == 0 || !utf8.Valid(body):
		return nil
	case json.Valid(body):
		return json.RawMessage(body)
	case kind == "application/x-www-form-urlencoded":
		if form, err := url.ParseQuery(string(body)); err == nil {
			return form
		}
	}
	return string(body)
}

// EventListRequest says which events to list.
type EventListRequest struct {
	TenantPath
	Page
	Endpoint   string `query:"endpoint" maxLength:"100" example:"stripe" doc:"Of that endpoint, by its id or name."`
	Provider   string `query:"provider" maxLength:"100" example:"stripe" doc:"Of that provider."`
	Type       string `query:"type" maxLength:"255" example:"payment_intent.succeeded" doc:"Of that type."`
	State      string `query:"state" enum:"pending,routed,unmatched,failed" doc:"In that state."`
	ProviderID string `query:"provider_id" maxLength:"255" example:"evt_1PqR" doc:"Which the provider calls so."`
	After      string `query:"after" maxLength:"100" example:"2026-01-31T00:00:00Z" doc:"Later than a time (RFC 3339) or an event."`
	Before     string `query:"before" maxLength:"100" example:"2026-02-01T00:00:00Z" doc:"Earlier than a time (RFC 3339) or an event."`
}

// EventPath names an event.
type EventPath struct {
	TenantPath
	Event string `path:"event" maxLength:"100" example:"evt_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05" doc:"The event's id."`
}

func (a *API) events() {
	const all, one = "/v1/tenants/{tenant}/events", "/v1/tenants/{tenant}/events/{event}"
	register(a, operation{
		id: "listEvents", method: http.MethodGet, path: all, tag: "Events",
		summary: "List events",
		about: "The newest first. A page looks at no more than 10,000 events: one that is not full, even an empty one, " +
			"is not the last while it has a `next_cursor`.",
		scopes: []hub.Scope{hub.EventsRead},
	}, a.listEvents)
	register(a, operation{
		id: "getEvent", method: http.MethodGet, path: one, tag: "Events",
		summary: "Get an event", about: "With its headers and its parsed body, credentials left out.", scopes: []hub.Scope{hub.EventsRead},
	}, a.getEvent)
	register(a, operation{
		id: "getEventBody", method: http.MethodGet, path: one + "/body", tag: "Events",
		summary: "Get an event's raw body", about: "Byte for byte as the provider sent it, credentials included.", scopes: []hub.Scope{hub.EventsRaw},
	}, a.getEventBody)
	register(a, operation{
		id: "getEventTrail", method: http.MethodGet, path: one + "/trail", tag: "Events",
		summary: "Follow an event", about: "From its arrival to the messages that were made of it, run by run: the first 1,000 of them.", scopes: []hub.Scope{hub.EventsRead},
	}, a.getEventTrail)
}

// oldest is the lowest id that the tenant's retention still shows.
func (a *API) oldest(c *call) hub.EventID {
	return hub.FirstID[hub.EventID](c.config.Oldest(a.o.Now()))
}

func (a *API) listEvents(ctx context.Context, c *call, in *EventListRequest) (List[EventSummary], error) {
	none := List[EventSummary]{}
	f, err := a.eventFilter(c, in)
	if err != nil {
		return none, err
	}
	page, err := read(ctx, a, c, func(tx *store.Tx) (store.EventPage, error) {
		if in.Endpoint != "" {
			ref, err := refOf[hub.EndpointID](in.Endpoint, "endpoint")
			if err != nil {
				return store.EventPage{}, err
			}
			if f.Endpoint = ref.ID; f.Endpoint.IsZero() { // an id may be that of an endpoint which is gone: its events stay
				e, err := tx.Endpoint(ctx, ref)
				if err != nil {
					return store.EventPage{}, err
				}
				f.Endpoint = e.ID
			}
		}
		return tx.Events(ctx, f, in.Limit)
	})
	if err != nil {
		return none, err
	}
	out := List[EventSummary]{Items: make([]EventSummary, 0, len(page.Events))}
	for _, e := range page.Events {
		out.Items = append(out.Items, c.fromEvent(e.Event, e.State, e.Error))
	}
	if !page.Next.IsZero() {
		out.NextCursor, err = a.cursor(c, page.Next)
	}
	return out, err
}

func (a *API) eventFilter(c *call, in *EventListRequest) (store.EventFilter, error) {
	f := store.EventFilter{
		Low: a.oldest(c), High: hub.FirstID[hub.EventID](a.o.Now().Add(24 * time.Hour)),
		Provider: in.Provider, Type: in.Type, ProviderID: in.ProviderID, State: hub.EventState(in.State),
	}
	cursor, err := a.after(c, in.Page)
	if err != nil {
		return f, err
	}
	if cursor := hub.EventID(cursor); !cursor.IsZero() {
		f.High = lower(f.High, cursor)
	}
	if in.Before != "" {
		before, _, err := eventBound("query.before", in.Before)
		if err != nil {
			return f, err
		}
		f.High = lower(f.High, before)
	}
	if in.After != "" {
		after, isEvent, err := eventBound("query.after", in.After)
		if err != nil {
			return f, err
		}
		if isEvent {
			after = next(after)
		}
		if lower(f.Low, after) == f.Low {
			f.Low = after
		}
	}
	return f, nil
}

// eventBound reads a bound of a list: an event, or the first id of a time.
func eventBound(location, s string) (id hub.EventID, isEvent bool, err error) {
	if hub.LooksLikeID(s) {
		id, err := hub.ParseID[hub.EventID](s)
		if err != nil {
			return id, true, hub.FieldErrorf(location, "is not an event's id")
		}
		return id, true, nil
	}
	at, err := time.Parse(time.RFC3339, s)
	if err != nil || at.UnixMilli() < 0 {
		return id, false, hub.FieldErrorf(location, "is neither a time (RFC 3339) nor an event's id")
	}
	return hub.FirstID[hub.EventID](at), false, nil
}

func lower(a, b hub.EventID) hub.EventID {
	if string(b[:]) < string(a[:]) {
		return b
	}
	return a
}

// next is the id after id.
func next(id hub.EventID) hub.EventID {
	for i := len(id) - 1; i >= 0; i-- {
		if id[i]++; id[i] != 0 {
			break
		}
	}
	return id
}

func (a *API) getEvent(ctx context.Context, c *call, in *EventPath) (Event, error) {
	id, err := idOf[hub.EventID](in.Event, "event")
	if err != nil {
		return Event{}, err
	}
	state, failure := hub.EventPending, ""
	e, err := read(ctx, a, c, func(tx *store.Tx) (hub.Event, error) {
		e, err := tx.Event(ctx, id, a.oldest(c))
		if err != nil {
			return e, err
		}
		outcomes, err := tx.Outcomes(ctx, id)
		if len(outcomes) > 0 && outcomes[0].Run.IsZero() {
			state, failure = outcomes[0].State, outcomes[0].Error
		}
		return e, err
	})
	if err != nil {
		return Event{}, err
	}
	out := Event{
		EventSummary: c.fromEvent(e, state, failure), Headers: e.Header,
		Body: parsedBody(e.Header.Get("Content-Type"), e.Body), BodySize: len(e.Body),
	}
	if p, ok := provider.Get(e.Provider); ok {
		hide(p, out.Headers)
	}
	return out, nil
}

// An eventBody is raw bytes from a stranger: nobody's browser is to make anything of them.
type eventBody struct {
	id   hub.EventID
	body []byte
}

func (b eventBody) encode(h http.Header) []byte {
	h.Set("Content-Type", "application/octet-stream")
	h.Set("Content-Disposition", fmt.Sprintf(`attachment; filename="%s.bin"`, b.id))
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	return b.body
}

func (a *API) getEventBody(ctx context.Context, c *call, in *EventPath) (eventBody, error) {
	id, err := idOf[hub.EventID](in.Event, "event")
	if err != nil {
		return eventBody{}, err
	}
	out := eventBody{id: id}
	var sealed []byte
	_, err = read(ctx, a, c, func(tx *store.Tx) (_ nothing, err error) {
		out.body, sealed, err = tx.EventBody(ctx, id, a.oldest(c))
		return nothing{}, err
	})
	if err == nil && sealed != nil {
		out.body, err = a.o.Keeper.Open(secret.EventBody, sealed, c.tenant[:], id[:])
	}
	return out, err
}
