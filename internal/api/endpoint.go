package api

import (
	"context"
	"net/http"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

// An Endpoint is where one provider sends one tenant's webhooks.
type Endpoint struct {
	ID         hub.EndpointID    `json:"id" example:"ep_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	Name       string            `json:"name" example:"stripe"`
	Provider   string            `json:"provider" example:"stripe"`
	URL        string            `json:"url" example:"https://hub.example.com/in/Zz0kq3vK2b8Yw1mC7h4y5AqLd9Xs6TgR" doc:"What the provider is given. Whoever knows it can send; only a signature is believed."`
	State      hub.State         `json:"state" enum:"enabled,disabled"`
	Mode       hub.EndpointMode  `json:"mode" enum:"enforce,monitor" doc:"What happens to webhooks that do not verify: enforce refuses them, monitor accepts them, marked."`
	Config     map[string]string `json:"config"`
	ArmedUntil *time.Time        `json:"armed_until,omitempty" doc:"A handshake that sets the secret is taken until then."`
	Metadata   hub.Metadata      `json:"metadata"`
	CreatedAt  time.Time         `json:"created_at"`
	UpdatedAt  time.Time         `json:"updated_at"`
}

func (e Endpoint) version() any { return e }

// A NewEndpoint is an endpoint with the secret that the hub made for it, which is shown this once.
type NewEndpoint struct {
	Endpoint
	Secret string `json:"secret,omitempty" example:"whsec_…" doc:"The signing secret that the hub made, to be pasted at the provider. It is not shown again."`
}

func (e NewEndpoint) version() any { return e.Endpoint.version() }

// EndpointCreate makes an endpoint.
type EndpointCreate struct {
	Name string `json:"name" minLength:"1" maxLength:"100" example:"stripe" doc:"Stands wherever the id does."`
	EndpointNew
}

// EndpointPut creates or replaces an endpoint at a name.
type EndpointPut struct {
	Name string `json:"name,omitempty" maxLength:"100" example:"stripe" doc:"The path's name, or where the path has an id, a new one."`
	EndpointNew
}

// EndpointNew is what both say.
type EndpointNew struct {
	Provider string            `json:"provider" minLength:"1" maxLength:"100" example:"stripe" doc:"A name of the catalogue. It never changes."`
	Secret   string            `json:"secret,omitempty" maxLength:"4096" example:"whsec_…" writeOnly:"true" doc:"The signing secret that the provider shows. Absent: the hub makes one where it is yours to choose; else add it later."`
	Config   map[string]string `json:"config,omitempty" maxProperties:"50" doc:"What the provider asks for besides secrets; see its settings."`
	State    string            `json:"state,omitempty" enum:"enabled,disabled" default:"enabled"`
	Mode     string            `json:"mode,omitempty" enum:"enforce,monitor" default:"enforce"`
	Metadata hub.Metadata      `json:"metadata,omitempty" maxProperties:"50"`
}

// EndpointInput is what of an endpoint can be changed.
type EndpointInput struct {
	Name     string            `json:"name" minLength:"1" maxLength:"100" example:"stripe"`
	Config   map[string]string `json:"config,omitempty" maxProperties:"50"`
	State    string            `json:"state,omitempty" enum:"enabled,disabled" default:"enabled"`
	Mode     string            `json:"mode,omitempty" enum:"enforce,monitor" default:"enforce"`
	Metadata hub.Metadata      `json:"metadata,omitempty" maxProperties:"50"`
}

func inputOfEndpoint(e hub.Endpoint) EndpointInput {
	return EndpointInput{Name: e.Name, Config: e.Config, State: string(e.State), Mode: string(e.Mode), Metadata: e.Metadata}
}

// apply checks the input and puts it into e; what comes back is e's provider as its configuration makes it.
func (in EndpointInput) apply(e *hub.Endpoint) (*provider.Provider, error) {
	e.Name, e.Config, e.Metadata = in.Name, in.Config, in.Metadata
	e.State, e.Mode = hub.State(firstOf(in.State, string(hub.Enabled))), hub.EndpointMode(firstOf(in.Mode, string(hub.ModeEnforce)))
	var configured *provider.Provider
	var misconfigured error
	if p, ok := provider.Get(e.Provider); ok {
		configured, misconfigured = p.Configure(e.Config)
	} else {
		misconfigured = hub.FieldErrorf("body.provider", "the catalogue has no such provider: see /v1/providers")
	}
	return configured, join(hub.ValidateName(e.Name), misconfigured, e.Metadata.Validate())
}

func (in EndpointNew) input(name string) EndpointInput {
	return EndpointInput{Name: name, Config: in.Config, State: in.State, Mode: in.Mode, Metadata: in.Metadata}
}

// fromEndpoint shows an endpoint with its URL. One whose token does not open has none.
func (a *API) fromEndpoint(ctx context.Context, c *call) func(store.SealedEndpoint) Endpoint {
	return func(e store.SealedEndpoint) Endpoint {
		out := Endpoint{
			ID: e.ID, Name: e.Name, Provider: e.Endpoint.Provider, State: e.State, Mode: e.Mode, Config: e.Config, ArmedUntil: utc(e.ArmedUntil),
			Metadata: orNone(e.Metadata), CreatedAt: e.CreatedAt.UTC(), UpdatedAt: e.UpdatedAt.UTC(),
		}
		if out.Config == nil {
			out.Config = map[string]string{}
		}
		token, err := a.o.Keeper.Open(secret.EndpointToken, e.TokenSealed, c.tenant[:], e.ID[:])
		if err != nil {
			a.o.Log.ErrorContext(ctx, "endpoint's token does not open", "tenant", c.tenant, "endpoint", e.ID)
			return out
		}
		out.URL = a.o.PublicURL.JoinPath("in", string(token)).String()
		return out
	}
}

// newToken gives e a fresh token, and with it another URL.
func (a *API) newToken(c *call, e *store.SealedEndpoint) error {
	token := hub.RandomText(32)
	sealed, err := a.o.Keeper.Seal(secret.EndpointToken, []byte(token), c.tenant[:], e.ID[:])
	if err != nil {
		return err
	}
	e.TokenHash, e.TokenSealed = hub.HashToken(token), sealed
	return nil
}

// EndpointPath names an endpoint.
type EndpointPath struct {
	TenantPath
	Endpoint string `path:"endpoint" maxLength:"100" example:"stripe" doc:"The endpoint's id or name."`
}

func (in EndpointPath) ref() (store.Ref[hub.EndpointID], error) {
	return refOf[hub.EndpointID](in.Endpoint, "endpoint")
}

// The requests of endpoints.
type (
	EndpointListRequest struct {
		TenantPath
		Page
	}
	EndpointCreateRequest struct {
		TenantPath
		Body EndpointCreate
	}
	EndpointPutRequest struct {
		EndpointPath
		Body EndpointPut
	}
	EndpointPatchRequest struct {
		EndpointPath
		Body patch[EndpointInput]
	}
)

func (a *API) endpoints() {
	const all, one = "/v1/tenants/{tenant}/endpoints", "/v1/tenants/{tenant}/endpoints/{endpoint}"
	register(a, operation{
		id: "createEndpoint", method: http.MethodPost, path: all, tag: "Endpoints", status: http.StatusCreated,
		summary: "Create an endpoint", about: "`url` in the answer is what the provider is given.",
		scopes: []hub.Scope{hub.ConfigWrite}, secret: true, refuses: []hub.Code{hub.Conflict, hub.LimitExceeded},
	}, a.createEndpoint)
	register(a, operation{
		id: "listEndpoints", method: http.MethodGet, path: all, tag: "Endpoints",
		summary: "List the endpoints", about: "In the order they were made.", scopes: []hub.Scope{hub.ConfigRead},
	}, a.listEndpoints)
	register(a, operation{
		id: "getEndpoint", method: http.MethodGet, path: one, tag: "Endpoints",
		summary: "Get an endpoint", about: "With its URL, never with its secrets.", scopes: []hub.Scope{hub.ConfigRead},
	}, a.getEndpoint)
	register(a, operation{
		id: "putEndpoint", method: http.MethodPut, path: one, tag: "Endpoints", or: http.StatusCreated,
		summary: "Create or replace an endpoint",
		about: "At a name. What is absent is the default again; the URL and the secrets stay. A `secret` that the endpoint does not have yet is added to them. " +
			"`If-None-Match: *` only creates.",
		scopes: []hub.Scope{hub.ConfigWrite}, refuses: []hub.Code{hub.Conflict, hub.LimitExceeded},
	}, a.putEndpoint)
	register(a, operation{
		id: "updateEndpoint", method: http.MethodPatch, path: one, tag: "Endpoints",
		summary: "Change an endpoint", about: "Its name, configuration, state, mode and metadata.",
		scopes: []hub.Scope{hub.ConfigWrite}, refuses: []hub.Code{hub.Conflict},
	}, a.updateEndpoint)
	register(a, operation{
		id: "deleteEndpoint", method: http.MethodDelete, path: one, tag: "Endpoints", status: http.StatusNoContent,
		summary: "Delete an endpoint", about: "With its secrets and rejections; its events stay. Refused while a route names it.",
		scopes: []hub.Scope{hub.ConfigWrite}, refuses: []hub.Code{hub.Conflict},
	}, a.deleteEndpoint)
	register(a, operation{
		id: "rotateEndpointURL", method: http.MethodPost, path: one + "/rotate-url", tag: "Endpoints",
		summary: "Give an endpoint another URL", about: "The old one is 404 from then on.",
		scopes: []hub.Scope{hub.ConfigWrite}, secret: true,
	}, a.rotateEndpointURL)
	register(a, operation{
		id: "armEndpoint", method: http.MethodPost, path: one + "/handshake", tag: "Endpoints",
		summary: "Take the provider's handshake",
		about:   "For providers that set the secret themselves: the next handshake within 10 minutes brings it.",
		scopes:  []hub.Scope{hub.ConfigWrite}, secret: true,
	}, a.armEndpoint)
	a.verifyRequest(one + "/verify")
}

func (a *API) createEndpoint(ctx context.Context, c *call, in *EndpointCreateRequest) (NewEndpoint, error) {
	e, err := a.newEndpoint(c, in.Body.Name, in.Body.EndpointNew)
	if err != nil {
		return NewEndpoint{}, err
	}
	return commit(ctx, a, c, func(change *store.Change, tenant hub.Tenant) (NewEndpoint, error) {
		return a.addEndpoint(ctx, c, change, tenant, e)
	})
}

// A madeEndpoint is an endpoint that is to be added, with its first secret.
type madeEndpoint struct {
	store.SealedEndpoint
	given string // at most one of these has a value
	made  string
}

// newEndpoint checks the form of a new endpoint, and makes what the hub has to make for it.
func (a *API) newEndpoint(c *call, name string, in EndpointNew) (madeEndpoint, error) {
	e := madeEndpoint{given: in.Secret}
	e.ID, e.Endpoint.Provider = hub.NewID[hub.EndpointID](), in.Provider
	configured, err := in.input(name).apply(&e.Endpoint)
	if err != nil {
		return e, err
	}
	if in.Secret != "" {
		if err := configured.CheckSecret(in.Secret); err != nil {
			return e, err
		}
	} else if configured.UserSetsSecret {
		e.made = configured.NewSecret()
	}
	return e, a.newToken(c, &e.SealedEndpoint)
}

func (a *API) addEndpoint(ctx context.Context, c *call, change *store.Change, tenant hub.Tenant, e madeEndpoint) (NewEndpoint, error) {
	if err := a.room(ctx, tenant.Limits.Endpoints, a.o.Limits.Endpoints, "endpoints", change.CountEndpoints); err != nil {
		return NewEndpoint{}, err
	}
	created, err := change.CreateEndpoint(ctx, e.SealedEndpoint)
	if err != nil {
		return NewEndpoint{}, err
	}
	if value := e.given + e.made; value != "" {
		if _, err := a.addSecret(ctx, c, change, hub.Secret{Endpoint: created.ID, State: hub.SecretActive}, value); err != nil {
			return NewEndpoint{}, err
		}
	}
	return NewEndpoint{Endpoint: a.fromEndpoint(ctx, c)(created), Secret: e.made},
		change.Audit(ctx, "endpoint.create", created.ID.String(), map[string]any{"name": created.Name, "provider": created.Endpoint.Provider})
}

// room refuses one more of something where the tenant's limit of it is reached. The tenant is locked.
func (a *API) room(ctx context.Context, limit, standard *int, name string, count func(context.Context) (int, error)) error {
	if limit == nil {
		limit = standard
	}
	if limit == nil {
		return nil
	}
	n, err := count(ctx)
	if err != nil {
		return err
	}
	if n >= *limit {
		return &hub.Error{Code: hub.LimitExceeded, Message: "the tenant's limit of " + name + " is reached", Limit: name}
	}
	return nil
}

func (a *API) listEndpoints(ctx context.Context, c *call, in *EndpointListRequest) (List[Endpoint], error) {
	after, err := a.after(c, in.Page)
	if err != nil {
		return List[Endpoint]{}, err
	}
	rows, err := read(ctx, a, c, func(tx *store.Tx) ([]store.SealedEndpoint, error) {
		return tx.Endpoints(ctx, hub.EndpointID(after), in.Limit+1)
	})
	if err != nil {
		return List[Endpoint]{}, err
	}
	return list(a, c, in.Page, rows, func(e store.SealedEndpoint) [16]byte { return e.ID }, a.fromEndpoint(ctx, c))
}

func (a *API) getEndpoint(ctx context.Context, c *call, in *EndpointPath) (Endpoint, error) {
	ref, err := in.ref()
	if err != nil {
		return Endpoint{}, err
	}
	e, err := read(ctx, a, c, func(tx *store.Tx) (store.SealedEndpoint, error) { return tx.Endpoint(ctx, ref) })
	if err != nil {
		return Endpoint{}, err
	}
	return a.fromEndpoint(ctx, c)(e), nil
}

// changeEndpoint locks the endpoint of the path, checks If-Match and runs fn.
func (a *API) changeEndpoint(ctx context.Context, c *call, in EndpointPath, fn func(*store.Change, store.SealedEndpoint) (store.SealedEndpoint, error)) (Endpoint, error) {
	ref, err := in.ref()
	if err != nil {
		return Endpoint{}, err
	}
	return commit(ctx, a, c, func(change *store.Change, _ hub.Tenant) (Endpoint, error) {
		e, err := change.LockEndpoint(ctx, ref)
		if err != nil {
			return Endpoint{}, err
		}
		if err := c.match(a.fromEndpoint(ctx, c)(e)); err != nil {
			return Endpoint{}, err
		}
		if e, err = fn(change, e); err != nil {
			return Endpoint{}, err
		}
		return a.fromEndpoint(ctx, c)(e), nil
	})
}

func (a *API) putEndpoint(ctx context.Context, c *call, in *EndpointPutRequest) (NewEndpoint, error) {
	name, err := nameToPut(in.Endpoint, in.Body.Name)
	if err != nil {
		return NewEndpoint{}, err
	}
	fresh, err := a.newEndpoint(c, firstOf(name, "x"), in.Body.EndpointNew) // the form first, whether it is there or not
	if err != nil {
		return NewEndpoint{}, err
	}
	ref, err := in.ref()
	if err != nil {
		return NewEndpoint{}, err
	}
	return commit(ctx, a, c, func(change *store.Change, tenant hub.Tenant) (NewEndpoint, error) {
		e, err := change.LockEndpoint(ctx, ref)
		creates, err := c.creates(in.Endpoint, err)
		if err != nil {
			return NewEndpoint{}, err
		}
		if creates {
			return a.addEndpoint(ctx, c, change, tenant, fresh)
		}
		if err := c.matchFound(a.fromEndpoint(ctx, c)(e)); err != nil {
			return NewEndpoint{}, err
		}
		replaced, err := a.replaceEndpoint(ctx, c, change, firstOf(name, e.Name), in.Body.EndpointNew, e)
		if err != nil {
			return NewEndpoint{}, err
		}
		return NewEndpoint{Endpoint: a.fromEndpoint(ctx, c)(replaced)}, nil
	})
}

func (a *API) replaceEndpoint(ctx context.Context, c *call, change *store.Change, name string, in EndpointNew, e store.SealedEndpoint) (store.SealedEndpoint, error) {
	if e.Endpoint.Provider != in.Provider {
		return e, hub.FieldErrorf("body.provider", "an endpoint keeps its provider: create another")
	}
	if _, err := in.input(name).apply(&e.Endpoint); err != nil {
		return e, err
	}
	updated, err := change.UpdateEndpoint(ctx, e)
	if err != nil {
		return e, err
	}
	if in.Secret != "" {
		if err := a.ensureSecret(ctx, c, change, e.ID, in.Secret); err != nil {
			return e, err
		}
	}
	return updated, change.Audit(ctx, "endpoint.replace", e.ID.String(), map[string]any{"name": updated.Name})
}

func (a *API) updateEndpoint(ctx context.Context, c *call, in *EndpointPatchRequest) (Endpoint, error) {
	return a.changeEndpoint(ctx, c, in.EndpointPath, func(change *store.Change, e store.SealedEndpoint) (store.SealedEndpoint, error) {
		input, err := patched(a, inputOfEndpoint(e.Endpoint), in.Body)
		if err != nil {
			return e, err
		}
		if _, err := input.apply(&e.Endpoint); err != nil {
			return e, err
		}
		updated, err := change.UpdateEndpoint(ctx, e)
		if err != nil {
			return e, err
		}
		return updated, change.Audit(ctx, "endpoint.update", e.ID.String(), in.Body.fields())
	})
}

func (a *API) deleteEndpoint(ctx context.Context, c *call, in *EndpointPath) (nothing, error) {
	_, err := a.changeEndpoint(ctx, c, *in, func(change *store.Change, e store.SealedEndpoint) (store.SealedEndpoint, error) {
		if err := change.DeleteEndpoint(ctx, e.ID); err != nil {
			return e, err
		}
		return e, change.Audit(ctx, "endpoint.delete", e.ID.String(), map[string]any{"name": e.Name})
	})
	return nothing{}, err
}

func (a *API) rotateEndpointURL(ctx context.Context, c *call, in *EndpointPath) (Endpoint, error) {
	return a.changeEndpoint(ctx, c, *in, func(change *store.Change, e store.SealedEndpoint) (store.SealedEndpoint, error) {
		if err := a.newToken(c, &e); err != nil {
			return e, err
		}
		updated, err := change.UpdateEndpoint(ctx, e)
		if err != nil {
			return e, err
		}
		return updated, change.Audit(ctx, "endpoint.rotate_url", e.ID.String(), map[string]any{"name": e.Name})
	})
}

// armedFor is how long an endpoint takes a handshake that sets its secret.
const armedFor = 10 * time.Minute

func (a *API) armEndpoint(ctx context.Context, c *call, in *EndpointPath) (Endpoint, error) {
	return a.changeEndpoint(ctx, c, *in, func(change *store.Change, e store.SealedEndpoint) (store.SealedEndpoint, error) {
		p, ok := provider.Get(e.Endpoint.Provider)
		if !ok || !p.SetsSecret {
			return e, hub.FieldErrorf("path.endpoint", "its provider has no handshake that sets the secret")
		}
		armed, err := change.ArmEndpoint(ctx, e.ID, a.o.Now().Add(armedFor))
		if err != nil {
			return e, err
		}
		return armed, change.Audit(ctx, "endpoint.arm", e.ID.String(), map[string]any{"name": e.Name})
	})
}
