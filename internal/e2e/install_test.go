package e2e_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/e2e"
)

// An installation is a checkout, and a machine whose folders are in a folder of the test's.
type installation struct {
	checkout, etc, bin, units string
	environment               []string
}

func newInstallation(t *testing.T) *installation {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	shims, err := filepath.Abs("testdata/install")
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	i := &installation{
		checkout: filepath.Join(root, "checkout"), etc: filepath.Join(root, "etc"), bin: filepath.Join(root, "usr/local/bin"), units: filepath.Join(root, "etc/systemd/system"),
	}
	for _, folder := range []string{i.bin, i.units, filepath.Join(i.checkout, "bin")} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(path, filepath.Join(i.checkout, "bin/tributary")); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(i.checkout, "deploy"), os.DirFS("../../deploy")); err != nil {
		t.Fatal(err)
	}
	i.environment = []string{"PATH=" + shims + ":" + i.bin + ":" + os.Getenv("PATH"), "UNITS=" + i.units, "IMAGE=registry.example.com/tributary"}
	return i
}

// paste runs all blocks of a kind in one shell, as a reader would, and gives what they print. What the pages say of
// places is replaced first, by pairs.
func (i *installation) paste(t *testing.T, kind string, replace ...string) string {
	t.Helper()
	text := strings.NewReplacer(replace...).Replace(strings.Join(installBlocks(t, kind), ""))
	out, err := i.run(t, text)
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, text, out)
	}
	return out
}

func (i *installation) run(t *testing.T, text string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", text)
	cmd.Dir, cmd.Env = i.checkout, i.environment
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// installBlocks are those that are marked so: of the page on installing, and then of those that look after what it has
// installed.
func installBlocks(t *testing.T, kind string) []string {
	t.Helper()
	var all []string
	for _, page := range []string{"install", "runbooks", "backup", "upgrade", "keyset"} {
		before := len(all)
		for _, match := range regexp.MustCompile("(?ms)^```"+kind+"\n(.*?)^```$").FindAllStringSubmatch(readFile(t, "../docs/pages/"+page+".md"), -1) {
			all = append(all, match[1])
		}
		if page == "install" && len(all) == before {
			t.Fatalf("the page has no block of %q", kind)
		}
	}
	return all
}

// TestDocs_InstallSystemd pastes the page's lines for a machine with systemd, has a hub that an operator may use, and
// follows the page to the first webhook in a stream. What made the secrets is pasted once more, which must cost nothing.
func TestDocs_InstallSystemd(t *testing.T) {
	t.Parallel()
	for _, program := range []string{"psql", "openssl", "curl"} {
		e2e.Needs(t, program)
	}
	i := newInstallation(t)
	host := strictPostgres(t, t.TempDir())
	listen, ops := freeAddress(t), freeAddress(t)
	i.environment = append(i.environment, "PGHOST="+host, "TRIBUTARY_OPS_LISTEN="+ops)
	for _, name := range []string{"tributary.service", "tributary-migrate.service", "tributary.env"} {
		path := filepath.Join(i.checkout, "deploy/systemd", name)
		writeFile(t, path, strings.NewReplacer("/etc/tributary", i.etc+"/tributary", "/usr/local/bin", i.bin, "=127.0.0.1:8080", "="+listen, "=127.0.0.1:9090", "="+ops).Replace(readFile(t, path)), 0o644)
	}
	t.Cleanup(func() { i.stop(t) })
	places := []string{"/etc/", i.etc + "/", "/usr/local/bin", i.bin, "@127.0.0.1:5432/tributary", "@/tributary?host=" + host, "127.0.0.1:9090", ops}
	out := i.paste(t, "sh systemd", places...)
	if strings.Contains(out, "failed ") || !strings.Contains(out, "ok       sealed data") {
		t.Errorf("doctor, as the page asks it, says of a hub that is well:\n%s", out)
	}
	key := regexp.MustCompile(`(?m)^trb_\w+$`).FindString(out)
	out = i.paste(t, "sh first", "127.0.0.1:8080", listen, "trb_…", key)
	for _, want := range []string{`"slug":"acme"`, `"event":"evt_`, "event: push\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("the way to the first webhook printed no %s:\n%s", want, out)
		}
	}

	secrets := map[string]string{}
	for _, name := range []string{"keyset", "database_url", "owner_database_url", "tributary.env"} {
		path := filepath.Join(i.etc, "tributary", name)
		if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s is open to others: %v, %v", name, info, err)
		}
		secrets[path] = readFile(t, path)
	}
	again := 0
	for _, block := range installBlocks(t, "sh systemd") {
		if strings.Contains(block, "keyset new") {
			again++
			if out, err := i.run(t, strings.NewReplacer(places...).Replace(block)); err == nil || !strings.Contains(out, "refused: ") {
				t.Errorf("pasted again: %v\n%s", err, out)
			}
		}
	}
	for path, before := range secrets {
		if again != 1 || readFile(t, path) != before {
			t.Errorf("%s is another one after a second paste of %d blocks", path, again)
		}
	}
}

// stop ends what the stand-in of systemd has started.
func (i *installation) stop(t *testing.T) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(i.units, "pid"))
	if err != nil {
		return // nothing has been started
	}
	if t.Failed() {
		t.Logf("the hub said:\n%s", readFile(t, filepath.Join(i.units, "log")))
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(pid, syscall.SIGTERM)
	waitGone(t, pid)
}

// waitGone waits for the end of a process that is no child of this one.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	waitUntil(t, func() bool {
		state, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		return err != nil || strings.Contains(string(state), ") Z ") // nobody may be there to reap it
	})
}

// The lines for an engine and a cluster name files that are there, and make secrets of what the hub itself prints.
func TestDocs_InstallContainers(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{"sh compose": "trb_of_compose", "sh kubernetes": "helm install "} {
		i := newInstallation(t)
		path, err := binary()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(path, filepath.Join(i.bin, "tributary")); err != nil {
			t.Fatal(err)
		}
		if out := i.paste(t, kind); !strings.Contains(out, want) {
			t.Errorf("%s printed no %q:\n%s", kind, want, out)
		}
	}
}
