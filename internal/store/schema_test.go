package store_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/storetest"
)

var update = flag.Bool("update", false, "rewrite migrations/schema.sql")

// schemaFile is what the migrations come to, to be read and reviewed: a migration shows there what it changed.
var schemaFile = filepath.Join("..", "..", "migrations", "schema.sql")

// TestSchemaDump compares the schema that the migrations make with the dump that is checked in; -update writes it.
func TestSchemaDump(t *testing.T) {
	t.Parallel()
	got := dumpSchema(t, storetest.New(t))
	if *update {
		if err := os.WriteFile(schemaFile, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(schemaFile)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("the dump is out of date: go test ./internal/store -run TestSchemaDump -update\n%s", diff)
	}
}

// dumpSchema writes schema tributary as its catalogue has it, and the grants on River's tables, in a form that does not
// depend on Postgres's version or build, nor on the day.
func dumpSchema(t *testing.T, db *storetest.DB) string {
	t.Helper()
	var out strings.Builder
	out.WriteString("-- What the migrations come to. Written by go test ./internal/store -run TestSchemaDump -update, not by hand.\n")
	for _, query := range schemaQueries {
		for _, text := range storetest.Values[string](t, db, query) {
			out.WriteString("\n" + strings.ReplaceAll(text, "\r", "") + "\n")
		}
	}
	return out.String()
}

// One query a section, each row a statement or a block of them.
var schemaQueries = []string{
	// Functions.
	`SELECT regexp_replace(pg_get_functiondef(p.oid), '\s+$', '') || ';'
	   FROM pg_proc p WHERE p.pronamespace = 'tributary'::regnamespace ORDER BY p.proname COLLATE "C", p.oid`,

	// Tables, with their columns, constraints, indexes and policies.
	`SELECT concat_ws(E'\n',
	          'CREATE TABLE tributary.' || c.relname || ' (' ||
	            (SELECT string_agg(E'\n    ' || line, ',' ORDER BY rank, line COLLATE "C") FROM (
	               SELECT lpad(a.attnum::text, 4) AS rank, concat_ws(' ', a.attname, format_type(a.atttypid, a.atttypmod),
	                        CASE WHEN a.attcollation <> ty.typcollation THEN 'COLLATE "' || co.collname || '"' END,
	                        CASE WHEN a.attnotnull THEN 'NOT NULL' END, 'DEFAULT ' || pg_get_expr(d.adbin, d.adrelid)) AS line
	                 FROM pg_attribute a JOIN pg_type ty ON ty.oid = a.atttypid
	                 LEFT JOIN pg_collation co ON co.oid = a.attcollation
	                 LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
	                WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
	               UNION ALL
	               SELECT 'x', 'CONSTRAINT ' || k.conname || ' ' || pg_get_constraintdef(k.oid)
	                 FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype IN ('p', 'u', 'f', 'c', 'x')) lines) ||
	          E'\n)' || coalesce(' PARTITION BY ' || CASE c.relkind WHEN 'p' THEN pg_get_partkeydef(c.oid) END, '') ||
	          coalesce(' WITH (' || array_to_string(c.reloptions, ', ') || ')', '') || ';',
	          (SELECT string_agg(pg_get_indexdef(i.indexrelid) || ';', E'\n' ORDER BY i.indexrelid::regclass::text COLLATE "C") FROM pg_index i
	            WHERE i.indrelid = c.oid AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x'))),
	          CASE WHEN c.relrowsecurity THEN 'ALTER TABLE tributary.' || c.relname || ' ENABLE ROW LEVEL SECURITY;' END,
	          (SELECT string_agg(concat_ws(' ', 'CREATE POLICY', p.policyname, 'ON tributary.' || c.relname, 'AS ' || p.permissive, 'FOR', p.cmd, 'TO', array_to_string(p.roles, ', '),
	                    'USING (' || p.qual || ')', 'WITH CHECK (' || p.with_check || ')') || ';', E'\n' ORDER BY p.policyname)
	             FROM pg_policies p WHERE p.schemaname = 'tributary' AND p.tablename = c.relname),
	          (SELECT string_agg(pg_get_triggerdef(g.oid) || ';', E'\n' ORDER BY g.tgname) FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal))
	   FROM pg_class c
	  WHERE c.relnamespace = 'tributary'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
	  ORDER BY c.relname COLLATE "C"`,

	// Anything else, such as a view or a sequence, by name: there is none, and one that comes shows.
	`SELECT '-- relation tributary.' || c.relname || ' of kind ' || c.relkind::text FROM pg_class c
	  WHERE c.relnamespace = 'tributary'::regnamespace AND c.relkind NOT IN ('r', 'p', 'i', 'I', 't') ORDER BY c.relname COLLATE "C"`,

	// Who may what: schemas, tables, columns, functions; then defaults.
	`SELECT string_agg('GRANT ' || privileges || ' ON ' || object || ' TO ' || grantee || ';', E'\n' ORDER BY object COLLATE "C") FROM (
	   SELECT string_agg(privilege, ', ' ORDER BY privilege COLLATE "C") AS privileges, object, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END AS grantee
	     FROM (SELECT 'SCHEMA ' || n.nspname AS object, g.privilege_type AS privilege, g.grantee
	             FROM pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) g WHERE n.nspname IN ('tributary', 'tributary_river')
	           UNION ALL
	           SELECT CASE c.relkind WHEN 'S' THEN 'SEQUENCE ' ELSE '' END || n.nspname || '.' || c.relname, g.privilege_type, g.grantee
	             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) g WHERE n.nspname IN ('tributary', 'tributary_river')
	           UNION ALL
	           SELECT n.nspname || '.' || c.relname, g.privilege_type || ' (' || a.attname || ')', g.grantee
	             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(a.attacl) g
	            WHERE n.nspname IN ('tributary', 'tributary_river')
	           UNION ALL
	           SELECT 'FUNCTION ' || p.oid::regprocedure, g.privilege_type, g.grantee
	             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
	            WHERE n.nspname IN ('tributary', 'tributary_river')) acl
	    WHERE grantee = 0 OR grantee IN ('tributary_tenant'::regrole, 'tributary_pipeline'::regrole, 'tributary_river'::regrole)
	    GROUP BY object, grantee) grants
	  GROUP BY grantee ORDER BY grantee COLLATE "C"`,
	`SELECT '-- default privileges of ' || CASE d.defaclobjtype WHEN 'f' THEN 'functions' ELSE d.defaclobjtype::text END || ': ' ||
	        CASE WHEN EXISTS (SELECT FROM aclexplode(d.defaclacl) g WHERE g.grantee = 0) THEN 'PUBLIC has some' ELSE 'PUBLIC has none' END
	   FROM pg_default_acl d ORDER BY 1`,
}
