package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.yaml.in/yaml/v3"

	"github.com/tributary-hub/tributary/internal/e2e"
	"github.com/tributary-hub/tributary/internal/localpg"
	"github.com/tributary-hub/tributary/internal/logtest"
)

// TestDeploy_Compose does what compose.yaml says, in its order, where there is no engine: the secrets and the database
// are made by the scripts that it names, and each service runs the program that the Dockerfile builds as the image's
// user, in a root folder that has nothing else and cannot be written to, with that service's environment and secrets
// alone.
func TestDeploy_Compose(t *testing.T) {
	t.Parallel()
	e2e.Needs(t, "psql")
	if os.Geteuid() != 0 {
		e2e.Lacks(t, "only root can run a program in a root folder of its own")
	}
	c := newContainers(t)
	if out, err := c.command(t, "migrate", c.services["migrate"].Command...).CombinedOutput(); err != nil {
		t.Fatalf("migrate: %v\n%s", err, out)
	}
	if out, err := c.command(t, "hub", c.health...).CombinedOutput(); err == nil {
		t.Fatalf("a hub that does not run is healthy: %s", out)
	}

	hub := c.start(t)
	key, err := c.command(t, "migrate", "key", "create", "--operator", "--name", "first").Output()
	if err != nil {
		t.Fatalf("make an operator's key: %v", err)
	}
	if status := createTenant(t, "http://"+c.listen, strings.TrimSpace(string(key))); status != http.StatusCreated {
		t.Errorf("the operator's key makes no tenant: %d", status)
	}

	for _, step := range []string{"rotate", "promote", "reseal", "prune"} {
		printed, err := c.command(t, "keyset", step).Output()
		if err != nil {
			t.Fatalf("keyset %s: %v\n%s", step, err, stderrOf(err))
		}
		if step == "reseal" {
			continue
		}
		for _, name := range []string{"hub", "keyset"} {
			writeFile(t, filepath.Join(c.root, name, "run/secrets/keyset"), string(printed), 0o444)
		}
		hub.stop(t)
		hub = c.start(t)
	}
	writeFile(t, filepath.Join(c.root, "hub/run/secrets/keyset"), c.secrets["keyset"], 0o444)
	if out, err := c.command(t, "hub", "doctor").CombinedOutput(); err == nil || !strings.Contains(string(out), "which `tributary keyset prune` has retired") {
		t.Errorf("the keyset of before its change: %v\n%s", err, out)
	}
	hub.stop(t)
	c.unchanged(t)
}

// A started hub is one that is healthy.
type started struct {
	cmd   *exec.Cmd
	ended chan error
}

func (c *containers) start(t *testing.T) started {
	t.Helper()
	hub := started{c.command(t, "hub", c.run...), make(chan error, 1)}
	said := &logtest.Buffer{}
	hub.cmd.Stdout, hub.cmd.Stderr = said, said
	if err := hub.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { hub.ended <- hub.cmd.Wait() }()
	t.Cleanup(func() {
		_ = hub.cmd.Process.Kill()
		if t.Failed() {
			t.Logf("the hub said:\n%s", said.Tail(8000))
		}
	})
	waitUntil(t, func() bool {
		select {
		case err := <-hub.ended:
			t.Fatalf("the hub ended by itself: %v\n%s", err, said.Tail(8000))
		default:
		}
		return c.command(t, "hub", c.health...).Run() == nil
	})
	return hub
}

func (s started) stop(t *testing.T) {
	t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-s.ended:
		if err != nil {
			t.Errorf("told to end: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("the hub did not end within the 30 s that compose.yaml gives it")
	}
}

func stderrOf(err error) string {
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(exit.Stderr)
	}
	return ""
}

// containers are what an engine would make of compose.yaml.
type containers struct {
	root     string            // has a folder for each service, which it sees as /
	image    map[string]string // the image's environment
	run      []string          // the image's command, and what tells its health
	health   []string
	services map[string]service
	secrets  map[string]string
	listen   string // stands for :8080, which another test's hub may have
	ops      string // likewise for :9090
	files    []string
}

// A service of compose.yaml, as far as the hub's own have one.
type service struct {
	Entrypoint  []string
	Command     []string
	Environment map[string]string
	Secrets     []string
}

func newContainers(t *testing.T) *containers {
	t.Helper()
	c := &containers{root: t.TempDir(), listen: freeAddress(t), ops: freeAddress(t), secrets: map[string]string{}}
	if err := os.Chmod(filepath.Dir(c.root), 0o711); err != nil { // the image's user must pass through
		t.Fatal(err)
	}
	c.readImage(t)
	var file struct{ Services map[string]service }
	if err := yaml.Unmarshal([]byte(readFile(t, "../../deploy/compose.yaml")), &file); err != nil {
		t.Fatal(err)
	}
	c.services = file.Services

	// The secrets, by the script; then Postgres, which has what its image's entry point would have run.
	folder := t.TempDir()
	secretsScript := filepath.Join(folder, "secrets.sh")
	writeFile(t, secretsScript, readFile(t, "../../deploy/secrets.sh"), 0o755)
	for range 2 { // the second time it keeps what there is
		cmd := exec.Command("bash", secretsScript, filepath.Join(c.root, "tributary"))
		cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
		out, err := cmd.CombinedOutput()
		if again := len(c.secrets) > 0; (err != nil) != again {
			t.Fatalf("secrets.sh: %v\n%s", err, out)
		}
		for _, name := range []string{"postgres_password", "owner_password", "hub_password", "owner_database_url", "database_url", "keyset"} {
			value := readFile(t, filepath.Join(folder, "secrets", name))
			if before := c.secrets[name]; value == "" || before != "" && value != before {
				t.Errorf("secrets.sh: %s is empty, or another one than before", name)
			}
			c.secrets[name] = value
		}
	}
	if info, err := os.Stat(filepath.Join(folder, "secrets")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the secrets is open to others: %v, %v", info, err)
	}
	c.makeRoots(t, c.startPostgres(t, folder))
	c.files = c.list(t)
	return c
}

// makeRoots gives each service of the hub's image its root folder: the program, its secrets, and the way to Postgres.
func (c *containers) makeRoots(t *testing.T, socket string) {
	t.Helper()
	for name, s := range c.services {
		if name == "postgres" {
			continue
		}
		root := filepath.Join(c.root, name)
		if err := errors.Join(
			os.MkdirAll(filepath.Join(root, "run/secrets"), 0o755), os.Mkdir(filepath.Join(root, "postgres"), 0o755),
			os.Link(filepath.Join(c.root, "tributary"), filepath.Join(root, "tributary")),
			os.Link(socket, filepath.Join(root, "postgres", filepath.Base(socket))),
		); err != nil {
			t.Fatal(err)
		}
		for _, secret := range s.Secrets {
			value := c.secrets[secret]
			if strings.HasSuffix(secret, "_url") {
				const host = "@postgres:5432/tributary?"
				if !strings.Contains(value, host) {
					t.Fatalf("%s leads to another place than the service postgres", secret)
				}
				value = strings.Replace(value, host, "@/tributary?host=/postgres&", 1)
			}
			writeFile(t, filepath.Join(root, "run/secrets", secret), value, 0o444)
		}
		if err := os.Chmod(root, 0o555); err != nil {
			t.Fatal(err)
		}
	}
}

// readImage takes from the Dockerfile what an engine would, and runs its build line.
func (c *containers) readImage(t *testing.T) {
	t.Helper()
	dockerfile := readFile(t, "../../deploy/Dockerfile")
	c.image = map[string]string{"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"} // an engine's
	stage := dockerfile[strings.LastIndex(dockerfile, "\nFROM "):]
	for _, match := range regexp.MustCompile(`(?m)^ENV (\w+)=(\S+)$`).FindAllStringSubmatch(stage, -1) {
		c.image[match[1]] = match[2]
	}
	list := func(instruction string) []string {
		match := regexp.MustCompile(`(?m)^` + instruction + ` (\[.*\])$`).FindStringSubmatch(dockerfile)
		if match == nil {
			t.Fatalf("the Dockerfile has no %s as a list", instruction)
		}
		var all []string
		if err := json.Unmarshal([]byte(match[1]), &all); err != nil {
			t.Fatalf("%s: %v", instruction, err)
		}
		return all
	}
	if entry := list("ENTRYPOINT"); !slices.Equal(entry, []string{"/tributary"}) {
		t.Fatalf("the image's entry point is %v", entry)
	}
	c.run, c.health = list("CMD"), list("HEALTHCHECK .* CMD")[1:]
	build := regexp.MustCompile(`(?m)^RUN .*(CGO_ENABLED=0 .*go build .*)$`).FindStringSubmatch(dockerfile)
	if build == nil {
		t.Fatal("the Dockerfile builds nothing")
	}
	cmd := exec.Command("sh", "-c", strings.Replace(build[1], "/out/tributary", filepath.Join(c.root, "tributary"), 1))
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "VERSION=v0.0.0-test", "TARGETOS=", "TARGETARCH=")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
}

// startPostgres runs one with what roles.sh makes, and gives its socket, open to all who can reach it.
func (c *containers) startPostgres(t *testing.T, folder string) (socket string) {
	t.Helper()
	host := strictPostgres(t, folder)
	script := filepath.Join(folder, "roles.sh")
	writeFile(t, script, strings.ReplaceAll(readFile(t, "../../deploy/postgres/roles.sh"), "/run/secrets", filepath.Join(folder, "secrets")), 0o755)
	cmd := exec.Command("bash", script)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "PGHOST=" + host}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("roles.sh: %v\n%s", err, out)
	}
	socket = filepath.Join(host, ".s.PGSQL.5432")
	if err := os.Chmod(socket, 0o777); err != nil {
		t.Fatal(err)
	}
	return socket
}

// strictPostgres is one that asks all but its superuser for a password; where its socket is.
func strictPostgres(t *testing.T, folder string) (host string) {
	t.Helper()
	if err := errors.Join(os.Chmod(filepath.Dir(folder), 0o711), os.Chmod(folder, 0o711)); err != nil { // Postgres is another user
		t.Fatal(err)
	}
	hba := filepath.Join(folder, "pg_hba.conf")
	writeFile(t, hba, "local all postgres trust\nlocal all all scram-sha-256\n", 0o644)
	pg, err := localpg.Start(t.Context(), localpg.Options{
		DataDir: filepath.Join(folder, "postgres"), Source: os.Getenv("TRIBUTARY_POSTGRES"), Log: slog.New(slog.DiscardHandler),
		Settings: map[string]string{"fsync": "off", "hba_file": hba},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pg.Stop(context.WithoutCancel(t.Context())) })
	config, err := pgx.ParseConfig(pg.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	return config.Host
}

// command is the image's program as a service runs it. What compose.yaml lets its user say is said here.
func (c *containers) command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	s, found := c.services[name]
	if !found {
		t.Fatalf("compose.yaml has no service %s", name)
	}
	if len(s.Entrypoint) > 0 {
		args = slices.Concat(s.Entrypoint, args)
	}
	if args[0] == "/tributary" {
		args = args[1:]
	}
	said := map[string]string{"TRIBUTARY_PUBLIC_URL": "https://hub.example.com"}
	environment := map[string]string{}
	for _, of := range []map[string]string{c.image, s.Environment} {
		for key, value := range of {
			environment[key] = os.Expand(value, func(expression string) string {
				variable, _, _ := strings.Cut(expression, ":")
				return said[variable]
			})
		}
	}
	if environment["TRIBUTARY_OPS_LISTEN"] != ":9090" || environment["TRIBUTARY_LISTEN"] != "" {
		t.Fatalf("%s listens elsewhere than the ports that compose.yaml and the image name: %v", name, environment)
	}
	environment["TRIBUTARY_LISTEN"], environment["TRIBUTARY_OPS_LISTEN"] = c.listen, c.ops

	cmd := exec.Command("/tributary", args...)
	cmd.Dir = "/"
	cmd.Env = []string{}
	for key, value := range environment {
		cmd.Env = append(cmd.Env, key+"="+value)
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: filepath.Join(c.root, name), Credential: &syscall.Credential{Uid: 65532, Gid: 65532}, Setpgid: true}
	return cmd
}

// list are the files of the root folders.
func (c *containers) list(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(c.root, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			all = append(all, strings.TrimPrefix(path, c.root))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func (c *containers) unchanged(t *testing.T) {
	t.Helper()
	if got := c.list(t); !slices.Equal(got, c.files) {
		t.Errorf("the hub's files are %v, and were %v", got, c.files)
	}
}

func createTenant(t *testing.T, hub, key string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, hub+"/v1/tenants", bytes.NewReader([]byte(`{"slug":"acme","name":"Acme"}`)))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+key)
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// freeAddress is one that nobody listens at, at this moment.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func writeFile(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	if err := errors.Join(os.WriteFile(path, []byte(content), mode), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
}
