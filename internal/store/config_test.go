package store_test

import (
	"context"
	"slices"
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
	actors := storetest.Values[string](t, db, `SELECT actor_name || ' ' || actor_key FROM tributary.audit WHERE tenant_id = $1`, id)
	if diff := cmp.Diff(slices.Repeat([]string{"test " + operator.Key.UUID().String()}, 4), actors); diff != "" {
		t.Errorf("the audit outlives its tenant: %s", diff)
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
