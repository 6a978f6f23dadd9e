package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPostgres_Killed: Postgres is killed again and again under load, and starts again each time. What was acknowledged
// is there and reaches every subscriber once; senders meanwhile get a 503 that says when to come back; streams stay
// open; and everything goes on by itself.
func TestPostgres_Killed(t *testing.T) { //nolint:paralleltest // see scale
	const kills = 10
	l := layouts()[0]
	s, own := l.start(t)
	watchers := s.watch(t, own, scaleOf().subscribers)
	sender, began := s.newSender(t, own), time.Now()
	load := sender.start(t, scaleOf().webhooks)
	var back recoveries
	for range kills {
		pass(t, scaleOf().time/kills)
		s.pg.crash(t)
		s.pg.start(t)
		back.await(t, time.Now(), sender, watchers)
	}
	pass(t, scaleOf().time/kills)
	load.end(t)
	book := settle(t, began, sender, watchers)
	book.print(t, fmt.Sprintf("two processes, Postgres killed %d times", kills), sender, watchers, back.lines()...)
	s.wantUnharmed(t, book, sender)
}

// TestPostgres_Stopped: Postgres is away for longer than any of the hub's own patience.
func TestPostgres_Stopped(t *testing.T) { //nolint:paralleltest // see scale
	const away = 20 * time.Second
	l := layouts()[0]
	s, own := l.start(t)
	watchers := s.watch(t, own, scaleOf().subscribers)
	sender, began := s.newSender(t, own), time.Now()
	load := sender.start(t, scaleOf().webhooks)
	pass(t, scaleOf().time/2)
	s.pg.stop(t)
	stopped := time.Now()
	pass(t, away)
	held, pinged := 0, 0
	for _, w := range watchers {
		w.mu.Lock()
		if w.door != "" {
			held++
		}
		if slices.ContainsFunc(w.pings, stopped.Before) {
			pinged++
		}
		w.mu.Unlock()
	}
	for _, n := range s.nodes {
		if n.ready() {
			t.Errorf("process %s says that it is ready, with Postgres away", n.name)
		}
	}
	s.pg.start(t)
	var back recoveries
	back.await(t, time.Now(), sender, watchers)
	pass(t, scaleOf().time/2)
	load.end(t)
	waitUntil(t, func() bool { return !slices.ContainsFunc(s.nodes, func(n *node) bool { return !n.ready() }) })
	book := settle(t, began, sender, watchers)
	book.print(t, fmt.Sprintf("two processes, Postgres stopped for %s", away), sender, watchers,
		append(back.lines(), fmt.Sprintf("streams open at its end: %d, of which had a hub.ping meanwhile: %d", held, pinged))...)
	s.wantUnharmed(t, book, sender)
	if held != len(watchers) || pinged != len(watchers) {
		t.Errorf("%d of %d streams were held open, %d with a ping", held, len(watchers), pinged)
	}
}

// wantUnharmed fails where Postgres's absence was more than a pause.
func (s *fleet) wantUnharmed(t *testing.T, book *ledger, sender *sender) {
	t.Helper()
	book.wantWhole(t)
	sender.wantKinds(t, "200", "200 duplicate", "503")
	if book.cut > 0 || len(book.byes) > 0 {
		t.Errorf("%d streams were cut, goodbyes %v; want all to stay open", book.cut, book.byes)
	}
	for _, n := range s.nodes {
		select {
		case <-n.ended:
			t.Errorf("process %s ended", n.name)
		default:
		}
	}
}

// recoveries are how long it took, each time, from when Postgres accepted connections again.
type recoveries struct {
	answer []time.Duration // until a webhook was acknowledged
	first  []time.Duration // until the first subscriber saw a message
	last   []time.Duration // until each of them had seen one
}

func (r *recoveries) await(t *testing.T, accepts time.Time, s *sender, watchers []*watcher) {
	t.Helper()
	r.answer = append(r.answer, s.awaitAck(t, accepts))
	var seen []time.Duration
	for _, w := range watchers {
		waitUntil(t, func() bool { return !w.firstAfter(accepts).IsZero() })
		seen = append(seen, w.firstAfter(accepts).Sub(accepts))
	}
	r.first, r.last = append(r.first, slices.Min(seen)), append(r.last, slices.Max(seen))
}

func (r *recoveries) lines() []string {
	line := func(name string, times []time.Duration) string {
		var all []string
		for _, d := range times {
			all = append(all, fmt.Sprint(d.Milliseconds()))
		}
		return fmt.Sprintf("%-44s %s", name, strings.Join(all, " "))
	}
	return []string{
		line("ms from accepting to the first 200", r.answer),
		line("ms to the first frame", r.first), line("ms to a frame at every subscriber", r.last),
	}
}
