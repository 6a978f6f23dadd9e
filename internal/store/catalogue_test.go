package store_test

import (
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/storetest"
)

// A rule asks the catalogue for what breaks it. Its breach is a statement after which it must find something, so that
// a rule which no longer asks what it should is seen.
type rule struct {
	name   string
	asks   string
	breach string
}

// rules are what keeps tenants apart in Postgres; security.md says why each.
var rules = []rule{
	{
		name: "every table and partition has row-level security on",
		asks: `
			SELECT c.relname FROM pg_class c
			 WHERE c.relnamespace = 'tributary'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relrowsecurity`,
		breach: `CREATE TABLE tributary.extra (tenant_id uuid)`,
	},
	{
		name: "every table with a tenant has the tenant's policy, for reading and writing",
		asks: `
			SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
			 WHERE c.relnamespace = 'tributary'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
			   AND NOT EXISTS (SELECT FROM pg_policies p
			        WHERE p.schemaname = 'tributary' AND p.tablename = c.relname AND p.roles = '{tributary_tenant}' AND p.cmd = 'ALL'
			          AND p.qual = '(tenant_id = tributary.current_tenant())' AND p.with_check = p.qual)`,
		breach: `CREATE TABLE tributary.extra (tenant_id uuid); ALTER TABLE tributary.extra ENABLE ROW LEVEL SECURITY`,
	},
	{
		name: "the tenant's role has no other policy that lets rows through",
		asks: `
			SELECT p.tablename || ': ' || p.policyname FROM pg_policies p
			 WHERE p.schemaname = 'tributary' AND ('tributary_tenant' = ANY (p.roles) OR 'public' = ANY (p.roles))
			   AND p.qual IS DISTINCT FROM '(tenant_id = tributary.current_tenant())'
			   AND NOT (p.tablename = 'tenants' AND p.qual = '(id = tributary.current_tenant())' AND p.with_check = p.qual)`,
		breach: `CREATE POLICY extra ON tributary.endpoints USING (true)`,
	},
	{
		name: "the tenant's role reaches no table without a tenant",
		asks: `
			SELECT c.relname FROM pg_class c
			 WHERE c.relnamespace = 'tributary'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm') AND c.relname <> 'tenants'
			   AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id')
			   AND has_table_privilege('tributary_tenant', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')`,
		breach: `GRANT SELECT ON tributary.idempotency TO tributary_tenant`,
	},
	{
		name: "nobody but the owner has a grant on a partition",
		asks: `
			SELECT c.relname || ' to ' || g.grantee::regrole FROM pg_class c, aclexplode(c.relacl) g
			 WHERE c.relnamespace = 'tributary'::regnamespace AND c.relispartition AND g.grantee <> c.relowner`,
		breach: `DO $$ BEGIN EXECUTE 'GRANT SELECT ON tributary.events_' || to_char(current_date, 'YYYYMMDD') || ' TO tributary_tenant'; END $$`,
	},
	{
		name: "PUBLIC has nothing in the hub's schemas",
		asks: `
			SELECT c.relname FROM pg_class c, aclexplode(c.relacl) g
			 WHERE c.relnamespace IN ('tributary'::regnamespace, 'tributary_river'::regnamespace) AND g.grantee = 0
			UNION ALL
			SELECT n.nspname FROM pg_namespace n, aclexplode(n.nspacl) g WHERE n.nspname IN ('tributary', 'tributary_river') AND g.grantee = 0`,
		breach: `GRANT SELECT ON tributary.tenants TO PUBLIC`,
	},
	{
		name: "no function of ours is executable by PUBLIC",
		asks: `
			SELECT p.proname FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
			 WHERE p.pronamespace IN ('tributary'::regnamespace, 'tributary_river'::regnamespace) AND g.grantee = 0`,
		breach: `GRANT EXECUTE ON FUNCTION tributary.drop_partition TO PUBLIC`,
	},
	{
		name: "what runs as its definer pins its search path",
		asks: `
			SELECT p.proname FROM pg_proc p
			 WHERE p.pronamespace IN ('tributary'::regnamespace, 'tributary_river'::regnamespace) AND p.prosecdef
			   AND NOT coalesce('search_path=pg_catalog, pg_temp' = ANY (p.proconfig), false)`,
		breach: `ALTER FUNCTION tributary.drop_partition RESET search_path`,
	},
	{
		name: "what changes a table under traffic gives up its lock in time",
		asks: `
			SELECT w.name || ' waits ' || coalesce((SELECT c FROM pg_proc p, unnest(p.proconfig) AS c
			         WHERE p.pronamespace = 'tributary'::regnamespace AND p.proname = w.name AND c LIKE 'lock_timeout=%'), 'for ever')
			  FROM (VALUES ('make_partition', '2s'), ('drop_partition', '200ms')) AS w(name, most)
			 WHERE NOT EXISTS (SELECT FROM pg_proc p WHERE p.pronamespace = 'tributary'::regnamespace AND p.proname = w.name
			   AND 'lock_timeout=' || w.most = ANY (p.proconfig))`,
		breach: `ALTER FUNCTION tributary.drop_partition SET lock_timeout = '2s'`,
	},
	{
		name: "what runs as its definer is the pipeline's alone",
		asks: `
			SELECT p.proname || ' to ' || g.grantee::regrole FROM pg_proc p, aclexplode(p.proacl) g
			 WHERE p.prosecdef AND p.pronamespace IN ('tributary'::regnamespace, 'tributary_river'::regnamespace)
			   AND g.grantee NOT IN (p.proowner, 'tributary_pipeline'::regrole)`,
		breach: `GRANT EXECUTE ON FUNCTION tributary.make_partition TO tributary_tenant`,
	},
	{
		name: "views run as whoever asks",
		asks: `
			SELECT c.relname FROM pg_class c
			 WHERE c.relnamespace IN ('tributary'::regnamespace, 'tributary_river'::regnamespace)
			   AND (c.relkind = 'm' OR c.relkind = 'v' AND NOT coalesce('security_invoker=true' = ANY (c.reloptions), false))`,
		breach: `CREATE VIEW tributary.extra AS SELECT * FROM tributary.tenants`,
	},
	{
		name: "the tenant's role has nothing of River's",
		asks: `
			SELECT c.relname FROM pg_class c
			 WHERE c.relnamespace = 'tributary_river'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
			   AND has_table_privilege('tributary_tenant', c.oid, 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
			UNION ALL
			SELECT 'schema tributary_river' WHERE has_schema_privilege('tributary_tenant', 'tributary_river', 'USAGE, CREATE')`,
		breach: `GRANT SELECT ON tributary_river.river_job TO tributary_tenant`,
	},
	{
		name: "the pipeline enqueues and reads nothing of River's",
		asks: `
			SELECT c.relname FROM pg_class c
			 WHERE c.relnamespace = 'tributary_river'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
			   AND (has_table_privilege('tributary_pipeline', c.oid, 'SELECT, UPDATE, DELETE, TRUNCATE')
			     OR c.relname <> 'river_job' AND has_table_privilege('tributary_pipeline', c.oid, 'INSERT'))`,
		breach: `GRANT SELECT ON tributary_river.river_job TO tributary_pipeline`,
	},
	{
		name: "River's role reads our nodes and nothing else",
		asks: `
			SELECT c.relname FROM pg_class c
			 WHERE c.relnamespace = 'tributary'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
			   AND (c.relname <> 'nodes' AND has_table_privilege('tributary_river', c.oid, 'SELECT')
			     OR has_table_privilege('tributary_river', c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE'))`,
		breach: `GRANT SELECT ON tributary.keys TO tributary_river`,
	},
	{
		name: "the three roles are confined",
		asks: `
			SELECT r.rolname FROM pg_roles r
			 WHERE r.rolname IN ('tributary_tenant', 'tributary_pipeline', 'tributary_river')
			   AND (r.rolsuper OR r.rolbypassrls OR r.rolcreatedb OR r.rolcreaterole OR r.rolcanlogin OR r.rolreplication
			     OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid)
			     OR EXISTS (SELECT FROM pg_proc p WHERE p.proowner = r.oid)
			     OR EXISTS (SELECT FROM pg_auth_members m WHERE m.member = r.oid)
			     OR has_schema_privilege(r.oid, 'tributary', 'CREATE') OR has_schema_privilege(r.oid, 'tributary_river', 'CREATE'))`,
		breach: `GRANT CREATE ON SCHEMA tributary TO tributary_tenant`,
	},
	{
		name: "a tenant's row is named by its tenant first",
		asks: `
			SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'tenant_id'
			  LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
			 WHERE c.relnamespace = 'tributary'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname <> 'tenant_slugs'
			   AND (i.indkey[0] IS NULL OR i.indkey[0] <> a.attnum)`,
		breach: `CREATE TABLE tributary.extra (id uuid PRIMARY KEY, tenant_id uuid)`,
	},
	{
		name: "no foreign key crosses tenants",
		asks: `
			SELECT f.conname FROM pg_constraint f
			 WHERE f.contype = 'f' AND f.connamespace = 'tributary'::regnamespace
			   AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = f.conrelid AND a.attname = 'tenant_id' AND a.attnum = f.conkey[1])`,
		breach: `ALTER TABLE tributary.routes ADD COLUMN other uuid, ADD CONSTRAINT extra FOREIGN KEY (other) REFERENCES tributary.tenants`,
	},
	{
		name: "partitioned tables have no foreign keys",
		asks: `
			SELECT f.conname FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid
			 WHERE f.contype = 'f' AND f.connamespace = 'tributary'::regnamespace AND (c.relkind = 'p' OR c.relispartition)`,
		breach: `ALTER TABLE tributary.events ADD CONSTRAINT extra FOREIGN KEY (tenant_id) REFERENCES tributary.tenants`,
	},
}

func TestCatalogue(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for _, r := range rules { // one after the other: two grants on one table at once fail
		for _, finding := range storetest.Values[string](t, db, r.asks) {
			t.Errorf("%s: broken by %s", r.name, finding)
		}
		if findings := breach(t, db, r); len(findings) == 0 {
			t.Errorf("%s: a breach goes unseen", r.name)
		}
	}
}

// breach asks the rule after it was broken, and takes the breach back.
func breach(t *testing.T, db *storetest.DB, r rule) []string {
	t.Helper()
	tx, err := db.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), r.breach); err != nil {
		t.Fatalf("%s: breach: %v", r.name, err)
	}
	rows, _ := tx.Query(t.Context(), r.asks)
	findings, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatalf("%s: %v", r.name, err)
	}
	return findings
}

// The login has the three roles only by taking one: by itself it may do nothing.
func TestCatalogue_LoginAloneMayDoNothing(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	conn, err := pgx.Connect(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	for _, query := range []string{
		`SELECT count(*) FROM tributary.tenants`,
		`SELECT count(*) FROM tributary.events`,
		`SELECT count(*) FROM tributary_river.river_job`,
		`SELECT tributary.make_partition('events', current_date)`,
	} {
		var n any
		if err := conn.QueryRow(t.Context(), query).Scan(&n); err == nil {
			t.Errorf("%s as the bare login: allowed", query)
		}
	}
}
