package backplane

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// maxPayload is Postgres's bound; a longer payload aborts the transaction that sends it.
const maxPayload = 7999

// An Outgoing signal is one that a process sends by itself. Wakes are not: the append statement writes them.
type Outgoing interface {
	Signal
	Encode() string
}

// A Database is a pool, a connection or a transaction; inside of one the signal goes out with the commit.
type Database interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// Send tells every process that listens, this one too.
func Send(ctx context.Context, db Database, s Outgoing) error {
	payload := s.Encode()
	if len(payload) > maxPayload {
		return fmt.Errorf("send %T: %d bytes are more than a signal can have", s, len(payload))
	}
	if _, err := db.Exec(ctx, `SELECT pg_notify($1, $2)`, Channel, payload); err != nil {
		return fmt.Errorf("send %T: %w", s, err)
	}
	return nil
}
