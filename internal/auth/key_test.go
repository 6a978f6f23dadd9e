package auth_test

import (
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/auth"
	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// When a key was last used is noted when the process ends at the latest.
func TestKeys_NoteTheirUse(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	log := canary.Logger(t)
	keeper := must(secret.Open(must(secret.NewKeyset())))
	tenants := must(directory.New(directory.Options{Pipeline: db.Pipeline, Keeper: keeper, Log: log}))
	used := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	keys := auth.NewKeys(auth.KeysOptions{Directory: tenants, Pipeline: db.Pipeline, Log: log, Now: func() time.Time { return used }})
	if err := keys.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	value := hub.FormatKey(strings.Repeat("k", 32))
	hash := hub.HashToken(value)
	db.Exec(t, `INSERT INTO tributary.operator_keys (id, name, hash, scopes) VALUES ($1, 'op', $2, '{tenants:read}')`, hub.NewID[hub.KeyID](), hash[:])

	if _, err := keys.Authenticate(t.Context(), value); err != nil {
		t.Fatal(err)
	}
	if err := keys.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	if at := storetest.Value[*time.Time](t, db, `SELECT last_used_at FROM tributary.operator_keys`); at == nil || !at.Equal(used) {
		t.Errorf("last used at %v, want %s", at, used)
	}
}
