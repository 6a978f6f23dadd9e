package e2e_test

import (
	"flag"
	"fmt"
	"net/http"
	"testing"
	"time"
)

// full has these tests run at the size that reports are made of: -args -full. Where CI looks on, with the race detector
// in this process, they are smaller, and no less strict.
var full = flag.Bool("full", false, "run the tests of many processes for a minute each, at 300 webhooks a second with 50 subscribers at each process")

// A scale is the load of these tests. They run one after the other: two of them at once would measure each other.
type scale struct {
	webhooks    int // a second
	subscribers int // at each process that streams
	time        time.Duration
}

func scaleOf() scale {
	if *full {
		return scale{300, 50, time.Minute}
	}
	return scale{100, 15, 8 * time.Second}
}

// A layout is how the roles are spread over processes.
type layout struct {
	name  string
	roles []string
	dies  int // which one is killed: one that works and streams
}

const allRoles = "ingest,api,worker,stream"

// layouts: two processes that do everything, and four that share the work, each of which another one can replace.
func layouts() []layout {
	return []layout{
		{"two", []string{allRoles, allRoles}, 0},
		{"four", []string{"ingest,api", "ingest", "worker,stream", "worker,stream"}, 2},
	}
}

func (l layout) start(t *testing.T) (*fleet, *tenant) {
	t.Helper()
	s := newFleet(t)
	for _, roles := range l.roles {
		s.serve(t, roles)
	}
	return s, s.newTenant(t)
}

// TestProcesses_Killed: one of several processes is killed under load. What was acknowledged reaches every subscriber
// once, also what the dead one had begun to work, and its subscribers go on elsewhere with their last id.
func TestProcesses_Killed(t *testing.T) { //nolint:paralleltest // see scale
	for _, l := range layouts() { //nolint:paralleltest // as above
		t.Run(l.name, func(t *testing.T) {
			s, own := l.start(t)
			watchers := s.watch(t, own, scaleOf().subscribers)
			sender, began := s.newSender(t, own), time.Now()
			load := sender.start(t, scaleOf().webhooks)
			pass(t, scaleOf().time/3)
			dead := s.nodes[l.dies]
			dead.kill()
			killed := time.Now()
			pass(t, scaleOf().time*2/3)
			load.end(t)
			book := settle(t, began, sender, watchers)
			takeover := s.takeover(t, killed)
			book.print(t, fmt.Sprintf("%s processes, %s killed", l.name, dead.name), sender, watchers,
				fmt.Sprintf("last message of what was received before the kill: %s after it", takeover.Round(time.Millisecond)))
			book.wantWhole(t)
			sender.wantKinds(t, "200", "200 duplicate", "connection refused", "connection broken") // a crash breaks connections
			if takeover > 30*time.Second {                                                         // 15 s where the machine is not busy with something else
				t.Errorf("the dead process's events took %s", takeover)
			}
		})
	}
}

// takeover is how long after the kill the last message was made of an event that was received before it.
func (s *fleet) takeover(t *testing.T, killed time.Time) time.Duration {
	t.Helper()
	var last time.Time
	err := s.pg.pool(t, databaseName).QueryRow(t.Context(), `
		SELECT coalesce(max(m.at), $1) FROM tributary.events e JOIN tributary.messages m ON m.event_id = e.id
		 WHERE e.received_at < $1 AND m.at >= $1`, killed).Scan(&last)
	if err != nil {
		t.Fatal(err)
	}
	return last.Sub(killed)
}

// TestProcesses_RollingRestart: each process is ended by SIGTERM and started again, one after the other, under load.
// No request fails but by a refused connection, which is sent to another process; streams are told goodbye.
func TestProcesses_RollingRestart(t *testing.T) { //nolint:paralleltest // see scale
	for _, l := range layouts() { //nolint:paralleltest // as above
		t.Run(l.name, func(t *testing.T) {
			s, own := l.start(t)
			watchers := s.watch(t, own, scaleOf().subscribers)
			sender, began := s.newSender(t, own), time.Now()
			load := sender.start(t, scaleOf().webhooks)
			var stops []string
			for _, n := range s.nodes {
				pass(t, scaleOf().time/time.Duration(len(s.nodes)+1))
				took, code := n.terminate(t)
				stops = append(stops, fmt.Sprintf("%s ended with %d after %s", n.name, code, took.Round(time.Millisecond)))
				if code != 0 || took > 30*time.Second {
					t.Errorf("process %s ended with %d after %s, want 0 within 25 s:\n%s", n.name, code, took, n.out.Tail(3000))
				}
				n.start(t)
			}
			pass(t, scaleOf().time/time.Duration(len(s.nodes)+1))
			load.end(t)
			book := settle(t, began, sender, watchers)
			book.print(t, l.name+" processes, each restarted", sender, watchers, stops...)
			book.wantWhole(t)
			sender.wantKinds(t, "200", "200 duplicate", "connection refused")
			if book.cut > 0 || book.byes["drain"] == 0 {
				t.Errorf("%d streams ended without a goodbye, goodbyes %v; want none and drain", book.cut, book.byes)
			}
		})
	}
}

// pass lets time go by under load.
func pass(t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-t.Context().Done():
	}
}

// ready asks the operator's port whether the process is ready.
func (n *node) ready() bool {
	res, err := http.Get("http://" + n.ops + "/healthz/ready")
	if err != nil {
		return false
	}
	_ = res.Body.Close()
	return res.StatusCode == http.StatusOK
}
