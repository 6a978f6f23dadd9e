package store_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
	"github.com/tributary-hub/tributary/migrations"
)

// The build before serves while a migration runs, and after it until it is replaced, or again where it is installed
// again. So a migration, from the second on, takes nothing away that the build before uses, refuses nothing that it
// writes, and makes it wait for nothing long.
func TestMigrations_OnlyExpand(t *testing.T) {
	t.Parallel()
	names, err := fs.Glob(migrations.FS, "*.sql")
	if err != nil || len(names) < 2 {
		t.Fatalf("%d migrations, %v", len(names), err)
	}
	db := storetest.New(t, storetest.Bare())
	files := fstest.MapFS{}
	for i, name := range names {
		content, err := fs.ReadFile(migrations.FS, name)
		if err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			for _, wrong := range contractions(t, db, string(content)) {
				t.Errorf("%s: %s", name, wrong)
			}
		}
		files[name] = &fstest.MapFile{Data: content}
		if err := store.MigrateFrom(t.Context(), store.MigrateOptions{URL: db.OwnerURL, Log: slog.New(slog.DiscardHandler)}, files, 1); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			db.Exec(t, `SELECT tributary.make_partition(kind, current_date) FROM unnest(ARRAY['events', 'outcomes', 'messages']) AS kind`)
		}
	}
}

// Each rule finds what it is about, and lets pass what a migration may do.
func TestMigrations_Rules(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for _, c := range []struct{ sql, want string }{
		{`ALTER TABLE tributary.events ADD COLUMN note text`, ``},
		{`ALTER TABLE tributary.events ADD COLUMN note text NOT NULL DEFAULT ''`, ``},
		{`CREATE TABLE tributary.notes (tenant_id uuid PRIMARY KEY, note text NOT NULL); CREATE INDEX ON tributary.notes (note);
		  GRANT SELECT ON tributary.notes TO {{.Tenant}}; INSERT INTO tributary.notes VALUES (gen_random_uuid(), 'x;y')`, ``},
		{`CREATE OR REPLACE FUNCTION tributary.current_tenant() RETURNS uuid LANGUAGE sql STABLE PARALLEL SAFE AS $$ SELECT NULL::uuid; $$`, ``},
		{`ALTER TABLE tributary.keys ADD CONSTRAINT named CHECK (name <> '') NOT VALID`, ``},
		{`ALTER TABLE tributary.keys ALTER COLUMN name DROP NOT NULL`, ``},
		{`GRANT DELETE ON tributary.audit TO {{.Pipeline}}`, ``},
		{`CREATE INDEX events_note ON ONLY tributary.events (tenant_id, type)`, ``},

		{`ALTER TABLE tributary.keys DROP COLUMN metadata`, `column keys.metadata is gone`},
		{`ALTER TABLE tributary.keys RENAME COLUMN metadata TO labels`, `column keys.metadata is gone`},
		{`ALTER TABLE tributary.keys RENAME TO api_keys`, `table keys is gone`},
		{`DROP TABLE tributary.dedup`, `table dedup is gone`},
		{`ALTER TABLE tributary.usage ALTER COLUMN received TYPE numeric`, `column usage.received changes`},
		{`ALTER TABLE tributary.events ADD COLUMN note text NOT NULL`, `column events.note is new, NOT NULL and without a default`},
		{`ALTER TABLE tributary.keys ALTER COLUMN expires_at SET NOT NULL`, `column keys.expires_at changes`},
		{`ALTER TABLE tributary.usage ALTER COLUMN received DROP DEFAULT`, `column usage.received changes`},
		{`ALTER TABLE tributary.dedup ADD COLUMN salt uuid DEFAULT gen_random_uuid()`, `table dedup is written anew`},
		{`CREATE INDEX dedup_event ON tributary.dedup (event_id)`, `index dedup_event is made in a transaction`},
		{`CREATE UNIQUE INDEX keys_name ON tributary.keys (tenant_id, name)`, `index keys_name is unique`},
		{`DROP INDEX tributary.dedup_expires`, `index dedup_expires is gone`},
		{`ALTER TABLE tributary.keys ADD CONSTRAINT named CHECK (name <> '')`, `constraint keys.named is not NOT VALID`},
		{`ALTER TABLE tributary.routes DROP CONSTRAINT routes_tenant_id_name_key`, `constraint routes.routes_tenant_id_name_key is gone`},
		{`CREATE TABLE tributary.notes (tenant_id uuid REFERENCES tributary.tenants, endpoint_id uuid, FOREIGN KEY (tenant_id, endpoint_id) REFERENCES tributary.endpoints)`, `locks endpoints, tenants`},
		{`ALTER TABLE tributary.events ADD COLUMN note text; ALTER TABLE tributary.messages ADD COLUMN note text`, `locks events, messages`},
		{`DROP FUNCTION tributary.drop_partition(text, date)`, `function drop_partition(text,date) is gone`},
		{`ALTER FUNCTION tributary.drop_partition(text, date) SECURITY INVOKER`, `function drop_partition(text,date) changes`},
		{`DROP POLICY tenant ON tributary.keys`, `policy keys.tenant is gone`},
		{`CREATE POLICY late ON tributary.keys AS RESTRICTIVE USING (false)`, `policy keys.late is restrictive`},
		{`REVOKE SELECT ON tributary.keys FROM {{.Tenant}}`, `grant SELECT on table keys to tributary_tenant is gone`},
		{`REVOKE UPDATE (last_used_at) ON tributary.keys FROM {{.Pipeline}}`, `grant UPDATE on column keys.last_used_at to tributary_pipeline is gone`},
		{`UPDATE tributary.events SET type = ''`, `UPDATE holds each row`},
		{`INSERT INTO tributary.installation VALUES (true, 'dev')`, `INSERT into a table that was there`},
		{`DO $$ BEGIN DELETE FROM tributary.dedup; END $$`, `DO is`},
		{`SET lock_timeout = 0; ALTER TABLE tributary.events ADD COLUMN note text`, `SET is`},
		{`CREATE INDEX CONCURRENTLY dedup_event ON tributary.dedup (event_id)`, `---- tern: disable-tx ----`},

		{outside + `DROP INDEX CONCURRENTLY IF EXISTS tributary.dedup_event; CREATE INDEX CONCURRENTLY dedup_event ON tributary.dedup (event_id)`, ``},
		{outside + `CREATE INDEX CONCURRENTLY IF NOT EXISTS dedup_event ON tributary.dedup (event_id)`, `what an interrupted run left`},
		{outside + `DROP INDEX CONCURRENTLY IF EXISTS tributary.dedup_expires; CREATE INDEX CONCURRENTLY dedup_event ON tributary.dedup (event_id)`, `what an interrupted run left`},
		{outside + `ALTER TABLE tributary.events ADD COLUMN note text`, `belongs into a transaction`},
	} {
		found := contractions(t, db, c.sql)
		switch {
		case c.want == "" && len(found) > 0:
			t.Errorf("%s\nfound: %s", c.sql, strings.Join(found, "; "))
		case c.want != "" && !strings.Contains(strings.Join(found, "; "), c.want):
			t.Errorf("%s\nwant: %s\nfound: %s", c.sql, c.want, strings.Join(found, "; "))
		}
	}
}

const outside = "---- tern: disable-tx ----\n"

// contractions is what a migration may not do, with the reason. It leaves the database as it was.
func contractions(t *testing.T, db *storetest.DB, sql string) []string {
	t.Helper()
	sql = strings.NewReplacer("{{.Tenant}}", "tributary_tenant", "{{.Pipeline}}", "tributary_pipeline", "{{.River}}", "tributary_river").Replace(sql)
	if store.OutsideTransaction(sql) {
		return contractionsOutside(split(sql))
	}
	var found []string
	before := catalogue(t, db.Owner)
	for _, s := range split(sql) {
		found = append(found, contractionOf(s, before)...)
	}
	if len(found) > 0 {
		return found
	}
	tx, err := db.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(t.Context()) }()
	if _, err := tx.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	locked := slices.DeleteFunc(lockedTables(t, tx), func(name string) bool { return before["table "+name] == "" }) // what it made itself is nobody else's yet
	if len(locked) > 1 {
		found = append(found, fmt.Sprintf("it locks %s: of two tables one is held while the other is waited for, as traffic may do in the other order; make it several migrations", strings.Join(locked, ", ")))
	}
	return append(found, compareCatalogues(before, catalogue(t, tx))...)
}

var (
	concurrentDrop   = regexp.MustCompile(`(?is)^DROP INDEX CONCURRENTLY IF EXISTS tributary\.(\w+)$`)
	concurrentCreate = regexp.MustCompile(`(?is)^CREATE INDEX CONCURRENTLY (\w+) ON \S+ .*$`)
	insertInto       = regexp.MustCompile(`(?is)^INSERT INTO tributary\.(\w+)`)
)

// contractionsOutside are those of a migration outside a transaction, which may be done by half.
func contractionsOutside(statements []string) (found []string) {
	dropped := ""
	for _, s := range statements {
		if match := concurrentDrop.FindStringSubmatch(s); match != nil {
			dropped = match[1]
			continue
		}
		match := concurrentCreate.FindStringSubmatch(s)
		switch {
		case !strings.Contains(strings.ToUpper(s), "CONCURRENTLY"):
			found = append(found, s+": it belongs into a transaction, which is done or not")
		case match == nil || match[1] != dropped:
			found = append(found, s+": before it, DROP INDEX CONCURRENTLY IF EXISTS of that index: it is what an interrupted run left, and invalid")
		}
	}
	return found
}

// contractionOf judges a statement of a transaction by how it begins.
func contractionOf(s string, before map[string]string) []string {
	switch verb, _, _ := strings.Cut(strings.ToUpper(s), " "); {
	case verb == "INSERT":
		match := insertInto.FindStringSubmatch(s)
		if match == nil || before["table "+match[1]] != "" {
			return []string{"INSERT into a table that was there: the build before does not expect the row"}
		}
	case verb == "UPDATE":
		return []string{"UPDATE holds each row that it has written until the end; a backfill goes in small transactions, by a command or a job"}
	case strings.Contains(strings.ToUpper(s), " CONCURRENTLY "):
		return []string{"CONCURRENTLY goes into a migration of its own, which begins with ---- tern: disable-tx ----"}
	case !slices.Contains([]string{"CREATE", "ALTER", "DROP", "GRANT", "REVOKE", "COMMENT"}, verb):
		return []string{verb + " is nothing that these rules can look into"}
	}
	return nil
}

// split gives a migration's statements, without comments. What is quoted stays as it is.
func split(sql string) []string {
	token := regexp.MustCompile(`(?s)--[^\n]*|/\*.*?\*/|'(?:[^']|'')*'|"[^"]*"|\$\w*\$.*?\$\w*\$|;|[^-/'"$;]+|.`)
	var all []string
	var s strings.Builder
	for _, part := range append(token.FindAllString(sql, -1), ";") {
		switch {
		case strings.HasPrefix(part, "--"), strings.HasPrefix(part, "/*"):
		case part == ";":
			if text := strings.TrimSpace(s.String()); text != "" {
				all = append(all, text)
			}
			s.Reset()
		default:
			s.WriteString(part)
		}
	}
	return all
}

// lockedTables are those that the transaction keeps others from writing, or reading. A partition counts
// as its parent: whoever wants both takes the parent first.
func lockedTables(t *testing.T, tx pgx.Tx) []string {
	t.Helper()
	rows, _ := tx.Query(t.Context(), `
		SELECT DISTINCT coalesce(pg_partition_root(c.oid), c.oid)::regclass::text
		  FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
		 WHERE l.pid = pg_backend_pid() AND c.relkind IN ('r', 'p') AND c.relnamespace = 'tributary'::regnamespace
		   AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
		 ORDER BY 1`)
	locked, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for i := range locked {
		locked[i] = strings.TrimPrefix(locked[i], "tributary.")
	}
	return locked
}

// compareCatalogues says what of the build before's schema is missing, changed, or in its way.
func compareCatalogues(before, after map[string]string) (found []string) {
	for _, name := range slices.Sorted(maps.Keys(before)) {
		kind, _, _ := strings.Cut(name, " ")
		now, there := after[name]
		was := before[name]
		switch {
		case !there:
			found = append(found, name+" is gone, which the build before uses")
		case kind == "table" && was != now:
			found = append(found, name+" is written anew, and nobody reads or writes it meanwhile")
		case kind == "column" && was != now && strings.Replace(was, " NOT NULL", "", 1) != now:
			found = append(found, fmt.Sprintf("%s changes from %q to %q under the build before", name, was, now))
		case (kind == "function" || kind == "policy" || kind == "index") && was != now:
			found = append(found, fmt.Sprintf("%s changes from %q to %q under the build before", name, was, now))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		kind, rest, _ := strings.Cut(name, " ")
		now := after[name]
		owner, _, _ := strings.Cut(rest, ".")
		if kind == "index" {
			owner, _, _ = strings.Cut(now, " ")
		}
		if _, was := before[name]; was || before["table "+owner] == "" { // what hangs at a new table is free
			continue
		}
		switch {
		case kind == "column" && strings.Contains(now, "NOT NULL") && !strings.Contains(now, "DEFAULT"):
			found = append(found, name+" is new, NOT NULL and without a default: the build before does not fill it")
		case kind == "index" && strings.Contains(now, "unique"):
			found = append(found, name+" is unique: it refuses what the build before may write")
		case kind == "index" && strings.Contains(now, " valid"):
			found = append(found, name+" is made in a transaction, and nobody writes the table meanwhile; make it CONCURRENTLY, of a partitioned table ON ONLY it and then for each partition")
		case kind == "constraint" && !strings.Contains(now, "NOT VALID"):
			found = append(found, name+" is not NOT VALID: every row is looked at while nobody writes; validate it in a migration after")
		case kind == "policy" && strings.HasPrefix(now, "RESTRICTIVE"):
			found = append(found, name+" is restrictive: it hides rows from the build before")
		}
	}
	return found
}

// catalogue is what the build before relies on, by kind and name.
func catalogue(t *testing.T, db interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
},
) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, query := range catalogueQueries {
		rows, err := db.Query(t.Context(), query)
		if err != nil {
			t.Fatal(err)
		}
		var name, what string
		if _, err := pgx.ForEachRow(rows, []any{&name, &what}, func() error { all[name] = what; return nil }); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	return all
}

var catalogueQueries = []string{
	`SELECT 'table ' || c.relname, concat_ws(' ', 'in file', nullif(c.relfilenode, 0), CASE WHEN c.relrowsecurity THEN 'with RLS' END) FROM pg_class c
	  WHERE c.relnamespace = 'tributary'::regnamespace AND c.relkind IN ('r', 'p')`,
	`SELECT 'column ' || c.relname || '.' || a.attname, concat_ws(' ', format_type(a.atttypid, a.atttypmod), nullif(a.attidentity, ''), nullif(a.attgenerated, ''),
	        CASE WHEN a.attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid))
	   FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	  WHERE c.relnamespace = 'tributary'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped`,
	`SELECT 'constraint ' || c.relname || '.' || k.conname, pg_get_constraintdef(k.oid) FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
	  WHERE k.connamespace = 'tributary'::regnamespace AND k.contype IN ('p', 'u', 'f', 'c', 'x')`,
	`SELECT 'index ' || c.relname, concat_ws(' ', replace(i.indrelid::regclass::text, 'tributary.', ''), CASE WHEN i.indisunique THEN 'unique' END,
	        CASE WHEN i.indisvalid THEN 'valid' ELSE 'not yet' END, pg_get_indexdef(i.indexrelid))
	   FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace = 'tributary'::regnamespace`,
	`SELECT 'function ' || replace(p.oid::regprocedure::text, 'tributary.', ''), concat_ws(' ', pg_get_function_result(p.oid), p.provolatile, CASE WHEN p.prosecdef THEN 'for its owner' END, p.proconfig::text)
	   FROM pg_proc p WHERE p.pronamespace = 'tributary'::regnamespace`,
	`SELECT 'policy ' || tablename || '.' || policyname, concat_ws(' ', permissive, cmd, roles::text, qual, with_check) FROM pg_policies WHERE schemaname = 'tributary'`,
	`SELECT format('grant %s on %s to %s', privilege, object, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END), 'granted' FROM (
	   SELECT 'table ' || c.relname AS object, g.privilege_type AS privilege, g.grantee FROM pg_class c, aclexplode(c.relacl) g WHERE c.relnamespace = 'tributary'::regnamespace
	   UNION ALL
	   SELECT 'column ' || c.relname || '.' || a.attname, g.privilege_type, g.grantee
	     FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid, aclexplode(a.attacl) g WHERE c.relnamespace = 'tributary'::regnamespace
	   UNION ALL
	   SELECT 'function ' || p.proname, g.privilege_type, g.grantee FROM pg_proc p, aclexplode(p.proacl) g WHERE p.pronamespace = 'tributary'::regnamespace
	   UNION ALL
	   SELECT 'schema ' || n.nspname, g.privilege_type, g.grantee FROM pg_namespace n, aclexplode(n.nspacl) g WHERE n.nspname = 'tributary') granted`,
}
