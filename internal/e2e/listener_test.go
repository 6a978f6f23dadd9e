package e2e_test

import (
	"fmt"
	"testing"
	"time"
)

// hearing is what the hub promises of a listener that was lost: it is noticed, and looks at the log stand in for it.
// The tests' bound is for a machine that is busy with something else.
const (
	hearing     = 10 * time.Second
	hearingBusy = 2 * hearing
)

// TestListener_Killed: the connections by which processes hear of new messages are killed every 2 s, under load. What
// either process takes in reaches the subscribers of both, and what no signal told of is found by a look.
func TestListener_Killed(t *testing.T) { //nolint:paralleltest // see scale
	s, own := layouts()[0].start(t)
	watchers := s.watch(t, own, scaleOf().subscribers)
	sender, began := s.newSender(t, own), time.Now()
	load := sender.start(t, scaleOf().webhooks)
	killed := 0
	for end := time.Now().Add(scaleOf().time); time.Now().Before(end); {
		pass(t, 2*time.Second)
		killed += count(t, s.pg.pool(t, databaseName), `
			SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'tributary listener'`)
	}
	load.end(t)
	book := settle(t, began, sender, watchers)
	book.print(t, "two processes, their listeners killed every 2 s", sender, watchers, fmt.Sprintf("%d connections were killed", killed))
	s.wantUnharmed(t, book, sender)
	sender.wantKinds(t, "200")
	if killed < 4 {
		t.Errorf("%d connections were killed", killed)
	}
	if book.way > hearing {
		t.Errorf("a message took %s", book.way)
	}
}

// TestListener_BlackHole: a process's listener is connected, and nothing comes or goes any more. It is noticed, and what
// the other process takes in meanwhile comes by a look.
func TestListener_BlackHole(t *testing.T) { //nolint:paralleltest // see scale
	s := newFleet(t)
	relay := newRelay(t, s.pg)
	s.serve(t, allRoles)
	deaf := s.serve(t, allRoles, "TRIBUTARY_DIRECT_DATABASE_URL="+relay.url("hub_b"))
	own := s.newTenant(t)
	watchers := s.watch(t, own, scaleOf().subscribers)
	sender, began := s.newSender(t, own), time.Now()
	load := sender.start(t, scaleOf().webhooks)
	pass(t, 2*time.Second)
	const connects = "tributary_backplane_connects_total"
	before := deaf.metric(t, connects)
	relay.swallow(t)
	lost := time.Now()
	waitWhile(lost.Add(hearingBusy), func() bool { return deaf.heard(t) && deaf.metric(t, connects) == before })
	noticed := time.Since(lost)
	waitUntil(t, func() bool { return deaf.heard(t) })
	pass(t, 2*time.Second)
	load.end(t)
	book := settle(t, began, sender, watchers)
	book.print(t, "two processes, one listener in a black hole", sender, watchers, fmt.Sprintf("it was noticed after %s", noticed.Round(time.Millisecond)))
	s.wantUnharmed(t, book, sender)
	sender.wantKinds(t, "200")
	if noticed >= hearingBusy || book.way > hearing {
		t.Errorf("noticed after %s, and a message took %s", noticed, book.way)
	}
}
