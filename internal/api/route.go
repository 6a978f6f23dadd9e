package api

import (
	"context"
	"net/http"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/routing"
	"github.com/tributary-hub/tributary/internal/store"
)

// A Route is a rule: which events become messages, on which channels, with which type and data.
type Route struct {
	ID        hub.RouteID    `json:"id" example:"rt_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	Name      string         `json:"name" example:"payments"`
	Endpoint  hub.EndpointID `json:"endpoint,omitzero" example:"ep_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05" doc:"Absent: events of every endpoint."`
	Match     string         `json:"match" example:"event.type == 'payment_intent.succeeded'"`
	Channels  []string       `json:"channels" example:"[\"customer:{event.body.data.object.customer}\"]"`
	Type      string         `json:"type,omitempty" example:"payment_success" doc:"Absent: the event's own."`
	Data      string         `json:"data,omitempty" example:"{'amount': event.body.data.object.amount}" doc:"Absent: thin, the event's id and type."`
	Key       string         `json:"key,omitempty"`
	Version   string         `json:"version,omitempty"`
	State     hub.State      `json:"state" enum:"enabled,disabled"`
	Metadata  hub.Metadata   `json:"metadata"`
	Failures  RouteFailures  `json:"failures"`
	CreatedAt time.Time      `json:"created_at"`
	UpdatedAt time.Time      `json:"updated_at"`
}

func (r Route) version() any {
	r.Failures = RouteFailures{}
	return r
}

// RouteFailures counts the events that a route failed on.
type RouteFailures struct {
	Count     int64       `json:"count" doc:"Counted every few seconds."`
	LastError string      `json:"last_error,omitempty"`
	LastEvent hub.EventID `json:"last_event,omitzero"`
	LastAt    *time.Time  `json:"last_at,omitempty"`
}

// RouteInput is what of a route can be changed, and with its name what makes one.
type RouteInput struct {
	Name string `json:"name" minLength:"1" maxLength:"100" example:"payments" doc:"Stands wherever the id does."`
	RouteFields
}

// RoutePut creates or replaces a route at a name.
type RoutePut struct {
	Name string `json:"name,omitempty" maxLength:"100" example:"payments" doc:"The path's name, or where the path has an id, a new one."`
	RouteFields
}

// RouteFields is what both say.
type RouteFields struct {
	Endpoint string       `json:"endpoint,omitempty" maxLength:"100" example:"stripe" doc:"The endpoint whose events are looked at, by its id or name. Absent: every endpoint's."`
	Match    string       `json:"match" minLength:"1" maxLength:"4096" example:"event.type == 'payment_intent.succeeded'" doc:"CEL over event, a boolean: whether the event becomes messages."`
	Channels []string     `json:"channels" minItems:"1" maxItems:"10" example:"[\"customer:{event.body.data.object.customer}\"]" doc:"Channels with CEL in braces: a message for each."`
	Type     string       `json:"type,omitempty" maxLength:"128" example:"payment_success" doc:"The messages' type, plain text. Absent: the event's own."`
	Data     string       `json:"data,omitempty" maxLength:"4096" example:"{'amount': event.body.data.object.amount}" doc:"CEL: what the browser sees. Absent: thin, the event's id and type."`
	Key      string       `json:"key,omitempty" maxLength:"4096" example:"event.body.data.object.id" doc:"CEL, a string: retains the message as the channel's value for that key."`
	Version  string       `json:"version,omitempty" maxLength:"4096" example:"event.body.created" doc:"CEL, an integer or a string: an older version never replaces a newer one."`
	State    string       `json:"state,omitempty" enum:"enabled,disabled" default:"enabled"`
	Metadata hub.Metadata `json:"metadata,omitempty" maxProperties:"50"`
}

func fromRoute(r hub.Route) Route {
	return Route{
		ID: r.ID, Name: r.Name, Endpoint: r.Endpoint, Match: r.Match, Channels: orEmpty(r.Channels), Type: r.Type, Data: r.Data, Key: r.Key,
		Version: r.Version, State: r.State, Metadata: orNone(r.Metadata), CreatedAt: r.CreatedAt.UTC(), UpdatedAt: r.UpdatedAt.UTC(),
		Failures: RouteFailures{Count: r.Failures.Count, LastError: r.Failures.LastError, LastEvent: r.Failures.LastEvent, LastAt: utc(r.Failures.LastAt)},
	}
}

func inputOfRoute(r hub.Route) RouteInput {
	return RouteInput{Name: r.Name, RouteFields: RouteFields{
		Endpoint: r.Endpoint.String(), Match: r.Match, Channels: r.Channels, Type: r.Type, Data: r.Data, Key: r.Key, Version: r.Version,
		State: string(r.State), Metadata: r.Metadata,
	}}
}

// applyRoute checks the input and puts it into r, all but its endpoint, which takes a look into the database.
func (a *API) applyRoute(in RouteInput, r *hub.Route) error {
	_, err := a.compileRoute(in, r)
	return join(hub.ValidateName(r.Name), r.Metadata.Validate(), err)
}

func (a *API) compileRoute(in RouteInput, r *hub.Route) (*routing.Program, error) {
	r.Name, r.Match, r.Channels, r.Type, r.Data, r.Key, r.Version = in.Name, in.Match, in.Channels, in.Type, in.Data, in.Key, in.Version
	r.State, r.Metadata = hub.State(firstOf(in.State, string(hub.Enabled))), in.Metadata
	return routing.Compile(a.o.Directory.Events(), *r)
}

// findEndpoint puts into r the endpoint that the input names.
func findEndpoint(ctx context.Context, tx *store.Tx, name string, r *hub.Route) error {
	r.Endpoint = hub.EndpointID{}
	if name == "" {
		return nil
	}
	missing := hub.FieldErrorf("body.endpoint", "no such endpoint")
	ref, err := refOf[hub.EndpointID](name, "endpoint")
	if err != nil {
		return missing
	}
	e, err := tx.Endpoint(ctx, ref)
	if hub.CodeOf(err) == hub.NotFound {
		return missing
	}
	r.Endpoint = e.ID
	return err
}

// RoutePath names a route.
type RoutePath struct {
	TenantPath
	Route string `path:"route" maxLength:"100" example:"payments" doc:"The route's id or name."`
}

func (in RoutePath) ref() (store.Ref[hub.RouteID], error) {
	return refOf[hub.RouteID](in.Route, "route")
}

// The requests of routes.
type (
	RouteListRequest struct {
		TenantPath
		Page
	}
	RouteCreateRequest struct {
		TenantPath
		Body RouteInput
	}
	RoutePutRequest struct {
		RoutePath
		Body RoutePut
	}
	RoutePatchRequest struct {
		RoutePath
		Body patch[RouteInput]
	}
)

func (a *API) routes() {
	const all, one = "/v1/tenants/{tenant}/routes", "/v1/tenants/{tenant}/routes/{route}"
	writes := []hub.Scope{hub.ConfigWrite, hub.EventsRead, hub.MessagesPublish}
	register(a, operation{
		id: "createRoute", method: http.MethodPost, path: all, tag: "Routes", status: http.StatusCreated,
		summary: "Create a route",
		about:   "It is compiled when saved; an error names its column. It needs `events:read` and `messages:publish` too, since it shows events to whoever hears its channels.",
		scopes:  writes, refuses: []hub.Code{hub.Conflict, hub.LimitExceeded},
	}, a.createRoute)
	register(a, operation{
		id: "listRoutes", method: http.MethodGet, path: all, tag: "Routes",
		summary: "List the routes", about: "In the order they were made, in which they also run.", scopes: []hub.Scope{hub.ConfigRead},
	}, a.listRoutes)
	register(a, operation{
		id: "getRoute", method: http.MethodGet, path: one, tag: "Routes",
		summary: "Get a route", about: "With the events that it failed on.", scopes: []hub.Scope{hub.ConfigRead},
	}, a.getRoute)
	register(a, operation{
		id: "putRoute", method: http.MethodPut, path: one, tag: "Routes", or: http.StatusCreated,
		summary: "Create or replace a route", about: "At a name. What is absent is the default again. `If-None-Match: *` only creates.",
		scopes: writes, refuses: []hub.Code{hub.Conflict, hub.LimitExceeded},
	}, a.putRoute)
	register(a, operation{
		id: "updateRoute", method: http.MethodPatch, path: one, tag: "Routes",
		summary: "Change a route", about: "An event that is accepted after the answer is routed by the new rule.",
		scopes: writes, refuses: []hub.Code{hub.Conflict},
	}, a.updateRoute)
	register(a, operation{
		id: "deleteRoute", method: http.MethodDelete, path: one, tag: "Routes", status: http.StatusNoContent,
		summary: "Delete a route", about: "Messages that it made stay.", scopes: writes,
	}, a.deleteRoute)
	a.routeTest(all + "/test")
}

func (a *API) createRoute(ctx context.Context, c *call, in *RouteCreateRequest) (Route, error) {
	r, err := a.newRoute(in.Body)
	if err != nil {
		return Route{}, err
	}
	return commit(ctx, a, c, func(change *store.Change, tenant hub.Tenant) (Route, error) {
		return a.addRoute(ctx, change, tenant, in.Body.Endpoint, r)
	})
}

// newRoute checks the form of a new route.
func (a *API) newRoute(in RouteInput) (hub.Route, error) {
	r := hub.Route{ID: hub.NewID[hub.RouteID]()}
	return r, a.applyRoute(in, &r)
}

func (a *API) addRoute(ctx context.Context, change *store.Change, tenant hub.Tenant, endpoint string, r hub.Route) (Route, error) {
	if err := a.room(ctx, tenant.Limits.Routes, a.o.Limits.Routes, "routes", change.CountRoutes); err != nil {
		return Route{}, err
	}
	if err := findEndpoint(ctx, &change.Tx, endpoint, &r); err != nil {
		return Route{}, err
	}
	created, err := change.CreateRoute(ctx, r)
	if err != nil {
		return Route{}, err
	}
	return fromRoute(created), change.Audit(ctx, "route.create", created.ID.String(), map[string]any{"name": created.Name})
}

func (a *API) listRoutes(ctx context.Context, c *call, in *RouteListRequest) (List[Route], error) {
	after, err := a.after(c, in.Page)
	if err != nil {
		return List[Route]{}, err
	}
	rows, err := read(ctx, a, c, func(tx *store.Tx) ([]hub.Route, error) { return tx.Routes(ctx, hub.RouteID(after), in.Limit+1) })
	if err != nil {
		return List[Route]{}, err
	}
	return list(a, c, in.Page, rows, func(r hub.Route) [16]byte { return r.ID }, fromRoute)
}

func (a *API) getRoute(ctx context.Context, c *call, in *RoutePath) (Route, error) {
	ref, err := in.ref()
	if err != nil {
		return Route{}, err
	}
	r, err := read(ctx, a, c, func(tx *store.Tx) (hub.Route, error) { return tx.Route(ctx, ref) })
	if err != nil {
		return Route{}, err
	}
	return fromRoute(r), nil
}

// changeRoute locks the route of the path, checks If-Match and runs fn.
func (a *API) changeRoute(ctx context.Context, c *call, in RoutePath, fn func(*store.Change, hub.Route) (hub.Route, error)) (Route, error) {
	ref, err := in.ref()
	if err != nil {
		return Route{}, err
	}
	return commit(ctx, a, c, func(change *store.Change, _ hub.Tenant) (Route, error) {
		r, err := change.LockRoute(ctx, ref)
		if err != nil {
			return Route{}, err
		}
		if err := c.match(fromRoute(r)); err != nil {
			return Route{}, err
		}
		r, err = fn(change, r)
		return fromRoute(r), err
	})
}

// saveRoute checks the input and writes it over r.
func (a *API) saveRoute(ctx context.Context, change *store.Change, in RouteInput, r hub.Route) (hub.Route, error) {
	if err := a.applyRoute(in, &r); err != nil {
		return r, err
	}
	if err := findEndpoint(ctx, &change.Tx, in.Endpoint, &r); err != nil {
		return r, err
	}
	return change.UpdateRoute(ctx, r)
}

func (a *API) putRoute(ctx context.Context, c *call, in *RoutePutRequest) (Route, error) {
	name, err := nameToPut(in.Route, in.Body.Name)
	if err != nil {
		return Route{}, err
	}
	fresh, err := a.newRoute(RouteInput{Name: firstOf(name, "x"), RouteFields: in.Body.RouteFields}) // the form first, whether it is there or not
	if err != nil {
		return Route{}, err
	}
	ref, err := in.ref()
	if err != nil {
		return Route{}, err
	}
	return commit(ctx, a, c, func(change *store.Change, tenant hub.Tenant) (Route, error) {
		r, err := change.LockRoute(ctx, ref)
		creates, err := c.creates(in.Route, err)
		if err != nil {
			return Route{}, err
		}
		if creates {
			return a.addRoute(ctx, change, tenant, in.Body.Endpoint, fresh)
		}
		if err := c.matchFound(fromRoute(r)); err != nil {
			return Route{}, err
		}
		saved, err := a.saveRoute(ctx, change, RouteInput{Name: firstOf(name, r.Name), RouteFields: in.Body.RouteFields}, r)
		if err != nil {
			return Route{}, err
		}
		return fromRoute(saved), change.Audit(ctx, "route.replace", saved.ID.String(), map[string]any{"name": saved.Name})
	})
}

func (a *API) updateRoute(ctx context.Context, c *call, in *RoutePatchRequest) (Route, error) {
	if err := a.checkRoutePatch(in.Body); err != nil {
		return Route{}, err
	}
	return a.changeRoute(ctx, c, in.RoutePath, func(change *store.Change, r hub.Route) (hub.Route, error) {
		input, err := patched(a, inputOfRoute(r), in.Body)
		if err != nil {
			return r, err
		}
		saved, err := a.saveRoute(ctx, change, input, r)
		if err != nil {
			return r, err
		}
		return saved, change.Audit(ctx, "route.update", saved.ID.String(), in.Body.fields())
	})
}

// checkRoutePatch checks what a patch says before there is a route that it is said of.
func (a *API) checkRoutePatch(p patch[RouteInput]) error {
	probe, err := patched(a, RouteInput{Name: "x", RouteFields: RouteFields{Match: "true", Channels: []string{"x"}}}, p)
	if err != nil {
		return err
	}
	if probe.Version != "" {
		probe.Key = firstOf(probe.Key, "'x'") // the route may have the key that a version needs
	}
	return a.applyRoute(probe, &hub.Route{})
}

func (a *API) deleteRoute(ctx context.Context, c *call, in *RoutePath) (nothing, error) {
	_, err := a.changeRoute(ctx, c, *in, func(change *store.Change, r hub.Route) (hub.Route, error) {
		if err := change.DeleteRoute(ctx, r.ID); err != nil {
			return r, err
		}
		return r, change.Audit(ctx, "route.delete", r.ID.String(), map[string]any{"name": r.Name})
	})
	return nothing{}, err
}
