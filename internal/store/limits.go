package store

import (
	"context"
	"net"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// What the hub waits for Postgres at most, so that nobody hangs on a connection that is dead and does not know it. A
// request that needs one connection and one statement of it has its answer within acquireTime and statementTime; who
// asks for less time has less.
const (
	connectTime   = 5 * time.Second // the making of a connection, with the questions that it is asked before it is used
	acquireTime   = 4 * time.Second // a connection of a pool, whether it has one, must make one or wait for one
	pingTime      = 2 * time.Second // the answer of a connection that was idle for idleTime
	idleTime      = time.Second
	goodbyeTime   = time.Second      // from the close of a connection to that of its socket
	statementTime = 5 * time.Second  // of a statement, or a batch, for a tenant
	choreTime     = 10 * time.Second // the same of the pipeline and of River
	resetEvery    = 5 * time.Second  // the pause between two emptyings of a pool
)

// leftOpen is how long Postgres lets a transaction stand open with nothing asked in it: one whose end got lost on the
// way holds its locks until then.
const leftOpen = "15s"

// sessionSettings are those of a direct connection: its role, and what lets Postgres find out for its part that nobody
// is there any more. A pooler would refuse them at connect.
func sessionSettings(role string) map[string]string {
	return map[string]string{
		"role":                                role,
		"idle_in_transaction_session_timeout": leftOpen,
		"tcp_keepalives_idle":                 "10",
		"tcp_keepalives_interval":             "3",
		"tcp_keepalives_count":                "3",
	}
}

// apply sets them for a pool's connections.
func (l limits) apply(config *pgxpool.Config) {
	config.ConnConfig.ConnectTimeout = connectTime
	// Found within 19 s: that nobody is there any more at the other end of a connection that only waits.
	config.ConnConfig.DialFunc = (&net.Dialer{KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 10 * time.Second, Interval: 3 * time.Second, Count: 3,
	}}).DialContext
	config.ConnConfig.Tracer = l
}

// limits bound, as their tracer, everything that is asked of a pool and its connections: the context that it gives
// back is the one that they are asked with.
type limits struct {
	statement time.Duration // zero: as long as it takes
}

type limitsKey struct{}

func within(ctx context.Context, most time.Duration) context.Context {
	if most == 0 {
		return ctx
	}
	ctx, cancel := context.WithTimeout(ctx, most)
	return context.WithValue(ctx, limitsKey{}, cancel)
}

func over(ctx context.Context) {
	if cancel, ok := ctx.Value(limitsKey{}).(context.CancelFunc); ok {
		cancel()
	}
}

// TraceAcquireStart bounds the wait for a connection.
func (l limits) TraceAcquireStart(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireStartData) context.Context {
	return within(ctx, acquireTime)
}

// TraceAcquireEnd ends that.
func (l limits) TraceAcquireEnd(ctx context.Context, _ *pgxpool.Pool, _ pgxpool.TraceAcquireEndData) {
	over(ctx)
}

// TraceQueryStart bounds a statement, with the reading of its rows.
func (l limits) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return within(ctx, l.statement)
}

// TraceQueryEnd ends that.
func (l limits) TraceQueryEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryEndData) { over(ctx) }

// TraceBatchStart bounds a batch.
func (l limits) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return within(ctx, l.statement)
}

// TraceBatchQuery is told of each statement of it.
func (l limits) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}

// TraceBatchEnd ends that.
func (l limits) TraceBatchEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchEndData) { over(ctx) }

// TraceCopyFromStart bounds a COPY.
func (l limits) TraceCopyFromStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromStartData) context.Context {
	return within(ctx, l.statement)
}

// TraceCopyFromEnd ends that.
func (l limits) TraceCopyFromEnd(ctx context.Context, _ *pgx.Conn, _ pgx.TraceCopyFromEndData) {
	over(ctx)
}

// A reset empties a pool when one of its connections turns out to be dead: where a server or a way to it is gone, so
// are the others, and each would cost whoever gets it a ping's time to find out. It does so now and then only, since a
// connection is lost too when somebody leaves amid a statement.
type reset struct {
	pool atomic.Pointer[pgxpool.Pool]
	last atomic.Int64 // in nanoseconds
}

// suspects is asked by the pool whether to ping a connection before it is used. It pings by itself those that were
// idle; that of the pool then finds a dead one closed. A pool's own ping would end, and the next connection be tried,
// before anybody knew.
func (r *reset) suspects(ctx context.Context, params pgxpool.ShouldPingParams) bool {
	if params.IdleDuration < idleTime {
		return false
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), pingTime)
	defer cancel()
	if err := params.Conn.Ping(ctx); err == nil {
		return false
	}
	r.empty()
	return true
}

// closed is told by the pool of each connection that it is about to close. A dead one would keep its place in the pool
// for the 15 s that the driver gives Postgres to say goodbye.
func (r *reset) closed(conn *pgx.Conn) {
	if conn.IsClosed() { // it broke
		r.empty()
	}
	socket := conn.PgConn().Conn()
	time.AfterFunc(goodbyeTime, func() { _ = socket.Close() })
}

func (r *reset) empty() {
	pool, now, last := r.pool.Load(), time.Now().UnixNano(), r.last.Load()
	if pool != nil && now-last >= int64(resetEvery) && r.last.CompareAndSwap(last, now) {
		pool.Reset()
	}
}
