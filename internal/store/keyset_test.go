package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// Who joins waits for whoever is about to, and sees with which key: otherwise two strangers would both find the
// database empty.
func TestJoin_WaitsForOthers(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	other, err := db.Owner.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := other.Exec(ctx, `SELECT pg_advisory_xact_lock($1)`, store.KeysetLock); err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(ctx, `INSERT INTO tributary.keyset_keys (key_id, proof) VALUES (2, 'proof')`); err != nil {
		t.Fatal(err)
	}
	joined := make(chan error, 1)
	go func() {
		joined <- db.Pipeline.Join(ctx, store.Node{ID: "n", Roles: []string{"api"}, Keyset: store.Keyset{Keys: []uint32{1}, Primary: 1, Proof: []byte("proof")}})
	}()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for !storetest.Value[bool](t, db, `SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`) {
		select {
		case err := <-joined:
			t.Fatalf("it did not wait: %v", err)
		case <-look.C:
		}
	}
	if err := other.Commit(ctx); err != nil {
		t.Fatal(err)
	}
	if err := <-joined; hub.CodeOf(err) != hub.Conflict {
		t.Errorf("it does not have the other's key: %v", err)
	}
	if n := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.nodes`); n != 0 {
		t.Errorf("%d nodes, though it was refused", n)
	}
}
