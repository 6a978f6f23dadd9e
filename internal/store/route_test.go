package store_test

import (
	"context"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func TestKey(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id, other := tenant(t, db, "acme"), tenant(t, db, "other")
	k := store.HashedKey{Key: hub.Key{ID: hub.NewID[hub.KeyID](), Name: "ci", Scopes: []hub.Scope{hub.ConfigRead}}, Hash: hub.HashToken("trb_x")}
	change(t, db, id, func(ctx context.Context, c *store.Change) error {
		made, err := c.CreateKey(ctx, k)
		if err == nil && (made.Name != "ci" || made.CreatedAt.IsZero()) {
			t.Errorf("made: %+v", made)
		}
		return err
	})
	whose, err := db.Pipeline.TenantByKey(t.Context(), k.Hash)
	if err != nil || whose != id {
		t.Errorf("whose: %s, %v", whose, err)
	}
	_, err = tryRead(t, db, other, func(ctx context.Context, tx *store.Tx) (hub.Key, error) { return tx.Key(ctx, k.ID) })
	wantCode(t, err, hub.NotFound)
	wantCode(t, try(t, db, other, func(ctx context.Context, c *store.Change) error { return c.RevokeKey(ctx, k.ID) }), hub.NotFound)

	change(t, db, id, func(ctx context.Context, c *store.Change) error {
		if _, err := c.LockKey(ctx, k.ID); err != nil {
			return err
		}
		return c.RevokeKey(ctx, k.ID)
	})
	wantCode(t, try(t, db, id, func(ctx context.Context, c *store.Change) error { return c.RevokeKey(ctx, k.ID) }), hub.NotFound)
	keys := read(t, db, id, func(ctx context.Context, tx *store.Tx) ([]hub.Key, error) { return tx.Keys(ctx, hub.KeyID{}, 10) })
	if len(keys) != 1 || keys[0].RevokedAt == nil {
		t.Errorf("keys: %+v", keys)
	}
}

func TestRoute(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id, other := tenant(t, db, "acme"), tenant(t, db, "other")
	e, foreign := endpoint(t, db, id, "stripe"), endpoint(t, db, other, "stripe")
	r := hub.Route{
		ID: hub.NewID[hub.RouteID](), Name: "pay", Endpoint: e.ID, Match: "true", Channels: []string{"a", "b"}, Type: "t",
		Data: "1", Key: "'k'", Version: "2", State: hub.Enabled, Metadata: hub.Metadata{"a": "b"},
	}
	var made hub.Route
	change(t, db, id, func(ctx context.Context, c *store.Change) (err error) {
		made, err = c.CreateRoute(ctx, r)
		return err
	})
	r.CreatedAt, r.UpdatedAt = made.CreatedAt, made.UpdatedAt
	if diff := cmp.Diff(r, made); diff != "" {
		t.Error(diff)
	}
	wantCode(t, try(t, db, id, func(ctx context.Context, c *store.Change) error {
		r.ID, r.Name, r.Endpoint = hub.NewID[hub.RouteID](), "second", foreign.ID // the composite foreign key refuses
		_, err := c.CreateRoute(ctx, r)
		return err
	}), hub.Invalid)
	wantCode(t, try(t, db, id, func(ctx context.Context, c *store.Change) error {
		r.Name, r.Endpoint = "pay", hub.EndpointID{}
		_, err := c.CreateRoute(ctx, r)
		return err
	}), hub.Conflict)
	change(t, db, id, func(ctx context.Context, c *store.Change) error {
		locked, err := c.LockRoute(ctx, store.Ref[hub.RouteID]{Name: "pay"})
		if err != nil {
			return err
		}
		locked.Name, locked.Endpoint, locked.State = "paid", hub.EndpointID{}, hub.Disabled
		_, err = c.UpdateRoute(ctx, locked)
		return err
	})
	got := read(t, db, id, func(ctx context.Context, tx *store.Tx) (hub.Route, error) { return tx.Route(ctx, byID(made.ID)) })
	if got.Name != "paid" || !got.Endpoint.IsZero() || got.State != hub.Disabled {
		t.Errorf("route: %+v", got)
	}
	if n := read(t, db, other, func(ctx context.Context, tx *store.Tx) (int, error) { return tx.CountRoutes(ctx) }); n != 0 {
		t.Errorf("the other tenant counts %d", n)
	}
	list := read(t, db, other, func(ctx context.Context, tx *store.Tx) ([]hub.Route, error) { return tx.Routes(ctx, hub.RouteID{}, 10) })
	if len(list) != 0 {
		t.Errorf("the other tenant lists %+v", list)
	}
}

func TestIssuer(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id, other := tenant(t, db, "acme"), tenant(t, db, "other")
	i := hub.Issuer{
		ID: hub.NewID[hub.IssuerID](), Name: "login", Issuer: "https://login.example.com", Audiences: []string{"app"}, AuthorizedParties: []string{},
		RequiredClaims: map[string]any{"email_verified": true}, Grants: []hub.Grant{{Pattern: "user:{sub}"}, {Pattern: "org:{claims.org}:*", When: "true"}},
		SessionSeconds: new(3600), Metadata: hub.Metadata{},
	}
	var made hub.Issuer
	change(t, db, id, func(ctx context.Context, c *store.Change) (err error) {
		made, err = c.CreateIssuer(ctx, i)
		return err
	})
	i.CreatedAt, i.UpdatedAt = made.CreatedAt, made.UpdatedAt
	if diff := cmp.Diff(i, made); diff != "" {
		t.Error(diff)
	}
	wantCode(t, try(t, db, id, func(ctx context.Context, c *store.Change) error {
		i.ID = hub.NewID[hub.IssuerID]()
		_, err := c.CreateIssuer(ctx, i)
		return err
	}), hub.Conflict)
	change(t, db, id, func(ctx context.Context, c *store.Change) error {
		locked, err := c.LockIssuer(ctx, store.Ref[hub.IssuerID]{Name: "login"})
		if err != nil {
			return err
		}
		locked.SharesChannels, locked.SessionSeconds, locked.JWKSURI, locked.Internal = true, nil, "https://keys.example.com", true
		_, err = c.UpdateIssuer(ctx, locked)
		return err
	})
	got := read(t, db, id, func(ctx context.Context, tx *store.Tx) (hub.Issuer, error) { return tx.Issuer(ctx, byID(made.ID)) })
	if !got.SharesChannels || got.SessionSeconds != nil || !got.Internal || got.JWKSURI == "" {
		t.Errorf("issuer: %+v", got)
	}
	all := read(t, db, other, func(ctx context.Context, tx *store.Tx) ([]hub.Issuer, error) { return tx.AllIssuers(ctx) })
	if len(all) != 0 {
		t.Errorf("the other tenant lists %+v", all)
	}
	wantCode(t, try(t, db, other, func(ctx context.Context, c *store.Change) error { return c.DeleteIssuer(ctx, made.ID) }), hub.NotFound)
	change(t, db, id, func(ctx context.Context, c *store.Change) error { return c.DeleteIssuer(ctx, made.ID) })
}
