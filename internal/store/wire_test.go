package store_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// rewired is the pipeline over connections of its own, made as change says, until the test's end.
func rewired(t testing.TB, db *storetest.DB, change func(*pgxpool.Config)) *store.Pipeline {
	t.Helper()
	p, err := store.Rewired(context.WithoutCancel(t.Context()), db.Pipeline, change)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// A cutter is a wire to Postgres that is cut once, at a word that the store says on it.
type cutter struct {
	at      string // such as "commit"
	answers bool   // Postgres hears the word and answers; only the answer is lost
	done    atomic.Bool
}

// wire puts the cutter between a pipeline and Postgres.
func (c *cutter) wire(config *pgxpool.Config) {
	dial := config.ConnConfig.DialFunc
	config.ConnConfig.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		return &cutConn{Conn: conn, cutter: c}, err
	}
}

type cutConn struct {
	net.Conn
	cutter *cutter
	cut    atomic.Bool
}

func (c *cutConn) Write(b []byte) (int, error) {
	if !bytes.Contains(b, []byte(c.cutter.at)) || !c.cutter.done.CompareAndSwap(false, true) {
		return c.Conn.Write(b)
	}
	if !c.cutter.answers {
		_ = c.Close()
		return 0, io.ErrClosedPipe
	}
	c.cut.Store(true)
	return c.Conn.Write(b)
}

// Read waits for the answer that it loses: it comes when Postgres has done what it was told.
func (c *cutConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if c.cut.Load() && err == nil {
		_ = c.Close()
		return 0, io.ErrUnexpectedEOF
	}
	return n, err
}
