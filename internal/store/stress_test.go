package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributary-hub/tributary/internal/groupcommit"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// What a log is put through: writers whose flushes are rolled back, cancelled and killed, and followers that read what
// comes after their cursor, all at once.
const (
	stressWriters   = 16
	stressFollowers = 4
	stressTenants   = 5
	stressTime      = 4 * time.Second
	stressKillEvery = 100 * time.Millisecond
)

// A stressedLog is a log that can be written in batches and followed by cursor.
type stressedLog interface {
	flush(ctx context.Context, units []hub.Unit) ([]hub.Placed, error)
	// follower makes a reader with a cursor of its own: each call returns what came after it, nothing at the end.
	follower() func(ctx context.Context) ([]hub.MessageID, error)
	// rows are the ids of the messages that are in the log.
	rows(t *testing.T) []hub.MessageID
}

// stressed is what came of it.
type stressed struct {
	Rows, Units                  int // messages in the log; units that were acknowledged
	Killed, Cancelled, Poisoned  int
	Retried                      int // units whose flush failed, tried again
	Missed, SeenTwice, NotInLog  int // messages, summed over the followers
	UnitsLost, UnitsTwice, Wrong int // of the units acknowledged: absent from the log, in it twice, replies unlike the log
}

// stress writes to the log and follows it for a while, then lets everybody finish, and compares.
func stress(t *testing.T, db *storetest.DB, log stressedLog, tenants []hub.TenantID) (stressed, []acknowledged) {
	t.Helper()
	var counts struct{ cancelled, poisoned, retried atomic.Int64 }
	group := groupcommit.New(groupcommit.Options[hub.Unit]{ // as publish does it
		Turn:  func(u hub.Unit) [16]byte { return u.Tenant },
		Alone: func(err error) bool { return !store.IsUnavailable(err) },
	}, func(ctx context.Context, units []hub.Unit) ([]hub.Placed, error) {
		if rand.IntN(30) == 0 { // rolled back, or committed and not heard
			counts.cancelled.Add(1)
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, time.Duration(rand.IntN(4000))*time.Microsecond)
			defer cancel()
		}
		return log.flush(ctx, units)
	})
	if err := group.Start(t.Context()); err != nil {
		t.Fatal(err)
	}

	var acked []acknowledged
	var mu sync.Mutex // guards acked
	var writing, following sync.WaitGroup
	over := make(chan struct{})
	for range stressWriters {
		writing.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				u := stressUnit(tenants)
				poisoned := len(u.Messages) > 0 && rand.IntN(100) == 0
				if poisoned {
					u.Messages[0].Channel = "nul\x00byte"
				}
				placed, err := group.Do(t.Context(), u)
				for err != nil && !poisoned && !u.Outcome.Event.IsZero() { // its working passes once: it may be tried again
					counts.retried.Add(1)
					placed, err = group.Do(t.Context(), u)
				}
				switch {
				case poisoned:
					counts.poisoned.Add(1)
				case err == nil:
					mu.Lock()
					acked = append(acked, acknowledged{u, placed})
					mu.Unlock()
				}
			}
		})
	}
	written := make(chan struct{})
	seen := make([]map[hub.MessageID]int, stressFollowers)
	for i := range seen {
		seen[i] = map[hub.MessageID]int{}
		follow := log.follower()
		following.Go(func() { followAll(t, follow, seen[i], written) })
	}

	s := stressed{}
	kill := time.NewTicker(stressKillEvery)
	defer kill.Stop()
	for end := time.After(stressTime); ; {
		select {
		case <-kill.C:
			s.Killed += db.Kill(t, 1)
			continue
		case <-end:
		}
		break
	}
	close(over)
	writing.Wait()
	if err := group.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	close(written)
	following.Wait()

	s.Units, s.Cancelled, s.Poisoned, s.Retried = len(acked), int(counts.cancelled.Load()), int(counts.poisoned.Load()), int(counts.retried.Load())
	s.compare(log.rows(t), seen, acked)
	return s, acked
}

// followAll reads until the log is written and nothing is left.
func followAll(t *testing.T, follow func(context.Context) ([]hub.MessageID, error), seen map[hub.MessageID]int, written chan struct{}) {
	t.Helper()
	for last := false; ; {
		ids, err := follow(t.Context())
		for _, id := range ids {
			seen[id]++
		}
		if err != nil || len(ids) > 0 {
			continue // killed, and tries again; or there is more
		}
		if last {
			return
		}
		select {
		case <-written:
			last = true // what was committed before it was closed is still to be read
		case <-t.Context().Done():
			return
		default:
		}
	}
}

func (s *stressed) compare(rows []hub.MessageID, seen []map[hub.MessageID]int, acked []acknowledged) {
	inLog := make(map[hub.MessageID]int, len(rows))
	for _, id := range rows {
		inLog[id]++
	}
	s.Rows = len(rows)
	for _, followed := range seen {
		for id := range inLog {
			if followed[id] == 0 {
				s.Missed++
			}
		}
		for id, times := range followed {
			if times > 1 {
				s.SeenTwice++
			}
			if inLog[id] == 0 {
				s.NotInLog++
			}
		}
	}
	for _, a := range acked {
		for _, m := range a.unit.Messages {
			switch n := inLog[m.ID]; {
			case n == 0:
				s.UnitsLost++
			case n > 1:
				s.UnitsTwice++
			}
		}
	}
}

// An acknowledged unit and what its writer was told.
type acknowledged struct {
	unit   hub.Unit
	placed hub.Placed
}

// stressUnit makes up to three messages of a working, or of a publish request, most of them keyed.
func stressUnit(tenants []hub.TenantID) hub.Unit {
	u := unit(tenants[rand.IntN(len(tenants))], hub.NewID[hub.EventID](), hub.RunID{}, "abc"[:rand.IntN(4)])
	if rand.IntN(5) == 0 {
		u.Outcome = hub.Outcome{}
	}
	for i := range u.Messages {
		m := &u.Messages[i]
		m.Channel = fmt.Sprintf("c:%d", rand.IntN(8))
		switch rand.IntN(4) {
		case 0:
			m.Key = "plain"
		case 1:
			m.Key, m.Version.Number = "number", new(rand.Int64N(1_000_000))
		case 2:
			m.Key, m.Version.Text = "text", new(fmt.Sprint(rand.IntN(1_000_000)))
		}
	}
	return u
}

// A hubLog is the real one.
type hubLog struct {
	db      *storetest.DB
	tenants []hub.TenantID
	gaps    atomic.Int64 // reads that did not begin after their cursor, or had a hole
}

func (l *hubLog) flush(ctx context.Context, units []hub.Unit) ([]hub.Placed, error) {
	return l.db.Pipeline.Append(ctx, units)
}

func (l *hubLog) follower() func(context.Context) ([]hub.MessageID, error) {
	tails := make([]store.Tail, len(l.tenants))
	for i, tenant := range l.tenants {
		tails[i] = store.Tail{Tenant: tenant, Since: time.Now().AddDate(0, 0, -1)}
	}
	return func(ctx context.Context) ([]hub.MessageID, error) {
		reads, err := l.db.Pipeline.ReadTails(ctx, tails, store.Page{Messages: 100, Bytes: 1 << 20}, time.Now())
		if err != nil {
			return nil, err
		}
		var ids []hub.MessageID
		for i := range reads {
			for _, m := range reads[i].Messages {
				if m.Position != tails[i].After+1 || m.At.Before(tails[i].Since) {
					l.gaps.Add(1)
				}
				tails[i].After, tails[i].Since = m.Position, m.At
				ids = append(ids, m.ID)
			}
		}
		return ids, nil
	}
}

func (l *hubLog) rows(t *testing.T) []hub.MessageID {
	t.Helper()
	return storetest.Values[hub.MessageID](t, l.db, `SELECT id FROM tributary.messages`)
}

// 16 writers, rollbacks, killed backends, two flushers: a follower by position misses nothing and sees nothing twice,
// positions have no gaps, at never goes back, and state is the fold of the log.
func TestLogStress(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	log := &hubLog{db: db, tenants: manyTenants(t, db, stressTenants)}
	got, acked := stress(t, db, log, log.tenants)
	got.Wrong = wrongReplies(t, db, acked)
	t.Logf("%+v, gaps seen by followers: %d", got, log.gaps.Load())

	if got.Rows < 300 || got.Killed < 10 || got.Cancelled == 0 || got.Poisoned == 0 || got.Retried == 0 {
		t.Errorf("that was no stress")
	}
	faults := got
	faults.Rows, faults.Units, faults.Killed, faults.Cancelled, faults.Poisoned, faults.Retried = 0, 0, 0, 0, 0, 0
	if diff := cmp.Diff(stressed{}, faults); diff != "" || log.gaps.Load() > 0 {
		t.Errorf("followers saw %d gaps; %s", log.gaps.Load(), diff)
	}
	for name, query := range map[string]string{
		"gaps": `SELECT coalesce(sum(max - count), 0)::int FROM (SELECT max(position), count(*) FROM tributary.messages GROUP BY tenant_id) t`,
		"positions used twice": `
			SELECT count(*) FROM (SELECT FROM tributary.messages GROUP BY tenant_id, position HAVING count(*) > 1) t`,
		"at goes back": `
			SELECT count(*) FROM (SELECT at < lag(at) OVER (PARTITION BY tenant_id ORDER BY position) AS back FROM tributary.messages) t WHERE back`,
		"heads unlike the log": `
			SELECT count(*) FROM tributary.log_heads h CROSS JOIN LATERAL (
				SELECT position, at FROM tributary.messages m WHERE m.tenant_id = h.tenant_id ORDER BY position DESC LIMIT 1) last
			 WHERE (h.position, h.at) <> (last.position, last.at)`,
		"deadlocks": `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`,
		"workings that appended twice": `
			SELECT count(*) FROM (SELECT FROM tributary.messages WHERE event_id IS NOT NULL GROUP BY event_id HAVING count(*) > max(position) - min(position) + 1) t`,
	} {
		if n := storetest.Value[int](t, db, query); n != 0 {
			t.Errorf("%s: %d", name, n)
		}
	}
	for _, tenant := range log.tenants {
		want := map[string]kept{}
		read, err := db.Pipeline.ReadLog(t.Context(), store.Replay{Tenant: tenant, Page: store.Page{Messages: 1 << 30, Bytes: 1 << 30}}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		foldState(want, read.Messages)
		if diff := cmp.Diff(want, stateOf(t, db, tenant)); diff != "" {
			t.Errorf("state is not the fold of the log: %s", diff)
		}
	}
}

// wrongReplies counts the units whose messages do not stand, in their order, where their writer was told.
func wrongReplies(t *testing.T, db *storetest.DB, acked []acknowledged) int {
	t.Helper()
	type place struct {
		position hub.Position
		at       time.Time
	}
	rows, _ := db.Owner.Query(t.Context(), `SELECT id, position, at FROM tributary.messages`)
	places := map[hub.MessageID]place{}
	var id hub.MessageID
	var p place
	if _, err := pgx.ForEachRow(rows, []any{&id, &p.position, &p.at}, func() error {
		places[id] = p
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for _, a := range acked {
		if !a.placed.Passed { // told after an answer that was lost
			continue
		}
		for i, m := range a.unit.Messages {
			if p := places[m.ID]; p.position != a.placed.First+hub.Position(i) || !p.at.Equal(a.placed.At) || p.position > a.placed.Last {
				wrong++
			}
		}
	}
	return wrong
}

// A plainLog is what a log looks like without the head row: an identity column, written in transactions and read by
// id > cursor.
type plainLog struct {
	db   *storetest.DB
	pool *pgxpool.Pool // as the store's login, whose connections are killed
}

func (l plainLog) flush(ctx context.Context, units []hub.Unit) ([]hub.Placed, error) {
	var tenants []hub.TenantID
	var ids []hub.MessageID
	var channels []string
	for _, u := range units {
		for _, m := range u.Messages {
			tenants, ids, channels = append(tenants, u.Tenant), append(ids, m.ID), append(channels, m.Channel)
		}
	}
	err := pgx.BeginFunc(ctx, l.pool, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `
			INSERT INTO plain_log (tenant_id, message_id, channel) SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[])`, tenants, ids, channels)
		return err
	})
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); err != nil && (!ok || pgErr.Code == "57P01") {
		err = hub.Errorf(hub.Unavailable, "killed or cancelled: %w", err)
	}
	return make([]hub.Placed, len(units)), err
}

func (l plainLog) follower() func(context.Context) ([]hub.MessageID, error) {
	var cursor int64
	return func(ctx context.Context) ([]hub.MessageID, error) {
		rows, _ := l.pool.Query(ctx, `SELECT id, message_id FROM plain_log WHERE id > $1 ORDER BY id LIMIT 500`, cursor)
		var ids []hub.MessageID
		var id hub.MessageID
		_, err := pgx.ForEachRow(rows, []any{&cursor, &id}, func() error {
			ids = append(ids, id)
			return nil
		})
		return ids, err
	}
}

func (l plainLog) rows(t *testing.T) []hub.MessageID {
	t.Helper()
	return storetest.Values[hub.MessageID](t, l.db, `SELECT message_id FROM plain_log`)
}

// The same stress sees what a plain identity cursor misses: it bites.
func TestLogStress_IdentityCursorMisses(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Exec(t, `CREATE TABLE plain_log (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, tenant_id uuid NOT NULL, message_id uuid NOT NULL, channel text NOT NULL)`)
	db.Exec(t, `GRANT SELECT, INSERT ON plain_log TO PUBLIC`)
	pool, err := pgxpool.New(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	got, _ := stress(t, db, plainLog{db, pool}, manyTenants(t, db, stressTenants))
	t.Logf("%+v", got)
	if got.Missed == 0 {
		t.Error("followers of an identity column missed nothing: the stress is too weak to show anything")
	}
}
