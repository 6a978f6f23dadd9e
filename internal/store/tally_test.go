package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// secretsAndRoutes makes n of each.
func secretsAndRoutes(t *testing.T, db *storetest.DB, tenant hub.TenantID, n int) (secrets []hub.SecretID, routes []hub.RouteID) {
	t.Helper()
	e := db.Endpoint(t, tenant, "stripe")
	change(t, db, tenant, func(ctx context.Context, c *store.Change) error {
		for i := range n {
			secrets, routes = append(secrets, hub.NewID[hub.SecretID]()), append(routes, hub.NewID[hub.RouteID]())
			if _, err := c.CreateSecret(ctx, store.SealedSecret{Secret: hub.Secret{ID: secrets[i], Endpoint: e.ID, State: hub.SecretActive}, Sealed: []byte("x")}); err != nil {
				return err
			}
			if _, err := c.CreateRoute(ctx, hub.Route{ID: routes[i], Name: fmt.Sprintf("r%d", i), Match: "true", State: hub.Enabled}); err != nil {
				return err
			}
		}
		return nil
	})
	return secrets, routes
}

func TestCountSecretUses(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant, other := db.Tenant(t), db.Tenant(t)
	secrets, _ := secretsAndRoutes(t, db, tenant, 2)
	early, late := time.Now().UTC().Truncate(time.Second).Add(-time.Hour), time.Now().UTC().Truncate(time.Second)
	for _, uses := range [][]store.SecretUse{
		{{Tenant: tenant, Secret: secrets[0], Matches: 3, LastAt: late}},
		{
			{Tenant: tenant, Secret: hub.NewID[hub.SecretID](), Matches: 9, LastAt: late},
			{Tenant: other, Secret: secrets[1], Matches: 9, LastAt: late},
			{Tenant: tenant, Secret: secrets[0], Matches: 4, LastAt: early}, // of a node that counts later
		},
		nil,
	} {
		if err := db.Pipeline.CountSecretUses(t.Context(), uses); err != nil {
			t.Fatal(err)
		}
	}
	type use struct {
		Matches int64
		Last    time.Time
	}
	var got []use
	for _, id := range secrets {
		var u use
		err := db.Owner.QueryRow(t.Context(), `SELECT matches, coalesce(last_used_at, 'epoch') FROM tributary.secrets WHERE id = $1`, id).Scan(&u.Matches, &u.Last)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, u)
	}
	if diff := cmp.Diff([]use{{7, late}, {0, time.Unix(0, 0)}}, got, cmp.Comparer(time.Time.Equal)); diff != "" {
		t.Error(diff)
	}
}

func TestCountRouteFailures(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	_, routes := secretsAndRoutes(t, db, tenant, 2)
	event, at := hub.NewID[hub.EventID](), time.Now().UTC().Truncate(time.Second)
	for _, failures := range [][]store.RouteFailure{
		{{Tenant: tenant, Route: routes[0], Count: 2, Error: "first", Event: hub.NewID[hub.EventID](), At: at.Add(-time.Minute)}},
		{
			{Tenant: tenant, Route: hub.NewID[hub.RouteID](), Count: 9, Error: "nobody's", At: at},
			{Tenant: tenant, Route: routes[0], Count: 5, Error: "last", Event: event, At: at},
		},
		nil,
	} {
		if err := db.Pipeline.CountRouteFailures(t.Context(), failures); err != nil {
			t.Fatal(err)
		}
	}
	snapshot, err := db.Pipeline.Snapshot(t.Context(), tenant)
	if err != nil {
		t.Fatal(err)
	}
	got := []hub.RouteFailures{snapshot.Routes[0].Failures, snapshot.Routes[1].Failures}
	want := []hub.RouteFailures{{Count: 7, LastError: "last", LastEvent: event, LastAt: &at}, {}}
	if diff := cmp.Diff(want, got, cmp.Comparer(time.Time.Equal)); diff != "" {
		t.Error(diff)
	}
}

func TestAddUsage(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	one, two := db.Tenant(t), db.Tenant(t)
	hour := time.Now().UTC().Truncate(time.Hour)
	for _, usage := range [][]store.Usage{
		{{Tenant: one, Hour: hour, Received: 1, Rejected: 2, Duplicates: 3, Messages: 4, Delivered: 5, ConnectionsPeak: 9}},
		{
			{Tenant: two, Hour: hour, Received: 7},
			{Tenant: hub.NewID[hub.TenantID](), Hour: hour, Received: 1},
			{Tenant: one, Hour: hour, Received: 10, Rejected: 20, Duplicates: 30, Messages: 40, Delivered: 50, ConnectionsPeak: 6},
			{Tenant: one, Hour: hour.Add(time.Hour), Received: 1, ConnectionsPeak: 6},
		},
		nil,
	} {
		if err := db.Pipeline.AddUsage(t.Context(), usage); err != nil {
			t.Fatal(err)
		}
	}
	got := storetest.Values[string](t, db, `
		SELECT concat_ws(' ', CASE tenant_id WHEN $1 THEN 'one' ELSE 'two' END, extract(epoch FROM hour - $2)::int, received, rejected, duplicates, messages, delivered, connections_peak)
		  FROM tributary.usage ORDER BY 1`, one, hour)
	if diff := cmp.Diff([]string{"one 0 11 22 33 44 55 9", "one 3600 1 0 0 0 0 6", "two 0 7 0 0 0 0 0"}, got); diff != "" {
		t.Error(diff)
	}
}

// Nodes that count the same things at once, each in another order, wait for each other and never for ever.
func TestTallies_OppositeOrders(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	secrets, routes := secretsAndRoutes(t, db, tenant, 20)
	hour := time.Now().UTC().Truncate(time.Hour)
	var nodes sync.WaitGroup
	const count = 30
	for node := range 3 {
		uses, failures, usage := make([]store.SecretUse, 20), make([]store.RouteFailure, 20), make([]store.Usage, 20)
		for i := range uses {
			uses[i] = store.SecretUse{Tenant: tenant, Secret: secrets[i], Matches: 1, LastAt: hour}
			failures[i] = store.RouteFailure{Tenant: tenant, Route: routes[i], Count: 1, At: hour}
			usage[i] = store.Usage{Tenant: tenant, Hour: hour.Add(time.Duration(i) * time.Hour), Received: 1}
		}
		if node == 1 {
			slices.Reverse(uses)
			slices.Reverse(failures)
			slices.Reverse(usage)
		}
		nodes.Go(func() {
			for range count {
				for _, err := range []error{
					db.Pipeline.CountSecretUses(t.Context(), uses), db.Pipeline.CountRouteFailures(t.Context(), failures), db.Pipeline.AddUsage(t.Context(), usage),
				} {
					if err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	nodes.Wait()
	for _, query := range []string{
		`SELECT DISTINCT matches FROM tributary.secrets`, `SELECT DISTINCT failures FROM tributary.routes`, `SELECT DISTINCT received FROM tributary.usage`,
	} {
		if diff := cmp.Diff([]int{3 * count}, storetest.Values[int](t, db, query)); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
}
