package e2e_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/e2e"
)

// TestScripts has ShellCheck read every script that operators and CI run.
func TestScripts(t *testing.T) {
	t.Parallel()
	e2e.Needs(t, "shellcheck")
	var scripts []string
	for _, root := range []string{"../../deploy", "../../.ci"} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			content, err := os.ReadFile(path)
			if strings.HasPrefix(string(content), "#!") {
				scripts = append(scripts, path)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(scripts) < 4 {
		t.Fatalf("only these scripts: %v", scripts)
	}
	if out, err := exec.CommandContext(t.Context(), "shellcheck", scripts...).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
