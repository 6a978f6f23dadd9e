package storetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// throughPooler names the pooler that the stores' tenant pools go through: "pgbouncer", or none.
const throughPooler = "TRIBUTARY_TEST_POOLER"

// withoutPrepared is what a URL needs that leads through a PgBouncer older than 1.21.
const withoutPrepared = "default_query_exec_mode=exec"

// InTurn has a pooler take its connections in turn, so that what a transaction leaves behind is soon another's.
const InTurn = "server_round_robin = 1"

const poolerPort = "6432" // a part of the socket's name

// A Pooler is a PgBouncer in transaction mode before the Postgres that the tests of a process share.
type Pooler struct {
	dir   string
	cmd   *exec.Cmd
	ended chan struct{}
}

// NewPooler starts one with so many connections for each database, and further settings, for the test alone.
func NewPooler(t testing.TB, connections int, settings ...string) *Pooler {
	t.Helper()
	NeedsPooler(t)
	server, err := shared()
	if err != nil {
		t.Fatalf("start Postgres for tests: %v", err)
	}
	p, err := startPooler(openFolder(t), server.pg.URL("postgres"), connections, settings...)
	if err != nil {
		t.Fatalf("start PgBouncer: %v", err)
	}
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
	})
	return p
}

// NeedsPooler skips a test where there is no PgBouncer, and fails it where CI is set.
func NeedsPooler(t testing.TB) {
	t.Helper()
	if _, err := exec.LookPath("pgbouncer"); err == nil {
		return
	}
	if os.Getenv("CI") != "" {
		t.Fatal("this test needs pgbouncer")
	}
	t.Skip("this test needs pgbouncer, which is not installed")
}

// URL leads to the database of that URL, as the same user.
func (p *Pooler) URL(direct string) string {
	u, err := url.Parse(direct)
	if err != nil {
		return direct
	}
	u.RawQuery = "host=" + p.dir + "&port=" + poolerPort
	return u.String()
}

// pooled is the one of the process, where its environment asks for one.
var pooled = sync.OnceValues(func() (*Pooler, error) {
	switch asked := os.Getenv(throughPooler); asked {
	case "":
		return nil, nil
	case "pgbouncer":
	default:
		return nil, fmt.Errorf("%s is %q: it is pgbouncer, or not set", throughPooler, asked)
	}
	server, err := shared()
	if err != nil {
		return nil, err
	}
	dir := filepath.Join(server.dir, "pooler")
	if err := os.RemoveAll(dir); err != nil { // of a process that had the folder before
		return nil, err
	}
	if err := os.Mkdir(dir, 0o711); err != nil {
		return nil, err
	}
	return startPooler(dir, server.pg.URL("postgres"), 4, InTurn)
})

// startPooler starts it in an empty folder, as the user who may use the socket of Postgres.
func startPooler(dir, postgres string, connections int, settings ...string) (*Pooler, error) {
	config, err := pgx.ParseConfig(postgres)
	if err != nil {
		return nil, err
	}
	for name, content := range map[string]string{
		"users": `"` + Login + `" ""` + "\n",
		"pgbouncer.ini": fmt.Sprintf(`[databases]
* = host=%s port=%d
[pgbouncer]
listen_addr =
listen_port = %s
unix_socket_dir = %s
auth_type = trust
auth_file = %s
pool_mode = transaction
default_pool_size = %d
max_client_conn = 1000
%s
`, config.Host, config.Port, poolerPort, dir, filepath.Join(dir, "users"), connections, strings.Join(settings, "\n")),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return nil, err
		}
	}
	p := &Pooler{dir: dir, cmd: exec.Command("pgbouncer", filepath.Join(dir, "pgbouncer.ini"))}
	log, err := os.Create(filepath.Join(dir, "pgbouncer.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	p.cmd.Dir, p.cmd.Stdout, p.cmd.Stderr = "/", log, log
	p.cmd.SysProcAttr = childAttributes()
	if err := p.runAsOwnerOf(config.Host); err != nil {
		return nil, err
	}
	if err := p.launch(); err != nil {
		return nil, err
	}
	return p, p.await()
}

// runAsOwnerOf has it run as the owner of Postgres's socket and of its own folder: as root it refuses to.
func (p *Pooler) runAsOwnerOf(socket string) error {
	info, err := os.Stat(socket)
	if err != nil || os.Geteuid() != 0 {
		return err
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("the owner of the socket is not known")
	}
	p.cmd.SysProcAttr.Credential = &syscall.Credential{Uid: owner.Uid, Gid: owner.Gid}
	return os.Chown(p.dir, int(owner.Uid), int(owner.Gid))
}

// launch starts it on a thread that is kept as long as it runs: when that ends, as it does with this process, so does
// the pooler.
func (p *Pooler) launch() error {
	started := make(chan error, 1)
	p.ended = make(chan struct{})
	go func() {
		defer close(p.ended)
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // how it ended is nobody's concern
		}
	}()
	return <-started
}

// await waits until it listens.
func (p *Pooler) await() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	for {
		conn, err := net.Dial("unix", filepath.Join(p.dir, ".s.PGSQL."+poolerPort))
		if err == nil {
			return conn.Close()
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			said, _ := os.ReadFile(filepath.Join(p.dir, "pgbouncer.log"))
			return errors.Join(err, errors.New("PgBouncer does not listen; it said:\n"+string(said)))
		}
	}
}

// tenantURL is the URL of the tenant pool: through the pooler, where the environment asks for one.
func tenantURL(direct string) (string, error) {
	p, err := pooled()
	if err != nil || p == nil {
		return direct, err
	}
	return p.URL(direct) + "&" + withoutPrepared, nil
}
