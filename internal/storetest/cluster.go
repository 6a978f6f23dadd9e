package storetest

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/localpg"
	"github.com/tributary-hub/tributary/internal/store"
)

// hubDatabase is the migrated database of a Cluster.
const hubDatabase = "hub"

// A Cluster is a Postgres of a test's own, for those that stop it: with one migrated database, and partitions from
// yesterday until tomorrow.
type Cluster struct {
	dir string
	url string // of the owner; the same after each start
	pg  *localpg.Server
}

// NewCluster starts one; it is gone when the test ends.
func NewCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{dir: openFolder(t)}
	c.Start(t)
	ctx := context.WithoutCancel(t.Context())
	if err := c.pg.CreateDatabase(ctx, hubDatabase); err != nil {
		t.Fatal(err)
	}
	c.Exec(t, `CREATE ROLE `+Login+` LOGIN NOINHERIT`)
	if err := store.Migrate(ctx, store.MigrateOptions{URL: c.OwnerURL(), Login: Login, Log: slog.New(slog.DiscardHandler)}); err != nil {
		t.Fatal(err)
	}
	c.Exec(t, `GRANT CONNECT ON DATABASE `+hubDatabase+` TO `+Login)
	c.Exec(t, madePartitions)
	return c
}

// openFolder is an empty folder that the account of Postgres may pass through.
func openFolder(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "tributary-cluster-") //nolint:usetesting // its path would be too long for a socket, and closed to that account
	if err == nil {
		err = os.Chmod(dir, 0o711)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Error(err)
		}
	})
	return dir
}

// URL is that of the login.
func (c *Cluster) URL() string { return withUser(c.OwnerURL(), Login) }

// OwnerURL is that of the owner, a superuser.
func (c *Cluster) OwnerURL() string { return c.url }

// DB is the store on it, past everything, and the fixtures.
func (c *Cluster) DB(t testing.TB) *DB {
	t.Helper()
	db := &DB{URL: c.URL(), OwnerURL: c.OwnerURL(), Owner: connect(t, c.OwnerURL())}
	db.Store = c.open(t, db.URL)
	return db
}

func (c *Cluster) open(t testing.TB, url string) *store.Store {
	t.Helper()
	s, err := store.Open(context.WithoutCancel(t.Context()), store.Options{URL: url, Tenant: 4, Pipeline: 6})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start starts it, after Stop or Kill, with the settings of a server that others follow.
func (c *Cluster) Start(t testing.TB) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	pg, err := localpg.Start(ctx, localpg.Options{
		DataDir: c.dir, Source: os.Getenv(source), Log: slog.New(slog.DiscardHandler),
		Settings: map[string]string{"fsync": "off", "max_connections": "60", "shared_buffers": "32MB"},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := pg.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if c.pg = pg; c.url == "" {
		c.url = pg.URL(hubDatabase)
	}
}

// Stop shuts it down as an operator does, which ends every connection.
func (c *Cluster) Stop(t testing.TB) {
	t.Helper()
	if err := c.pg.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Fatal(err)
	}
}

// Kill ends it by SIGKILL.
func (c *Cluster) Kill(t testing.TB) {
	t.Helper()
	lock, err := os.ReadFile(filepath.Join(c.dir, "data", "postmaster.pid"))
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(lock), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-c.pg.Done()
}

// Standby is another one that follows this, read-only and in recovery until it is promoted.
func (c *Cluster) Standby(t testing.TB) *Cluster {
	t.Helper()
	standby := &Cluster{dir: openFolder(t)}
	if err := c.pg.CopyTo(context.WithoutCancel(t.Context()), standby.dir); err != nil {
		t.Fatal(err)
	}
	standby.Start(t)
	return standby
}

// Promote ends the recovery: what is written from now on is a history of its own.
func (c *Cluster) Promote(t testing.TB) {
	t.Helper()
	c.Exec(t, `SELECT pg_promote()`)
}

// Detach has a standby hear no more of what it follows: from now on it lags.
func (c *Cluster) Detach(t testing.TB) {
	t.Helper()
	c.Exec(t, `ALTER SYSTEM SET primary_conninfo = ''`)
	c.Exec(t, `SELECT pg_reload_conf()`)
	c.until(t, `SELECT count(*) = 0 FROM pg_stat_wal_receiver, pg_sleep(0.02)`)
}

// CatchUp waits until the standby has everything that this one has.
func (c *Cluster) CatchUp(t testing.TB, standby *Cluster) {
	t.Helper()
	var lsn string
	c.conn(t, func(ctx context.Context, conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `SELECT pg_current_wal_lsn()`).Scan(&lsn)
	})
	standby.until(t, `SELECT pg_last_wal_replay_lsn() >= $1::pg_lsn FROM pg_sleep(0.02)`, lsn)
}

// until asks until the answer is yes.
func (c *Cluster) until(t testing.TB, sql string, args ...any) {
	t.Helper()
	c.conn(t, func(ctx context.Context, conn *pgx.Conn) error {
		for yes := false; !yes; {
			if err := conn.QueryRow(ctx, sql, args...).Scan(&yes); err != nil {
				return err
			}
		}
		return nil
	})
}

// Exec runs a statement as the owner.
func (c *Cluster) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	c.conn(t, func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, sql, args...)
		return err
	})
}

// conn has a connection of the owner's.
func (c *Cluster) conn(t testing.TB, fn func(context.Context, *pgx.Conn) error) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, c.OwnerURL())
	if err == nil {
		defer conn.Close(ctx)
		err = fn(ctx, conn)
	}
	if err != nil {
		t.Fatal(err)
	}
}
