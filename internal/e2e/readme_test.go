package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/e2e"
	"github.com/tributary-hub/tributary/internal/logtest"
)

// TestReadme does what the README says, word by word and in its order, in a folder like a checkout's: streams stay
// open, everything else runs to its end.
func TestReadme(t *testing.T) {
	t.Parallel()
	e2e.Needs(t, "curl")
	h, folder := startInFolder(t)
	source, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var streams []*stream
	var sent, ran int
	for _, part := range strings.Split(string(source), "```sh\n")[1:] {
		text, _, _ := strings.Cut(part, "```")
		text = strings.ReplaceAll(text, "http://127.0.0.1:8080", h.dev.URL)
		switch {
		case strings.HasPrefix(text, "make "): // the hub runs, and this is a test
			continue
		case strings.HasPrefix(text, "curl -N "):
			streams = append(streams, openStream(t, folder, text))
			streams[len(streams)-1].await(t, "event: hub.ready")
		default:
			sent += strings.Count(text, " send ")
			paste(t, folder, text)
		}
		ran++
	}
	if ran != 4 || len(streams) != 2 || sent != 1 {
		t.Fatalf("%d blocks, %d streams and %d webhooks: the README is another one than this test knows", ran, len(streams), sent)
	}
	all, customer := streams[0], streams[1]
	all.await(t, "event: payment_intent.succeeded\nid: ")
	paste(t, folder, "./bin/tributary send stripe payment_intent.succeeded") // "Send the payment again"
	customer.await(t, "event: payment_success\nid: ")
	customer.await(t, `data: {"amount":2000}`)
}

// TestDocs_Quickstart pastes the whole page into one shell that knows nothing yet.
func TestDocs_Quickstart(t *testing.T) {
	t.Parallel()
	e2e.Needs(t, "curl")
	_, folder := startInFolder(t)
	var page strings.Builder
	for _, s := range snippets(t, "sh run") {
		if s.page == "quickstart.md" {
			page.WriteString(s.text)
		}
	}
	out := paste(t, folder, page.String())
	for _, want := range []string{`"scopes":`, `{"event":"evt_`, `"state":`, "event: hub.ready", "event: payment_intent.succeeded", "event: payment_success"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in what the page's lines print:\n%s", want, out)
		}
	}
}

// startInFolder starts a hub as a checkout has it: the program in bin, the data in .tributary.
func startInFolder(t *testing.T) (*hub, string) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	h := newHub(t)
	folder := filepath.Join(t.TempDir(), "a checkout")
	h.dir = filepath.Join(folder, ".tributary")
	if err := os.MkdirAll(filepath.Join(folder, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path, filepath.Join(folder, "bin", "tributary")); err != nil {
		t.Fatal(err)
	}
	h.start(t)
	return h, folder
}

// shell is one that a newcomer opens in the folder: the environment says nothing of the hub.
func shell(ctx context.Context, folder, text string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", text)
	cmd.Dir = folder
	for _, pair := range os.Environ() {
		if !strings.HasPrefix(pair, "TRIBUTARY_") {
			cmd.Env = append(cmd.Env, pair)
		}
	}
	return cmd
}

func paste(t *testing.T, folder, text string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	out, err := shell(ctx, folder, text).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, text, out)
	}
	return string(out)
}

// A stream is a command that stays.
type stream struct{ out *logtest.Buffer }

func openStream(t *testing.T, folder, text string) *stream {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	s := &stream{out: &logtest.Buffer{}}
	cmd := shell(ctx, folder, "exec "+text) // exec, so that the end of the shell is the end of the stream
	cmd.Stdout, cmd.Stderr = s.out, s.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s\nprinted:\n%s", text, s.out.Tail(2000))
		}
	})
	return s
}

func (s *stream) await(t *testing.T, text string) {
	t.Helper()
	waitUntil(t, func() bool { return strings.Contains(s.out.String(), text) })
}
