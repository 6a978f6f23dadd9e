package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/routing"
	"github.com/tributary-hub/tributary/internal/store"
)

// RouteTest says which route to run on which event.
type RouteTest struct {
	Route TestedRoute `json:"route"`
	Event TestedEvent `json:"event"`
}

// A TestedRoute is a saved route, by its id or name, or one that is written out.
type TestedRoute struct {
	form

	name   string
	fields *RoutePut
}

// Schema is that of both forms.
func (TestedRoute) Schema(r huma.Registry) *huma.Schema {
	named := text(1, 100)
	named.Description, named.Examples = "A saved route, by its id or name.", []any{"payments"}
	return &huma.Schema{OneOf: []*huma.Schema{named, component[RoutePut](r)}}
}

func (t *TestedRoute) read() error {
	if t.isText() {
		return json.Unmarshal(t.raw, &t.name)
	}
	t.fields = &RoutePut{}
	return json.Unmarshal(t.raw, t.fields)
}

// A TestedEvent is a stored event, by its id, or one that is written out.
type TestedEvent struct {
	form

	id     string
	pasted *PastedEvent
}

// PastedEvent is an event as somebody wrote it down: what routes see of one.
type PastedEvent struct {
	Provider   string                  `json:"provider,omitempty" maxLength:"100" example:"stripe"`
	Endpoint   string                  `json:"endpoint,omitempty" maxLength:"100" example:"stripe" doc:"The endpoint's name."`
	Type       string                  `json:"type,omitempty" maxLength:"255" example:"payment_intent.succeeded" doc:"Absent: where the provider's events have it."`
	ProviderID string                  `json:"provider_id,omitempty" maxLength:"255" example:"evt_1PqR" doc:"Absent: where the provider's events have it."`
	ReceivedAt *time.Time              `json:"received_at,omitempty" doc:"Absent: now."`
	Verified   *bool                   `json:"verified,omitempty" default:"true"`
	Headers    map[string]HeaderValues `json:"headers,omitempty" maxProperties:"200"`
	Body       json.RawMessage         `json:"body" doc:"The body: JSON, or a string that is taken as the raw text."`
}

// Schema is that of both forms.
func (TestedEvent) Schema(r huma.Registry) *huma.Schema {
	stored := text(1, 100)
	stored.Description, stored.Examples = "A stored event, by its id.", []any{"evt_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"}
	return &huma.Schema{OneOf: []*huma.Schema{stored, component[PastedEvent](r)}}
}

func (t *TestedEvent) read() error {
	if t.isText() {
		return json.Unmarshal(t.raw, &t.id)
	}
	t.pasted = &PastedEvent{}
	return json.Unmarshal(t.raw, t.pasted)
}

// A form is one of two as it came, text or an object. Only once it is known which, is it known what is wrong with it.
type form struct{ raw json.RawMessage }

// UnmarshalJSON keeps it; testRoute checks it.
func (f *form) UnmarshalJSON(data []byte) error {
	f.raw = bytes.Clone(data)
	return nil
}

func (f *form) isText() bool { return bytes.HasPrefix(f.raw, []byte(`"`)) }

// RouteTestResult says what the route would do. Nothing is published.
type RouteTestResult struct {
	Matched  bool            `json:"matched"`
	Messages []TestedMessage `json:"messages"`
	Skipped  int             `json:"skipped" doc:"Channels whose braces gave nothing."`
	Error    string          `json:"error,omitempty" doc:"Why the route failed on the event; then it emits nothing."`
}

// A TestedMessage is a message that the route would emit.
type TestedMessage struct {
	Channel string          `json:"channel" example:"customer:cus_123"`
	Type    string          `json:"type" example:"payment_success"`
	Key     string          `json:"key,omitempty"`
	Version any             `json:"version,omitempty" doc:"An integer or a string."`
	Data    json.RawMessage `json:"data" doc:"What the browser would see."`
}

// RouteTestRequest runs a route.
type RouteTestRequest struct {
	TenantPath
	Body RouteTest
}

// testFor bounds the run of a tested route, as its working would be.
const testFor = 5 * time.Second

func (a *API) routeTest(path string) {
	register(a, operation{
		id: "testRoute", method: http.MethodPost, path: path, tag: "Routes",
		summary: "Try a route", about: "Runs a route, saved or not, on an event, stored or pasted, and shows what it would emit. Its endpoint and state are not looked at.",
		scopes: []hub.Scope{hub.EventsRead}, body: maxPasted, raw: true, again: true, ownForm: true,
	}, a.testRoute)
}

// readTest checks the form of the request and reads what of it is well-formed. A route that is written out is compiled
// into route, whatever the event is like: one answer names every mistake.
func (a *API) readTest(c *call, in *RouteTest, route *hub.Route) error {
	var body map[string]any
	if err := json.Unmarshal(c.body, &body); err != nil {
		return hub.FieldErrorf("body", "is not an object")
	}
	registry := a.huma.OpenAPI().Components.Schemas
	whole := *registry.Schema(reflect.TypeFor[RouteTest](), false, "")
	whole.Properties = maps.Clone(whole.Properties)
	for name, schema := range whole.Properties {
		whole.Properties[name] = chosen(schema, body[name])
	}
	found := a.checkForm(&whole, body)
	errs := []error{found}
	for _, part := range []struct {
		name string
		read func() error
	}{{"body.route", in.Route.read}, {"body.event", in.Event.read}} {
		if concerns(found, part.name) {
			continue
		}
		if err := part.read(); err != nil {
			errs = append(errs, hub.FieldErrorf(part.name, "has a value that does not fit"))
		}
	}
	if f := in.Route.fields; f != nil && !concerns(found, "body.route") {
		_, err := a.compileRoute(RouteInput{Name: "test", RouteFields: f.RouteFields}, route)
		errs = append(errs, within("body.route.", err))
	}
	return join(errs...)
}

// chosen is the one of a schema's two alternatives, text and an object, that a value is meant to be.
func chosen(schema *huma.Schema, value any) *huma.Schema {
	if _, isText := value.(string); isText {
		return schema.OneOf[0]
	}
	return schema.OneOf[1]
}

// concerns says whether an error is about a part of the request.
func concerns(err error, part string) bool {
	e, ok := asCoded(err)
	return ok && slices.ContainsFunc(e.Fields, func(f hub.FieldError) bool {
		return f.Location == "body" || f.Location == part || strings.HasPrefix(f.Location, part+".")
	})
}

func (a *API) testRoute(ctx context.Context, c *call, in *RouteTestRequest) (RouteTestResult, error) {
	route := hub.Route{Name: "test"}
	if err := a.readTest(c, &in.Body, &route); err != nil {
		return RouteTestResult{}, err
	}
	var event hub.Event
	var endpoint string
	if p := in.Body.Event.pasted; p != nil {
		event, endpoint = a.pastedEvent(c, *p), p.Endpoint
	}
	_, err := read(ctx, a, c, func(tx *store.Tx) (_ nothing, err error) {
		if in.Body.Route.fields == nil {
			ref, err := refOf[hub.RouteID](in.Body.Route.name, "route")
			if err != nil {
				return nothing{}, err
			}
			if route, err = tx.Route(ctx, ref); err != nil {
				return nothing{}, err
			}
		}
		if in.Body.Event.pasted == nil {
			event, endpoint, err = a.storedEvent(ctx, c, tx, in.Body.Event.id)
		}
		return nothing{}, err
	})
	if err != nil {
		return RouteTestResult{}, err
	}
	program, err := routing.Compile(a.o.Directory.Events(), route)
	if err != nil {
		program = routing.Broken(route, err)
	}
	ctx, cancel := context.WithTimeout(ctx, testFor)
	defer cancel()
	return fromResult(program.Run(ctx, routing.NewInput(&event, endpoint))), nil
}

func (a *API) storedEvent(ctx context.Context, c *call, tx *store.Tx, name string) (hub.Event, string, error) {
	id, err := idOf[hub.EventID](name, "event")
	if err != nil {
		return hub.Event{}, "", err
	}
	event, err := tx.Event(ctx, id, a.oldest(c))
	if err != nil {
		return hub.Event{}, "", err
	}
	e, err := tx.Endpoint(ctx, store.Ref[hub.EndpointID]{ID: event.Endpoint})
	if err != nil && hub.CodeOf(err) != hub.NotFound {
		return hub.Event{}, "", err
	}
	return event, e.Name, nil
}

// pastedEvent makes an event of what somebody wrote down.
func (a *API) pastedEvent(c *call, in PastedEvent) hub.Event {
	e := hub.Event{
		Tenant: c.tenant, ID: hub.NewID[hub.EventID](), Provider: in.Provider, Type: in.Type, ProviderID: in.ProviderID,
		ReceivedAt: a.o.Now(), Verified: true, Header: headerOf(in.Headers), Body: in.Body,
	}
	var raw string
	if json.Unmarshal(in.Body, &raw) == nil {
		e.Body = []byte(raw)
	}
	if in.ReceivedAt != nil {
		e.ReceivedAt = *in.ReceivedAt
	}
	if in.Verified != nil {
		e.Verified = *in.Verified
	}
	if p, ok := provider.Get(in.Provider); ok {
		v := p.Verify(provider.Request{Method: http.MethodPost, Header: e.Header, Body: e.Body, At: e.ReceivedAt}) // for type and id alone
		e.Type, e.ProviderID = firstOf(e.Type, v.Type), firstOf(e.ProviderID, v.ProviderID)
		e.Body = p.Redact(e.Body)
		hide(p, e.Header)
	}
	return e
}

func fromResult(r routing.Result) RouteTestResult {
	out := RouteTestResult{Matched: r.Matched, Messages: []TestedMessage{}, Skipped: r.Skipped}
	if r.Err != nil {
		out.Error = r.Err.Error()
	}
	for _, m := range r.Messages {
		shown := TestedMessage{Channel: m.Channel, Type: m.Type, Key: m.Key, Data: m.Data}
		switch {
		case m.Version.Number != nil:
			shown.Version = *m.Version.Number
		case m.Version.Text != nil:
			shown.Version = *m.Version.Text
		}
		out.Messages = append(out.Messages, shown)
	}
	return out
}

// within moves field errors from the body into a part of it.
func within(prefix string, err error) error {
	e, ok := errors.AsType[*hub.Error](err)
	if !ok {
		return err
	}
	var fields []hub.FieldError
	for _, f := range e.Fields {
		fields = append(fields, hub.FieldError{Location: prefix + strings.TrimPrefix(f.Location, "body."), Message: f.Message})
	}
	return about(e.Code, e.Message, fields)
}
