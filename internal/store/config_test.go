package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

var operator = hub.Principal{Kind: hub.PrincipalOperator, Name: "test", Key: hub.NewID[hub.KeyID]()}

// tenant makes a tenant of that slug.
func tenant(t *testing.T, db *storetest.DB, slug string) hub.TenantID {
	t.Helper()
	id := hub.NewID[hub.TenantID]()
	change(t, db, id, func(ctx context.Context, c *store.Change) error {
		_, err := c.CreateTenant(ctx, hub.Tenant{Slug: slug, Name: slug, State: hub.Active, Settings: hub.DefaultSettings()})
		return err
	})
	return id
}

// change runs fn as an audited change and wants it to succeed.
func change(t *testing.T, db *storetest.DB, id hub.TenantID, fn func(context.Context, *store.Change) error) {
	t.Helper()
	if err := try(t, db, id, fn); err != nil {
		t.Fatalf("change: %v", err)
	}
}

func try(t *testing.T, db *storetest.DB, id hub.TenantID, fn func(context.Context, *store.Change) error) error {
	t.Helper()
	_, err := db.ChangeTenant(t.Context(), operator, id, func(c *store.Change) error {
		if err := fn(t.Context(), c); err != nil {
			return err
		}
		return c.Audit(t.Context(), "test.change", id.String(), nil)
	})
	return err
}

// read runs fn as the tenant and wants it to succeed.
func read[T any](t *testing.T, db *storetest.DB, id hub.TenantID, fn func(context.Context, *store.Tx) (T, error)) T {
	t.Helper()
	v, err := tryRead(t, db, id, fn)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return v
}

func tryRead[T any](t *testing.T, db *storetest.DB, id hub.TenantID, fn func(context.Context, *store.Tx) (T, error)) (T, error) {
	t.Helper()
	var v T
	err := db.InTenant(t.Context(), id, func(tx *store.Tx) (err error) {
		v, err = fn(t.Context(), tx)
		return err
	})
	return v, err
}

func wantCode(t *testing.T, err error, code hub.Code) {
	t.Helper()
	if got := hub.CodeOf(err); got != code {
		t.Errorf("code %q, want %q (%v)", got, code, err)
	}
}

func endpoint(t *testing.T, db *storetest.DB, id hub.TenantID, name string) store.SealedEndpoint {
	t.Helper()
	e := store.SealedEndpoint{
		Endpoint: hub.Endpoint{
			ID: hub.NewID[hub.EndpointID](), Name: name, Provider: "stripe", State: hub.Enabled, Mode: hub.ModeEnforce,
			Config: map[string]string{"tolerance": "60"}, Metadata: hub.Metadata{"team": "pay"},
		},
		TokenHash:   hub.HashToken(id.String() + name),
		TokenSealed: []byte("sealed"),
	}
	change(t, db, id, func(ctx context.Context, c *store.Change) (err error) {
		e, err = c.CreateEndpoint(ctx, e)
		return err
	})
	return e
}

func byID[I any](id I) store.Ref[I] { return store.Ref[I]{ID: id} }

func TestTenant_SlugIsNotGivenOutTwice(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	first := tenant(t, db, "acme")
	again := func() error {
		return try(t, db, hub.NewID[hub.TenantID](), func(ctx context.Context, c *store.Change) error {
			_, err := c.CreateTenant(ctx, hub.Tenant{Slug: "acme", Name: "other", State: hub.Active})
			return err
		})
	}
	wantCode(t, again(), hub.Conflict)
	change(t, db, first, func(ctx context.Context, c *store.Change) error { return c.DeleteTenant(ctx) })
	wantCode(t, again(), hub.Conflict)
	if n := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.tenants`); n != 0 {
		t.Errorf("%d tenants", n)
	}
}

func TestTenant_UpdateAndList(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := tenant(t, db, "acme")
	other := tenant(t, db, "other")
	change(t, db, id, func(ctx context.Context, c *store.Change) error {
		was, err := c.LockTenant(ctx)
		if err != nil {
			return err
		}
		was.Name, was.State, was.RetentionDays = "Acme", hub.Suspended, new(7)
		was.Limits.Routes = new(3)
		was.Settings.AllowedOrigins = []string{"https://app.example.com"}
		was.Metadata = hub.Metadata{"plan": "gold"}
		_, err = c.UpdateTenant(ctx, was)
		return err
	})
	got := read(t, db, id, func(ctx context.Context, tx *store.Tx) (hub.Tenant, error) { return tx.Tenant(ctx) })
	if got.Name != "Acme" || got.State != hub.Suspended || *got.RetentionDays != 7 || *got.Limits.Routes != 3 || got.Limits.Endpoints != nil ||
		got.Settings.AllowedOrigins[0] != "https://app.example.com" || got.Settings.TicketSeconds != 60 || got.Metadata["plan"] != "gold" || got.ConfigVersion != 3 {
		t.Errorf("tenant: %+v", got)
	}
	list, err := db.Pipeline.Tenants(t.Context(), hub.TenantID{}, 10)
	if err != nil || len(list) != 2 || list[0].ID != id || list[1].ID != other {
		t.Errorf("list: %+v, %v", list, err)
	}
	list, err = db.Pipeline.Tenants(t.Context(), id, 10)
	if err != nil || len(list) != 1 || list[0].ID != other {
		t.Errorf("list after the first: %+v, %v", list, err)
	}
}

func TestTenant_DeleteTakesAllThatItOwns(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id, other := tenant(t, db, "acme"), tenant(t, db, "other")
	for _, owner := range []hub.TenantID{id, other} {
		e := endpoint(t, db, owner, "stripe")
		change(t, db, owner, func(ctx context.Context, c *store.Change) error {
			if _, err := c.CreateSecret(ctx, store.SealedSecret{Secret: hub.Secret{ID: hub.NewID[hub.SecretID](), Endpoint: e.ID, State: hub.SecretActive}, Sealed: []byte("x")}); err != nil {
				return err
			}
			_, err := c.CreateRoute(ctx, hub.Route{ID: hub.NewID[hub.RouteID](), Name: "all", Endpoint: e.ID, Match: "true", State: hub.Enabled})
			return err
		})
		event := hub.Event{
			Tenant: owner, ID: hub.NewID[hub.EventID](), Endpoint: e.ID, ReceivedAt: time.Now(), Verified: true,
			Dedup: hub.Dedup{Hash: [16]byte{1}, Keep: time.Hour},
		}
		if _, err := db.Pipeline.InsertEvents(t.Context(), []hub.Event{event}); err != nil {
			t.Fatal(err)
		}
		_, err := db.Pipeline.Append(t.Context(), []hub.Unit{{
			Tenant: owner, Outcome: hub.Outcome{Event: event.ID, State: hub.EventRouted},
			Messages: []hub.Message{{ID: hub.NewID[hub.MessageID](), Channel: "a", Type: "t", Key: "k", Data: []byte("1")}},
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	change(t, db, id, func(ctx context.Context, c *store.Change) error { return c.DeleteTenant(ctx) })

	for _, table := range []string{"endpoints", "secrets", "routes", "state", "log_days", "log_heads", "dedup"} {
		owners := storetest.Values[hub.TenantID](t, db, `SELECT tenant_id FROM tributary.`+table)
		if diff := cmp.Diff([]hub.TenantID{other}, owners); diff != "" {
			t.Errorf("%s: %s", table, diff)
		}
	}
	_, err := tryRead(t, db, id, func(ctx context.Context, tx *store.Tx) (hub.Tenant, error) { return tx.Tenant(ctx) })
	wantCode(t, err, hub.NotFound)
	entries := read(t, db, id, func(ctx context.Context, tx *store.Tx) ([]hub.AuditEntry, error) {
		return tx.AuditEntries(ctx, hub.AuditID{}, 10)
	})
	if len(entries) != 4 || entries[0].Actor.Name != "test" || entries[0].Actor.Key != operator.Key {
		t.Errorf("the audit outlives its tenant: %+v", entries)
	}
}

func TestChange_NeedsExactlyOneAuditEntry(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := tenant(t, db, "acme")
	for entries := range 3 {
		_, err := db.ChangeTenant(t.Context(), operator, id, func(c *store.Change) error {
			for range entries {
				if err := c.Audit(t.Context(), "test.change", "x", nil); err != nil {
					return err
				}
			}
			return nil
		})
		if (err == nil) != (entries == 1) {
			t.Errorf("%d entries: %v", entries, err)
		}
	}
	version := storetest.Value[int64](t, db, `SELECT config_version FROM tributary.tenants`)
	if version != 3 { // made at 1, raised by its own creation and once here
		t.Errorf("config_version %d", version)
	}
}

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

func TestEndpoint(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id, other := tenant(t, db, "acme"), tenant(t, db, "other")
	e := endpoint(t, db, id, "stripe")
	endpoint(t, db, other, "stripe")

	for name, ref := range map[string]store.Ref[hub.EndpointID]{"id": byID(e.ID), "name": {Name: "stripe"}} {
		got := read(t, db, id, func(ctx context.Context, tx *store.Tx) (store.SealedEndpoint, error) { return tx.Endpoint(ctx, ref) })
		if diff := cmp.Diff(e, got); diff != "" {
			t.Errorf("by %s: %s", name, diff)
		}
	}
	_, err := tryRead(t, db, other, func(ctx context.Context, tx *store.Tx) (store.SealedEndpoint, error) {
		return tx.Endpoint(ctx, byID(e.ID))
	})
	wantCode(t, err, hub.NotFound)

	second := endpoint(t, db, id, "second")
	second.Name = "stripe"
	wantCode(t, try(t, db, id, func(ctx context.Context, c *store.Change) error {
		_, err := c.UpdateEndpoint(ctx, second)
		return err
	}), hub.Conflict)
	wantCode(t, try(t, db, id, func(ctx context.Context, c *store.Change) error {
		second.ID, second.TokenHash = hub.NewID[hub.EndpointID](), hub.HashToken("y")
		_, err := c.CreateEndpoint(ctx, second)
		return err
	}), hub.Conflict)

	until := time.Now().Add(10 * time.Minute).Truncate(time.Microsecond)
	change(t, db, id, func(ctx context.Context, c *store.Change) error {
		locked, err := c.LockEndpoint(ctx, byID(e.ID))
		if err != nil {
			return err
		}
		locked.State, locked.Mode, locked.Config, locked.Metadata = hub.Disabled, hub.ModeMonitor, nil, nil
		if _, err = c.UpdateEndpoint(ctx, locked); err != nil {
			return err
		}
		armed, err := c.ArmEndpoint(ctx, e.ID, until)
		if err == nil && (armed.State != hub.Disabled || armed.Mode != hub.ModeMonitor || len(armed.Config) != 0 || !armed.ArmedUntil.Equal(until)) {
			t.Errorf("armed: %+v", armed)
		}
		return err
	})
	list := read(t, db, id, func(ctx context.Context, tx *store.Tx) ([]store.SealedEndpoint, error) {
		return tx.Endpoints(ctx, e.ID, 10)
	})
	if len(list) != 1 || list[0].Name != "second" {
		t.Errorf("list after the first: %+v", list)
	}
	if n := read(t, db, id, func(ctx context.Context, tx *store.Tx) (int, error) { return tx.CountEndpoints(ctx) }); n != 2 {
		t.Errorf("count %d", n)
	}
}

func TestEndpoint_DeleteWhileARouteNamesIt(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := tenant(t, db, "acme")
	e := endpoint(t, db, id, "stripe")
	route := hub.Route{ID: hub.NewID[hub.RouteID](), Name: "all", Endpoint: e.ID, Match: "true", State: hub.Enabled}
	change(t, db, id, func(ctx context.Context, c *store.Change) error {
		_, err := c.CreateRoute(ctx, route)
		return err
	})
	remove := func(ctx context.Context, c *store.Change) error { return c.DeleteEndpoint(ctx, e.ID) }
	wantCode(t, try(t, db, id, remove), hub.Conflict)
	change(t, db, id, func(ctx context.Context, c *store.Change) error { return c.DeleteRoute(ctx, route.ID) })
	change(t, db, id, remove)
	wantCode(t, try(t, db, id, remove), hub.NotFound)
}

func TestSecret(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := tenant(t, db, "acme")
	e, second := endpoint(t, db, id, "stripe"), endpoint(t, db, id, "second")
	s := store.SealedSecret{Secret: hub.Secret{ID: hub.NewID[hub.SecretID](), Endpoint: e.ID, State: hub.SecretActive}, Sealed: []byte("sealed")}
	change(t, db, id, func(ctx context.Context, c *store.Change) error {
		_, err := c.CreateSecret(ctx, s)
		return err
	})
	_, err := tryRead(t, db, id, func(ctx context.Context, tx *store.Tx) (store.SealedSecret, error) {
		return tx.Secret(ctx, second.ID, s.ID)
	})
	wantCode(t, err, hub.NotFound)
	expires := time.Now().Add(time.Hour).Truncate(time.Microsecond)
	change(t, db, id, func(ctx context.Context, c *store.Change) error {
		locked, err := c.LockSecret(ctx, e.ID, s.ID)
		if err != nil {
			return err
		}
		locked.State, locked.ExpiresAt = hub.SecretCandidate, &expires
		_, err = c.UpdateSecret(ctx, locked.Secret)
		return err
	})
	list := read(t, db, id, func(ctx context.Context, tx *store.Tx) ([]store.SealedSecret, error) {
		return tx.Secrets(ctx, e.ID, hub.SecretID{}, 10)
	})
	if len(list) != 1 || list[0].State != hub.SecretCandidate || !list[0].ExpiresAt.Equal(expires) || string(list[0].Sealed) != "sealed" {
		t.Errorf("list: %+v", list)
	}
	if n := read(t, db, id, func(ctx context.Context, tx *store.Tx) (int, error) { return tx.CountSecrets(ctx, e.ID) }); n != 1 {
		t.Errorf("count %d", n)
	}
	wantCode(t, try(t, db, id, func(ctx context.Context, c *store.Change) error { return c.DeleteSecret(ctx, second.ID, s.ID) }), hub.NotFound)
	change(t, db, id, func(ctx context.Context, c *store.Change) error { return c.DeleteSecret(ctx, e.ID, s.ID) })
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

func TestRejection(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := tenant(t, db, "acme")
	e := endpoint(t, db, id, "stripe")
	r := store.Rejected{Tenant: id, Sealed: []byte("sealed"), Rejection: hub.Rejection{
		ID: hub.NewID[hub.RejectionID](), Endpoint: e.ID, Cause: hub.SignatureMismatch,
		Detail: "no", ReceivedAt: time.Now().UTC().Truncate(time.Microsecond), Header: []byte("A: b\r\n"), Body: []byte("{}"),
	}}
	if err := db.Pipeline.InsertRejections(t.Context(), []store.Rejected{r}); err != nil {
		t.Fatal(err)
	}
	list := read(t, db, id, func(ctx context.Context, tx *store.Tx) ([]store.Rejected, error) {
		return tx.Rejections(ctx, e.ID, hub.RejectionID{}, 10)
	})
	if diff := cmp.Diff([]store.Rejected{r}, list); diff != "" {
		t.Error(diff)
	}
	first, second := hub.NewID[hub.EventID](), hub.NewID[hub.EventID]()
	for _, offered := range []hub.EventID{first, second} {
		change(t, db, id, func(ctx context.Context, c *store.Change) error {
			noted, err := c.RetryRejection(ctx, e.ID, r.ID, offered)
			if noted != first {
				t.Errorf("noted %s, want %s", noted, first)
			}
			return err
		})
	}
	got := read(t, db, id, func(ctx context.Context, tx *store.Tx) (store.Rejected, error) {
		if err := tx.CorrectRejection(ctx, e.ID, r.ID, second); err != nil {
			return store.Rejected{}, err
		}
		return tx.Rejection(ctx, e.ID, r.ID)
	})
	if got.Retried != second {
		t.Errorf("retried as %s", got.Retried)
	}
}
