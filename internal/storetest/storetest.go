// Package storetest gives each test a fresh, migrated database of a real Postgres, which the store reaches as the
// lesser roles, and fixtures in it.
package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/localpg"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/migrations"
)

// Login is what the store connects as: a member of the three roles and nothing else.
const Login = "tributary_test"

// A DB is one test's database and the store on it.
type DB struct {
	*store.Store

	URL      string // of the login
	OwnerURL string // of the owner, a superuser
	Owner    *pgxpool.Pool

	mu       sync.Mutex // guards what follows
	tenant   hub.TenantID
	endpoint hub.EndpointID // of tenant: what events of the test share
}

// An Option changes what New makes.
type Option func(*options)

type options struct {
	bare bool
	icu  string
}

// Bare leaves out the migrations: an empty database.
func Bare() Option { return func(o *options) { o.bare = true } }

// ICU makes a database that sorts text by that ICU locale, such as "en", where others sort it by bytes. It is
// migrated for this test alone, which takes longer.
func ICU(locale string) Option { return func(o *options) { o.icu = locale } }

// New makes a database for the test and drops it after. It has the partitions from yesterday until tomorrow.
func New(t testing.TB, opts ...Option) *DB {
	t.Helper()
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	ctx := context.WithoutCancel(t.Context())
	server, err := shared()
	if err != nil {
		t.Fatalf("start Postgres for tests: %v", err)
	}
	var name string
	switch {
	case o.bare:
		name, err = server.create(ctx, "")
	case o.icu != "":
		name, err = server.createICU(ctx, o.icu)
	default:
		name, err = server.createMigrated(ctx)
	}
	if err != nil {
		t.Fatalf("create a database: %v", err)
	}
	t.Cleanup(func() {
		if err := server.drop(ctx, name); err != nil {
			t.Errorf("drop the database: %v", err)
		}
	})
	db := &DB{OwnerURL: server.pg.URL(name)}
	db.URL = withUser(db.OwnerURL, Login)
	db.Owner = connect(t, db.OwnerURL)
	through, err := tenantURL(db.URL)
	if err != nil {
		t.Fatalf("start the pooler: %v", err)
	}
	db.Store, err = store.Open(ctx, store.Options{URL: through, DirectURL: db.URL, Tenant: 4, Pipeline: 6})
	if err != nil {
		t.Fatalf("open the store: %v", err)
	}
	t.Cleanup(db.Store.Close)
	return db
}

// Exec runs a statement as the owner.
func (db *DB) Exec(t testing.TB, sql string, args ...any) {
	t.Helper()
	if _, err := db.Owner.Exec(t.Context(), sql, args...); err != nil {
		t.Fatalf("exec %s: %v", sql, err)
	}
}

// Value asks for one value as the owner.
func Value[T any](t testing.TB, db *DB, sql string, args ...any) T {
	t.Helper()
	var v T
	if err := db.Owner.QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("query %s: %v", sql, err)
	}
	return v
}

// Values asks for one column as the owner.
func Values[T any](t testing.TB, db *DB, sql string, args ...any) []T {
	t.Helper()
	rows, _ := db.Owner.Query(t.Context(), sql, args...)
	v, err := pgx.CollectRows(rows, pgx.RowTo[T])
	if err != nil {
		t.Fatalf("query %s: %v", sql, err)
	}
	return v
}

func connect(t testing.TB, url string) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(context.WithoutCancel(t.Context()), url)
	if err != nil {
		t.Fatalf("connect as owner: %v", err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// cluster is the Postgres that all tests of a process share.
type cluster struct {
	pg     *localpg.Server
	dir    string   // of pg
	slot   *os.File // its lock, held as long as the process lives
	prefix string
	count  atomic.Int64

	mu       sync.Mutex // guards migrated, and one migration at a time
	migrated string     // the template's name, once it is there
}

var shared = sync.OnceValues(startShared)

func startShared() (*cluster, error) {
	pg, dir, slot, err := start(context.Background())
	if err != nil {
		return nil, err
	}
	c := &cluster{pg: pg, dir: dir, slot: slot, prefix: fmt.Sprintf("t%d", time.Now().UnixNano())}
	return c, c.clean(context.Background())
}

// clean drops what the process that had this cluster before left behind, and makes the login.
func (c *cluster) clean(ctx context.Context) error {
	return c.admin(ctx, func(conn *pgx.Conn) error {
		rows, _ := conn.Query(ctx, `SELECT datname FROM pg_database WHERE datname ~ '^t[0-9]+_'`)
		left, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			return fmt.Errorf("list databases: %w", err)
		}
		for _, name := range left {
			if _, err := conn.Exec(ctx, `DROP DATABASE `+name+` WITH (FORCE)`); err != nil {
				return fmt.Errorf("drop %s: %w", name, err)
			}
		}
		_, err = conn.Exec(ctx, `DO $$ BEGIN CREATE ROLE `+Login+` LOGIN NOINHERIT; EXCEPTION WHEN duplicate_object THEN NULL; END $$`)
		return err
	})
}

// template is the name of a migrated database that tests' are cloned from, named by what the migrations say.
func (c *cluster) template(ctx context.Context) (string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.migrated != "" {
		return c.migrated, nil
	}
	name := "template_" + migrationsHash()
	err := c.admin(ctx, func(conn *pgx.Conn) error {
		var exists bool
		if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists); err != nil || exists {
			return err
		}
		_, err := conn.Exec(ctx, `DROP DATABASE IF EXISTS making WITH (FORCE)`)
		if err == nil {
			_, err = conn.Exec(ctx, `CREATE DATABASE making`)
		}
		if err == nil {
			err = store.Migrate(ctx, store.MigrateOptions{URL: c.pg.URL("making"), Login: Login, Log: slog.New(slog.DiscardHandler)})
		}
		if err == nil {
			_, err = conn.Exec(ctx, `ALTER DATABASE making RENAME TO `+name)
		}
		return err
	})
	if err == nil {
		c.migrated = name
	}
	return c.migrated, err
}

// create makes a database, as with says.
func (c *cluster) create(ctx context.Context, with string) (string, error) {
	name := fmt.Sprintf("%s_%d", c.prefix, c.count.Add(1))
	return name, c.admin(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `CREATE DATABASE `+name+with)
		return err
	})
}

func (c *cluster) createMigrated(ctx context.Context) (string, error) {
	template, err := c.template(ctx)
	if err != nil {
		return "", fmt.Errorf("migrate the template: %w", err)
	}
	name, err := c.create(ctx, ` TEMPLATE `+template)
	if err != nil {
		return "", err
	}
	return name, c.prepare(ctx, name)
}

func (c *cluster) createICU(ctx context.Context, locale string) (string, error) {
	name, err := c.create(ctx, ` TEMPLATE template0 LOCALE_PROVIDER icu ICU_LOCALE '`+locale+`'`)
	if err != nil {
		return "", err
	}
	c.mu.Lock() // the template's migration grants roles to the same login
	err = store.Migrate(ctx, store.MigrateOptions{URL: c.pg.URL(name), Login: Login, Log: slog.New(slog.DiscardHandler)})
	c.mu.Unlock()
	if err != nil {
		return "", err
	}
	return name, c.prepare(ctx, name)
}

// prepare gives what belongs to a database and is not cloned, and the partitions around now.
func (c *cluster) prepare(ctx context.Context, name string) error {
	conn, err := pgx.Connect(ctx, c.pg.URL(name))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, `
		GRANT CONNECT ON DATABASE `+name+` TO `+Login+`;
		`+madePartitions)
	return err
}

const madePartitions = `
	SELECT tributary.make_partition(kind, day::date) FROM unnest(ARRAY['events', 'outcomes', 'messages']) AS kind,
		generate_series(current_date - 1, current_date + 1, interval '1 day') AS day`

func (c *cluster) drop(ctx context.Context, name string) error {
	return c.admin(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, `DROP DATABASE `+name+` WITH (FORCE)`)
		return err
	})
}

func (c *cluster) admin(ctx context.Context, fn func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, c.pg.URL("postgres"))
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	defer conn.Close(ctx)
	return fn(conn)
}

func migrationsHash() string {
	h := sha256.New()
	files, _ := fs.Glob(migrations.FS, "*.sql")
	for _, name := range files {
		content, _ := fs.ReadFile(migrations.FS, name)
		h.Write(content)
	}
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func withUser(uri, user string) string {
	u, err := url.Parse(uri)
	if err != nil {
		return uri
	}
	u.User = url.User(user)
	return u.String()
}
