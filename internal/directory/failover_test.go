package directory_test

import (
	"context"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// A standby that lagged is promoted: what the directory had learnt since is of a history that is over, however high
// its versions, and what was absent then may be there. All of it is forgotten before anything of the new history can
// be read, without a look and without a clock.
func TestForget_Failover(t *testing.T) {
	t.Parallel()
	first := storetest.NewCluster(t)
	db := first.DB(t)
	w := &town{DB: db, tenant: db.Tenant(t)}
	both := db.Endpoint(t, w.tenant, "stripe")
	deleted := db.Endpoint(t, w.tenant, "github")
	key := store.HashedKey{Key: hub.Key{ID: hub.NewID[hub.KeyID](), Name: "k", Scopes: []hub.Scope{hub.ConfigRead}}, Hash: hub.HashToken("revoked since")}
	w.change(t, func(ctx context.Context, c *store.Change) error {
		_, err := c.CreateKey(ctx, key)
		return err
	})
	operator := hub.HashToken("operator's, made since")
	second := first.Standby(t)
	first.CatchUp(t, second)
	second.Detach(t)
	kept := storetest.Value[int64](t, db, `SELECT config_version FROM tributary.tenants WHERE id = $1`, w.tenant)

	made := db.Endpoint(t, w.tenant, "shopify")
	w.change(t, func(ctx context.Context, c *store.Change) error { return c.DeleteEndpoint(ctx, deleted.ID) })
	w.change(t, func(ctx context.Context, c *store.Change) error { return c.RevokeKey(ctx, key.ID) })
	w.Exec(t, `INSERT INTO tributary.operator_keys (id, name, hash, scopes) VALUES ($1, 'op', $2, '{tenants:read}')`, hub.NewID[hub.KeyID](), operator[:])
	lost := w.setState(t, hub.Suspended)

	gate := storetest.NewGate(t, first)
	s := gate.Store(t)
	keyset, err := secret.NewKeyset()
	must(t, err)
	keeper, err := secret.Open(keyset)
	must(t, err)
	standing := time.Now() // no memory of what is absent runs out
	d, err := directory.New(directory.Options{
		Pipeline: s.Pipeline, Keeper: keeper, Log: canary.Logger(t), Now: func() time.Time { return standing },
	})
	must(t, err)
	s.Pipeline.OnEpoch(func(string) { d.Forget() })

	ctx := t.Context()
	old, err := d.TenantAt(ctx, w.tenant, lost)
	must(t, err)
	known, err := d.EndpointByToken(ctx, made.Token)
	must(t, err)
	_, err = d.KeyByHash(ctx, operator)
	must(t, err)
	_, err = d.EndpointByToken(ctx, deleted.Token)
	wantCode(t, "deleted", err, hub.NotFound)
	_, err = d.KeyByHash(ctx, key.Hash)
	wantCode(t, "revoked", err, hub.NotFound)

	first.Stop(t)
	second.Promote(t)
	gate.Lead(second)
	for { // what a worker does first: the event, and with it the tenant's version
		versions, err := s.Pipeline.ConfigVersions(ctx, []hub.TenantID{w.tenant})
		if hub.CodeOf(err) == hub.Unavailable { // on a connection that was lost
			continue
		}
		must(t, err)
		if versions[w.tenant] != kept {
			t.Fatalf("the standby has version %d, want %d: it did not lag", versions[w.tenant], kept)
		}
		break
	}
	select {
	case <-old.Replaced():
	default:
		t.Error("the tenant of the old history does not say that it was replaced")
	}
	if _, err := d.EndpointByToken(ctx, deleted.Token); err != nil { // before its tenant is loaded for another reason
		t.Errorf("an endpoint that was deleted since: %v", err)
	}
	if got, err := d.KeyByHash(ctx, key.Hash); err != nil || got.ID != key.ID {
		t.Errorf("a key that was revoked since: %v, %v", got, err)
	}
	now, err := d.TenantAt(ctx, w.tenant, kept)
	if err != nil || now.ConfigVersion != kept || now.State != hub.Active {
		t.Errorf("the tenant is %+v, %v; want version %d, active", now, err, kept)
	}
	if _, err := d.EndpointByToken(ctx, both.Token); err != nil {
		t.Errorf("an endpoint of both: %v", err)
	}
	_, err = d.EndpointByToken(ctx, made.Token)
	wantCode(t, "an endpoint that was made since", err, hub.NotFound)
	_, err = d.Recheck(ctx, known)
	wantCode(t, "the same, as a request has it that began before", err, hub.NotFound)
	_, err = d.KeyByHash(ctx, operator)
	wantCode(t, "an operator's key that was made since", err, hub.NotFound)
}

// A restore in place ends no connection: the next look finds it.
func TestStart_FindsARestoreInPlace(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	w.Pipeline.OnEpoch(func(string) { w.directory.Forget() })
	old, err := w.directory.Tenant(t.Context(), w.tenant)
	must(t, err)
	w.Exec(t, `UPDATE tributary.tenants SET name = 'restored'`) // the same version, other content
	w.Exec(t, `UPDATE tributary.epoch SET salt = 'restored'`)
	must(t, w.directory.Start(t.Context()))
	t.Cleanup(func() { must(t, w.directory.Stop(context.WithoutCancel(t.Context()))) })
	w.directory.Look()
	wait(t, old.Replaced())
	if now, err := w.directory.Tenant(t.Context(), w.tenant); err != nil || now.Name != "restored" {
		t.Errorf("the tenant is %+v, %v", now, err)
	}
}

// What was read before all was forgotten is not taken, and whoever waits for it is told what is there now.
func TestForget_WhileAReadRuns(t *testing.T) {
	t.Parallel()
	w := newTown(t)
	release := w.lock(t, "endpoints")
	told := make(chan *directory.Tenant, 1)
	go func() {
		tenant, _ := w.directory.Tenant(t.Context(), w.tenant)
		told <- tenant
	}()
	w.awaitLook(t)
	w.Exec(t, `UPDATE tributary.tenants SET name = 'restored'`)
	w.directory.Forget()
	release()
	if tenant := <-told; tenant == nil || tenant.Name != "restored" {
		t.Errorf("told of %+v", tenant)
	}
}
