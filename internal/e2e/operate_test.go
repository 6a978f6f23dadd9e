package e2e_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/e2e"
)

// TestDocs_Operate runs the snippets of the operators' pages, in their order, each page beside a node of its own on a
// database of its own: as an operator in a checkout, with the owner's URL in $OWNER and the environment of serve.
func TestDocs_Operate(t *testing.T) {
	t.Parallel()
	needsPostgresPrograms(t)
	e2e.Needs(t, "openssl")
	pages := map[string][]snippet{}
	for _, s := range snippets(t, "sh operate") {
		pages[s.page] = append(pages[s.page], s)
	}
	for page, of := range pages {
		o := newOperator(t)
		o.serve(t)
		nodes := 1
		for _, snippet := range of {
			out, err := o.paste(t, o.elsewhere(t, snippet.text))
			if err != nil {
				t.Errorf("%s: %v\n%s\n%s", page, err, snippet.text, out)
			}
			nodes += strings.Count(snippet.text, "tributary serve")
		}
		if page == "backup.md" {
			o.drill(t, of)
		}
		waitUntil(t, func() bool { // what went to the background serves
			out, err := o.paste(t, `psql -qAtd "$OWNER" -c 'SELECT count(*) FROM tributary.nodes'`)
			return err == nil && strings.TrimSpace(out) == strconv.Itoa(nodes)
		})
		o.stop(t)
	}
}

// TestDocs_Logins: the owner and the hub's login may the same wherever they are made.
func TestDocs_Logins(t *testing.T) {
	t.Parallel()
	places := []string{"../docs/pages/install.md", "../docs/pages/backup.md", "../../deploy/postgres/roles.sh"}
	made := make([][]string, len(places))
	for i, place := range places {
		for _, statement := range regexp.MustCompile(`(?m)^(CREATE ROLE|GRANT) .*;$`).FindAllString(readFile(t, place), -1) {
			may, _, _ := strings.Cut(statement, " PASSWORD ")
			made[i] = append(made[i], may)
		}
		if diff := cmp.Diff(made[0], made[i]); diff != "" || len(made[i]) != 3 {
			t.Errorf("%s (-install +this):\n%s", place, diff)
		}
	}
}

// An operator sits at a shell in a checkout, with an environment, on a machine where the hub was installed as the page
// on installing says: the owner's login and the hub's are those that it makes, and neither is a superuser.
type operator struct {
	dir     string
	etc     string
	environ []string
	owner   string // the URL that is in $OWNER
	hub     string // that of the hub's login
	log     string // of the node that was started first
	fresh   string // the socket of a second Postgres, once a page has made logins
	groups  []int  // of processes, to be ended with the operator's day
}

// newOperator has a database that is migrated and has a tenant, and a keyset.
func newOperator(t *testing.T) *operator {
	t.Helper()
	i := newInstallation(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	o := &operator{dir: i.checkout, etc: i.etc}
	// Each node that the pages start is on a machine of its own, where its ports are free.
	writeFile(t, filepath.Join(i.bin, "tributary"),
		"#!/bin/sh\nif [ \"$1\" = serve ]; then export TRIBUTARY_LISTEN=127.0.0.1:0 TRIBUTARY_OPS_LISTEN=127.0.0.1:0; fi\nexec '"+path+"' \"$@\"\n", 0o755)
	secrets := filepath.Join(i.etc, "tributary")
	if err := os.MkdirAll(secrets, 0o700); err != nil {
		t.Fatal(err)
	}
	host := strictPostgres(t, t.TempDir())
	o.environ = slices.Concat(os.Environ(), i.environment, []string{"PGHOST=" + host, "HOME=" + i.checkout})
	for _, block := range installBlocks(t, "sh systemd") {
		if !strings.Contains(block, "CREATE DATABASE") {
			continue
		}
		block = strings.NewReplacer("/etc/", i.etc+"/", "@127.0.0.1:5432/tributary", "@/tributary?host="+host).Replace(block)
		if out, err := o.paste(t, block); err != nil {
			t.Fatalf("install: %v\n%s", err, out)
		}
	}
	o.owner = strings.TrimSpace(readFile(t, filepath.Join(secrets, "owner_database_url")))
	o.hub = strings.TrimSpace(readFile(t, filepath.Join(secrets, "database_url")))
	o.environ = append(o.environ, "OWNER="+o.owner)
	prepare := `
		TRIBUTARY_OWNER_DATABASE_URL="$OWNER" tributary migrate up --login tributary_hub
		psql -qd "$OWNER" -c "INSERT INTO tributary.tenants (id, slug, name) VALUES (gen_random_uuid(), 'kept', 'Kept')"`
	if out, err := o.paste(t, prepare); err != nil {
		t.Fatalf("prepare: %v\n%s", err, out)
	}
	o.environ = append(o.environ, "TRIBUTARY_DATABASE_URL_FILE="+filepath.Join(secrets, "database_url"),
		"TRIBUTARY_KEYSET_FILE="+filepath.Join(secrets, "keyset"), "TRIBUTARY_PUBLIC_URL=https://hub.example.com", "TRIBUTARY_LOG_LEVEL=debug")
	return o
}

// elsewhere is the text for the places of the test. Where it makes logins it is for another Postgres, which has none.
func (o *operator) elsewhere(t *testing.T, text string) string {
	t.Helper()
	if strings.Contains(text, "CREATE ROLE") {
		o.fresh = strictPostgres(t, t.TempDir())
		text = "export PGHOST=" + o.fresh + "\n" + text
	}
	return strings.NewReplacer("@127.0.0.1:5432/tributary", "@/tributary?host="+o.fresh, "/etc/", o.etc+"/").Replace(text)
}

// drill restores once more, after the page has said how a database beside the real one is made: by the same lines.
func (o *operator) drill(t *testing.T, page []snippet) {
	t.Helper()
	var said strings.Builder
	for _, snippet := range page {
		if !strings.Contains(snippet.text, "restored_") || strings.Contains(snippet.text, "CREATE DATABASE") {
			continue
		}
		out, err := o.paste(t, snippet.text)
		if err != nil {
			t.Errorf("drill: %v\n%s\n%s", err, snippet.text, out)
		}
		said.WriteString(out)
	}
	for _, want := range []string{" kept ", "/drill", "restored hub-"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the drill printed no %q:\n%s", want, said.String())
		}
	}
}

// serve starts a node, whose operator's port the environment names from then on.
func (o *operator) serve(t *testing.T) {
	t.Helper()
	o.log = filepath.Join(o.dir, "serve.log")
	if out, err := o.paste(t, "tributary serve 2>serve.log &"); err != nil {
		t.Fatalf("serve: %v\n%s", err, out)
	}
	waitUntil(t, func() bool {
		log, err := os.ReadFile(o.log)
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(log)) {
			var said struct {
				Msg string `json:"msg"`
				Ops string `json:"ops_listen"`
			}
			if json.Unmarshal([]byte(line), &said) == nil && said.Msg == "serving" {
				o.environ = append(o.environ, "TRIBUTARY_OPS_LISTEN="+said.Ops)
				return true
			}
		}
		return false
	})
}

// paste runs lines in a shell and gives what they print. What they leave running in the background goes on.
func (o *operator) paste(t *testing.T, lines string) (string, error) {
	t.Helper()
	out, err := os.CreateTemp(t.TempDir(), "out") // not a pipe: that would wait for the background too
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = out.Close() }() // read by its name
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", lines)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = o.dir, o.environ, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Run()
	if cmd.Process != nil {
		o.groups = append(o.groups, cmd.Process.Pid)
	}
	said, _ := os.ReadFile(out.Name())
	return string(said), err
}

// stop ends what was started, in order, and waits until it has ended.
func (o *operator) stop(t *testing.T) {
	t.Helper()
	for _, group := range o.groups {
		_ = syscall.Kill(-group, syscall.SIGTERM) // most have ended
	}
	waitUntil(t, func() bool {
		for _, group := range o.groups {
			if syscall.Kill(-group, 0) == nil {
				return false
			}
		}
		return true
	})
	logs, err := filepath.Glob(filepath.Join(o.dir, "*.log"))
	if err != nil || len(logs) == 0 {
		t.Errorf("logs: %v, %v", logs, err)
	}
	for _, log := range logs {
		said, err := os.ReadFile(log)
		if err != nil {
			t.Error(err)
		}
		wantNoSecrets(t, string(said))
	}
}
