package e2e_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/e2e"
	"github.com/tributary-hub/tributary/internal/localpg"
)

// TestDocs_Operate runs the snippets of the operators' pages, in their order, each page beside a node of its own on a
// database of its own: as an operator in a checkout, with the owner's URL in $OWNER, those of a database to restore into in
// $RESTORED and $RESTORED_HUB, and the environment of serve.
func TestDocs_Operate(t *testing.T) {
	t.Parallel()
	e2e.Needs(t, "psql")
	pages := map[string][]snippet{}
	for _, s := range snippets(t, "sh operate") {
		pages[s.page] = append(pages[s.page], s)
	}
	postgres, err := localpg.Start(t.Context(), localpg.Options{DataDir: filepath.Join(t.TempDir(), "pg"), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := postgres.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Errorf("stop Postgres: %v", err)
		}
	})
	for page, of := range pages {
		o := newOperator(t, postgres, strings.TrimSuffix(page, ".md"))
		o.serve(t)
		nodes := 1
		for _, snippet := range of {
			out, err := o.paste(t, snippet.text)
			if err != nil {
				t.Errorf("%s: %v\n%s\n%s", page, err, snippet.text, out)
			}
			nodes += strings.Count(snippet.text, "tributary serve")
		}
		waitUntil(t, func() bool { // what went to the background serves
			out, err := o.paste(t, `psql -qAtd "$OWNER" -c 'SELECT count(*) FROM tributary.nodes'`)
			return err == nil && strings.TrimSpace(out) == strconv.Itoa(nodes)
		})
		o.stop(t)
	}
}

// An operator sits at a shell, with an environment, and a folder that its files are in.
type operator struct {
	dir     string
	environ []string
	log     string // of the node that was started first
	groups  []int  // of processes, to be ended with the operator's day
}

// newOperator has a database of that name, migrated, and a keyset.
func newOperator(t *testing.T, postgres *localpg.Server, database string) *operator {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if err := postgres.CreateDatabase(t.Context(), database); err != nil {
		t.Fatal(err)
	}
	o := &operator{dir: t.TempDir()}
	owner := postgres.URL(database)
	// Each node that the pages start is on a machine of its own, where its ports are free.
	elsewhere := "#!/bin/sh\nif [ \"$1\" = serve ]; then export TRIBUTARY_LISTEN=127.0.0.1:0 TRIBUTARY_OPS_LISTEN=127.0.0.1:0; fi\nexec '" + path + "' \"$@\"\n"
	if err := os.WriteFile(filepath.Join(o.dir, "tributary"), []byte(elsewhere), 0o755); err != nil {
		t.Fatal(err)
	}
	deploy, err := filepath.Abs("../../deploy")
	if err == nil {
		err = os.Symlink(deploy, filepath.Join(o.dir, "deploy"))
	}
	if err != nil {
		t.Fatal(err)
	}
	o.environ = append(os.Environ(), "PATH="+o.dir+":"+os.Getenv("PATH"), "OWNER="+owner,
		"RESTORED="+postgres.URL(database+"_restored"), "RESTORED_HUB="+asLogin(t, postgres.URL(database+"_restored"), "hub"))
	prepare := `
		psql -qd "$OWNER" -c "DO \$\$ BEGIN CREATE ROLE hub LOGIN NOINHERIT; EXCEPTION WHEN duplicate_object THEN NULL; END \$\$"
		TRIBUTARY_OWNER_DATABASE_URL="$OWNER" tributary migrate up --login hub
		tributary keyset new >keyset`
	if out, err := o.paste(t, prepare); err != nil {
		t.Fatalf("prepare: %v\n%s", err, out)
	}
	o.environ = append(o.environ, "TRIBUTARY_DATABASE_URL="+asLogin(t, owner, "hub"), "TRIBUTARY_KEYSET_FILE="+filepath.Join(o.dir, "keyset"),
		"TRIBUTARY_PUBLIC_URL=https://hub.example.com", "TRIBUTARY_LOG_LEVEL=debug")
	return o
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

// asLogin is the URL with another user in it.
func asLogin(t *testing.T, database, login string) string {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	u.User = url.User(login)
	return u.String()
}
