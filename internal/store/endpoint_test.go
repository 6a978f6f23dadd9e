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
