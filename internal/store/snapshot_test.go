package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// A snapshot holds all of one tenant and nothing of another, without the keys that were revoked.
func TestSnapshot(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	mine, other := db.Tenant(t), db.Tenant(t)
	for _, tenant := range []hub.TenantID{mine, other} {
		secretsAndRoutes(t, db, tenant, 2)
		change(t, db, tenant, func(ctx context.Context, c *store.Change) error {
			for i := range 3 {
				k := store.HashedKey{Key: hub.Key{ID: hub.NewID[hub.KeyID](), Name: fmt.Sprintf("k%d", i), Scopes: hub.TenantScopes()}}
				k.Hash = hub.HashToken(tenant.String() + k.Name)
				if _, err := c.CreateKey(ctx, k); err != nil {
					return err
				}
			}
			_, err := c.CreateIssuer(ctx, hub.Issuer{ID: hub.NewID[hub.IssuerID](), Name: "i", Issuer: "https://id.example"})
			return err
		})
	}
	db.Exec(t, `UPDATE tributary.keys SET revoked_at = now() WHERE tenant_id = $1 AND name = 'k1'`, mine)

	s, err := db.Pipeline.Snapshot(t.Context(), mine)
	if err != nil {
		t.Fatal(err)
	}
	got := []any{s.Tenant.ID, s.Tenant.ConfigVersion, len(s.Endpoints), len(s.Issuers)}
	for _, secret := range s.Secrets {
		got = append(got, secret.Endpoint == s.Endpoints[0].ID && string(secret.Sealed) == "x")
	}
	for _, route := range s.Routes {
		got = append(got, route.Name)
	}
	for _, key := range s.Keys {
		got = append(got, key.Name, key.Hash == hub.HashToken(mine.String()+key.Name))
	}
	want := []any{mine, int64(5), 1, 1, true, true, "r0", "r1", "k0", true, "k2", true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	_, err = db.Pipeline.Snapshot(t.Context(), hub.NewID[hub.TenantID]())
	wantCode(t, err, hub.NotFound)
}

// Beside changes, what a snapshot holds is what its version says: half a change is never seen.
func TestSnapshot_AtOneVersion(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 60 {
			err := try(t, db, tenant, func(ctx context.Context, c *store.Change) error {
				for j := range 2 {
					if _, err := c.CreateRoute(ctx, hub.Route{ID: hub.NewID[hub.RouteID](), Name: fmt.Sprintf("r%d-%d", i, j), Match: "true", State: hub.Enabled}); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
	}()
	versions := map[int64]bool{}
	for finished := false; !finished; {
		select {
		case <-done:
			finished = true
		default:
		}
		s, err := db.Pipeline.Snapshot(t.Context(), tenant)
		if err != nil {
			t.Fatal(err)
		}
		versions[s.Tenant.ConfigVersion] = true
		if want := 2 * (s.Tenant.ConfigVersion - 2); int64(len(s.Routes)) != want {
			t.Errorf("version %d with %d routes, want %d", s.Tenant.ConfigVersion, len(s.Routes), want)
		}
	}
	if !versions[62] || len(versions) < 5 {
		t.Errorf("snapshots and changes did not meet: %d versions seen", len(versions))
	}
}

// Whose a token, key or slug is, and which version a tenant has; what is nobody's is not found.
func TestLookups(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	one, two := tenant(t, db, "one"), tenant(t, db, "two")
	e := db.Endpoint(t, two, "stripe")
	change(t, db, two, func(ctx context.Context, c *store.Change) error {
		_, err := c.CreateKey(ctx, store.HashedKey{Key: hub.Key{ID: hub.NewID[hub.KeyID](), Name: "k", Scopes: hub.TenantScopes()}, Hash: hub.HashToken("the key")})
		return err
	})
	for name, find := range map[string]func(what string) (hub.TenantID, error){
		e.Token: func(what string) (hub.TenantID, error) {
			return db.Pipeline.TenantByToken(t.Context(), hub.HashToken(what))
		},
		"the key": func(what string) (hub.TenantID, error) {
			return db.Pipeline.TenantByKey(t.Context(), hub.HashToken(what))
		},
		"two": func(what string) (hub.TenantID, error) { return db.Pipeline.TenantBySlug(t.Context(), what) },
	} {
		if id, err := find(name); id != two || err != nil {
			t.Errorf("%s: %s, %v", name, id, err)
		}
		_, err := find("nobody's")
		wantCode(t, err, hub.NotFound)
	}
	versions, err := db.Pipeline.ConfigVersions(t.Context(), []hub.TenantID{two, hub.NewID[hub.TenantID](), one})
	if diff := cmp.Diff(map[hub.TenantID]int64{one: 2, two: 4}, versions); diff != "" || err != nil {
		t.Error(diff, err)
	}
}

// What is asked by strangers' names has a lane of its own: it waits behind nobody's webhooks, nor they behind it.
func TestLookups_LaneOfTheirOwn(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	one := db.Tenant(t)
	s, err := store.Open(t.Context(), store.Options{URL: db.URL, Pipeline: 1})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	hash := hub.HashToken("nobody's")
	lookups := map[string]func(context.Context) error{
		"TenantByToken":  func(ctx context.Context) error { return second(s.Pipeline.TenantByToken(ctx, hash)) },
		"TenantByKey":    func(ctx context.Context) error { return second(s.Pipeline.TenantByKey(ctx, hash)) },
		"TenantBySlug":   func(ctx context.Context) error { return second(s.Pipeline.TenantBySlug(ctx, "nobody")) },
		"OperatorKey":    func(ctx context.Context) error { return second(s.Pipeline.OperatorKey(ctx, hash)) },
		"Snapshot":       func(ctx context.Context) error { return second(s.Pipeline.Snapshot(ctx, one)) },
		"ConfigVersions": func(ctx context.Context) error { return second(s.Pipeline.ConfigVersions(ctx, []hub.TenantID{one})) },
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	behind := func(table string, hangs func(context.Context) error, times int, fn func()) {
		t.Helper()
		lock, err := db.Owner.Begin(ctx)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = lock.Rollback(context.WithoutCancel(ctx)) }()
		if _, err := lock.Exec(ctx, `LOCK TABLE tributary.`+table); err != nil {
			t.Fatal(err)
		}
		var hanging sync.WaitGroup
		for range times {
			hanging.Go(func() { _ = hangs(ctx) })
		}
		db.AwaitTrue(t, fmt.Sprintf(`SELECT count(*) = %d FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`, times))
		fn()
		if err := lock.Rollback(ctx); err != nil {
			t.Error(err)
		}
		hanging.Wait()
	}
	behind("installation", func(ctx context.Context) error { return second(s.Pipeline.MarkInstallation(ctx, "dev")) }, 1, func() {
		for name, lookup := range lookups {
			if err := lookup(ctx); err != nil && hub.CodeOf(err) != hub.NotFound {
				t.Errorf("%s waits behind the pipeline: %v", name, err)
			}
		}
	})
	behind("tenants", lookups["TenantBySlug"], 2, func() {
		if err := s.Pipeline.Ping(ctx); err != nil {
			t.Errorf("the pipeline waits behind lookups: %v", err)
		}
	})
}
