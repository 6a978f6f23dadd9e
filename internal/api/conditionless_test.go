package api_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTenancyOfRowsAlone walks once more in a build whose queries have lost the tenant's condition: row-level security
// alone still gives 0 rows.
func TestTenancyOfRowsAlone(t *testing.T) {
	t.Parallel()
	overlay, lost := withoutConditions(t)
	if lost < 40 {
		t.Fatalf("%d conditions found, and there are more: the pattern no longer fits how they are written", lost)
	}
	cmd := exec.CommandContext(t.Context(), "go", "test", "-overlay", overlay, "-count=1", "-v", "-run", "^TestTenancy_", ".")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("the walk without %d conditions: %v\n%s", lost, err, out)
	}
	if n := strings.Count(string(out), "--- PASS: TestTenancy_"); n < 2 {
		t.Errorf("%d walks ran:\n%s", n, out)
	}
}

// withoutConditions writes an overlay of package store in which every "… = tributary.current_tenant()" of a query is
// true, and says how many those are.
func withoutConditions(t *testing.T) (overlay string, lost int) {
	t.Helper()
	condition := regexp.MustCompile(`\b([a-z]\.)?(tenant_id|id) = tributary\.current_tenant\(\)`)
	sources, err := filepath.Glob("../store/*.go")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	replace := map[string]string{}
	for _, path := range sources {
		source, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		n := len(condition.FindAll(source, -1))
		if n == 0 || strings.HasSuffix(path, "_test.go") {
			continue
		}
		lost += n
		from, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(to, condition.ReplaceAll(source, []byte("true")), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[from] = to
	}
	encoded, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	overlay = filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(overlay, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	return overlay, lost
}
