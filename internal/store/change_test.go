package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// The other nodes hear of a change by its commit: of each one, with the version that must be loaded to see it, and of
// none that did not come to be, however late it failed.
func TestChange_IsToldByItsCommit(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := tenant(t, db, "acme")
	db.Exec(t, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused by the commit'; END $$;
		GRANT EXECUTE ON FUNCTION refuse() TO PUBLIC;
		CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON tributary.audit DEFERRABLE INITIALLY DEFERRED
			FOR EACH ROW WHEN (NEW.action = 'test.refused') EXECUTE FUNCTION refuse()`)
	conn, err := pgx.Connect(t.Context(), db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), `LISTEN `+backplane.Channel); err != nil {
		t.Fatal(err)
	}

	if _, err := db.ChangeTenant(t.Context(), operator, id, func(*store.Change) error { return nil }); err == nil {
		t.Error("a change without an audit entry was committed")
	}
	if _, err := db.ChangeTenant(t.Context(), operator, id, func(c *store.Change) error {
		return c.Audit(t.Context(), "test.refused", "x", nil)
	}); err == nil {
		t.Error("a change that its commit refuses was committed")
	}
	db.Exec(t, `SELECT pg_notify($1, '*')`, backplane.Channel) // whatever was sent before is heard before
	version, err := db.ChangeTenant(t.Context(), operator, id, func(c *store.Change) error {
		return c.Audit(t.Context(), "test.changed", "x", nil)
	})
	if err != nil || version != 3 {
		t.Errorf("version %d, %v", version, err)
	}
	change(t, db, id, func(ctx context.Context, c *store.Change) error { return c.DeleteTenant(ctx) })
	db.Exec(t, `SELECT pg_notify($1, '*')`, backplane.Channel)

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	mark := backplane.Signal(backplane.Wake{All: true})
	var heard []backplane.Signal
	for marks := 0; marks < 2; {
		notification, err := conn.WaitForNotification(ctx)
		if err != nil {
			t.Fatalf("after %+v: %v", heard, err)
		}
		signal, err := backplane.Decode(notification.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if cmp.Equal(signal, mark) {
			marks++
		}
		heard = append(heard, signal)
	}
	want := []backplane.Signal{mark, backplane.Changed{Tenant: id, Version: 3}, backplane.Changed{Tenant: id}, mark}
	if diff := cmp.Diff(want, heard); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
}
