package store_test

import (
	"context"
	"sync"
	"testing"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// A tenant is deleted while its messages are appended: nobody waits for ever, and nothing of its log stays behind.
func TestDeleteTenant_BesideAppends(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for range 25 {
		tenant, other := db.Tenant(t), db.Tenant(t)
		gone := make(chan struct{})
		first := make(chan struct{}, 2)
		var appends sync.WaitGroup
		for range 2 {
			appends.Go(func() {
				for {
					select {
					case <-gone:
						return
					default:
					}
					u := unit(tenant, hub.NewID[hub.EventID](), hub.RunID{}, "abcdef")
					for i := range u.Messages {
						u.Messages[i].Key = string(rune('a' + i))
					}
					_, err := db.Pipeline.Append(t.Context(), []hub.Unit{u, unit(other, hub.NewID[hub.EventID](), hub.RunID{}, "x")})
					if store.IsUnavailable(err) {
						t.Errorf("append: %v", err)
					}
					select {
					case first <- struct{}{}:
					default:
					}
				}
			})
		}
		<-first
		change(t, db, tenant, func(ctx context.Context, c *store.Change) error { return c.DeleteTenant(ctx) })
		close(gone)
		appends.Wait()
	}
	for _, table := range []string{"state", "log_days", "log_heads"} {
		left := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.`+table+` x WHERE NOT EXISTS (SELECT FROM tributary.tenants t WHERE t.id = x.tenant_id)`)
		if left != 0 {
			t.Errorf("%d rows of deleted tenants are left in %s", left, table)
		}
	}
	if n := storetest.Value[int](t, db, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`); n != 0 {
		t.Errorf("%d deadlocks", n)
	}
}
