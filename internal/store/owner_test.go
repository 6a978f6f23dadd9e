package store_test

import (
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/backplane"
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
}

// A URL that is none is quoted by no error: the driver's own would hide a password only where it recognizes one.
func TestURL_NotQuoted(t *testing.T) {
	t.Parallel()
	for name, use := range map[string]func(url string) error{
		"owner": func(url string) error { _, err := store.InstallationKind(t.Context(), url); return err },
		"migrate": func(url string) error {
			return store.Migrate(t.Context(), store.MigrateOptions{URL: url, Log: slog.New(slog.DiscardHandler)})
		},
		"survey": func(url string) error { _, err := store.SurveyDatabase(t.Context(), url, ""); return err },
		"tenant": func(url string) error { _, err := store.Open(t.Context(), store.Options{URL: url}); return err },
		"pipeline": func(url string) error {
			_, err := store.Open(t.Context(), store.Options{URL: "host=h", DirectURL: url})
			return err
		},
		"river": func(url string) error { _, err := store.OpenRiver(t.Context(), url, "", 1); return err },
	} {
		for _, url := range []string{"topsecret", "host=h password = topsecret sslmode=bogus", "postgres://o:topsecret@[::1"} {
			if err := use(url); err == nil || strings.Contains(err.Error(), "topsecret") {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// What an operator can put right is said with how.
func TestOwner_Hints(t *testing.T) {
	t.Parallel()
	const notOwner, notMigrated = "TRIBUTARY_OWNER_DATABASE_URL", "`tributary migrate up` brings it there"
	migrated, older, empty := storetest.New(t), storetest.New(t), storetest.New(t, storetest.Bare())
	older.Exec(t, `ALTER TABLE tributary.operator_keys DROP COLUMN last_used_at`)
	for name, tt := range map[string]struct{ url, hint string }{
		"another login": {migrated.URL, notOwner},
		"no schema":     {empty.OwnerURL, notMigrated},
		"no column":     {older.OwnerURL, notMigrated},
	} {
		if _, err := store.OperatorKeys(t.Context(), tt.url); err == nil || !strings.Contains(err.Error(), tt.hint) {
			t.Errorf("%s: %v; want it to say %q", name, err, tt.hint)
		}
	}
}

// With the commit the epoch is another one and all processes are told, which else would find out by their next
// connection: perhaps in days.
func TestNewEpoch(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	before, err := db.Pipeline.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	next := listen(t, db)
	if err := store.NewEpoch(t.Context(), db.OwnerURL); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(backplane.Signal(backplane.EpochChanged{}), next()); diff != "" {
		t.Errorf("heard (-want +got):\n%s", diff)
	}
	if after, err := db.Pipeline.Epoch(t.Context()); after == before || err != nil {
		t.Errorf("the epoch is %s as before, %v", after, err)
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

// A key is revoked once; whoever mistypes its id hears that nothing was.
func TestRevokeOperatorKey(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	key := store.HashedKey{Key: hub.Key{ID: hub.NewID[hub.KeyID](), Name: "laptop", Scopes: hub.OperatorScopes()}, Hash: hub.HashToken("trb_operator")}
	if err := store.CreateOperatorKey(t.Context(), db.OwnerURL, key); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		id   hub.KeyID
		want []hub.Code
	}{
		"no such key":       {hub.NewID[hub.KeyID](), []hub.Code{hub.NotFound}},
		"a key, then again": {key.ID, []hub.Code{"", hub.NotFound}},
	} {
		for _, want := range tt.want {
			if err := store.RevokeOperatorKey(t.Context(), db.OwnerURL, tt.id); (err == nil) != (want == "") || err != nil && hub.CodeOf(err) != want {
				t.Errorf("%s: %v; want %q", name, err, want)
			}
		}
	}
	if found, err := db.Pipeline.OperatorKey(t.Context(), key.Hash); err != nil || found.RevokedAt == nil {
		t.Errorf("it is not revoked: %+v, %v", found.Key, err)
	}
}
