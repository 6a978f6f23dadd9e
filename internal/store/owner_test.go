package store_test

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func TestInstallationKind(t *testing.T) {
	t.Parallel()
	bare := storetest.New(t, storetest.Bare())
	if kind, err := store.InstallationKind(t.Context(), bare.OwnerURL); err != nil || kind != "" {
		t.Errorf("without a schema: %q, %v", kind, err)
	}
	db := storetest.New(t)
	if kind, err := store.InstallationKind(t.Context(), db.OwnerURL); err != nil || kind != "" {
		t.Errorf("before the first use: %q, %v", kind, err)
	}
	if _, err := db.Pipeline.MarkInstallation(t.Context(), "production"); err != nil {
		t.Fatal(err)
	}
	if kind, err := store.InstallationKind(t.Context(), db.OwnerURL); err != nil || kind != "production" {
		t.Errorf("after it: %q, %v", kind, err)
	}
	if _, err := store.InstallationKind(t.Context(), "postgres://o:topsecret@[::1"); err == nil || strings.Contains(err.Error(), "topsecret") {
		t.Errorf("a URL that is none: %v", err)
	}
}

// A login is made once, keeps nothing that it could do by itself, and gets the password that was said last.
func TestEnsureLogin(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, storetest.Bare())
	u, err := url.Parse(db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	login := `owner's "test" ` + strings.TrimPrefix(u.Path, "/")
	defer db.Exec(t, `DROP ROLE `+pgx.Identifier{login}.Sanitize())
	for _, password := range []string{"", `it's "secret"`, "another"} {
		if err := store.EnsureLogin(t.Context(), db.OwnerURL, login, password); err != nil {
			t.Fatalf("with password %q: %v", password, err)
		}
		got := storetest.Values[bool](t, db, `
			SELECT unnest(ARRAY[rolcanlogin, rolinherit, rolsuper, rolbypassrls, rolcreatedb, rolcreaterole, rolpassword IS NOT NULL])
			  FROM pg_authid WHERE rolname = $1`, login)
		if diff := cmp.Diff([]bool{true, false, false, false, false, false, password != ""}, got); diff != "" {
			t.Errorf("with password %q (-want +got):\n%s", password, diff)
		}
	}
}

func TestCreateOperatorKey(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	key := store.HashedKey{
		Key:  hub.Key{ID: hub.NewID[hub.KeyID](), Name: "laptop", Scopes: hub.OperatorScopes()},
		Hash: hub.HashToken("trb_operator"),
	}
	if err := store.CreateOperatorKey(t.Context(), db.OwnerURL, key); err != nil {
		t.Fatal(err)
	}
	found, err := db.Pipeline.OperatorKey(t.Context(), key.Hash)
	if err != nil || found.ID != key.ID || found.Name != "laptop" || cmp.Diff(found.Scopes, key.Scopes) != "" {
		t.Errorf("found %+v, %v", found.Key, err)
	}
	key.ID = hub.NewID[hub.KeyID]()
	if err := store.CreateOperatorKey(t.Context(), db.OwnerURL, key); hub.CodeOf(err) != hub.Conflict {
		t.Errorf("the same value again: %v", err)
	}
}
