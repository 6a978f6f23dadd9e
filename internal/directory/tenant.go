package directory

import (
	"context"
	"slices"
	"time"

	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/routing"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

// A Tenant is one tenant's configuration at one config_version. It is never changed, only replaced.
type Tenant struct {
	hub.Tenant // Limits are complete: the operator's and the hub's fill what it leaves open
	Endpoints  []*Endpoint
	Routes     []*routing.Program // in the order they were made
	Issuers    []*Issuer
	Keys       []*Key

	retention time.Duration
	replaced  chan struct{}
}

// An Endpoint is an endpoint with its secrets opened.
type Endpoint struct {
	hub.Endpoint
	Tenant   *Tenant
	Provider *provider.Provider // as the endpoint configures it; nil where this build cannot: a newer one made the endpoint
	Secrets  []provider.Secret
	Sealed   bool // a secret did not open: that a webhook does not verify may be our fault

	hash [32]byte
}

// An Issuer is an issuer with its grants compiled.
type Issuer struct {
	hub.Issuer
	Grants []*expr.Grant
}

// A Key is an API key and whose it is.
type Key struct {
	hub.Key
	Tenant *Tenant // nil for an operator's

	hash [32]byte
}

// Replaced is closed when the tenant's configuration is no longer the newest that is known, or it is gone.
func (t *Tenant) Replaced() <-chan struct{} { return t.replaced }

// Oldest is the first day whose messages the tenant's retention still shows.
func (t *Tenant) Oldest(now time.Time) time.Time {
	keep := t.retention
	if t.RetentionDays != nil {
		keep = min(keep, time.Duration(*t.RetentionDays)*24*time.Hour)
	}
	return now.UTC().Add(-keep).Truncate(24 * time.Hour)
}

// Endpoint is the tenant's endpoint of that id, nil where there is none.
func (t *Tenant) Endpoint(id hub.EndpointID) *Endpoint {
	i := slices.IndexFunc(t.Endpoints, func(e *Endpoint) bool { return e.ID == id })
	if i < 0 {
		return nil
	}
	return t.Endpoints[i]
}

// build makes what was read ready to use. What cannot be is logged and left unusable by itself: one broken row does
// not take its tenant away.
func (d *Directory) build(ctx context.Context, s store.Snapshot) *Tenant {
	t := &Tenant{Tenant: s.Tenant, retention: d.o.Retention, replaced: make(chan struct{})}
	t.Limits = t.Limits.Or(d.o.Limits)
	for _, sealed := range s.Endpoints {
		t.Endpoints = append(t.Endpoints, d.endpoint(ctx, t, sealed, s.Secrets))
	}
	for _, route := range s.Routes {
		program, err := routing.Compile(d.events, route)
		if err != nil {
			d.o.Log.ErrorContext(ctx, "route does not compile", "tenant", t.ID, "route", route.ID, "error", err)
			program = routing.Broken(route, err)
		}
		t.Routes = append(t.Routes, program)
	}
	for _, issuer := range s.Issuers {
		t.Issuers = append(t.Issuers, d.issuer(ctx, t, issuer))
	}
	for _, key := range s.Keys {
		t.Keys = append(t.Keys, &Key{Key: key.Key, Tenant: t, hash: key.Hash})
	}
	return t
}

func (d *Directory) endpoint(ctx context.Context, t *Tenant, sealed store.SealedEndpoint, secrets []store.SealedSecret) *Endpoint {
	e := &Endpoint{Endpoint: sealed.Endpoint, Tenant: t, hash: sealed.TokenHash}
	e.Provider = d.provider(ctx, e)
	token, err := d.o.Keeper.Open(secret.EndpointToken, sealed.TokenSealed, t.ID[:], e.ID[:])
	if err != nil {
		d.o.Log.ErrorContext(ctx, "endpoint's token does not open", "tenant", t.ID, "endpoint", e.ID)
	}
	e.Token = string(token)
	for _, s := range secrets {
		if s.Endpoint != e.ID {
			continue
		}
		value, err := d.o.Keeper.Open(secret.EndpointSecret, s.Sealed, t.ID[:], e.ID[:], s.ID[:])
		if err != nil {
			d.o.Log.ErrorContext(ctx, "signing secret does not open", "tenant", t.ID, "endpoint", e.ID, "secret", s.ID)
			e.Sealed = true
			continue
		}
		opened := provider.Secret{ID: s.ID, Value: value, Candidate: s.State == hub.SecretCandidate}
		if s.ExpiresAt != nil {
			opened.ExpiresAt = *s.ExpiresAt
		}
		e.Secrets = append(e.Secrets, opened)
	}
	return e
}

// provider is the endpoint's, configured once for all its requests.
func (d *Directory) provider(ctx context.Context, e *Endpoint) *provider.Provider {
	p, ok := provider.Get(e.Endpoint.Provider)
	if !ok {
		d.o.Log.ErrorContext(ctx, "endpoint's provider unknown to this build", "tenant", e.Tenant.ID, "endpoint", e.ID, "provider", e.Endpoint.Provider)
		return nil
	}
	configured, err := p.Configure(e.Config)
	if err != nil {
		d.o.Log.ErrorContext(ctx, "endpoint's configuration cannot be used", "tenant", e.Tenant.ID, "endpoint", e.ID, "error", err)
		return nil
	}
	return configured
}

func (d *Directory) issuer(ctx context.Context, t *Tenant, row hub.Issuer) *Issuer {
	issuer := &Issuer{Issuer: row}
	for _, g := range row.Grants {
		grant, err := d.claims.Grant("grants", g, row.Name)
		if err != nil {
			d.o.Log.ErrorContext(ctx, "grant does not compile", "tenant", t.ID, "issuer", row.ID, "error", err)
			continue
		}
		issuer.Grants = append(issuer.Grants, grant)
	}
	return issuer
}
