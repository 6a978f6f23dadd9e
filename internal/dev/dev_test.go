package dev_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/dev"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/logtest"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// childFolder tells this test binary to be the process that is killed.
const childFolder = "DEV_TEST_CHILD_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		err := dev.Run(context.Background(), dev.Options{Config: environment(dir, ""), Listen: "127.0.0.1:0", Log: slog.Default(), Out: os.Stdout})
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// A start that was killed at any moment leaves what the next one completes; once there, everything is found again.
func TestRun_KilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	for range 6 {
		killed := child(t, dir)
		select {
		case <-time.After(time.Duration(rand.IntN(2500)) * time.Millisecond): // anywhere from the first file to the first webhook
		case <-killed.said:
		}
		killed.kill()
	}

	h := start(t, environment(dir, ""), "127.0.0.1:0")
	first := h.file(t)
	h.stop(t)
	whole(t, first)

	killed := child(t, dir)
	<-killed.said
	killed.kill()
	again := start(t, environment(dir, ""), strings.TrimPrefix(first.URL, "http://"))
	if diff := cmp.Diff(first, again.file(t)); diff != "" {
		t.Errorf("dev.json of the next start at the same address (-first +next):\n%s", diff)
	}
}

// whole checks that nothing of the demo tenant is missing, and nothing there twice.
func whole(t *testing.T, file dev.File) {
	t.Helper()
	names := []string{"stripe", "github", "shopify", "slack", "standard-webhooks", "generic-hmac"}
	for _, name := range names {
		e := file.Endpoints[name]
		if e.ID == "" || e.Secret == "" || !strings.HasPrefix(e.URL, file.URL+"/in/") {
			t.Errorf("endpoint %s: %+v", name, e)
		}
	}
	if len(file.Endpoints) != len(names) || !hub.IsKey(file.OperatorKey) || !hub.IsKey(file.TenantKey) || file.OperatorKey == file.TenantKey {
		t.Errorf("dev.json: %d endpoints, and keys of one form: %v, %v", len(file.Endpoints), hub.IsKey(file.OperatorKey), hub.IsKey(file.TenantKey))
	}
}

func TestRun_DemoTenant(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, storetest.Bare())
	h := start(t, environment(dataDir(t, db), db.OwnerURL), "127.0.0.1:0")
	file := h.file(t)
	whole(t, file)
	s := snapshot(t, db)

	type row struct{ Name, Endpoint, Match, Channels, Type, Data string }
	var want, got []row
	for _, name := range []string{"stripe", "github", "shopify", "slack", "standard-webhooks", "generic-hmac"} {
		want = append(want, row{name, file.Endpoints[name].ID, "true", "demo:{event.provider}", "", "event.body"})
	}
	for _, r := range s.Routes {
		got = append(got, row{r.Name, r.Endpoint.String(), r.Match, strings.Join(r.Channels, " "), r.Type, r.Data})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	if len(s.Issuers) != 1 {
		t.Fatalf("%d issuers", len(s.Issuers))
	}
	issuer := s.Issuers[0]
	grants := []hub.Grant{{Pattern: "user:{sub}"}, {Pattern: "customer:{claims.customer}"}, {Pattern: "demo:*"}}
	if issuer.Name != "dev" || issuer.Issuer != file.Issuer || file.Issuer != file.URL+"/dev/issuer" || file.Audience != "tributary-dev" ||
		!issuer.Internal || cmp.Diff([]string{"tributary-dev"}, issuer.Audiences) != "" || cmp.Diff(grants, issuer.Grants) != "" {
		t.Errorf("issuer %+v; dev.json says %s for %s", issuer, file.Issuer, file.Audience)
	}
	if len(s.Keys) != 1 || s.Keys[0].Hash != hub.HashToken(file.TenantKey) || cmp.Diff(hub.TenantScopes(), s.Keys[0].Scopes) != "" {
		t.Errorf("the tenant's key: %+v", s.Keys)
	}
	operator, err := db.Pipeline.OperatorKey(t.Context(), hub.HashToken(file.OperatorKey))
	if err != nil || cmp.Diff(hub.OperatorScopes(), operator.Scopes) != "" {
		t.Errorf("the operator's key: %+v, %v", operator.Key, err)
	}
	if kind, err := store.InstallationKind(t.Context(), db.OwnerURL); err != nil || kind != "dev" {
		t.Errorf("the database is marked %q, %v", kind, err)
	}
	if file.DatabaseURL != db.OwnerURL {
		t.Error("dev.json does not name the owner's database")
	}
	name := storetest.Value[string](t, db, `SELECT current_database()`)
	if database := said(t, h, "database"); !strings.HasSuffix(database, "/"+name+", named by TRIBUTARY_DATABASE_URL") {
		t.Errorf("the database is said to be %q", database)
	}
	if pages := said(t, h, "docs"); pages != file.URL+"/docs" {
		t.Errorf("the pages are said to be at %q", pages)
	}
}

// What a user did to the demo tenant stays; what was lost comes back; the address is today's.
func TestRun_SecondStart(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, storetest.Bare())
	dir := dataDir(t, db)
	h := start(t, environment(dir, db.OwnerURL), "127.0.0.1:0")
	first := h.file(t)
	h.stop(t)
	db.Exec(t, `DELETE FROM tributary.routes WHERE name = 'slack'`)
	db.Exec(t, `DELETE FROM tributary.endpoints WHERE name = 'slack'`)
	db.Exec(t, `UPDATE tributary.routes SET match = 'false' WHERE name = 'stripe'`)
	db.Exec(t, `UPDATE tributary.issuers SET grants = '[{"pattern": "mine:{sub}"}]'`)
	db.Exec(t, `UPDATE tributary.keys SET revoked_at = now()`)
	db.Exec(t, `UPDATE tributary.operator_keys SET expires_at = now()`)
	if err := os.Remove(filepath.Join(dir, dev.FileName)); err != nil {
		t.Fatal(err)
	}

	second := start(t, environment(dir, db.OwnerURL), "127.0.0.1:0").file(t)
	whole(t, second)
	for _, name := range []string{"stripe", "github"} {
		was, is := first.Endpoints[name], second.Endpoints[name]
		if was.ID != is.ID || was.Secret != is.Secret || filepath.Base(was.URL) != filepath.Base(is.URL) {
			t.Errorf("endpoint %s is another one", name)
		}
	}
	if first.Endpoints["slack"].ID == second.Endpoints["slack"].ID {
		t.Error("the deleted endpoint did not come back as a new one")
	}
	if first.TenantKey == second.TenantKey || first.OperatorKey == second.OperatorKey {
		t.Error("a key that is revoked or expired is given again")
	}
	s := snapshot(t, db)
	if len(s.Keys) != 1 || s.Keys[0].Hash != hub.HashToken(second.TenantKey) {
		t.Errorf("keys: %+v", s.Keys)
	}
	if len(s.Routes) != 6 || s.Routes[0].Match != "false" {
		t.Errorf("%d routes, the first matches %q", len(s.Routes), s.Routes[0].Match)
	}
	if i := s.Issuers[0]; i.Issuer != second.URL+"/dev/issuer" || i.Grants[0].Pattern != "mine:{sub}" || len(s.Issuers) != 1 {
		t.Errorf("issuer: %+v", i)
	}
}

// A token lives through a restart: the key is the same, and so is the issuer at the same address.
func TestRun_KeepsItsIssuersKey(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, storetest.Bare())
	dir := dataDir(t, db)
	h := start(t, environment(dir, db.OwnerURL), "127.0.0.1:0")
	first := get(t, h.file(t).Issuer+"/jwks")
	h.stop(t)
	h = start(t, environment(dir, db.OwnerURL), "127.0.0.1:0")
	if second := get(t, h.file(t).Issuer+"/jwks"); first != second || !strings.Contains(first, `"kid"`) {
		t.Errorf("keys before: %s, after: %s", first, second)
	}
}

func TestRun_RefusedDatabases(t *testing.T) {
	t.Parallel()
	t.Run("of production, without a migration", func(t *testing.T) {
		t.Parallel()
		db := storetest.New(t)
		if _, err := db.Pipeline.MarkInstallation(t.Context(), "production"); err != nil {
			t.Fatal(err)
		}
		db.Exec(t, `UPDATE tributary.schema_version SET version = 0`) // a migration would fail on what is there
		refused(t, environment(dataDir(t, nil), db.OwnerURL), "127.0.0.1:0", "marked production")
	})
	t.Run("sealed with another keyset", func(t *testing.T) {
		t.Parallel()
		db := storetest.New(t, storetest.Bare())
		dir := dataDir(t, db)
		start(t, environment(dir, db.OwnerURL), "127.0.0.1:0").stop(t)
		if err := os.Remove(filepath.Join(dir, "keyset")); err != nil {
			t.Fatal(err)
		}
		refused(t, environment(dir, db.OwnerURL), "127.0.0.1:0", "another keyset")
	})
	t.Run("whose demo tenant was deleted", func(t *testing.T) {
		t.Parallel()
		db := storetest.New(t, storetest.Bare())
		dir := dataDir(t, db)
		start(t, environment(dir, db.OwnerURL), "127.0.0.1:0").stop(t)
		db.Exec(t, `DELETE FROM tributary.routes`)
		db.Exec(t, `DELETE FROM tributary.tenants`)
		refused(t, environment(dir, db.OwnerURL), "127.0.0.1:0", "not given out twice")
	})
	t.Run("that does not answer", func(t *testing.T) {
		t.Parallel()
		refused(t, environment(dataDir(t, nil), "postgres://owner:topsecret@127.0.0.1:1/nothing"), "127.0.0.1:0", "prepare the database that TRIBUTARY_DATABASE_URL names")
	})
}

func TestRun_Addresses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	for _, tt := range []struct {
		name, listen, ops string
		hosts             []string
		want              string
		usage             bool
	}{
		{"a taken port", taken.Addr().String(), "", nil, "is taken: stop what has it, or take any free port with --listen", false},
		{"a taken operator's port", "127.0.0.1:0", taken.Addr().String(), nil, "TRIBUTARY_OPS_LISTEN", false},
		{"two taken ports, in one message", taken.Addr().String(), taken.Addr().String(), nil, "--listen 127.0.0.1:0\n" + taken.Addr().String() + " is taken", false},
		{"everywhere, for nobody named", ":0", "", nil, "--host", true},
		{"another network, for nobody named", "192.0.2.1:0", "", nil, "--host", true},
		{"a name that is a URL", "127.0.0.1:0", "", []string{"http://hub.local"}, "without scheme", true},
		{"a name with a port", "127.0.0.1:0", "", []string{"hub.local:8080"}, "without scheme", true},
		{"no address", "8080", "", nil, `"8080": not an address`, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := environment(filepath.Join(t.TempDir(), "data"), "")
			if tt.ops != "" {
				c.OpsListen = tt.ops
			}
			err := dev.Run(t.Context(), dev.Options{Config: c, Listen: tt.listen, Hosts: tt.hosts, Log: canary.Logger(t), Out: t.Output()})
			if err == nil || !strings.Contains(err.Error(), tt.want) || (hub.CodeOf(err) == hub.Invalid) != tt.usage {
				t.Errorf("%v; want %q, of usage: %v", err, tt.want, tt.usage)
			}
			if _, err := os.Stat(c.DataDir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("a data folder is left behind: %v", err)
			}
		})
	}
}

// A start that fails takes away what it made, and nothing else.
func TestRun_LeavesNothingBehind(t *testing.T) {
	t.Parallel()
	fail := func(t *testing.T, dir string) {
		t.Helper()
		c := environment(dir, "")
		c.Postgres = "brew" // no such source: it fails when everything else is there
		if err := dev.Run(t.Context(), dev.Options{Config: c, Listen: "127.0.0.1:0", Log: canary.Logger(t), Out: t.Output()}); err == nil {
			t.Fatal("it started")
		}
	}
	t.Run("a folder of its own", func(t *testing.T) {
		t.Parallel()
		parent := t.TempDir()
		fail(t, filepath.Join(parent, "data"))
		if left, err := os.ReadDir(parent); err != nil || len(left) != 0 {
			t.Errorf("left: %v, %v", left, err)
		}
	})
	t.Run("a folder that was there", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		fail(t, dir)
		kept, err := os.ReadFile(filepath.Join(dir, "keyset"))
		if err != nil {
			t.Fatal(err)
		}
		fail(t, dir)
		if again, err := os.ReadFile(filepath.Join(dir, "keyset")); err != nil || string(again) != string(kept) {
			t.Errorf("the keyset is another one: %v", err)
		}
	})
}

// Where nobody named the operator's port, any free one will do.
func TestRun_OperatorsPort(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:9090") // if it fails, somebody else has the port, which does as well
	if err == nil {
		t.Cleanup(func() { _ = taken.Close() })
	}
	db := storetest.New(t, storetest.Bare())
	c := environment(dataDir(t, db), db.OwnerURL)
	c.OpsListen = ""
	get(t, said(t, start(t, c, "127.0.0.1:0"), "metrics"))
}

// A folder's name is anything that a file system takes: it goes through URLs, lists of hosts and command lines. The
// folder has one user, and who comes second is told that, also where the port is the same.
func TestRun_OwnDatabase(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), `a + 50%20 "or" it's Größe\`)
	c := environment(dir, "")
	h := start(t, c, "127.0.0.1:0")
	file := h.file(t)
	whole(t, file)
	get(t, file.URL+"/healthz")
	if database := said(t, h, "database"); !strings.HasPrefix(database, "a Postgres of its own, by the programs in /") {
		t.Errorf("the database is %q", database)
	}
	refused(t, c, strings.TrimPrefix(file.URL, "http://"), "a hub runs here already")
	h.stop(t)
	if text := h.out.String(); !strings.Contains(text, "Stopped. The data stays in "+dir) {
		t.Errorf("it ends with %q", text[max(0, len(text)-200):])
	}
}

// Where other machines reach it, the hub is called by the name that was given, and reaches itself by another.
func TestRun_NamedHost(t *testing.T) {
	t.Parallel()
	db := storetest.New(t, storetest.Bare())
	h := start(t, environment(dataDir(t, db), db.OwnerURL), "0.0.0.0:0", "hub.test")
	file := h.file(t)
	port := file.URL[strings.LastIndex(file.URL, ":"):]
	if file.URL != "http://hub.test"+port || file.Issuer != file.URL+"/dev/issuer" {
		t.Errorf("url %s, issuer %s", file.URL, file.Issuer)
	}
	if row := snapshot(t, db).Issuers[0]; row.Issuer != file.Issuer || row.JWKSURI != "http://127.0.0.1"+port+"/dev/issuer/jwks" {
		t.Errorf("issuer row: %+v", row)
	}
	get(t, "http://127.0.0.1"+port+"/dev/issuer/jwks")
}

func TestRun_Interrupted(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "data")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	log := slog.New(slog.NewTextHandler(onWrite(interrupt), nil)) // the first word of a first start: making a cluster
	err := dev.Run(ctx, dev.Options{Config: environment(dir, ""), Listen: "127.0.0.1:0", Log: log, Out: t.Output()})
	if err == nil || !strings.Contains(err.Error(), "interrupted before") {
		t.Errorf("interrupted start: %v", err)
	}
	start(t, environment(dir, ""), "127.0.0.1:0")
}

// environment is what the environment says for a test: every port free, one folder, perhaps a database.
func environment(dir, database string) config.Config {
	environ := []string{"TRIBUTARY_OPS_LISTEN=127.0.0.1:0", "TRIBUTARY_DATA_DIR=" + dir, "TRIBUTARY_DATABASE_URL=" + database}
	if source := os.Getenv("TRIBUTARY_POSTGRES"); source != "" {
		environ = append(environ, "TRIBUTARY_POSTGRES="+source)
	}
	c, err := config.Load(environ)
	if err != nil {
		panic(err)
	}
	return c
}

// A running is a hub in this process.
type running struct {
	dir  string
	out  logtest.Buffer // what it says to people
	end  context.CancelFunc
	err  error
	done chan struct{} // closed when Run has returned, err is set then
}

// start runs a hub until the test ends, and returns once it says that it serves.
func start(t *testing.T, c config.Config, listen string, hosts ...string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	h := &running{dir: c.DataDir, end: cancel, done: make(chan struct{})}
	said := make(chan struct{})
	var log logtest.Buffer
	go func() {
		defer close(h.done)
		h.err = dev.Run(ctx, dev.Options{
			Config: c, Listen: listen, Hosts: hosts,
			Log: canary.Logger(t, slog.NewTextHandler(&log, nil)), Out: io.MultiWriter(&h.out, onWrite(sync.OnceFunc(func() { close(said) }))),
		})
	}()
	t.Cleanup(func() {
		h.stop(t)
		if t.Failed() {
			t.Log(log.String())
		}
	})
	select {
	case <-said:
	case <-h.done:
		t.Fatalf("the hub ended: %v", h.err)
	case <-time.After(time.Minute):
		t.Fatal("the hub does not serve after a minute")
	}
	return h
}

func (h *running) stop(t *testing.T) {
	t.Helper()
	h.end()
	<-h.done
	if h.err != nil {
		t.Errorf("the hub's end: %v", h.err)
		h.err = nil
	}
}

func (h *running) file(t *testing.T) dev.File {
	t.Helper()
	file, err := dev.ReadFile(h.dir)
	if err != nil {
		t.Fatal(err)
	}
	return file
}

// said is a line of the table that the hub prints: what stands after the name.
func said(t *testing.T, h *running, name string) string {
	t.Helper()
	for line := range strings.Lines(h.out.String()) {
		if rest, ok := strings.CutPrefix(line, "  "+name+" "); ok {
			return strings.TrimSpace(rest)
		}
	}
	t.Fatalf("no line on %s in:\n%s", name, h.out.String())
	return ""
}

func refused(t *testing.T, c config.Config, listen, want string) {
	t.Helper()
	err := dev.Run(t.Context(), dev.Options{Config: c, Listen: listen, Log: canary.Logger(t), Out: t.Output()})
	if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "topsecret") {
		t.Errorf("%v; want a refusal that says %q", err, want)
	}
}

// A doomed is a hub in a process of its own.
type doomed struct {
	cmd  *exec.Cmd
	said chan struct{} // closed when it says that it serves
	once sync.Once
}

func child(t *testing.T, dir string) *doomed {
	t.Helper()
	d := &doomed{cmd: exec.Command(os.Args[0]), said: make(chan struct{})}
	d.cmd.Env = append(os.Environ(), childFolder+"="+dir)
	d.cmd.Stdout = onWrite(sync.OnceFunc(func() { close(d.said) }))
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.kill)
	return d
}

func (d *doomed) kill() {
	d.once.Do(func() {
		_ = d.cmd.Process.Kill()
		_ = d.cmd.Wait()
	})
}

// onWrite is a writer that calls itself when something is written.
type onWrite func()

func (w onWrite) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}

// dataDir is a folder for hubs on a test's database. Their login belongs to the cluster that tests share: it goes
// with the test.
func dataDir(t *testing.T, db *storetest.DB) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if db == nil {
		return dir
	}
	t.Cleanup(func() {
		var name string
		err := db.Owner.QueryRow(context.Background(), `
			SELECT rolname FROM pg_roles WHERE rolname LIKE 'tributary\_dev\_%'
			   AND has_database_privilege(rolname, current_database(), 'CONNECT') AND NOT rolsuper LIMIT 1`).Scan(&name)
		if err == nil {
			_, err = db.Owner.Exec(context.Background(), `DROP OWNED BY `+name+`; DROP ROLE `+name)
		}
		if err != nil {
			t.Errorf("drop the hub's login: %v", err)
		}
	})
	return dir
}

// snapshot is the demo tenant as a hub loads it.
func snapshot(t *testing.T, db *storetest.DB) store.Snapshot {
	t.Helper()
	db.Exec(t, `GRANT tributary_tenant, tributary_pipeline TO tributary_test; GRANT CONNECT ON DATABASE `+
		storetest.Value[string](t, db, `SELECT quote_ident(current_database())`)+` TO tributary_test`)
	id, err := db.Pipeline.TenantBySlug(t.Context(), "demo")
	if err != nil {
		t.Fatal(err)
	}
	s, err := db.Pipeline.Snapshot(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func get(t *testing.T, url string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var body bytes.Buffer
	if _, err := body.ReadFrom(response.Body); err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %d, %v", url, response.StatusCode, err)
	}
	return body.String()
}
