// Package check_test checks what stands in deploy by the programs' own parsers, and needs neither an engine, a cluster
// nor a network: the chart by Helm's, each object by Kubernetes' types, the Dockerfile by BuildKit's, compose.yaml by
// Compose's, the units by systemd's, and the hub's environment by the hub. A module of its own keeps all of these out
// of the product.
package check_test

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

var update = flag.Bool("update", false, "rewrite what is made of the chart")

const (
	root  = "../.."
	chart = "../helm/tributary"
)

var buildDir string

func TestMain(m *testing.M) {
	flag.Parse()
	var err error
	if buildDir, err = os.MkdirTemp("", "tributary-deploy-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	status := m.Run()
	_ = os.RemoveAll(buildDir)
	os.Exit(status)
}

// binary is the hub, for what only it can judge.
var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(buildDir, "tributary")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/tributary")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return path, nil
})

// needs skips the test with one sentence where a program is missing, and fails it where CI is set.
func needs(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatalf("%s is not installed, and in CI nothing is skipped", program)
	}
	t.Skipf("%s is not installed", program)
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// accepts gives the hub an environment and nothing else, and fails the test where the hub refuses it. Secrets' files
// are replaced by files that are there.
func accepts(t *testing.T, environment map[string]string) {
	t.Helper()
	if err := judge(t, environment); err != nil {
		t.Error(err)
	}
}

func judge(t *testing.T, environment map[string]string) error {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "config")
	cmd.Dir = t.TempDir()
	cmd.Env = []string{} // not nil, which would be this process's
	for name, value := range environment {
		if file, ok := secretFiles[name]; ok {
			value = filepath.Join(cmd.Dir, name)
			if err := os.WriteFile(value, []byte(file), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("tributary config: %w\n%s", err, out)
	}
	return nil
}

// secretFiles are the variables that name a file which only the real system has, and what could be in it.
var secretFiles = map[string]string{
	"TRIBUTARY_DATABASE_URL_FILE":        "postgres://tributary_hub:x@postgres:5432/tributary",
	"TRIBUTARY_DIRECT_DATABASE_URL_FILE": "postgres://tributary_hub:x@postgres:5432/tributary",
	"TRIBUTARY_OWNER_DATABASE_URL_FILE":  "postgres://tributary_owner:x@postgres:5432/tributary",
	"TRIBUTARY_KEYSET_FILE":              "a keyset",
	"TRIBUTARY_TLS_CERT_FILE":            "a certificate",
	"TRIBUTARY_TLS_KEY_FILE":             "its key",
	"OTEL_EXPORTER_OTLP_HEADERS_FILE":    "authorization=Bearer%20token",
}

func TestJudge(t *testing.T) {
	t.Parallel()
	if err := judge(t, map[string]string{"TRIBUTARY_PUBLIC_ULR": "https://hub.example.com"}); err == nil {
		t.Error("the hub takes a misspelt variable: what the other tests say of environments is worth nothing")
	}
}
