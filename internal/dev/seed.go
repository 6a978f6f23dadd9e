package dev

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

const (
	demoTenant = "demo"
	demoIssuer = "dev"
)

// demoProviders have an endpoint and a route each, named like them.
var demoProviders = []string{"stripe", "github", "shopify", "slack", "standard-webhooks", "generic-hmac"}

// seeder makes the demo tenant, or finds it again. Each object is made by one transaction and looked for by its name,
// so that a start may end anywhere; what a user has changed stays as it is.
type seeder struct {
	store    *store.Store
	keeper   *secret.Keeper
	folder   *folder // keeps the values of keys, which the database does not know
	ownerURL string
	now      func() time.Time
}

// seeded is what there is to tell about the demo tenant.
type seeded struct {
	operatorKey, tenantKey string
	endpoints              map[string]demoEndpoint
}

type demoEndpoint struct {
	id            hub.EndpointID
	token, secret string
}

// seed leaves the tenant with its endpoints, routes, issuer and keys. row says where the issuer is now.
func (s *seeder) seed(ctx context.Context, row hub.Issuer) (seeded, error) {
	tenant, err := s.tenant(ctx)
	if err != nil {
		return seeded{}, err
	}
	there, err := s.store.Pipeline.Snapshot(ctx, tenant)
	if err != nil {
		return seeded{}, err
	}
	done := seeded{endpoints: map[string]demoEndpoint{}}
	for _, name := range demoProviders {
		endpoint, err := s.endpoint(ctx, there, name)
		if err != nil {
			return seeded{}, fmt.Errorf("endpoint %s: %w", name, err)
		}
		done.endpoints[name] = endpoint
		if err := s.route(ctx, there, name, endpoint.id); err != nil {
			return seeded{}, fmt.Errorf("route %s: %w", name, err)
		}
	}
	if err := s.issuer(ctx, there, row); err != nil {
		return seeded{}, fmt.Errorf("issuer %s: %w", demoIssuer, err)
	}
	if done.tenantKey, err = s.tenantKey(ctx, there); err != nil {
		return seeded{}, fmt.Errorf("tenant's key: %w", err)
	}
	if done.operatorKey, err = s.operatorKey(ctx); err != nil {
		return seeded{}, fmt.Errorf("operator's key: %w", err)
	}
	return done, nil
}

// change is a change of the hub's own, with its audit entry.
func (s *seeder) change(ctx context.Context, tenant hub.TenantID, action, object string, fn func(*store.Change) error) error {
	actor := hub.Principal{Kind: hub.PrincipalSystem, Name: "tributary dev"}
	_, err := s.store.ChangeTenant(ctx, actor, tenant, func(c *store.Change) error {
		if err := fn(c); err != nil {
			return err
		}
		return c.Audit(ctx, action, object, nil)
	})
	return err
}

func (s *seeder) tenant(ctx context.Context) (hub.TenantID, error) {
	id, err := s.store.Pipeline.TenantBySlug(ctx, demoTenant)
	if hub.CodeOf(err) != hub.NotFound {
		return id, err
	}
	id = hub.NewID[hub.TenantID]()
	err = s.change(ctx, id, "tenant.create", id.String(), func(c *store.Change) error {
		_, err := c.CreateTenant(ctx, hub.Tenant{Slug: demoTenant, Name: "Demo", State: hub.Active, Settings: hub.DefaultSettings()})
		return err
	})
	if hub.CodeOf(err) == hub.Conflict {
		return id, errors.New("tenant demo was deleted, and a slug is not given out twice: name another data folder, or another database, to begin anew")
	}
	return id, err
}

func (s *seeder) endpoint(ctx context.Context, there store.Snapshot, name string) (demoEndpoint, error) {
	tenant := there.Tenant.ID
	i := slices.IndexFunc(there.Endpoints, func(e store.SealedEndpoint) bool { return e.Name == name })
	if i < 0 {
		return s.makeEndpoint(ctx, tenant, name)
	}
	id := there.Endpoints[i].ID
	token, err := s.keeper.Open(secret.EndpointToken, there.Endpoints[i].TokenSealed, tenant[:], id[:])
	if err != nil {
		return demoEndpoint{}, errors.New("the database was used with another keyset: start with the data folder that it was used with, or name another database")
	}
	found := demoEndpoint{id: id, token: string(token)}
	for _, sealed := range slices.Backward(there.Secrets) { // the newest that verifies
		if sealed.Endpoint != id || sealed.State != hub.SecretActive || s.over(sealed.ExpiresAt) {
			continue
		}
		value, err := s.keeper.Open(secret.EndpointSecret, sealed.Sealed, tenant[:], id[:], sealed.ID[:])
		found.secret = string(value)
		return found, err
	}
	return found, nil // somebody took its secrets away
}

func (s *seeder) makeEndpoint(ctx context.Context, tenant hub.TenantID, name string) (demoEndpoint, error) {
	p, ok := provider.Get(name)
	if !ok {
		return demoEndpoint{}, errors.New("the catalogue does not have it")
	}
	made := demoEndpoint{id: hub.NewID[hub.EndpointID](), token: rand.Text(), secret: p.NewSecret()}
	key := hub.NewID[hub.SecretID]()
	sealedToken, err := s.keeper.Seal(secret.EndpointToken, []byte(made.token), tenant[:], made.id[:])
	if err != nil {
		return demoEndpoint{}, err
	}
	sealedSecret, err := s.keeper.Seal(secret.EndpointSecret, []byte(made.secret), tenant[:], made.id[:], key[:])
	if err != nil {
		return demoEndpoint{}, err
	}
	err = s.change(ctx, tenant, "endpoint.create", made.id.String(), func(c *store.Change) error {
		_, err := c.CreateEndpoint(ctx, store.SealedEndpoint{
			Endpoint: hub.Endpoint{
				ID: made.id, Name: name, Provider: name, State: hub.Enabled, Mode: hub.ModeEnforce, Config: p.Example,
			},
			TokenHash:   hub.HashToken(made.token),
			TokenSealed: sealedToken,
		})
		if err != nil {
			return err
		}
		_, err = c.CreateSecret(ctx, store.SealedSecret{
			Secret: hub.Secret{ID: key, Endpoint: made.id, State: hub.SecretActive},
			Sealed: sealedSecret,
		})
		return err
	})
	return made, err
}

func (s *seeder) route(ctx context.Context, there store.Snapshot, name string, endpoint hub.EndpointID) error {
	if slices.ContainsFunc(there.Routes, func(r hub.Route) bool { return r.Name == name }) {
		return nil
	}
	route := hub.Route{
		ID: hub.NewID[hub.RouteID](), Name: name, Endpoint: endpoint, State: hub.Enabled,
		Match: "true", Channels: []string{"demo:{event.provider}"}, Data: "event.body",
	}
	return s.change(ctx, there.Tenant.ID, "route.create", route.ID.String(), func(c *store.Change) error {
		_, err := c.CreateRoute(ctx, route)
		return err
	})
}

// issuer makes the row, or writes today's address into it. Its grants are left to the user.
func (s *seeder) issuer(ctx context.Context, there store.Snapshot, row hub.Issuer) error {
	tenant := there.Tenant.ID
	i := slices.IndexFunc(there.Issuers, func(r hub.Issuer) bool { return r.Name == row.Name })
	if i < 0 {
		row.ID = hub.NewID[hub.IssuerID]()
		row.Grants = []hub.Grant{{Pattern: "user:{sub}"}, {Pattern: "customer:{claims.customer}"}, {Pattern: "demo:*"}}
		return s.change(ctx, tenant, "issuer.create", row.ID.String(), func(c *store.Change) error {
			_, err := c.CreateIssuer(ctx, row)
			return err
		})
	}
	old := there.Issuers[i]
	if old.Issuer == row.Issuer && old.JWKSURI == row.JWKSURI && old.Internal && slices.Equal(old.Audiences, row.Audiences) {
		return nil
	}
	old.Issuer, old.JWKSURI, old.Audiences, old.Internal = row.Issuer, row.JWKSURI, row.Audiences, true
	return s.change(ctx, tenant, "issuer.update", old.ID.String(), func(c *store.Change) error {
		_, err := c.UpdateIssuer(ctx, old)
		return err
	})
}

// tenantKey gives a key with every scope. Its value is kept before the row is made, so that a start that ends between
// the two makes the same key next time.
func (s *seeder) tenantKey(ctx context.Context, there store.Snapshot) (string, error) {
	value, err := s.folder.keep(fileTenantKey, newKey)
	if err != nil {
		return "", err
	}
	hash := hub.HashToken(value)
	for _, k := range there.Keys {
		if k.Hash == hash && !s.over(k.ExpiresAt) && includes(k.Scopes, hub.TenantScopes()) {
			return value, nil
		}
	}
	switch _, err := s.store.Pipeline.TenantByKey(ctx, hash); hub.CodeOf(err) {
	case hub.NotFound:
	case "": // revoked, expired or of an older build
		if value, err = s.folder.renew(fileTenantKey, newKey); err != nil {
			return "", err
		}
	default:
		return "", err
	}
	key := store.HashedKey{
		Key:  hub.Key{ID: hub.NewID[hub.KeyID](), Name: "tributary dev", Scopes: hub.TenantScopes()},
		Hash: hub.HashToken(value),
	}
	return value, s.change(ctx, there.Tenant.ID, "key.create", key.ID.String(), func(c *store.Change) error {
		_, err := c.CreateKey(ctx, key)
		return err
	})
}

func (s *seeder) operatorKey(ctx context.Context) (string, error) {
	value, err := s.folder.keep(fileOperatorKey, newKey)
	if err != nil {
		return "", err
	}
	found, err := s.store.Pipeline.OperatorKey(ctx, hub.HashToken(value))
	switch hub.CodeOf(err) {
	case hub.NotFound:
	case "":
		if found.RevokedAt == nil && !s.over(found.ExpiresAt) && includes(found.Scopes, hub.OperatorScopes()) {
			return value, nil
		}
		if value, err = s.folder.renew(fileOperatorKey, newKey); err != nil {
			return "", err
		}
	default:
		return "", err
	}
	return value, store.CreateOperatorKey(ctx, s.ownerURL, store.HashedKey{
		Key:  hub.Key{ID: hub.NewID[hub.KeyID](), Name: "tributary dev", Scopes: hub.OperatorScopes()},
		Hash: hub.HashToken(value),
	})
}

func (s *seeder) over(at *time.Time) bool { return at != nil && !s.now().Before(*at) }

func includes(scopes, wanted []hub.Scope) bool {
	return !slices.ContainsFunc(wanted, func(w hub.Scope) bool { return !slices.Contains(scopes, w) })
}

// newKey makes a key's value.
func newKey() (string, error) {
	return hub.NewKey(), nil
}
