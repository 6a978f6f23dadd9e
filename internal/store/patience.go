package store

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

// migrateLock is held while migrating, so that two processes that start together do not migrate together.
const migrateLock = 7_020_413_118_530_611_207

const (
	// lockPatience is how long a migration waits for a lock. Whoever asks for the same table later waits behind it, the
	// hub's traffic too, and a webhook must not wait for longer than its provider does. It is more than Postgres's
	// deadlock_timeout, 1 s, after which an autovacuum that is in the way of somebody ends.
	lockPatience = 1500 * time.Millisecond

	// lockTries of lockPatience each, with pauses that begin at lockPause, double and end at lockPauseMost, are less than
	// two minutes.
	lockTries     = 20
	lockPause     = 100 * time.Millisecond
	lockPauseMost = 5 * time.Second
)

// lockMigrations waits until no other process migrates. It asks again and again: a session that waits for a lock has a
// snapshot, for which the other one's CREATE INDEX CONCURRENTLY would wait.
func lockMigrations(ctx context.Context, conn *pgx.Conn, log *slog.Logger) (unlock func(), err error) {
	for first := true; ; first = false {
		var ours bool
		if err := conn.QueryRow(ctx, `SELECT pg_try_advisory_lock($1)`, int64(migrateLock)).Scan(&ours); err != nil {
			return nil, fmt.Errorf("lock migrations: %w", failure(err))
		}
		if ours {
			return func() {
				_, _ = conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(migrateLock)) // else it ends with the connection
			}, nil
		}
		if first {
			log.InfoContext(ctx, "another process migrates, waiting for it")
		}
		if err := pause(ctx, lockPause); err != nil {
			return nil, err
		}
	}
}

func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// patiently does a step that is one transaction, and does it again where it did not get its locks in time. In between
// it holds none, so that what queued behind it goes on.
func (m *migration) patiently(ctx context.Context, step string, do func() error) error {
	for try := 1; ; try++ {
		blockers, err := m.watched(ctx, do)
		if !lockedOut(err) {
			return err
		}
		if try >= m.tries {
			return hub.Errorf(hub.Unavailable, "%s did not get its locks in %d tries and was given up; nothing of it is done, and what came before it stays. In its way: %s. "+
				"Let them end, or end them by SELECT pg_terminate_backend(…), and run `tributary migrate up` again", step, try, list(blockers))
		}
		wait := pauseAfter(try)
		m.log.InfoContext(ctx, "a migration gives way, and tries again", "step", step, "try", try, "again_in", wait.String(), "in_its_way", list(blockers))
		if err := pause(ctx, wait); err != nil {
			return err
		}
	}
}

// pauseAfter is how long others go before a step, once it has given way that often.
func pauseAfter(try int) time.Duration { return min(lockPause<<min(try-1, 10), lockPauseMost) }

// lockedOut says that a lock was not had in time, or that Postgres ended a deadlock.
func lockedOut(err error) bool {
	is := code(err)
	return is == "55P03" || is == "40P01"
}

func list(blockers []string) string {
	if len(blockers) == 0 {
		return "nobody who was still there to be asked"
	}
	return strings.Join(blockers, ", ")
}

// watched does it and meanwhile looks who is in its way, by another connection: afterwards nobody could tell.
func (m *migration) watched(ctx context.Context, do func() error) (blockers []string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	seen := make(chan []string)
	go func() { // ends with do
		var last []string
		for pause(ctx, lockPatience/10) == nil {
			if now := m.blockers(ctx); len(now) > 0 {
				last = now
			}
		}
		seen <- last
	}()
	err = do()
	cancel()
	return <-seen, err
}

// blockers lists the sessions for which a migration's session waits.
func (m *migration) blockers(ctx context.Context) []string {
	rows, _ := m.pool.Query(ctx, `
		SELECT DISTINCT format('session %s of %s (%s)', b.pid, coalesce(b.usename, 'nobody'), coalesce(nullif(b.application_name, ''), 'without a name'))
		  FROM pg_stat_activity w CROSS JOIN LATERAL unnest(pg_blocking_pids(w.pid)) AS p (pid) JOIN pg_stat_activity b ON b.pid = p.pid
		 WHERE w.datname = current_database() AND w.usename = current_user AND w.application_name = current_setting('application_name')
		   AND w.wait_event_type = 'Lock' AND w.wait_event <> 'advisory' AND w.pid <> b.pid`)
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil // it only explains
	}
	slices.Sort(found)
	return found
}
