package store

import (
	"context"
	"fmt"
	"sync"

	"github.com/jackc/pgx/v5"
)

// OnEpoch has tell called with each epoch that is learnt from now on, before anything of its history can be read: a
// new connection is not used, and no other one goes on being used, until tell has returned. It returns at once and
// asks Postgres for nothing.
func (p *Pipeline) OnEpoch(tell func(epoch string)) { p.history.tells(tell) }

// history says which history of positions is read: that of the newest connection. Each asks once, when it opens; one
// of another history is closed instead of being used again. So whoever finds the epoch after a read to be what it was
// before has read of that epoch, whichever connection it was on, also while connections move from one server to
// another one by one.
type history struct {
	mu    sync.Mutex // guards what follows, and is held while others are told
	epoch string     // "" before the first connection, and where the schema is not there yet
	tell  []func(epoch string)
}

func (h *history) tells(tell func(epoch string)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.tell = append(h.tell, tell)
}

// opened is asked by the pools before a new connection is used.
func (h *history) opened(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	epoch, _, err := askEpoch(ctx, conn)
	h.mu.Lock()
	defer h.mu.Unlock()
	if isUnmigrated(err) && h.epoch == "" { // who looks at the schema says so in better words
		return nil
	}
	if err != nil {
		return fmt.Errorf("ask a new connection for its epoch: %w", failure(err))
	}
	setEpoch(conn, epoch)
	h.becomeLocked(epoch)
	return nil
}

// usable is asked by the pools whenever a connection is about to be used again.
func (h *history) usable(_ context.Context, conn *pgx.Conn) (bool, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return epochOf(conn) == h.epoch, nil
}

// changed learns that a connection of one epoch answers with another one now, unless a newer connection has said
// something else meanwhile. It gives the epoch that holds.
func (h *history) changed(before, now string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.epoch == before {
		h.becomeLocked(now)
	}
	return h.epoch
}

func (h *history) becomeLocked(epoch string) {
	if h.epoch == epoch {
		return
	}
	h.epoch = epoch
	for _, tell := range h.tell {
		tell(epoch)
	}
}

// What a connection keeps of its own.
const epochKey = "epoch"

func epochOf(conn *pgx.Conn) string {
	epoch, _ := conn.PgConn().CustomData()[epochKey].(string)
	return epoch
}

func setEpoch(conn *pgx.Conn, epoch string) { conn.PgConn().CustomData()[epochKey] = epoch }

// isUnmigrated says that the hub's tables are not there, or not yet the login's to read.
func isUnmigrated(err error) bool {
	switch code(err) {
	case "3F000", "42P01", "42501":
		return true
	}
	return false
}
