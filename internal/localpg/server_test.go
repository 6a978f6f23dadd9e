package localpg_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tributary-hub/tributary/internal/localpg"
)

// childFolder tells this test binary to be the process that owns a Postgres and is killed.
const childFolder = "LOCALPG_TEST_CHILD_FOLDER"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childFolder); dir != "" {
		child(dir)
	}
	os.Exit(m.Run())
}

// child starts a Postgres, says its process id and URL on stdout, and waits for its own end.
func child(dir string) {
	s, err := localpg.Start(context.Background(), localpg.Options{DataDir: dir, Log: slog.Default(), Settings: fast()})
	if err != nil {
		fmt.Println("error:", err)
		os.Exit(1)
	}
	fmt.Println(s.Pid(), s.URL("postgres"))
	<-s.Done()
	os.Exit(1)
}

func TestStart_FindsItsDataAgain(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	first := start(t, localpg.Options{DataDir: dir})
	for range 2 {
		if err := first.CreateDatabase(t.Context(), "a b&c"); err != nil {
			t.Fatal(err)
		}
	}
	stop(t, first)
	stop(t, first)
	if err := first.Err(); err != nil {
		t.Errorf("Err after Stop: %v", err)
	}

	second := start(t, localpg.Options{DataDir: dir, Settings: map[string]string{"max_connections": "33", "listen_addresses": "*"}})
	conn, err := pgx.Connect(t.Context(), second.URL("a b&c"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	rows, _ := conn.Query(t.Context(), `
		SELECT name || '=' || setting FROM pg_settings
		WHERE name IN ('default_toast_compression', 'fsync', 'jit', 'listen_addresses', 'max_connections', 'server_encoding', 'TimeZone')
		UNION ALL SELECT 'superuser=' || current_setting('is_superuser')
		UNION ALL SELECT 'database=' || current_database()
		ORDER BY 1`)
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"TimeZone=UTC", "database=a b&c", "default_toast_compression=lz4", "fsync=on", "jit=off", "listen_addresses=",
		"max_connections=33", "server_encoding=UTF8", "superuser=on",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"data", "run"} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: mode %v, %v; want 0700", name, info.Mode(), err)
		}
	}
	if uid := processUID(t, second.Pid()); uid == 0 {
		t.Error("postgres runs as root")
	}
}

func TestStart_AfterPostgresWasKilled(t *testing.T) {
	t.Parallel()
	o := localpg.Options{DataDir: openDir(t), Settings: map[string]string{"fsync": "on"}}
	first := start(t, o)
	execute(t, first, `CREATE TABLE kept (n int)`)
	execute(t, first, `INSERT INTO kept VALUES (7)`)
	if err := syscall.Kill(first.Pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-first.Done()
	if err := first.Err(); err == nil || !strings.Contains(err.Error(), "ended by itself") {
		t.Errorf("Err: %v; want that it ended by itself", err)
	}

	second := start(t, o)
	if got := ask(t, second, `SELECT n FROM kept`); got != "7" {
		t.Errorf("after recovery: %q; want 7", got)
	}
}

func TestStart_AfterItsOwnerWasKilled(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	owner := exec.CommandContext(t.Context(), os.Args[0])
	owner.Env = append(os.Environ(), childFolder+"="+dir)
	stdout, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	number, url, _ := strings.Cut(strings.TrimSpace(line), " ")
	left, err := strconv.Atoi(number)
	if err != nil {
		t.Fatalf("the child said %q", line)
	}
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = localpg.Start(ctx, localpg.Options{DataDir: dir, Log: quiet()})
	if want := fmt.Sprintf("in use by process %d", owner.Process.Pid); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("start beside a living owner: %v; want %q", err, want)
	}

	_ = owner.Process.Kill()
	_ = owner.Wait()
	if runtime.GOOS == "linux" { // elsewhere the next start ends it
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := conn.WaitForNotification(ctx)
		var told *pgconn.PgError
		if !errors.As(err, &told) || told.Code != "57P01" {
			t.Errorf("the Postgres of the killed owner goes on: %v; want an admin_shutdown", err)
		}
	}
	s := start(t, localpg.Options{DataDir: dir})
	if s.Pid() == left || ask(t, s, `SELECT 1`) != "1" {
		t.Error("the second Postgres is the first one")
	}
	if localpg.IsPostmasterOf(left, filepath.Join(dir, "data")) {
		t.Errorf("the Postgres of the killed owner, %d, is still there", left)
	}
}

// A Postgres without an owner, as systems without Pdeathsig leave them, is stopped.
func TestStart_StopsALeftPostgres(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	first := start(t, localpg.Options{DataDir: dir})
	stop(t, first)
	data := filepath.Join(dir, "data")
	left, err := localpg.OwnerCommand(data, filepath.Join(first.BinDir(), "postgres"), "-D", data, "-c", "listen_addresses=", "-k", filepath.Join(dir, "run"))
	if err != nil {
		t.Fatal(err)
	}
	if err := left.Start(); err != nil {
		t.Fatal(err)
	}
	for first.Err() == nil { // wait until it answers: before that it has no lock file
		if conn, err := pgx.Connect(t.Context(), first.URL("postgres")); err == nil {
			_ = conn.Close(t.Context())
			break
		}
	}

	s := start(t, localpg.Options{DataDir: dir})
	if err := left.Wait(); err != nil {
		t.Errorf("the left Postgres was not stopped in its own way: %v", err)
	}
	if got := ask(t, s, `SELECT 1`); got != "1" {
		t.Errorf("got %q", got)
	}
}

// The number in the lock file of a cluster may by now be another process's, as after a container's restart.
func TestStart_SparesAnotherProcessOfThatNumber(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	first := start(t, localpg.Options{DataDir: dir})
	stranger, err := localpg.OwnerCommand(filepath.Join(dir, "data"), "/bin/sh", "-c", "read line") // the same user, which Postgres takes for a server
	if err != nil {
		t.Fatal(err)
	}
	stdin, err := stranger.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	lock := filepath.Join(dir, "data", "postmaster.pid")
	content, err := os.ReadFile(lock)
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(first.Pid(), syscall.SIGKILL)
	<-first.Done()
	_, rest, _ := strings.Cut(string(content), "\n")
	if err := os.WriteFile(lock, fmt.Appendf(nil, "%d\n%s", stranger.Process.Pid, rest), 0o600); err != nil {
		t.Fatal(err)
	}

	start(t, localpg.Options{DataDir: dir})
	if _, err := stdin.Write([]byte("\n")); err != nil {
		t.Error(err)
	}
	if err := stranger.Wait(); err != nil {
		t.Errorf("the other process did not live to its own end: %v", err)
	}
}

func TestStart_Folders(t *testing.T) {
	t.Parallel()
	for name, dir := range map[string]string{
		"long path":      filepath.Join(openDir(t), strings.Repeat("long/", 30)),
		"spaces, commas": filepath.Join(openDir(t), `a "b", c+d`),
		"spaces":         filepath.Join(openDir(t), `a b+c%20d&e`),
		"closed parent":  filepath.Join(t.TempDir(), "inside"), // as root: nobody else passes
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := start(t, localpg.Options{DataDir: dir})
			execute(t, s, `CREATE DATABASE other`)
			if got := ask(t, s, `SHOW block_size`); got != "8192" {
				t.Errorf("got %q", got)
			}
			stop(t, s)
			if got := ask(t, start(t, localpg.Options{DataDir: dir}), `SELECT datname FROM pg_database WHERE datname = 'other'`); got != "other" {
				t.Errorf("after a restart: %q", got)
			}
		})
	}
}

func TestStart_Fails(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cluster string // its version
		options localpg.Options
		want    string
	}{
		"bad setting":   {options: localpg.Options{Settings: map[string]string{"shared_buffers": "many"}}, want: `invalid value for parameter "shared_buffers"`},
		"bad source":    {options: localpg.Options{Source: "apt"}, want: `"apt": auto, system or npm`},
		"older cluster": {cluster: "9", want: "made by Postgres 9"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.options.DataDir, c.options.Log = openDir(t), quiet()
			if c.cluster != "" {
				writeFile(t, filepath.Join(c.options.DataDir, "data", "PG_VERSION"), c.cluster+"\n")
			}
			s, err := localpg.Start(t.Context(), c.options)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v; want %q", err, c.want)
			}
			if err := s.Stop(t.Context()); err != nil {
				t.Errorf("stop what never started: %v", err)
			}
		})
	}
}

// fast is for tests that do not pull the plug.
func fast() map[string]string { return map[string]string{"fsync": "off", "shared_buffers": "16MB"} }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

// openDir is a folder that the user whom Postgres runs as can reach; t.TempDir is closed to others.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "localpg") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	return dir
}

func start(t *testing.T, o localpg.Options) *localpg.Server {
	t.Helper()
	o.Log = quiet()
	if o.Settings == nil {
		o.Settings = fast()
	}
	s, err := localpg.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, s) })
	return s
}

func stop(t *testing.T, s *localpg.Server) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
	select {
	case <-s.Done():
	default:
		t.Error("Done is open after Stop")
	}
}

func execute(t *testing.T, s *localpg.Server, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

func ask(t *testing.T, s *localpg.Server, sql string) string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), s.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(context.Background()) }()
	var got any
	if err := conn.QueryRow(t.Context(), sql).Scan(&got); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(got)
}

func processUID(t *testing.T, pid int) int {
	t.Helper()
	said, err := exec.Command("ps", "-o", "uid=", "-p", strconv.Itoa(pid)).Output()
	if err != nil {
		t.Fatal(err)
	}
	uid, err := strconv.Atoi(strings.TrimSpace(string(said)))
	if err != nil {
		t.Fatal(err)
	}
	return uid
}
