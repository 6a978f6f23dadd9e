package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// nextMigrations are what the build after this one brings: what migrations typically have, on the busiest tables.
func nextMigrations() []string {
	return []string{
		"ALTER TABLE tributary.events ADD COLUMN region text;\n",
		"ALTER TABLE tributary.messages ADD COLUMN weight integer NOT NULL DEFAULT 1;\n",
		"ALTER TABLE tributary.log_heads ADD COLUMN paused_at timestamptz;\n",
		`CREATE TABLE tributary.labels (tenant_id uuid NOT NULL, label text NOT NULL, PRIMARY KEY (tenant_id, label));
ALTER TABLE tributary.labels ENABLE ROW LEVEL SECURITY;
CREATE POLICY pipeline ON tributary.labels TO {{.Pipeline}} USING (true) WITH CHECK (true);
CREATE POLICY tenant ON tributary.labels TO {{.Tenant}} USING (tenant_id = tributary.current_tenant());
GRANT SELECT ON tributary.labels TO {{.Tenant}}, {{.Pipeline}};
`,
		"---- tern: disable-tx ----\nDROP INDEX CONCURRENTLY IF EXISTS tributary.dedup_event;\nCREATE INDEX CONCURRENTLY dedup_event ON tributary.dedup (event_id);\n",
	}
}

// nextBuild is a binary of this tree with those migrations more, and how many it has.
func nextBuild(t *testing.T) (path string, migrations int) {
	t.Helper()
	folder, err := filepath.Abs("../../migrations")
	if err != nil {
		t.Fatal(err)
	}
	now, err := filepath.Glob(filepath.Join(folder, "[0-9]*.sql"))
	if err != nil || len(now) == 0 {
		t.Fatalf("%d migrations, %v", len(now), err)
	}
	overlay := map[string]map[string]string{"Replace": {}}
	for i, sql := range nextMigrations() {
		name := fmt.Sprintf("%03d_next.sql", len(now)+i+1)
		content := filepath.Join(t.TempDir(), name)
		writeFile(t, content, sql, 0o644)
		overlay["Replace"][filepath.Join(folder, name)] = content
	}
	said, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "overlay.json")
	writeFile(t, file, string(said), 0o644)
	path = filepath.Join(t.TempDir(), "tributary-next")
	out, err := exec.CommandContext(t.Context(), "go", "build", "-overlay", file, "-o", path, "../../cmd/tributary").CombinedOutput()
	if err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return path, len(now) + len(nextMigrations())
}

// attempt runs a program to its end, and gives all that it printed.
func attempt(t *testing.T, env []string, path string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir, cmd.Env = t.TempDir(), append(os.Environ(), env...)
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestUpgrade: the schema is migrated by the next build while this one serves under load; then each process is replaced
// by the next build, and each again by this one. No request fails but by a refused connection, and every subscriber
// sees every message once.
func TestUpgrade(t *testing.T) { //nolint:paralleltest // see scale
	next, migrations := nextBuild(t)
	s, own := layouts()[0].start(t)
	owner := []string{"TRIBUTARY_OWNER_DATABASE_URL=" + s.pg.url("postgres", databaseName)}

	out, err := attempt(t, append(s.nodes[0].env, "TRIBUTARY_LISTEN=127.0.0.1:0"), next, "serve")
	if err == nil || !strings.Contains(out, "tributary migrate up") {
		t.Errorf("the next build, on a schema that it does not know: %v\n%s", err, out)
	}
	if out, err := attempt(t, owner, next, "migrate", "status"); err == nil || !strings.Contains(out, fmt.Sprintf("wanted  %d", migrations)) {
		t.Errorf("migrate status: %v\n%s", err, out)
	}

	watchers := s.watch(t, own, scaleOf().subscribers)
	sender, began := s.newSender(t, own), time.Now()
	load := sender.start(t, scaleOf().webhooks)
	pass(t, scaleOf().time/5)

	migrating := time.Now()
	if out, err := attempt(t, owner, next, "migrate", "up", "--login", "hub_a"); err != nil {
		t.Fatalf("migrate up, with this build serving: %v\n%s", err, out)
	}
	took := time.Since(migrating)
	s.wantReady(t, "after the migration")
	pass(t, scaleOf().time/5)

	for _, to := range []string{next, ""} {
		for _, n := range s.nodes {
			if _, code := n.terminate(t); code != 0 {
				t.Errorf("process %s ended with %d:\n%s", n.name, code, n.out.Tail(3000))
			}
			n.binary = to
			n.start(t)
			pass(t, scaleOf().time/5)
		}
		s.wantReady(t, "replaced by "+filepath.Base(to))
	}
	if out, err := attempt(t, owner, mustBinary(t), "migrate", "up"); err != nil || !strings.Contains(out, "ahead of this build") {
		t.Errorf("this build's own migrate up, as its installation runs it: %v\n%s", err, out)
	}
	pass(t, scaleOf().time/5)
	load.end(t)

	book := settle(t, began, sender, watchers)
	book.print(t, "two processes, migrated under load, replaced by the next build and by this one again", sender, watchers,
		fmt.Sprintf("`migrate up` of %d migrations took %s", len(nextMigrations()), took.Round(time.Millisecond)))
	book.wantWhole(t)
	sender.wantKinds(t, "200", "200 duplicate", "connection refused")
	if book.cut > 0 || book.byes["drain"] == 0 {
		t.Errorf("%d streams ended without a goodbye, goodbyes %v; want none and drain", book.cut, book.byes)
	}
	var at int
	if err := s.pg.pool(t, databaseName).QueryRow(t.Context(), `SELECT version FROM tributary.schema_version`).Scan(&at); err != nil || at != migrations {
		t.Errorf("the schema is at %d, %v; want %d", at, err, migrations)
	}
}

func mustBinary(t *testing.T) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// wantReady fails where a process is not ready, or is not there.
func (s *fleet) wantReady(t *testing.T, when string) {
	t.Helper()
	for _, n := range s.nodes {
		if !n.ready() {
			t.Errorf("%s process %s is not ready:\n%s", when, n.name, n.out.Tail(3000))
		}
	}
}
