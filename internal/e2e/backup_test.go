package e2e_test

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/e2e"
)

// needsPostgresPrograms are what the script calls.
func needsPostgresPrograms(t *testing.T) {
	t.Helper()
	for _, program := range []string{"psql", "pg_dump", "pg_restore"} {
		e2e.Needs(t, program)
	}
}

func backupScript(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs("../../deploy/backup/backup.sh")
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRestore is the drill: a backup under load, more messages after it, and the hub's end; a restore into a new
// cluster that has none of its roles; the same processes on it. What was configured works, what was known as a
// duplicate still is, and subscribers that come back with the last id that they saw are told to start anew.
func TestRestore(t *testing.T) { //nolint:paralleltest // see scale
	needsPostgresPrograms(t)
	s := newFleet(t)
	node := s.serve(t, allRoles)
	own := s.newTenant(t)
	watchers := s.watch(t, own, 10)
	sender := s.newSender(t, own)
	load := sender.start(t, 100)
	pass(t, scaleOf().time/4)

	file := filepath.Join(t.TempDir(), "hub.backup")
	from := []string{"TRIBUTARY_OWNER_DATABASE_URL=" + s.pg.url("postgres", databaseName)}
	out, err := attempt(t, from, backupScript(t), "take", file)
	if err != nil || !strings.Contains(out, "not the keyset") {
		t.Fatalf("take: %v\n%s", err, out)
	}
	if out, err := attempt(t, from, backupScript(t), "take", file); err == nil || !strings.Contains(out, "is there already") {
		t.Errorf("a backup over another one: %v\n%s", err, out)
	}
	pass(t, scaleOf().time/4)
	load.end(t)
	sent := int(sender.sent.Load())
	for _, w := range watchers {
		w.await(t, "every message", func() bool { return len(w.seen) >= sent })
	}
	sender.wantKinds(t, "200", "200 duplicate")
	node.terminate(t)
	was := schemaOf(t, from)

	to := restored(t, file)
	if diff := cmp.Diff(was, schemaOf(t, []string{"TRIBUTARY_OWNER_DATABASE_URL=" + to.owner})); diff != "" {
		t.Errorf("the restored schema differs (-backup +restored):\n%s", diff)
	}
	to.wantOwned(t)

	other := []string{"TRIBUTARY_KEYSET=" + command(t, nil, "keyset", "new")}
	out, err = attempt(t, slices.Concat(node.env, []string{"TRIBUTARY_DATABASE_URL=" + to.login("hub_a"), "TRIBUTARY_LISTEN=127.0.0.1:0"}, other), mustBinary(t), "serve")
	if err == nil || !strings.Contains(out, "cannot open what the database holds") {
		t.Errorf("serve with another keyset: %v\n%s", err, out)
	}

	node.env = append(node.env, "TRIBUTARY_DATABASE_URL="+to.login("hub_a"))
	node.start(t)
	for _, w := range watchers {
		w.await(t, "hub.reset", func() bool { return len(w.resets) > 0 })
	}
	if kind, _, event := sender.post(t.Context(), node, payment(fmt.Sprintf("evt_%s_%d", sender.name, 0), 0, "cus_load")); kind != "200 duplicate" || !sender.acknowledged(event) {
		t.Errorf("what was taken before the backup comes again: %s %s", kind, event)
	}
	if kind, _, _ := sender.post(t.Context(), node, payment(fmt.Sprintf("evt_%s_%d", sender.name, sent-1), sent-1, "cus_load")); kind != "200" {
		t.Errorf("what was taken after the backup comes again: %s", kind)
	}
	_, _, last := sender.post(t.Context(), node, payment("evt_after_restore", 0, "cus_load"))
	for _, w := range watchers {
		w.await(t, "a message after the restore", func() bool { return slices.ContainsFunc(w.seen, func(m sighting) bool { return m.event == last }) })
		w.stop()
		if len(w.resets) != 1 || w.resets[0].Reason != "epoch" || w.resets[0].after != sent {
			t.Errorf("a subscriber's resets are %+v; want one, of the epoch, after %d messages", w.resets, sent)
		}
		if first, now := w.seen[0].epoch, w.seen[len(w.seen)-1].epoch; first == now {
			t.Errorf("the epoch was %s, and still is", now)
		}
	}
}

func (s *sender) acknowledged(event string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.acks, func(a ack) bool { return a.event == event })
}

// A target is a cluster that knew nothing of the hub, with a database for it, whose owner is no superuser.
type target struct{ host, owner string }

const odd = `p@ss:/w%rd\n "it's"` // a password that nothing may trip over

func (r *target) login(name string) string {
	return (&url.URL{Scheme: "postgres", User: url.UserPassword(name, odd), Path: "/" + databaseName, RawQuery: "host=" + r.host}).String()
}

func (r *target) psql(t *testing.T, database, sql string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "psql", "-XAtq", "--set=ON_ERROR_STOP=1", "--host="+r.host, "--username=postgres", "--dbname="+database, "--command="+sql).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", sql, err, out)
	}
	return strings.TrimSpace(string(out))
}

// restored restores the file there, and lets the hub's logins in; before that it meets each refusal.
func restored(t *testing.T, file string) *target {
	t.Helper()
	to := &target{host: strictPostgres(t, t.TempDir())}
	to.owner = to.login("hub_owner")
	password := "PASSWORD '" + strings.ReplaceAll(odd, "'", "''") + "'"
	to.psql(t, "postgres", `CREATE ROLE hub_owner LOGIN CREATEROLE `+password)
	to.psql(t, "postgres", `CREATE DATABASE `+databaseName+` OWNER hub_owner`)
	spied, seen := spies(t)
	env := []string{"TRIBUTARY_OWNER_DATABASE_URL=" + to.owner, spied}
	refused := func(when, want string) {
		t.Helper()
		if out, err := attempt(t, env, backupScript(t), "restore", file); err == nil || !strings.Contains(out, want) || strings.Contains(out, odd) {
			t.Errorf("restore %s: %v\n%s", when, err, out)
		}
	}
	refused("without the logins", "  hub_a\n")
	for _, login := range []string{"hub_a", "hub_b"} {
		to.psql(t, "postgres", `CREATE ROLE `+login+` LOGIN NOINHERIT `+password)
	}
	to.psql(t, databaseName, `CREATE TABLE mine (n int)`)
	refused("over a table", "not empty: it has mine")
	to.psql(t, databaseName, `DROP TABLE mine`)
	busy := exec.CommandContext(t.Context(), "psql", "-XAtq", "--host="+to.host, "--username=postgres", "--dbname="+databaseName, "--command=SELECT pg_sleep(600)")
	busy.Env = append(os.Environ(), "PGAPPNAME=somebody")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	waitUntil(t, func() bool {
		return to.psql(t, "postgres", `SELECT count(*) FROM pg_stat_activity WHERE application_name = 'somebody' AND wait_event = 'PgSleep'`) == "1"
	})
	refused("while it is used", "in use, by postgres (somebody)")
	to.psql(t, "postgres", `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'somebody'`)
	_ = busy.Wait()
	waitUntil(t, func() bool {
		return to.psql(t, "postgres", `SELECT count(*) FROM pg_stat_activity WHERE datname = '`+databaseName+`'`) == "0"
	})

	began := time.Now()
	if out, err := attempt(t, env, backupScript(t), "restore", file); err != nil {
		t.Fatalf("restore: %v\n%s", err, out)
	}
	t.Logf("restored in %s", time.Since(began).Round(time.Millisecond))
	refused("over a hub", "not empty: it has schema tributary")
	if said := readFile(t, seen); !strings.Contains(said, "--single-transaction") || strings.Contains(said, "p@ss") || strings.Contains(said, "p%40ss") {
		t.Errorf("the password, or nothing, is in the list of processes:\n%s", said)
	}
	for _, login := range []string{"hub_a", "hub_b"} {
		command(t, env, "migrate", "up", "--login", login)
	}
	return to
}

// spies stand before Postgres's programs and note how these are called.
func spies(t *testing.T) (path, seen string) {
	t.Helper()
	folder := t.TempDir()
	seen = filepath.Join(folder, "seen")
	for _, name := range []string{"psql", "pg_restore"} {
		program, err := exec.LookPath(name)
		if err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(folder, name), "#!/bin/sh\necho \"$0 $*\" >>'"+seen+"'\nexec '"+program+"' \"$@\"\n", 0o755)
	}
	return "PATH=" + folder + ":" + os.Getenv("PATH"), seen
}

// wantOwned fails where something in the hub's schemas is not the owner's, or where the roles are other ones than
// those that a migration makes, or where a stranger gets in.
func (r *target) wantOwned(t *testing.T) {
	t.Helper()
	for sql, want := range map[string]string{
		`SELECT string_agg(DISTINCT relowner::regrole::text, ',') FROM pg_class WHERE relnamespace IN ('tributary'::regnamespace, 'tributary_river'::regnamespace)`: "hub_owner",
		`SELECT string_agg(DISTINCT proowner::regrole::text, ',') FROM pg_proc WHERE pronamespace IN ('tributary'::regnamespace, 'tributary_river'::regnamespace)`:  "hub_owner",
		`SELECT has_database_privilege('public', current_database(), 'CONNECT')`:                                                                                    "f",
		`SELECT count(*) FROM pg_roles WHERE rolname IN ('tributary_tenant', 'tributary_pipeline', 'tributary_river')
			AND NOT (rolsuper OR rolinherit OR rolcreaterole OR rolcreatedb OR rolcanlogin OR rolbypassrls OR rolreplication)`: "3",
	} {
		if got := r.psql(t, databaseName, sql); got != want {
			t.Errorf("%s\n%s, want %s", sql, got, want)
		}
	}
}

// schemaOf is everything but the data, as pg_dump writes it: tables, functions, grants, policies, row-level security.
func schemaOf(t *testing.T, env []string) string {
	t.Helper()
	out, err := attempt(t, env, "bash", "-c", `pg_dump --schema-only --no-owner --dbname "$TRIBUTARY_OWNER_DATABASE_URL"`)
	if err != nil {
		t.Fatalf("pg_dump: %v\n%s", err, out)
	}
	if strings.Count(out, "\nCREATE POLICY ") < 20 || strings.Count(out, "\nGRANT ") < 50 || !strings.Contains(out, "ALTER DEFAULT PRIVILEGES") {
		t.Fatalf("this is no hub's schema:\n%s", out)
	}
	out = regexp.MustCompile(`(?m)^\\(un)?restrict .*$`).ReplaceAllString(out, "") // with a number that is drawn anew
	return regexp.MustCompile(`FOR ROLE \w+`).ReplaceAllString(out, "FOR ROLE the_owner")
}

// TestRestore_CopiedFolder: a copied data folder is put back. Postgres cannot notice, so nor can the hub: subscribers
// miss what was written at positions that are used twice. `tributary epoch new` is what tells them, also those of
// processes that run.
func TestRestore_CopiedFolder(t *testing.T) { //nolint:paralleltest // see scale
	s := newFleet(t)
	s.serve(t, "ingest,api,worker")
	streams := s.serve(t, "stream")
	own := s.newTenant(t)
	watchers := s.watch(t, own, 3)
	seen := func(n int) {
		t.Helper()
		for _, w := range watchers {
			w.await(t, fmt.Sprint(n, " messages"), func() bool { return len(w.seen) >= n })
		}
	}
	s.post(t, own, "before", 20)
	seen(20)

	stop := func() {
		for _, n := range s.nodes {
			n.terminate(t)
		}
		s.pg.stop(t)
	}
	stop()
	data, kept := filepath.Join(s.pg.dir, "data"), filepath.Join(filepath.Dir(s.pg.dir), "kept")
	bash(t, `cp -a "$1" "$2"`, data, kept)
	s.pg.start(t)
	for _, n := range s.nodes {
		n.start(t)
	}
	s.post(t, own, "lost", 10)
	seen(30)

	stop()
	bash(t, `rm -r "$1" && mv "$2" "$1"`, data, kept)
	s.pg.start(t)
	s.nodes[0].start(t)
	s.post(t, own, "again", 15) // ten of them at positions that the subscribers have seen
	waitUntil(t, func() bool {
		return count(t, s.pg.pool(t, databaseName), `SELECT max(position) FROM tributary.log_heads`) == 35
	})
	streams.start(t)
	seen(35)
	for _, w := range watchers {
		w.mu.Lock()
		if len(w.resets) > 0 || len(w.seen) != 35 {
			t.Errorf("without `epoch new` a subscriber has %d messages and resets %v; if the hub has come to notice, the page may say so", len(w.seen), w.resets)
		}
		w.mu.Unlock()
	}

	command(t, []string{"TRIBUTARY_OWNER_DATABASE_URL=" + s.pg.url("postgres", databaseName)}, "epoch", "new")
	for _, w := range watchers {
		w.await(t, "hub.reset", func() bool { return len(w.resets) > 0 })
		if w.resets[0].Reason != "epoch" || w.resets[0].Position != 35 {
			t.Errorf("reset %+v, want of the epoch, at 35", w.resets[0])
		}
	}
	s.post(t, own, "after", 5)
	seen(40)
}

// post has that many webhooks acknowledged, one after the other.
func (s *fleet) post(t *testing.T, own *tenant, name string, n int) {
	t.Helper()
	door := s.with("ingest")[0]
	for i := range n {
		res, err := postSigned(t.Context(), http.DefaultClient, door.url()+own.path, own.secret, payment(fmt.Sprintf("evt_%s_%d", name, i), i, "cus_copy"))
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Fatalf("webhook %d of %s: %s", i, name, res.Status)
		}
	}
}

func bash(t *testing.T, script string, args ...string) {
	t.Helper()
	if out, err := attempt(t, nil, "bash", append([]string{"-euo", "pipefail", "-c", script, "bash"}, args...)...); err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
}
