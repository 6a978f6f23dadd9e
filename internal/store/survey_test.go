package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// What a login may is seen: the roles that it lacks, what it owns or could, and how many connections are for it.
func TestSurvey(t *testing.T) {
	t.Parallel()
	const plain, owner, member, mighty, prefix = "survey_test_plain", "survey_test_owner", "survey_test_member", "survey_test_mighty", "survey_test_none"
	cleanRoles(t, plain, member, owner, mighty)
	db := storetest.New(t)
	roles, none := store.RolesOf(""), store.RolesOf(prefix)
	db.Exec(t, `
		CREATE ROLE `+plain+` LOGIN NOINHERIT; CREATE ROLE `+owner+` LOGIN; CREATE ROLE `+member+` LOGIN NOINHERIT; CREATE ROLE `+mighty+` LOGIN CREATEROLE BYPASSRLS;
		GRANT `+owner+` TO `+member+`; GRANT `+roles.Pipeline+` TO `+member+`; ALTER TABLE tributary.messages OWNER TO `+owner+`;
		DO $$ BEGIN EXECUTE format('GRANT CONNECT ON DATABASE %I TO `+plain+`, `+owner+`, `+member+`, `+mighty+`', current_database()); END $$`)
	connections := storetest.Value[int](t, db, `
		SELECT sum(CASE name WHEN 'max_connections' THEN setting::int ELSE -setting::int END) FROM pg_settings
		 WHERE name IN ('max_connections', 'superuser_reserved_connections', 'reserved_connections')`)
	all := []string{roles.Tenant, roles.Pipeline, roles.River}
	server := store.Survey{
		Fsync:          storetest.Value[bool](t, db, `SELECT current_setting('fsync')::bool`),
		Commits:        storetest.Value[bool](t, db, `SELECT current_setting('synchronous_commit') <> 'off'`),
		MaxConnections: connections,
		Database:       storetest.Value[string](t, db, `SELECT current_database()`),
	}
	for name, tt := range map[string]struct {
		login, prefix string
		want          store.Survey
	}{
		"granted":          {"tributary_test", "", store.Survey{}},
		"not granted":      {plain, "", store.Survey{Ungranted: all}},
		"no such roles":    {plain, prefix, store.Survey{Absent: []string{none.Tenant, none.Pipeline, none.River}}},
		"owns a table":     {owner, "", store.Survey{Owns: true, Ungranted: all}},
		"becomes an owner": {member, "", store.Survey{Becomes: []string{owner}, Ungranted: []string{roles.Tenant, roles.River}}},
		"is above it":      {mighty, "", store.Survey{Privileged: true, MakesRoles: true, Ungranted: all}},
	} {
		want := tt.want
		want.Login = tt.login
		want.Fsync, want.Commits, want.MaxConnections, want.Database = server.Fsync, server.Commits, server.MaxConnections, server.Database
		got, err := store.SurveyDatabase(t.Context(), withLogin(t, db.OwnerURL, tt.login), tt.prefix)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.IgnoreFields(store.Survey{}, "Version", "VersionText")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if got.Version < 150000 || got.VersionText == "" {
			t.Errorf("Postgres %d, %q", got.Version, got.VersionText)
		}
	}
}
