package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/logtest"
)

// A fleet is a hub of several processes on one Postgres, set up as an operator does it: a login that owns nothing,
// `migrate up --login`, `keyset new`, `key create --operator`, and then `serve` for each process.
type fleet struct {
	pg       *postgres
	database func(login string) string // its URL, for processes
	env      []string                  // of every process
	operator string                    // a key
	nodes    []*node
}

// The tenant and the database of every fleet.
const (
	tenantSlug   = "acme"
	databaseName = "hub"
)

func newFleet(t *testing.T) *fleet {
	t.Helper()
	s := &fleet{pg: newPostgres(t)}
	s.database = func(login string) string { return s.pg.url(login, databaseName) }
	if err := s.pg.server.CreateDatabase(t.Context(), databaseName); err != nil {
		t.Fatal(err)
	}
	owner := []string{"TRIBUTARY_OWNER_DATABASE_URL=" + s.pg.url("postgres", databaseName)}
	for _, login := range []string{"hub_a", "hub_b"} { // two, so that a test can tell the connections of one process
		s.pg.exec(t, databaseName, `CREATE ROLE `+login+` LOGIN NOINHERIT`)
		command(t, owner, "migrate", "up", "--login", login)
	}
	s.operator = command(t, owner, "key", "create", "--operator", "--name", "e2e")
	s.env = []string{
		"TRIBUTARY_KEYSET=" + command(t, nil, "keyset", "new"),
		"TRIBUTARY_PUBLIC_URL=https://hub.example.com",
		"TRIBUTARY_OPS_LISTEN=127.0.0.1:0",
		"TRIBUTARY_LOG_FORMAT=json",
		"TRIBUTARY_DATABASE_CONNECTIONS=20",
	}
	return s
}

// command runs the binary to its end and gives what it printed.
func command(t *testing.T, env []string, args ...string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = append(os.Environ(), env...)
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tributary %s: %v\n%s", strings.Join(args, " "), err, said.String())
	}
	return strings.TrimSpace(string(out))
}

// A node is one `serve`, which a test may kill, end and start again on the same port.
type node struct {
	name   string
	roles  string
	listen string
	ops    string
	env    []string
	binary string // default: this build
	cmd    *exec.Cmd
	ended  chan struct{}
	out    *logtest.Buffer
}

// serve starts a process with these roles; env comes after the service's own, and wins.
func (s *fleet) serve(t *testing.T, roles string, env ...string) *node {
	t.Helper()
	n := &node{
		name: fmt.Sprintf("%c (%s)", 'A'+len(s.nodes), roles), roles: roles, listen: lastingAddress(t),
		env: slices.Concat(s.env, []string{"TRIBUTARY_DATABASE_URL=" + s.database("hub_a")}, env),
	}
	s.nodes = append(s.nodes, n)
	t.Cleanup(func() {
		n.terminate(t)
		if t.Failed() {
			t.Logf("process %s said at last:\n%s", n.name, n.out.Tail(2000))
		}
	})
	n.start(t)
	return n
}

// lastingAddress is one below the ports that the system gives to clients, so that nobody has taken it when a process
// comes back to it.
func lastingAddress(t *testing.T) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(20_000+rand.IntN(12_000)))
		if err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	t.Fatal("no free port was found")
	return ""
}

// start runs the process and waits until it says that it serves.
func (n *node) start(t *testing.T) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	if n.binary != "" {
		path = n.binary
	}
	n.out = &logtest.Buffer{}
	n.cmd = exec.Command(path, "serve", "--roles", n.roles)
	n.cmd.Dir = t.TempDir()
	n.cmd.Stdout, n.cmd.Stderr = n.out, n.out
	n.cmd.Env = slices.Concat(os.Environ(), n.env, []string{"TRIBUTARY_LISTEN=" + n.listen})
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := n.cmd.Start(); err != nil {
		t.Fatalf("start the process: %v", err)
	}
	ended := make(chan struct{})
	n.ended = ended
	cmd := n.cmd
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	waitUntil(t, func() bool {
		select {
		case <-ended:
			t.Fatalf("process %s ended by itself:\n%s", n.name, n.out.Tail(8000))
		default:
		}
		return n.said(t, "serving", &n.ops)
	})
}

// said reports whether the process has logged that message, and reads its ops_listen where one is asked for.
func (n *node) said(t *testing.T, message string, ops *string) bool {
	t.Helper()
	for line := range strings.SplitSeq(n.out.String(), "\n") {
		var record struct {
			Message string `json:"msg"`
			Ops     string `json:"ops_listen"`
		}
		if json.Unmarshal([]byte(line), &record) == nil && record.Message == message {
			if ops != nil {
				*ops = record.Ops
			}
			return true
		}
	}
	return false
}

func (n *node) url() string { return "http://" + n.listen }

func (n *node) does(role string) bool { return slices.Contains(strings.Split(n.roles, ","), role) }

// kill ends the process as a crash does.
func (n *node) kill() {
	_ = n.cmd.Process.Kill()
	<-n.ended
}

// terminate ends the process in order, and says how long that took and what it returned.
func (n *node) terminate(t *testing.T) (took time.Duration, code int) {
	t.Helper()
	if n.cmd == nil || n.cmd.Process == nil {
		return 0, 0
	}
	began := time.Now()
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.ended:
	case <-time.After(time.Minute):
		t.Errorf("process %s did not end within a minute of SIGTERM", n.name)
		n.kill()
	}
	return time.Since(began), n.cmd.ProcessState.ExitCode()
}

// with lists the processes that have a role.
func (s *fleet) with(role string) (nodes []*node) {
	for _, n := range s.nodes {
		if n.does(role) {
			nodes = append(nodes, n)
		}
	}
	return nodes
}

// api asks one process by the admin API and wants that status.
func (s *fleet) api(t *testing.T, n *node, method, path string, body any, want int) map[string]any {
	t.Helper()
	status, answer := callAPI(t, n.url(), s.operator, method, path, body)
	if status != want {
		t.Fatalf("%s %s at %s: %d %v, want %d", method, path, n.name, status, answer, want)
	}
	return answer
}

// callAPI asks a hub's admin API with a key, and gives the status and the decoded answer.
func callAPI(t *testing.T, base, key, method, path string, body any) (int, map[string]any) {
	t.Helper()
	var in io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(encoded)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, base+path, in)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer res.Body.Close()
	answer := map[string]any{}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("%s %s: %d with a body that is no JSON: %v", method, path, res.StatusCode, err)
	}
	return res.StatusCode, answer
}

// A tenant is what a test's webhooks and streams need of one.
type tenant struct {
	path   string // of its endpoint, /in/…
	secret string // of its endpoint
	key    string // with messages:read
	keyID  string
}

// newTenant makes one by the admin API: an endpoint of Stripe's, one route, a key for streams.
func (s *fleet) newTenant(t *testing.T) *tenant {
	t.Helper()
	n := s.with("api")[0]
	s.api(t, n, http.MethodPost, "/v1/tenants", map[string]any{"slug": tenantSlug, "name": "Acme"}, http.StatusCreated)
	const base = "/v1/tenants/" + tenantSlug
	s.api(t, n, http.MethodPost, base+"/routes", map[string]any{"name": "all", "match": "true", "channels": []string{"payments"}}, http.StatusCreated)
	own := &tenant{secret: newStripeSecret()}
	endpoint := s.api(t, n, http.MethodPost, base+"/endpoints", map[string]any{"name": "stripe", "provider": "stripe", "secret": own.secret}, http.StatusCreated)
	_, token, ok := strings.Cut(endpoint["url"].(string), "/in/")
	if !ok {
		t.Fatalf("no endpoint's URL in %v", endpoint)
	}
	own.path = "/in/" + token
	key := s.api(t, n, http.MethodPost, base+"/keys", map[string]any{"name": "reader", "scopes": []string{"messages:read"}}, http.StatusCreated)
	own.key, own.keyID = key["key"].(string), key["id"].(string)
	return own
}

func newStripeSecret() string {
	return fmt.Sprintf("whsec_%016x%016x", rand.Uint64(), rand.Uint64())
}
