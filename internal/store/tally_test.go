package store_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

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

// keys makes n API keys of the tenant, and n of operators'.
func keys(t *testing.T, db *storetest.DB, tenant hub.TenantID, n int) (tenants []hub.TenantID, keys []hub.KeyID) {
	t.Helper()
	change(t, db, tenant, func(ctx context.Context, c *store.Change) error {
		for range n {
			id := hub.NewID[hub.KeyID]()
			tenants, keys = append(tenants, tenant), append(keys, id)
			if _, err := c.CreateKey(ctx, store.HashedKey{Key: hub.Key{ID: id, Name: id.String(), Scopes: hub.TenantScopes()}, Hash: hub.HashToken(id.String())}); err != nil {
				return err
			}
		}
		return nil
	})
	for range n {
		id := hub.NewID[hub.KeyID]()
		tenants, keys = append(tenants, hub.TenantID{}), append(keys, id)
		hash := hub.HashToken(id.String())
		db.Exec(t, `INSERT INTO tributary.operator_keys (id, name, hash, scopes) VALUES ($1, 'op', $2, '{tenants:read}')`, id, hash[:])
	}
	return tenants, keys
}

// A key that is used all the time is written once a minute, and never back in time; a tenant's key is not touched in
// another's name.
func TestTouchKeys(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenants, ids := keys(t, db, db.Tenant(t), 1)
	begin := time.Now().UTC().Truncate(time.Second)
	other := db.Tenant(t)
	for _, table := range []struct {
		name   string
		tenant hub.TenantID
		key    hub.KeyID
	}{{"keys", tenants[0], ids[0]}, {"operator_keys", tenants[1], ids[1]}} {
		touch := func(tenant hub.TenantID, at time.Duration) string {
			t.Helper()
			if err := db.Pipeline.TouchKeys(t.Context(), []hub.TenantID{tenant}, []hub.KeyID{table.key}, []time.Time{begin.Add(at)}); err != nil {
				t.Fatal(err)
			}
			return storetest.Value[string](t, db, `SELECT coalesce(extract(epoch FROM last_used_at - $1)::int::text, 'never') || ' of ' || ctid FROM tributary.`+table.name, begin)
		}
		var got []string
		if table.name == "keys" {
			got = append(got, touch(other, 0))
		} else {
			got = append(got, storetest.Value[string](t, db, `SELECT 'never of ' || ctid FROM tributary.operator_keys`))
		}
		for _, at := range []time.Duration{0, time.Second, 59 * time.Second, -time.Hour, time.Minute, 90 * time.Second, 2 * time.Minute} {
			got = append(got, touch(table.tenant, at))
		}
		want := []string{
			"never of (0,1)", "0 of (0,2)", "0 of (0,2)", "0 of (0,2)", "0 of (0,2)",
			"60 of (0,3)", "60 of (0,3)", "120 of (0,4)",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: last use, and version of the row (-want +got):\n%s", table.name, diff)
		}
	}
}

// Nodes that touch the same keys at once take them in one order, whatever order they come in: whoever waits for the
// first holds none behind it.
func TestTouchKeys_InOneOrder(t *testing.T) {
	t.Parallel()
	for i, table := range []string{"keys", "operator_keys"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			tenants, ids := keys(t, db, db.Tenant(t), 2)
			tenants, ids = tenants[2*i:2*i+2], ids[2*i:2*i+2]
			lock := func(tx pgx.Tx, id hub.KeyID) error {
				_, err := tx.Exec(t.Context(), `SELECT FROM tributary.`+table+` WHERE id = $1 FOR UPDATE NOWAIT`, id)
				return err
			}
			other, err := db.Owner.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = other.Rollback(context.WithoutCancel(t.Context())) }()
			if err := lock(other, ids[0]); err != nil {
				t.Fatal(err)
			}
			touched := make(chan error, 1)
			go func() {
				touched <- db.Pipeline.TouchKeys(t.Context(), tenants, []hub.KeyID{ids[1], ids[0]}, []time.Time{time.Now(), time.Now()})
			}()
			db.AwaitTrue(t, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`)
			if err := lock(other, ids[1]); err != nil {
				t.Errorf("it waits for the first and holds the second: %v", err)
			}
			if err := other.Rollback(t.Context()); err != nil {
				t.Fatal(err)
			}
			if err := <-touched; err != nil {
				t.Error(err)
			}
			if n := storetest.Value[int](t, db, `SELECT count(last_used_at) FROM tributary.`+table); n != 2 {
				t.Errorf("%d keys were touched, want both", n)
			}
		})
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
