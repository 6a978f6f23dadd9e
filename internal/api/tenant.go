package api

import (
	"context"
	"net/http"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// A Tenant is a customer of the operator.
type Tenant struct {
	ID            hub.TenantID    `json:"id" example:"ten_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	Slug          string          `json:"slug" example:"acme" doc:"Stands wherever the id does; never changes and is never given out again."`
	Name          string          `json:"name" example:"Acme, Inc."`
	State         hub.TenantState `json:"state" enum:"active,suspended"`
	Limits        Limits          `json:"limits"`
	RetentionDays *int            `json:"retention_days,omitempty" example:"7" doc:"Absent: the hub's retention."`
	Metadata      hub.Metadata    `json:"metadata"`
	CreatedAt     time.Time       `json:"created_at"`
	UpdatedAt     time.Time       `json:"updated_at"`
}

func (t Tenant) version() any { return t }

// TenantCreate makes a tenant.
type TenantCreate struct {
	Slug string `json:"slug" minLength:"1" maxLength:"63" pattern:"^[a-z][a-z0-9-]*$" example:"acme" doc:"Stands wherever the id does; never changes and is never given out again."`
	TenantInput
}

// TenantInput is what of a tenant can be changed.
type TenantInput struct {
	Name          string       `json:"name" minLength:"1" maxLength:"200" example:"Acme, Inc."`
	State         string       `json:"state,omitempty" enum:"active,suspended" default:"active" doc:"A suspended tenant's webhooks, keys and streams are refused; nothing of it is lost."`
	Limits        Limits       `json:"limits,omitzero"`
	RetentionDays *int         `json:"retention_days,omitempty" minimum:"1" example:"7" doc:"At most the hub's retention."`
	Metadata      hub.Metadata `json:"metadata,omitempty" maxProperties:"50"`
}

// Limits bound what a tenant may do. What is absent is the hub's default, and where that has none, without limit.
type Limits struct {
	WebhooksPerSecond     *int `json:"webhooks_per_second,omitempty" minimum:"0" doc:"Verified webhooks."`
	WebhooksBurst         *int `json:"webhooks_burst,omitempty" minimum:"0"`
	BodyBytes             *int `json:"body_bytes,omitempty" minimum:"0" maximum:"67108864" doc:"Of one webhook."`
	Connections           *int `json:"connections,omitempty" minimum:"0" doc:"Stored; has no effect yet."`
	ConnectionsPerSubject *int `json:"connections_per_subject,omitempty" minimum:"0" doc:"Stored; has no effect yet."`
	ConnectionsPerAddress *int `json:"connections_per_address,omitempty" minimum:"0" doc:"Stored; has no effect yet."`
	ChannelsPerConnection *int `json:"channels_per_connection,omitempty" minimum:"0"`
	ConnectsPerSecond     *int `json:"connects_per_second,omitempty" minimum:"0" doc:"Stored; has no effect yet."`
	PublishesPerSecond    *int `json:"publishes_per_second,omitempty" minimum:"0" doc:"Stored; has no effect yet."`
	Endpoints             *int `json:"endpoints,omitempty" minimum:"0"`
	Routes                *int `json:"routes,omitempty" minimum:"0"`
	Issuers               *int `json:"issuers,omitempty" minimum:"0"`
	StateKeys             *int `json:"state_keys,omitempty" minimum:"0" doc:"Of one channel. Stored; has no effect yet."`
	GenerationsOpen       *int `json:"generations_open,omitempty" minimum:"0" doc:"Stored; has no effect yet."`
}

func fromTenant(t hub.Tenant) Tenant {
	return Tenant{
		ID: t.ID, Slug: t.Slug, Name: t.Name, State: t.State, Limits: Limits(t.Limits), RetentionDays: t.RetentionDays,
		Metadata: orNone(t.Metadata), CreatedAt: t.CreatedAt.UTC(), UpdatedAt: t.UpdatedAt.UTC(),
	}
}

// orNone makes nil metadata empty: in answers objects are never null.
func orNone(m hub.Metadata) hub.Metadata {
	if m == nil {
		return hub.Metadata{}
	}
	return m
}

func inputOfTenant(t hub.Tenant) TenantInput {
	return TenantInput{Name: t.Name, State: string(t.State), Limits: Limits(t.Limits), RetentionDays: t.RetentionDays, Metadata: t.Metadata}
}

// apply checks the input and puts it into t.
func (in TenantInput) apply(t *hub.Tenant, retention time.Duration) error {
	t.Name, t.State, t.Limits, t.RetentionDays, t.Metadata = in.Name, hub.TenantState(in.State), hub.Limits(in.Limits), in.RetentionDays, in.Metadata
	if t.State == "" {
		t.State = hub.Active
	}
	var tooLong error
	if most := int(retention / (24 * time.Hour)); t.RetentionDays != nil && *t.RetentionDays > most {
		tooLong = hub.FieldErrorf("body.retention_days", "at most the hub's own retention, %d days", most)
	}
	return join(hub.ValidateTitle("body.name", t.Name), t.Metadata.Validate(), tooLong)
}

// TenantPath names a tenant.
type TenantPath struct {
	Tenant string `path:"tenant" maxLength:"100" example:"acme" doc:"The tenant's id or slug."`
}

// TenantCreateRequest, TenantPatchRequest are requests with a body.
type (
	TenantCreateRequest struct{ Body TenantCreate }
	TenantPatchRequest  struct {
		TenantPath
		Body patch[TenantInput]
	}
)

func (a *API) tenants() {
	register(a, operation{
		id: "createTenant", method: http.MethodPost, path: "/v1/tenants", tag: "Tenants", status: http.StatusCreated,
		summary: "Create a tenant", about: "Its slug must never have been used before.",
		scopes: []hub.Scope{hub.TenantsWrite}, refuses: []hub.Code{hub.Conflict},
	}, a.createTenant)
	register(a, operation{
		id: "listTenants", method: http.MethodGet, path: "/v1/tenants", tag: "Tenants",
		summary: "List the tenants", about: "In the order they were made.", scopes: []hub.Scope{hub.TenantsRead},
	}, a.listTenants)
	register(a, operation{
		id: "getTenant", method: http.MethodGet, path: "/v1/tenants/{tenant}", tag: "Tenants",
		summary: "Get a tenant", scopes: []hub.Scope{hub.TenantsRead},
	}, func(ctx context.Context, c *call, _ *TenantPath) (Tenant, error) {
		t, err := read(ctx, a, c, func(tx *store.Tx) (hub.Tenant, error) { return tx.Tenant(ctx) })
		return fromTenant(t), err
	})
	register(a, operation{
		id: "updateTenant", method: http.MethodPatch, path: "/v1/tenants/{tenant}", tag: "Tenants",
		summary: "Change a tenant", about: "Limits, retention, and whether it is served.", scopes: []hub.Scope{hub.TenantsWrite},
	}, a.updateTenant)
	register(a, operation{
		id: "deleteTenant", method: http.MethodDelete, path: "/v1/tenants/{tenant}", tag: "Tenants", status: http.StatusNoContent,
		summary: "Delete a tenant", about: "With everything that it owns. Its slug is not given out again, its audit stays.",
		scopes: []hub.Scope{hub.TenantsWrite},
	}, a.deleteTenant)
}

func (a *API) createTenant(ctx context.Context, c *call, in *TenantCreateRequest) (Tenant, error) {
	t := hub.Tenant{Slug: in.Body.Slug, Settings: hub.DefaultSettings()}
	if err := join(hub.ValidateSlug(t.Slug), in.Body.apply(&t, a.o.Retention)); err != nil {
		return Tenant{}, err
	}
	c.tenant = hub.NewID[hub.TenantID]()
	out, err := commitNew(ctx, a, c, func(change *store.Change) (Tenant, error) {
		created, err := change.CreateTenant(ctx, t)
		if err != nil {
			return Tenant{}, err
		}
		return fromTenant(created), change.Audit(ctx, "tenant.create", created.ID.String(), map[string]any{"slug": t.Slug})
	})
	if err != nil {
		return Tenant{}, err
	}
	if _, err := a.o.Directory.Tenant(ctx, out.ID); err != nil { // known from now on by its slug, even if that was asked for in vain just before
		a.o.Log.WarnContext(ctx, "new tenant not loaded", "tenant", out.ID, "error", err)
	}
	return out, nil
}

func (a *API) listTenants(ctx context.Context, c *call, in *Page) (List[Tenant], error) {
	after, err := a.after(c, *in)
	if err != nil {
		return List[Tenant]{}, err
	}
	rows, err := a.o.Store.Pipeline.Tenants(ctx, hub.TenantID(after), in.Limit+1)
	if err != nil {
		return List[Tenant]{}, err
	}
	return list(a, c, *in, rows, func(t hub.Tenant) [16]byte { return t.ID }, fromTenant)
}

func (a *API) updateTenant(ctx context.Context, c *call, in *TenantPatchRequest) (Tenant, error) {
	return commit(ctx, a, c, func(change *store.Change, t hub.Tenant) (Tenant, error) {
		if err := c.match(fromTenant(t)); err != nil {
			return Tenant{}, err
		}
		input, err := patched(a, inputOfTenant(t), in.Body)
		if err != nil {
			return Tenant{}, err
		}
		if err := input.apply(&t, a.o.Retention); err != nil {
			return Tenant{}, err
		}
		if t, err = change.UpdateTenant(ctx, t); err != nil {
			return Tenant{}, err
		}
		return fromTenant(t), change.Audit(ctx, "tenant.update", t.ID.String(), in.Body.fields())
	})
}

func (a *API) deleteTenant(ctx context.Context, c *call, _ *TenantPath) (nothing, error) {
	return commit(ctx, a, c, func(change *store.Change, t hub.Tenant) (none nothing, err error) {
		if err := c.match(fromTenant(t)); err != nil {
			return none, err
		}
		if err := change.DeleteTenant(ctx); err != nil {
			return none, err
		}
		return none, change.Audit(ctx, "tenant.delete", t.ID.String(), map[string]any{"slug": t.Slug})
	})
}
