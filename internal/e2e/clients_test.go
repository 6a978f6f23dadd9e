package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/e2e"
)

// clientPatience bounds each wait for what a client must see. The longest is a client's own pause of seconds before it
// comes again, on a machine that does much else.
const clientPatience = 90 * time.Second

// A clientCase is one row of the table: what is in a tenant's log, what stands between the hub and the client, and
// what each client must see of it.
type clientCase struct {
	name    string
	log     []entry // there before anybody connects
	query   string  // beside the channel; @N is the cursor of position N
	demo    bool    // the tenant is the demo one, whose issuer there is
	prepare func(t *testing.T, s *scene)
	way     way                          // nil: the hub's bytes as they are
	live    []entry                      // appended once all clients have seen hub.live
	then    func(t *testing.T, s *scene) // done after that

	// What a client sees, each as clientRun.text gives it, and the status and Last-Event-ID of each of its connections.
	// What comes after is not looked at, unless the client has closed for good: then nothing may.
	want  []string
	asks  []string
	pause time.Duration       // from its first connection to the second, at least: longer than any client's own
	but   map[string][]string // by client: where it rightly sees something else than want
}

// TestClients has clients that are not ours read the hub's streams: the parser and client of go-sse, the EventSource
// of npm, and Chromium's own. Each case is a tenant, whose streams all of them read at once.
func TestClients(t *testing.T) { //nolint:tparallel // the test of all cases returns when they are done
	t.Parallel()
	b := &clientBench{hub: startHub(t), cleanup: t.Cleanup}
	b.epoch = b.readEpoch(t)
	b.startClients(t)
	t.Run("case", func(t *testing.T) {
		for i, c := range slices.Concat(dataCases(), placeCases(), wireCases(), refusalCases(), returnCases()) {
			t.Run(c.name, func(t *testing.T) {
				t.Parallel()
				b.play(t, i, c)
			})
		}
	})
	b.wantClosed(t)
}

// startClients starts those that this machine can run, and says what another one needs.
func (b *clientBench) startClients(t *testing.T) {
	t.Helper()
	for _, f := range []struct {
		name  string
		needs func(t *testing.T)
		start func(t *testing.T) foreignClient
	}{
		{"go-sse", func(*testing.T) {}, goSSE},
		{"npm", needsNPM, npmEventSource},
		{"Chromium", func(t *testing.T) { t.Helper(); e2e.Needs(t, "chromium") }, chromiumBrowser},
	} {
		there := false
		t.Run(f.name, func(t *testing.T) {
			f.needs(t)
			there = true
		})
		if there {
			b.clients = append(b.clients, f.start(t))
		}
	}
}

// wantClosed fails where a client that had closed for good has come again since.
func (b *clientBench) wantClosed(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.closed {
		if seen, asked := r.soFar(); len(seen) != r.atEnd || len(asked) != r.askedAtEnd {
			t.Errorf("%s, %s: it had closed for good, and then saw %q, with connections %q", r.name, r.client, seen, asked)
		}
	}
}

// play runs a case with every client at once.
func (b *clientBench) play(t *testing.T, number int, c clientCase) {
	t.Helper()
	s := b.newScene(t, number, c)
	s.append(t, c.log)
	var runs []*clientRun
	for _, client := range b.clients {
		r := s.newRun(client.name)
		runs = append(runs, r)
		client.open(r.base)
		b.cleanup(func() { client.close(r.base) })
	}
	if len(c.live) > 0 || c.then != nil {
		for _, r := range runs {
			r.await(t, "hub.live", func() bool {
				return slices.ContainsFunc(r.seen, func(line string) bool { return strings.HasPrefix(line, "hub.live ") })
			})
		}
	}
	s.append(t, c.live)
	if c.then != nil {
		c.then(t, s)
	}
	for i, r := range runs {
		want := c.want
		if but, differs := c.but[r.client]; differs {
			want = but
		}
		t.Run(r.client, func(t *testing.T) {
			r.await(t, fmt.Sprintf("%d sights and %d connections", len(want), len(c.asks)), func() bool { return len(r.seen) >= len(want) && len(r.asked) >= len(c.asks) })
			seen, asked := r.soFar()
			if diff := cmp.Diff(want, seen[:len(want)]); diff != "" {
				t.Errorf("%s saw something else (-want +seen):\n%s", r.client, diff)
			}
			if diff := cmp.Diff(c.asks, asked[:len(c.asks)]); diff != "" {
				t.Errorf("the connections of %s (-want +were):\n%s", r.client, diff)
			}
			if c.pause > 0 {
				r.wantPause(t, c.pause)
			}
			if want[len(want)-1] == "error, closed" {
				b.keepClosed(r, len(seen), len(asked))
				return
			}
			b.clients[i].close(r.base)
		})
	}
}
