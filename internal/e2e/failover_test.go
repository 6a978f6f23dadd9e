package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestFailover: the primary is killed under load, and its streaming standby is promoted. The hub's URL names both.
// Every subscriber hears hub.reset with epoch, then everything that comes after it. A standby that waits for every
// commit has what was acknowledged; one that does not loses its tail, and the reset says that something may be lost.
func TestFailover(t *testing.T) { //nolint:paralleltest // see scale
	t.Run("synchronous", func(t *testing.T) { failOver(t, true) })   //nolint:paralleltest // as above
	t.Run("asynchronous", func(t *testing.T) { failOver(t, false) }) //nolint:paralleltest // as above
}

func failOver(t *testing.T, synchronous bool) {
	t.Helper()
	s := newFleet(t)
	primary := s.pg
	standby := primary.standby(t)
	s.database = func(login string) string {
		return fmt.Sprintf("postgres://%s@/%s?host=%s,%s&port=5432,5432&target_session_attrs=read-write", login, databaseName, primary.socket(), standby.socket())
	}
	if synchronous {
		primary.exec(t, "postgres", `ALTER SYSTEM SET synchronous_standby_names = '*'`)
		primary.exec(t, "postgres", `SELECT pg_reload_conf()`)
		db := primary.pool(t, "postgres")
		waitUntil(t, func() bool {
			return count(t, db, `SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'`) == 1
		})
	}
	for range 2 {
		s.serve(t, allRoles)
	}
	own := s.newTenant(t)
	watchers := s.watch(t, own, scaleOf().subscribers)
	sender, began := s.newSender(t, own), time.Now()
	load := sender.start(t, scaleOf().webhooks)
	pass(t, scaleOf().time/3)
	if !synchronous { // a tail that certainly never arrives
		standby.exec(t, "postgres", `ALTER SYSTEM SET primary_conninfo = ''`)
		standby.exec(t, "postgres", `SELECT pg_reload_conf()`)
		db := standby.pool(t, "postgres")
		waitUntil(t, func() bool {
			return count(t, db, `SELECT count(*) FROM pg_stat_wal_receiver`) == 0
		})
		pass(t, time.Second)
	}
	primary.crash(t)
	killed := time.Now()
	pass(t, 2*time.Second)
	standby.exec(t, "postgres", `SELECT pg_promote(true, 60)`)
	s.pg = standby
	var back recoveries
	back.await(t, time.Now(), sender, watchers)
	pass(t, scaleOf().time/3)
	load.end(t)

	after := readLog(t, standby)
	awaitHead(t, watchers, after)
	book := settleReset(t, began, sender, watchers, after)
	book.ledger.print(t, "two processes, the primary killed and its standby promoted", sender, watchers, append(back.lines(),
		fmt.Sprintf("%-44s %d", "acknowledged before the kill", book.before(killed)),
		fmt.Sprintf("%-44s %d", "acknowledged and lost by the database", len(book.lost)),
		fmt.Sprintf("%-44s %d", "subscribers told by hub.reset with epoch", book.told),
		fmt.Sprintf("%-44s %d", "behind its reset a subscriber missed", book.silent))...)
	if book.told != len(watchers) {
		t.Errorf("%d of %d subscribers were told by one hub.reset with epoch", book.told, len(watchers))
	}
	if book.silent+book.disorder > 0 {
		t.Errorf("behind their reset subscribers missed or saw otherwise %d messages; out of order %d", book.silent, book.disorder)
	}
	// What a lost tail had made of an event that is not lost is made again, and seen again: behind the reset.
	if synchronous && len(book.lost)+book.twice > 0 {
		t.Errorf("with a synchronous standby %d acknowledged events are lost, %d messages were seen twice", len(book.lost), book.twice)
	}
	if !synchronous && len(book.lost) == 0 {
		t.Error("the standby lost nothing, so that the test shows nothing")
	}
	for _, at := range book.lost {
		if at.After(killed) {
			t.Error("an event is lost that was acknowledged after the failover")
		}
	}
	sender.wantKinds(t, "200", "200 duplicate", "503")
	if book.cut > 0 || len(book.byes) > 0 {
		t.Errorf("%d streams were cut, goodbyes %v; want all to stay open", book.cut, book.byes)
	}
}

// A logged is a message as a database has it.
type logged struct {
	Position int64
	Event    string
}

// readLog waits until every event has an outcome and reads the tenant's log.
func readLog(t *testing.T, pg *postgres) []logged {
	t.Helper()
	db := pg.pool(t, databaseName)
	waitUntil(t, func() bool {
		return count(t, db, `SELECT count(*) FROM tributary.events e WHERE NOT EXISTS (SELECT FROM tributary.outcomes o WHERE o.event_id = e.id)`) == 0
	})
	rows, err := db.Query(t.Context(), `SELECT position, 'evt_' || event_id AS event FROM tributary.messages ORDER BY position`)
	if err != nil {
		t.Fatal(err)
	}
	log, err := pgx.CollectRows(rows, pgx.RowToStructByPos[logged])
	if err != nil {
		t.Fatal(err)
	}
	return log
}

// awaitHead waits until every watcher has seen the last message.
func awaitHead(t *testing.T, watchers []*watcher, log []logged) {
	t.Helper()
	head := log[len(log)-1]
	for _, w := range watchers {
		w.await(t, "the last message", func() bool {
			return len(w.seen) > 0 && w.seen[len(w.seen)-1].event == head.Event
		})
	}
}

// A resetLedger is a ledger across a change of the epoch.
type resetLedger struct {
	*ledger
	lost   map[string]time.Time // acknowledged events that the database no longer has
	told   int                  // subscribers that heard one hub.reset, with epoch, and what they had asked for
	silent int                  // messages that came behind a subscriber's reset and were not seen
}

// settleReset holds what each subscriber saw behind its reset against the log as it is now.
func settleReset(t *testing.T, began time.Time, s *sender, watchers []*watcher, log []logged) *resetLedger {
	t.Helper()
	for _, w := range watchers {
		w.stop()
	}
	// What was missed in front of the reset is the client's to reload, so the plain ledger's account of what is missing
	// says how much that is, and nothing waits for it.
	l := &resetLedger{ledger: &ledger{acknowledged: map[string]time.Time{}, byes: map[string]int{}, began: began}, lost: map[string]time.Time{}}
	held := map[string]bool{}
	for _, m := range log {
		held[m.Event] = true
	}
	s.mu.Lock()
	for _, a := range s.acks {
		l.acknowledged[a.event] = a.at
		if !held[a.event] {
			l.lost[a.event] = a.at
		}
	}
	s.mu.Unlock()
	events := map[string]bool{}
	places := map[string]string{}
	for _, w := range watchers {
		l.add(w, events, places)
		w.mu.Lock()
		l.account(w, log)
		w.mu.Unlock()
	}
	l.messages = len(events)
	return l
}

// account is called under the watcher's lock.
func (l *resetLedger) account(w *watcher, log []logged) {
	if len(w.resets) != 1 || w.resets[0].Reason != "epoch" || w.resets[0].Requested == "" {
		return
	}
	l.told++
	r := w.resets[0]
	var want, got []string
	for _, m := range log {
		if m.Position > r.Position {
			want = append(want, fmt.Sprint(m.Position, m.Event))
		}
	}
	for _, s := range w.seen[r.after:] {
		got = append(got, fmt.Sprint(s.position, s.event))
	}
	if !slices.Equal(want, got) {
		l.silent += max(1, len(want)-len(got))
	}
	if before := w.seen[:r.after]; len(before) > 0 && strings.HasPrefix(w.lastID, before[0].epoch+"-") {
		l.silent++ // it goes on in the epoch that is over
	}
}

func (l *resetLedger) before(at time.Time) (n int) {
	for _, acknowledged := range l.acknowledged {
		if acknowledged.Before(at) {
			n++
		}
	}
	return n
}
