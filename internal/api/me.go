package api

import (
	"context"
	"net/http"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// Me says whose the key is that asks.
type Me struct {
	Kind   string    `json:"kind" enum:"operator,key" doc:"An operator's key, or a tenant's."`
	Key    MyKey     `json:"key"`
	Tenant *MyTenant `json:"tenant,omitempty"`
}

// MyKey is the key that asks.
type MyKey struct {
	ID        hub.KeyID   `json:"id" example:"key_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	Name      string      `json:"name" example:"deploy"`
	Scopes    []hub.Scope `json:"scopes" example:"[\"config:read\"]"`
	ExpiresAt *time.Time  `json:"expires_at,omitempty"`
}

// MyTenant is the tenant of the key that asks, where it is a tenant's.
type MyTenant struct {
	ID   hub.TenantID `json:"id" example:"ten_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	Slug string       `json:"slug" example:"acme"`
	Name string       `json:"name" example:"Acme, Inc."`
}

// NoInput is the input of an operation that takes none.
type NoInput struct{}

func (a *API) me() {
	register(a, operation{
		id: "getMe", method: http.MethodGet, path: "/v1/me", tag: "Keys",
		summary: "Say whose the key is", about: "The key that asks: its scopes, its expiry, its tenant.",
	}, func(ctx context.Context, c *call, _ *NoInput) (Me, error) {
		p := c.principal
		me := Me{Kind: string(p.Kind), Key: MyKey{ID: p.Key, Name: p.Name, Scopes: orEmpty(p.Scopes), ExpiresAt: p.Expires}}
		if !p.Tenant.IsZero() {
			t, err := a.o.Directory.Tenant(ctx, p.Tenant)
			if err != nil {
				return Me{}, err
			}
			me.Tenant = &MyTenant{ID: t.ID, Slug: t.Slug, Name: t.Name}
		}
		return me, nil
	})
}
