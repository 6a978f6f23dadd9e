package e2e_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributary-hub/tributary/internal/localpg"
)

// A postgres is a server of the tests' own, which they kill, stop, start again and promote. It writes to disk as one
// in production does.
type postgres struct {
	dir    string
	server *localpg.Server
}

// newPostgres starts one on a new cluster.
func newPostgres(t *testing.T) *postgres {
	t.Helper()
	dir, err := os.MkdirTemp("", "trb-pg-") //nolint:usetesting // short, as a socket's path must be, and open to pass through
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { // Postgres is another user where the test is root
		t.Fatal(err)
	}
	p := &postgres{dir: filepath.Join(dir, "a")}
	p.start(t)
	t.Cleanup(func() { p.stop(t) })
	return p
}

// start returns once it accepts connections.
func (p *postgres) start(t *testing.T) {
	t.Helper()
	var err error
	p.server, err = localpg.Start(context.WithoutCancel(t.Context()), localpg.Options{DataDir: p.dir, Source: "auto", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("start Postgres: %v", err)
	}
}

// stop ends it as an operator does.
func (p *postgres) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
	defer cancel()
	if err := p.server.Stop(ctx); err != nil {
		t.Errorf("stop Postgres: %v", err)
	}
}

// crash kills the postmaster and all that it has started, at once: one that lived on could wait for ever for a lock that
// a dead one holds, and the next postmaster for it.
func (p *postgres) crash(t *testing.T) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(p.dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(content), "\n")
	postmaster, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(postmaster, syscall.SIGKILL)
	waitUntil(t, func() bool {
		left := p.processes()
		for _, pid := range left {
			_ = syscall.Kill(pid, syscall.SIGKILL) // one that is gone already is as good
		}
		return len(left) == 0
	})
	select {
	case <-p.server.Done():
	case <-time.After(30 * time.Second):
		t.Fatal("Postgres survived SIGKILL")
	}
}

// processes lists those that work in the cluster's folder, where the system tells; elsewhere they notice the death of
// their postmaster by themselves.
func (p *postgres) processes() (pids []int) {
	folders, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, folder := range folders {
		to, err := os.Readlink(folder)
		pid, errPid := strconv.Atoi(filepath.Base(filepath.Dir(folder)))
		if err == nil && errPid == nil && to == filepath.Join(p.dir, "data") {
			pids = append(pids, pid)
		}
	}
	return pids
}

// url is a database's, for that login.
func (p *postgres) url(login, database string) string {
	return strings.Replace(p.server.URL(database), "postgres://postgres@", "postgres://"+login+"@", 1)
}

// socket is the folder that its clients name as the host.
func (p *postgres) socket() string {
	_, host, _ := strings.Cut(p.server.URL("x"), "?host=")
	host, _, _ = strings.Cut(host, "&")
	return host
}

// exec runs a statement as the superuser.
func (p *postgres) exec(t *testing.T, database, sql string) {
	t.Helper()
	if _, err := p.pool(t, database).Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// pool connects as the superuser.
func (p *postgres) pool(t *testing.T, database string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), p.server.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// standby starts a streaming one of p.
func (p *postgres) standby(t *testing.T) *postgres {
	t.Helper()
	s := &postgres{dir: filepath.Join(filepath.Dir(p.dir), "b")}
	info, err := os.Stat(filepath.Join(p.dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	if err := os.Mkdir(s.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(s.dir, int(owner.Uid), int(owner.Gid)); err != nil {
		t.Fatal(err)
	}
	backup := exec.CommandContext(t.Context(), filepath.Join(p.server.BinDir(), "pg_basebackup"),
		"--pgdata", filepath.Join(s.dir, "data"), "--dbname", p.server.URL("postgres"), "--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast")
	backup.Dir = "/"
	if os.Geteuid() == 0 {
		backup.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}}
	}
	if out, err := backup.CombinedOutput(); err != nil {
		t.Fatalf("pg_basebackup: %v\n%s", err, out)
	}
	s.start(t)
	t.Cleanup(func() { s.stop(t) })
	return s
}
