package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// poolerRounds is how often a pooler is tried: while others use it too, it may do right by chance.
const poolerRounds = 5

// CheckPooler says whether statements can be sent by the tenant pool as its URL has them sent: an error that is
// hub.Unavailable says that nobody can tell, any other what to do.
//
// A pooler that gives each transaction another connection to Postgres, and knows of no prepared statements (PgBouncer
// before 1.21, in transaction mode), fails by chance: a statement is there already which another of our connections
// prepared (42P05), or is not there which this one did (26000).
func (s *Store) CheckPooler(ctx context.Context) error {
	config := s.tenant.Config().ConnConfig
	err := inPairs(ctx, config, func(one, other *pgx.Conn) error {
		for _, conn := range []*pgx.Conn{one, other, one, other} {
			var answer int
			if err := conn.QueryRow(ctx, `SELECT $1::int + 1`, 1).Scan(&answer); err != nil {
				return err
			}
		}
		return nil
	})
	switch is := code(err); {
	case is == "42P05", is == "26000":
		return errors.New("there is a pooler in between that does not know prepared statements, such as PgBouncer before 1.21 in transaction mode")
	case err != nil:
		return fmt.Errorf("try the tenants' connections: %w", failure(err))
	}
	return nil
}

// CheckDirect says whether a URL leads past any transaction pooler: what is set in a session must stay there and be
// nobody else's. Errors as CheckPooler's.
func CheckDirect(ctx context.Context, url string) error {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return notUnderstood("the database URL", err)
	}
	ctx, cancel := context.WithTimeout(ctx, choreTime)
	defer cancel()
	config.ConnectTimeout = connectTime
	config.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol // a pooler that knows no prepared statements is another matter
	var passes bool
	err = inPairs(ctx, config, func(one, other *pgx.Conn) error {
		first, err := backend(ctx, one)
		if err != nil {
			return err
		}
		before, err := backend(ctx, one) // of a pooler that takes them in turn it is another
		if err != nil {
			return err
		}
		tx, err := other.Begin(ctx) // one that does not gives it the connection that was just used
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
		taken, err := backend(ctx, other)
		passes = passes || first != before || before == taken
		return err
	})
	if err != nil {
		return fmt.Errorf("try the direct connection: %w", failure(err))
	}
	if passes {
		return hub.Errorf(hub.Invalid, "a session of it has now one connection to Postgres and now another: it passes a transaction pooler")
	}
	return nil
}

// backend is which of Postgres's processes answers.
func backend(ctx context.Context, conn *pgx.Conn) (pid int, err error) {
	err = conn.QueryRow(ctx, `SELECT pg_backend_pid()`).Scan(&pid)
	return pid, err
}

// inPairs tries something on two connections of its own, several times.
func inPairs(ctx context.Context, config *pgx.ConnConfig, try func(one, other *pgx.Conn) error) error {
	for range poolerRounds {
		err := withConn(ctx, config, func(one *pgx.Conn) error {
			return withConn(ctx, config, func(other *pgx.Conn) error { return try(one, other) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func withConn(ctx context.Context, config *pgx.ConnConfig, fn func(*pgx.Conn) error) error {
	conn, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	return fn(conn)
}
