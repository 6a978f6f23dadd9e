package e2e_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/e2e"
)

// TestDocs runs every snippet of the pages that a reader would paste, in their order, and asks for the pages.
func TestDocs(t *testing.T) {
	t.Parallel()
	e2e.Needs(t, "curl")
	h := startHub(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range snippets(t) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", s.text)
		cmd.Env = append(os.Environ(),
			"PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"), "TRIBUTARY_DATA_DIR="+h.dir,
			"TRIBUTARY_URL="+h.dev.URL, "TRIBUTARY_API_KEY="+h.dev.TenantKey)
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			t.Errorf("%s: %v\n%s\n%s", s.page, err, s.text, out)
		}
	}
	for _, path := range []string{"/docs", "/docs/problems", "/docs/api", "/docs/providers/stripe", "/openapi.yaml", "/openapi.json", "/openapi-3.0.yaml"} {
		res, err := http.Get(h.dev.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}

type snippet struct{ page, text string }

// snippets are the blocks of the pages that are marked "sh run": what a reader would paste.
func snippets(t *testing.T) []snippet {
	t.Helper()
	names, err := filepath.Glob("../docs/pages/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []snippet
	for _, name := range names {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(source), "```sh run\n")[1:] {
			text, _, _ := strings.Cut(part, "```")
			all = append(all, snippet{page: filepath.Base(name), text: text})
		}
	}
	if len(all) < 4 {
		t.Fatalf("%d snippets in %d pages", len(all), len(names))
	}
	return all
}
