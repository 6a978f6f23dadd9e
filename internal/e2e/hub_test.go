package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/logtest"
)

// buildDir is where this test process keeps its binary.
var buildDir string

func TestMain(m *testing.M) {
	var err error
	if buildDir, err = os.MkdirTemp("", "tributary-e2e-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(buildDir)
	os.Exit(status)
}

// binary is the hub as it is built for users, once per test process.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "tributary")
	out, err := exec.Command("go", "build", "-o", path, "../../cmd/tributary").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// A devFile is dev.json as the contract has it.
type devFile struct {
	URL         string `json:"url"`
	Tenant      string `json:"tenant"`
	OperatorKey string `json:"operator_key"`
	TenantKey   string `json:"tenant_key"`
	Issuer      string `json:"issuer"`
	Audience    string `json:"audience"`
	DatabaseURL string `json:"database_url"`
	Endpoints   map[string]struct {
		ID     string `json:"id"`
		URL    string `json:"url"`
		Secret string `json:"secret"`
	} `json:"endpoints"`
}

// A hub is one `tributary dev`, which a test may kill and start again on the same data and port.
type hub struct {
	dir    string // its data folder
	listen string
	env    []string // beside the test's own
	dev    devFile
	cmd    *exec.Cmd
	ended  chan struct{}
	out    *logtest.Buffer
}

// startHub starts a hub on a folder of its own and a free port, and stops it with the test.
func startHub(t *testing.T) *hub {
	t.Helper()
	h := newHub(t)
	h.start(t)
	return h
}

// newHub is one that does not run yet, and is stopped with the test.
func newHub(t *testing.T) *hub {
	t.Helper()
	h := &hub{dir: filepath.Join(t.TempDir(), "data"), listen: "127.0.0.1:0", out: &logtest.Buffer{}}
	t.Cleanup(func() {
		h.terminate(t)
		wantNoSecrets(t, h.out.String())
		if t.Failed() {
			t.Logf("the hub said:\n%s", h.out.Tail(8000))
		}
	})
	return h
}

// start runs the binary and waits until it serves. The port of the first start is kept.
func (h *hub) start(t *testing.T) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	_ = os.Remove(filepath.Join(h.dir, "dev.json")) // rewritten at each start: its return says that the hub serves
	h.cmd = exec.Command(path, "dev", "--listen", h.listen, "--data-dir", h.dir)
	h.cmd.Stdout, h.cmd.Stderr = h.out, h.out
	h.cmd.Env = append(append(os.Environ(), "TRIBUTARY_OPS_LISTEN=127.0.0.1:0", "TRIBUTARY_LOG_LEVEL=debug"), h.env...)
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := h.cmd.Start(); err != nil {
		t.Fatalf("start the hub: %v", err)
	}
	ended := make(chan struct{})
	h.ended = ended
	go func() {
		_ = h.cmd.Wait()
		close(ended)
	}()
	h.await(t)
	h.listen = strings.TrimPrefix(h.dev.URL, "http://")
}

func (h *hub) await(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if dev, err := h.readDev(); err == nil && healthy(ctx, dev.URL) {
			h.same(t, dev)
			return
		}
		select {
		case <-tick.C:
		case <-h.ended:
			t.Fatalf("the hub ended by itself:\n%s", h.out.Tail(8000))
		case <-ctx.Done():
			t.Fatalf("the hub was not ready in a minute:\n%s", h.out.Tail(8000))
		}
	}
}

func (h *hub) readDev() (devFile, error) {
	content, err := os.ReadFile(filepath.Join(h.dir, "dev.json"))
	if err != nil {
		return devFile{}, err
	}
	var dev devFile
	return dev, json.Unmarshal(content, &dev)
}

// same checks that a later start found everything again: tenant, keys, endpoints with their secrets.
func (h *hub) same(t *testing.T, dev devFile) {
	t.Helper()
	if h.dev.URL == "" {
		h.dev = dev
		return
	}
	dev.DatabaseURL = h.dev.DatabaseURL
	if diff := cmp.Diff(h.dev, dev); diff != "" {
		t.Fatalf("dev.json changed with a restart (-before +after):\n%s", diff)
	}
}

func healthy(ctx context.Context, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/healthz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// kill ends the hub as a crash does.
func (h *hub) kill() {
	_ = h.cmd.Process.Kill()
	<-h.ended
}

// terminate ends the hub in order.
func (h *hub) terminate(t *testing.T) {
	t.Helper()
	if h.cmd == nil || h.cmd.Process == nil {
		return
	}
	_ = h.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-h.ended:
	case <-time.After(30 * time.Second):
		t.Error("the hub did not end within 30 s of SIGTERM")
		h.kill()
	}
}

// wantNoSecrets looks through the log of a process, which it has at debug: nothing there looks like a secret, nor like one
// that only the log's net has hidden. What else dev prints is for whoever started it.
func wantNoSecrets(t *testing.T, said string) {
	t.Helper()
	for line := range strings.Lines(said) {
		if !strings.HasPrefix(line, `{"time":`) {
			continue
		}
		if found := canary.Suspects([]byte(line)); len(found) > 0 || strings.Contains(line, "REDACTED") {
			t.Errorf("the log has what looks like a secret, %q: %s", found, line)
		}
	}
}

// database is the hub's, as its owner.
func (h *hub) database(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), h.dev.DatabaseURL)
	if err != nil {
		t.Fatalf("connect to the hub's database: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// api calls the admin API with the tenant's key, or another, and gives the status and the decoded answer.
func (h *hub) api(t *testing.T, method, path string, body any) (int, map[string]any) {
	t.Helper()
	return h.apiAs(t, h.dev.TenantKey, method, path, body)
}

func (h *hub) apiAs(t *testing.T, key, method, path string, body any) (int, map[string]any) {
	t.Helper()
	return callAPI(t, h.dev.URL, key, method, path, body)
}

// token asks the development issuer for one of that subject.
func (h *hub) token(t *testing.T, sub string, claims map[string]any) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"token", "--sub", sub}
	for name, value := range claims {
		args = append(args, "--claim", fmt.Sprintf("%s=%v", name, value))
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "TRIBUTARY_DATA_DIR="+h.dir)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tributary token: %v", err)
	}
	return strings.TrimSpace(string(out))
}
