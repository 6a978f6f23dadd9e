package e2e_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// A ledger holds what was acknowledged against what each subscriber saw.
type ledger struct {
	acknowledged map[string]time.Time // event, and when
	messages     int                  // that subscribers saw, each once
	frames       int                  // of messages, over all subscribers
	missing      int                  // acknowledged events × subscribers
	twice        int
	disorder     int           // frames whose position is not above the one before
	disagreement int           // positions at which two subscribers saw two events
	gap          time.Duration // the longest that a subscriber waited between two messages
	way          time.Duration // the longest from the acknowledgement to a frame
	cut          int           // streams that ended without hub.bye
	byes         map[string]int
	resets       int
	began        time.Time
}

// settle waits until every watcher has seen every event, for a while, and compares.
func settle(t *testing.T, began time.Time, s *sender, watchers []*watcher) *ledger {
	t.Helper()
	l := &ledger{acknowledged: map[string]time.Time{}, byes: map[string]int{}, began: began}
	s.mu.Lock()
	for _, a := range s.acks {
		if _, again := l.acknowledged[a.event]; !again {
			l.acknowledged[a.event] = a.at
		}
	}
	s.mu.Unlock()
	deadline := time.Now().Add(60 * time.Second)
	for _, w := range watchers {
		waitWhile(deadline, func() bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return len(w.seen) < len(l.acknowledged)
		})
	}
	events := map[string]bool{}
	places := map[string]string{} // epoch and position to the event
	for _, w := range watchers {
		w.stop()
		l.add(w, events, places)
	}
	l.messages = len(events)
	return l
}

// waitWhile asks again and again until it is no longer so, or the time is up.
func waitWhile(deadline time.Time, so func() bool) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for so() && time.Now().Before(deadline) {
		<-tick.C
	}
}

func (l *ledger) add(w *watcher, events map[string]bool, places map[string]string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	seen := map[string]int{}
	var last sighting
	for i, s := range w.seen {
		seen[s.event]++
		events[s.event] = true
		place := fmt.Sprintf("%s-%d", s.epoch, s.position)
		if other, known := places[place]; known && other != s.event {
			l.disagreement++
		}
		places[place] = s.event
		if i > 0 {
			l.gap = max(l.gap, s.at.Sub(last.at))
			if s.epoch == last.epoch && s.position <= last.position {
				l.disorder++
			}
		}
		if at, known := l.acknowledged[s.event]; known && seen[s.event] == 1 {
			l.way = max(l.way, s.at.Sub(at))
		}
		last = s
	}
	for event := range l.acknowledged {
		if seen[event] == 0 {
			l.missing++
		}
	}
	for _, n := range seen {
		if n > 1 {
			l.twice++
		}
	}
	l.frames += len(w.seen)
	l.cut += w.cut
	l.resets += len(w.resets)
	for reason, n := range w.byes {
		l.byes[reason] += n
	}
}

// print writes the table.
func (l *ledger) print(t *testing.T, title string, s *sender, watchers []*watcher, more ...string) {
	t.Helper()
	var b strings.Builder
	line := func(name string, value any) { fmt.Fprintf(&b, "  %-44s %v\n", name, value) }
	fmt.Fprintf(&b, "%s\n", title)
	line("webhooks", s.sent.Load())
	line("acknowledged events", len(l.acknowledged))
	kinds := s.kinds()
	for _, kind := range slices.Sorted(maps.Keys(kinds)) {
		line("answers: "+kind, kinds[kind])
	}
	line("longest wait for an answer", s.slowest.Round(time.Millisecond))
	line("subscribers", len(watchers))
	line("messages", l.messages)
	line("frames of messages", l.frames)
	line("missing, twice, out of order, disagreeing", fmt.Sprint(l.missing, ", ", l.twice, ", ", l.disorder, ", ", l.disagreement))
	line("longest gap between messages", l.gap.Round(time.Millisecond))
	line("longest from acknowledgement to frame", l.way.Round(time.Millisecond))
	line("streams ended by hub.bye, cut, reset", fmt.Sprint(l.byes, ", ", l.cut, ", ", l.resets))
	for _, m := range more {
		fmt.Fprintf(&b, "  %s\n", m)
	}
	line("seconds", int(time.Since(l.began).Seconds()))
	t.Log(b.String())
}

// wantWhole fails where an acknowledged event did not reach every subscriber once, in order.
func (l *ledger) wantWhole(t *testing.T) {
	t.Helper()
	if l.missing+l.twice+l.disorder+l.disagreement+l.resets != 0 {
		t.Errorf("missing %d, twice %d, out of order %d, disagreeing %d, resets %d; want none", l.missing, l.twice, l.disorder, l.disagreement, l.resets)
	}
	if l.messages != len(l.acknowledged) {
		t.Errorf("%d messages of %d acknowledged events", l.messages, len(l.acknowledged))
	}
}
