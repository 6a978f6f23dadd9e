package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tmaxmax/go-sse"
)

// A watcher is a subscriber of a service: it reads by a foreign parser, and when its stream ends it goes on at the
// next process, with the last id that it saw of any frame.
type watcher struct {
	doors []*node // processes that stream, its own first
	key   string

	mu      sync.Mutex // guards what follows
	lastID  string
	seen    []sighting
	kinds   map[string]int // frames, by type
	byes    map[string]int // by reason
	resets  []reset
	refused int // connects that got no stream
	cut     int // streams that ended without a goodbye
	pings   []time.Time
	door    string // of the stream that is open; "" where none is

	cancel context.CancelFunc
	ended  chan struct{}
}

// A sighting is a message as it was seen.
type sighting struct {
	at       time.Time
	epoch    string
	position int64
	event    string
	data     string // but for the thin data, which is the event
}

// A reset is a hub.reset as it was seen.
type reset struct {
	Reason    string `json:"reason"`
	Requested string `json:"requested"`
	Position  int64  `json:"position"`
	after     int    // messages that were seen before
}

// watch starts some watchers at each process that streams, and waits until each has its hub.ready.
func (s *fleet) watch(t *testing.T, own *tenant, each int) []*watcher {
	t.Helper()
	doors := s.with("stream")
	var all []*watcher
	for range each {
		for i := range doors {
			w := newWatcher(t, own.key, append(append([]*node{}, doors[i:]...), doors[:i]...)...)
			all = append(all, w)
		}
	}
	for _, w := range all {
		w.await(t, "hub.ready", func() bool { return w.kinds["hub.ready"] > 0 })
	}
	return all
}

func newWatcher(t *testing.T, credential string, doors ...*node) *watcher {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	w := &watcher{doors: doors, key: credential, kinds: map[string]int{}, byes: map[string]int{}, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for at := 0; ctx.Err() == nil; at++ {
			w.read(ctx, w.doors[at%len(w.doors)])
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond): // the retry time of a client that is in a hurry
			}
		}
	}()
	t.Cleanup(w.stop)
	return w
}

func (w *watcher) stop() {
	w.cancel()
	<-w.ended
}

func (w *watcher) read(ctx context.Context, door *node) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, door.url()+"/stream/"+tenantSlug+"?channel=payments", nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+w.key)
	w.mu.Lock()
	if w.lastID != "" {
		req.Header.Set("Last-Event-ID", w.lastID)
	}
	w.mu.Unlock()
	res, err := http.DefaultClient.Do(req)
	if err == nil && res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
	}
	if err != nil || res.StatusCode != http.StatusOK {
		w.mu.Lock()
		w.refused++
		w.mu.Unlock()
		return
	}
	defer res.Body.Close()
	goodbye := false
	for ev, err := range sse.Read(res.Body, &sse.ReadConfig{MaxEventSize: 1 << 20}) {
		if err != nil {
			break
		}
		w.see(ev, door)
		goodbye = ev.Type == "hub.bye"
	}
	w.mu.Lock()
	w.door = ""
	if !goodbye && ctx.Err() == nil {
		w.cut++
	}
	w.mu.Unlock()
}

func (w *watcher) see(ev sse.Event, door *node) {
	now := time.Now()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.door = door.name
	if ev.LastEventID != "" {
		w.lastID = ev.LastEventID
	}
	w.kinds[ev.Type]++
	switch ev.Type {
	case "hub.ping":
		w.pings = append(w.pings, now)
	case "hub.bye":
		var bye struct{ Reason string }
		_ = json.Unmarshal([]byte(ev.Data), &bye)
		w.byes[bye.Reason]++
	case "hub.reset":
		r := reset{after: len(w.seen)}
		_ = json.Unmarshal([]byte(ev.Data), &r)
		w.resets = append(w.resets, r)
	}
	if strings.HasPrefix(ev.Type, "hub.") {
		return
	}
	epoch, position, _ := strings.Cut(ev.LastEventID, "-")
	n, _ := strconv.ParseInt(position, 10, 64)
	sighting := sighting{at: now, epoch: epoch, position: n}
	if _, event, thin := strings.Cut(ev.Data, `"event":"`); thin {
		sighting.event, _, _ = strings.Cut(event, `"`)
	} else {
		sighting.data = ev.Data
	}
	w.seen = append(w.seen, sighting)
}

// await waits until what was seen satisfies done, which is called under the watcher's lock.
func (w *watcher) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(90 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		w.mu.Lock()
		ok, n, kinds := done(), len(w.seen), len(w.kinds)
		w.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("after 90 s still waiting for %s; %d messages and %d kinds of frames seen", what, n, kinds)
		}
	}
}

// firstAfter is the first message that was seen after a time; zero where none was.
func (w *watcher) firstAfter(at time.Time) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, s := range w.seen {
		if s.at.After(at) {
			return s.at
		}
	}
	return time.Time{}
}
