package cli_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/cli"
	"github.com/tributary-hub/tributary/internal/dev"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"tributary": tributary})
}

// tributary is the program that scripts run, as main has it.
func tributary() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop)
	said, err := os.OpenFile(os.Getenv(saidTo), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	os.Exit(cli.Run(ctx, cli.Env{
		Args: os.Args, Environ: os.Environ(), Stdin: os.Stdin, Stdout: os.Stdout, Stderr: io.MultiWriter(os.Stderr, said), Version: "v1.2.3",
	}))
}

// saidTo names the file that keeps what all commands of a script say on stderr.
const saidTo = "SCRIPT_STDERR"

// wantNoSecrets looks through what commands have said, with their logs at debug: nothing there looks like a secret, nor like
// one that only the log's net has hidden.
func wantNoSecrets(t *testing.T, file string) {
	t.Helper()
	said, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // a script may have none
		t.Error(err)
	}
	for line := range bytes.Lines(said) {
		if found := canary.Suspects(line); len(found) > 0 || bytes.Contains(line, []byte("REDACTED")) {
			t.Errorf("a command says what looks like a secret, %q: %s", found, line)
		}
	}
}

func TestScripts(t *testing.T) {
	t.Parallel()
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata",
		RequireExplicitExec: true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("TRIBUTARY_OPS_LISTEN", "127.0.0.1:0")
			env.Setenv("TRIBUTARY_LOG_LEVEL", "debug")
			said := filepath.Join(env.WorkDir, ".said")
			env.Setenv(saidTo, said)
			env.Defer(func() { wantNoSecrets(t, said) })
			env.Setenv("TRIBUTARY_POSTGRES", os.Getenv("TRIBUTARY_POSTGRES"))
			env.Setenv("PG_BINDIR", os.Getenv("PG_BINDIR"))
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"ready":   ready,
			"serving": serving,
			"known":   known,
			"database": func(ts *testscript.TestScript, _ bool, _ []string) {
				db := storetest.New(t, storetest.Bare())
				ts.Setenv("OWNER", db.OwnerURL)
				ts.Setenv("LOGIN", db.URL)
				ts.Setenv("OWNER_LOGIN", storetest.Value[string](t, db, `SELECT session_user::text`))
				keyset, err := secret.NewKeyset()
				ts.Check(err)
				ts.Check(os.WriteFile(ts.MkAbs("keyset"), []byte(keyset.Reveal()), 0o600))
			},
			"neighbours": neighbours,
		},
	})
}

// ready waits until the hub of the data folder serves: `ready [folder]`.
func ready(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) > 1 {
		ts.Fatalf("usage: ready [folder]")
	}
	dir := ".tributary"
	if len(args) == 1 {
		dir = args[0]
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		if file, err := dev.ReadFile(ts.MkAbs(dir)); err == nil && healthy(file.URL) {
			ts.Setenv("URL", file.URL)
			ts.Setenv("KEY", file.TenantKey)
			return
		}
	}
	ts.Fatalf("no hub of %s serves after a minute", dir)
}

// serving waits until the process of the script that serves says where.
func serving(ts *testscript.TestScript, _ bool, _ []string) {
	addresses := regexp.MustCompile(`"msg":"serving".*"listen":"([^"]*)","ops_listen":"([^"]*)"`)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		log, err := os.ReadFile(ts.MkAbs("serve.log"))
		if found := addresses.FindSubmatch(log); err == nil && found != nil {
			ts.Setenv("URL", "http://"+string(found[1]))
			ts.Setenv("TRIBUTARY_OPS_LISTEN", string(found[2]))
			return
		}
	}
	ts.Fatalf("nothing serves after a minute")
}

// neighbours are two that listen where a hub might: $SILENT takes connections and says nothing, $STRANGER speaks HTTP.
func neighbours(ts *testscript.TestScript, _ bool, _ []string) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Defer(func() { ts.Check(silent.Close()) })
	ts.Setenv("SILENT", silent.Addr().String())
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"welcome":true}`)) }))
	ts.Defer(stranger.Close)
	ts.Setenv("STRANGER", strings.TrimPrefix(stranger.URL, "http://"))
}

// known asks the hub at $URL whose the key in a file is: `known key operator`.
func known(ts *testscript.TestScript, _ bool, args []string) {
	request, err := http.NewRequest(http.MethodGet, ts.Getenv("URL")+"/v1/me", nil)
	ts.Check(err)
	request.Header.Set("Authorization", "Bearer "+strings.TrimSpace(ts.ReadFile(args[0])))
	response, err := http.DefaultClient.Do(request)
	ts.Check(err)
	defer func() { ts.Check(response.Body.Close()) }()
	var me struct{ Kind string }
	ts.Check(json.NewDecoder(response.Body).Decode(&me))
	if response.StatusCode != http.StatusOK || me.Kind != args[1] {
		ts.Fatalf("%d, it is %q and not %q", response.StatusCode, me.Kind, args[1])
	}
}

func healthy(url string) bool {
	response, err := http.Get(url + "/healthz")
	if err != nil {
		return false
	}
	_ = response.Body.Close()
	return response.StatusCode == http.StatusOK
}
