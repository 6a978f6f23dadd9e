package e2e_test

import (
	"context"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/docs"
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
	for _, s := range docs.Snippets() {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", s.Text)
		cmd.Env = append(os.Environ(),
			"PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"), "TRIBUTARY_DATA_DIR="+h.dir,
			"TRIBUTARY_URL="+h.dev.URL, "TRIBUTARY_API_KEY="+h.dev.TenantKey)
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			t.Errorf("%s: %v\n%s\n%s", s.Page, err, s.Text, out)
		}
	}
	for _, path := range []string{"/docs", "/docs/problems", "/docs/api", "/docs/providers/stripe", "/openapi.yaml", "/openapi.json", "/openapi-3.0.yaml"} {
		res, err := http.Get(h.dev.URL + path) //nolint:noctx // bounded by the test
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s", path, res.Status)
		}
	}
}
