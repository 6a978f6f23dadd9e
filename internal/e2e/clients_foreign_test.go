package e2e_test

import (
	"context"
	"crypto/sha256"
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

	"github.com/tmaxmax/go-sse"

	"github.com/tributary-hub/tributary/internal/e2e"
	"github.com/tributary-hub/tributary/internal/logtest"
)

// goSSE is the client of go-sse around its parser. It knows no readyState: what is said of it is what it does next.
func goSSE(t *testing.T) foreignClient {
	t.Helper()
	var mu sync.Mutex // guards open
	open := map[string]context.CancelFunc{}
	var watching sync.WaitGroup
	t.Cleanup(watching.Wait)
	return foreignClient{
		name: "go-sse",
		open: func(base string) {
			ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
			mu.Lock()
			open[base] = cancel
			mu.Unlock()
			watching.Go(func() { watchByGoSSE(ctx, base) })
		},
		close: func(base string) {
			mu.Lock()
			defer mu.Unlock()
			open[base]()
		},
	}
}

// watchByGoSSE does what watch.js does in a page. It ends with ctx, or when the client gives up.
func watchByGoSSE(ctx context.Context, base string) {
	var plan struct{ Path string }
	say := func(s sight) {
		body, _ := json.Marshal(s)
		if response, err := http.Post(base+"/saw", "application/json", strings.NewReader(string(body))); err == nil {
			_ = response.Body.Close()
		}
	}
	response, err := http.Get(base + "/plan")
	if err != nil {
		return
	}
	err = json.NewDecoder(response.Body).Decode(&plan)
	_ = response.Body.Close()
	if err != nil {
		return
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+plan.Path, nil)
	if err != nil {
		return
	}
	client := sse.Client{
		ResponseValidator: func(r *http.Response) error {
			err := sse.DefaultValidator(r)
			if err == nil {
				say(sight{What: "open", State: 1})
			}
			return err
		},
		OnRetry: func(error, time.Duration) { say(sight{What: "error", State: 0}) },
		Backoff: sse.Backoff{InitialInterval: time.Second},
	}
	connection := client.NewConnection(request)
	connection.Buffer(nil, 8<<20)
	connection.SubscribeToAll(func(e sse.Event) {
		if e.Type == "" {
			e.Type = "message"
		}
		say(sight{What: "message", Type: e.Type, Data: e.Data, ID: e.LastEventID, State: 1})
	})
	if err := connection.Connect(); ctx.Err() == nil && err != nil {
		say(sight{What: "error", State: 2})
	}
}

// npmEventSource is the package eventsource, pinned with all that it needs, in one process of Node for all cases. It
// is kept in the user's cache folder.
func npmEventSource(t *testing.T) foreignClient {
	t.Helper()
	modules := npmModules(t)
	dir := t.TempDir()
	copyInto(t, dir, "watch.js", "watch.mjs")
	copyInto(t, dir, "node.mjs", "node.mjs")
	if err := os.Symlink(filepath.Join(modules, "node_modules"), filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	book := newOrderBook(t)
	startProcess(t, nil, "node", filepath.Join(dir, "node.mjs"), book.URL)
	return book.client("npm")
}

func needsNPM(t *testing.T) {
	t.Helper()
	e2e.Needs(t, "node")
	e2e.Needs(t, "npm")
	npmModules(t)
}

// npmModules installs the packages as their lock file has them, once on a machine.
func npmModules(t *testing.T) string {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = t.TempDir()
	}
	cache = filepath.Join(cache, "tributary")
	folder := filepath.Join(cache, "clients-"+lockSum(t))
	if _, err := os.Stat(folder); err == nil {
		return folder
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	stage, err := os.MkdirTemp(cache, ".clients-") //nolint:usetesting // the same file system, for the rename
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(stage)
	copyInto(t, stage, "package.json", "package.json")
	copyInto(t, stage, "package-lock.json", "package-lock.json")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=2000")
	install.Dir, install.WaitDelay = stage, 5*time.Second
	if out, err := install.CombinedOutput(); err != nil {
		e2e.Lacks(t, "npm could not fetch the package eventsource: "+err.Error()+"\n"+string(out))
	}
	if err := os.Rename(stage, folder); err != nil {
		if _, there := os.Stat(folder); there != nil { // else another process was faster
			t.Fatal(err)
		}
	}
	return folder
}

// lockSum tells one set of packages from another.
func lockSum(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("%.8x", sha256.Sum256([]byte(readFile(t, clientsDir+"package-lock.json"))))
}

// chromiumBrowser is one Chromium for all cases, which are frames of its page, each of an origin of its own.
func chromiumBrowser(t *testing.T) foreignClient {
	t.Helper()
	book := newOrderBook(t)
	home, err := os.MkdirTemp("", "tributary-chromium-") //nolint:usetesting // what of the browser ends last may still write there
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(home) })
	arguments := []string{
		"--headless=new", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
		"--disable-sync", "--disable-breakpad", "--disable-extensions", "--disable-background-timer-throttling", "--disable-renderer-backgrounding",
		"--user-data-dir=" + filepath.Join(home, "profile"), "--no-proxy-server",
		"--remote-debugging-pipe", // nobody asks by it: its end ends the browser, however the test ended
	}
	if os.Geteuid() == 0 {
		arguments = append(arguments, "--no-sandbox")
	}
	startProcess(t, []string{"HOME=" + home, "XDG_CONFIG_HOME=", "XDG_CACHE_HOME="}, "chromium", append(arguments, book.URL+"/")...)
	return book.client("Chromium")
}

// startProcess runs a program until the test ends. Its file descriptors 3 and 4 are pipes that end with the test's
// process, if not before.
func startProcess(t *testing.T, env []string, program string, arguments ...string) {
	t.Helper()
	said := &logtest.Buffer{}
	cmd := exec.Command(program, arguments...)
	cmd.Stdout, cmd.Stderr, cmd.Env = said, said, append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	in, ours, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	theirs, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{in, out}
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", program, err)
	}
	_, _ = in.Close(), out.Close()
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_, _ = ours.Close(), theirs.Close()
		if program == "node" {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			t.Errorf("%s did not end by itself", program)
			_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", program, said.Tail(3000))
		}
	})
}
