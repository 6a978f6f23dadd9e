// Package store has all SQL of the hub's tables, behind three doors: Tx inside InTenant sees one tenant by
// row-level security; Change inside ChangeTenant is a Tx for changes that somebody asked for; Pipeline, on its
// own pool and role, has what crosses tenants by nature or has none yet. It keeps no cache, and no goroutine that
// outlives a call.
package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributary-hub/tributary/internal/hub"
)

// Options say how the store connects.
type Options struct {
	URL         string // required: the login, perhaps through a transaction pooler; for the tenant pool
	DirectURL   string // the same past the pooler; default URL
	RolePrefix  string // of the three roles; default "tributary"
	Tenant      int32  // connections of the tenant pool; default 6
	Pipeline    int32  // of the pipeline pool; default 10
	Application string // application_name in pg_stat_activity; default "tributary"
}

// A Store is the hub's tables. Its doors may be used by many goroutines at once.
type Store struct {
	Pipeline *Pipeline

	tenant *pgxpool.Pool
	roles  Roles
}

// Open connects lazily: an unreachable database shows at first use.
func Open(ctx context.Context, o Options) (*Store, error) {
	if o.DirectURL == "" {
		o.DirectURL = o.URL
	}
	roles := RolesOf(o.RolePrefix)
	tenant, err := openPool(ctx, o.URL, o.Application, orDefault(o.Tenant, 6), nil, limits{statementTime}, nil)
	if err != nil {
		return nil, fmt.Errorf("open tenant pool: %w", err)
	}
	pipeline, err := openPipeline(ctx, o, roles)
	if err != nil {
		tenant.Close()
		return nil, err
	}
	return &Store{Pipeline: pipeline, tenant: tenant, roles: roles}, nil
}

// PingTenant says whether Postgres answers the tenants' pool, and lets it take its role: through the pooler, where
// there is one.
func (s *Store) PingTenant(ctx context.Context) error {
	return s.InTenant(ctx, hub.TenantID{}, func(*Tx) error { return nil })
}

// Close waits for connections in use and closes both pools.
func (s *Store) Close() {
	s.tenant.Close()
	s.Pipeline.close()
}

// openPool makes a pool whose connections have these parameters and limits, and read the same history, where
// one is given.
func openPool(ctx context.Context, url, application string, size int32, params map[string]string, l limits, h *history) (*pgxpool.Pool, error) {
	config, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, notUnderstood("the database URL", err)
	}
	config.MaxConns = size
	config.MinIdleConns = 1
	config.MaxConnIdleTime = 5 * time.Minute
	l.apply(config)
	config.ConnConfig.DefaultQueryExecMode = execMode(config.ConnConfig.DefaultQueryExecMode)
	r := &reset{}
	config.ShouldPing, config.BeforeClose = r.suspects, r.closed
	if h != nil {
		config.AfterConnect, config.PrepareConn = h.opened, h.usable
	}
	if application == "" {
		application = "tributary"
	}
	config.ConnConfig.RuntimeParams["application_name"] = application
	config.ConnConfig.RuntimeParams["timezone"] = "UTC"
	maps.Copy(config.ConnConfig.RuntimeParams, params)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("open pool: %w", err)
	}
	r.pool.Store(pool)
	return pool, nil
}

// execMode is how statements are sent where the URL says how. Who asks for exec, or for the simple protocol, asks that
// none be prepared by a name, which a pooler may not know. But in these modes the driver does not know what a statement
// takes and guesses it from Go's types, wrongly for an id or a JSON column; so it asks once and remembers.
func execMode(asked pgx.QueryExecMode) pgx.QueryExecMode {
	if asked == pgx.QueryExecModeCacheStatement {
		return asked
	}
	return pgx.QueryExecModeCacheDescribe
}

func orDefault(n, other int32) int32 {
	if n == 0 {
		return other
	}
	return n
}

// failure gives an error from Postgres its code: a lost or refused connection, for whichever reason, and a server that
// is starting or stopping, are Unavailable; a unique violation is Conflict; anything else stays as it is, a fault of
// ours.
func failure(err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	if _, coded := errors.AsType[*hub.Error](err); coded {
		return err
	}
	if _, refused := errors.AsType[*pgconn.ConnectError](err); refused { // a password that was changed is no reason to give events up
		return unavailable(err)
	}
	is := code(err)
	if is == "" {
		_, unread := errors.AsType[pgx.ScanArgError](err)
		if unread || errors.Is(err, pgx.ErrNoRows) || errors.Is(err, pgx.ErrTooManyRows) {
			return err
		}
		return unavailable(err)
	}
	switch is[:2] {
	case "08", "53", "57": // connection exceptions, insufficient resources, operator intervention
		return unavailable(err)
	}
	switch is {
	case "25006", "40001", "40P01", "55000", "55P03": // read-only, serialization, deadlock, in recovery (a standby), lock not available
		return unavailable(err)
	case "58P01": // a library vanished under the server: it was upgraded and not restarted
		return unavailable(err)
	case "23505":
		return &databaseError{hub.Errorf(hub.Conflict, "it exists already"), err}
	}
	return err
}

func unavailable(err error) error {
	return &databaseError{hub.Errorf(hub.Unavailable, "the database does not answer"), err}
}

// databaseError says the coded error to whoever asked and keeps what Postgres said for the log.
type databaseError struct {
	coded *hub.Error
	cause error
}

func (e *databaseError) Error() string   { return e.coded.Error() + ": " + e.cause.Error() }
func (e *databaseError) Unwrap() []error { return []error{e.coded, e.cause} }

// IsUnavailable says that the database was not reached, or that the connection was lost: what was asked may have
// been done all the same.
func IsUnavailable(err error) bool { return hub.CodeOf(err) == hub.Unavailable }

// IsOurs says that the database is at fault, or what we ask of it, and no row that was given: Unavailable, and besides
// a missing grant, table or partition, a broken file, a statement of ours. The same is worth another try later, when
// an operator has put it right; it says nothing about who asked.
func IsOurs(err error) bool {
	if IsUnavailable(err) {
		return true
	}
	is := code(err)
	if is == "" {
		return false
	}
	switch is[:2] {
	case "21", "22", "54", "P0": // more rows than one, a value that its type cannot hold, too large, raised by a function
		return false
	case "23":
		return is == "23514" && constraint(err) == "" // no partition takes the row
	}
	return true
}

// absent turns "no row" into NotFound.
func absent(err error, format string, args ...any) error {
	if errors.Is(err, pgx.ErrNoRows) {
		return hub.Errorf(hub.NotFound, format, args...)
	}
	return failure(err)
}

// code is what Postgres calls err, "" where it is not Postgres's.
func code(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.Code
	}
	return ""
}

// constraint says which constraint err broke, "" where it broke none.
func constraint(err error) string {
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		return pgErr.ConstraintName
	}
	return ""
}
