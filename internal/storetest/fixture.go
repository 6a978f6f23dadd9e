package storetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// Tenant makes an active tenant that owns nothing.
func (db *DB) Tenant(t testing.TB) hub.TenantID {
	t.Helper()
	id := hub.NewID[hub.TenantID]()
	slug := "t" + id.UUID().String()
	db.change(t, id, func(ctx context.Context, c *store.Change) error {
		_, err := c.CreateTenant(ctx, hub.Tenant{Slug: slug, Name: slug, State: hub.Active, Settings: hub.DefaultSettings()})
		return err
	})
	return id
}

// Endpoint makes an enabled endpoint of the tenant. Its token is in clear in what comes back; as it is stored no
// keeper opens it.
func (db *DB) Endpoint(t testing.TB, tenant hub.TenantID, provider string) hub.Endpoint {
	t.Helper()
	e := hub.Endpoint{
		ID: hub.NewID[hub.EndpointID](), Provider: provider, State: hub.Enabled, Mode: hub.ModeEnforce, Token: rand.Text(),
	}
	e.Name = "e" + e.ID.UUID().String()
	db.change(t, tenant, func(ctx context.Context, c *store.Change) error {
		_, err := c.CreateEndpoint(ctx, store.SealedEndpoint{Endpoint: e, TokenHash: hub.HashToken(e.Token), TokenSealed: []byte("sealed")})
		return err
	})
	return e
}

// change runs fn as an audited change of nobody's.
func (db *DB) change(t testing.TB, tenant hub.TenantID, fn func(context.Context, *store.Change) error) {
	t.Helper()
	actor := hub.Principal{Kind: hub.PrincipalOperator, Name: "storetest"}
	_, err := db.ChangeTenant(t.Context(), actor, tenant, func(c *store.Change) error {
		if err := fn(t.Context(), c); err != nil {
			return err
		}
		return c.Audit(t.Context(), "test.prepared", tenant.String(), nil)
	})
	if err != nil {
		t.Fatalf("prepare a tenant: %v", err)
	}
}

// An EventOption says how an event differs from any other.
type EventOption func(*hub.Event)

// To addresses the event to that endpoint; otherwise it goes to one that all events of a test share.
func To(tenant hub.TenantID, endpoint hub.EndpointID) EventOption {
	return func(e *hub.Event) { e.Tenant, e.Endpoint = tenant, endpoint }
}

// SameDelivery makes it what the provider sends again when it heard no answer: the same webhook, received anew.
func SameDelivery(first hub.Event) EventOption {
	return func(e *hub.Event) {
		id, at := e.ID, e.ReceivedAt
		*e = first
		e.ID, e.ReceivedAt = id, at
	}
}

// Event makes an event as ingest hands it to the intake: verified, with a dedup key like no other's, and not stored.
func (db *DB) Event(t testing.TB, provider string, opts ...EventOption) hub.Event {
	t.Helper()
	e := hub.Event{
		ID:         hub.NewID[hub.EventID](),
		Provider:   provider,
		Type:       "test.happened",
		ReceivedAt: time.Now().UTC().Truncate(time.Microsecond),
		Verified:   true,
		Secret:     hub.NewID[hub.SecretID](),
		Header:     http.Header{"Content-Type": {"application/json"}},
		Dedup:      hub.Dedup{Keep: 7 * 24 * time.Hour},
	}
	e.ProviderID = "p_" + e.ID.UUID().String()
	e.Body = fmt.Appendf(nil, `{"id":%q}`, e.ProviderID)
	_, _ = rand.Read(e.Dedup.Hash[:])
	for _, opt := range opts {
		opt(&e)
	}
	if e.Tenant.IsZero() {
		e.Tenant, e.Endpoint = db.sharedEndpoint(t)
	}
	return e
}

func (db *DB) sharedEndpoint(t testing.TB) (hub.TenantID, hub.EndpointID) {
	t.Helper()
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.tenant.IsZero() {
		tenant := db.Tenant(t)
		db.tenant, db.endpoint = tenant, db.Endpoint(t, tenant, "stripe").ID
	}
	return db.tenant, db.endpoint
}

// Jobs lists the events that have a job, once for each, in the order of the events.
func (db *DB) Jobs(t testing.TB) []string {
	t.Helper()
	return Values[string](t, db, `SELECT args->>'event' FROM tributary_river.river_job WHERE kind = 'route_event' ORDER BY 1`)
}

// Kill ends up to that many of the store's connections to this database, those that are at work first, and says how
// many it ended.
func (db *DB) Kill(t testing.TB, most int) int {
	t.Helper()
	return Value[int](t, db, `
		SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM (SELECT pid FROM pg_stat_activity
		 WHERE datname = current_database() AND usename = $1 ORDER BY state = 'active' DESC, random() LIMIT $2) victim`, Login, most)
}
