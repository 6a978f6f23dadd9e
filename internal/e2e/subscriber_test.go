package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/tmaxmax/go-sse"
)

// A subscriber holds a stream open by a foreign parser, comes again after each end with the last id that it saw of
// any frame, and keeps what it saw.
type subscriber struct {
	hub      *hub
	token    string
	channels []string

	mu     sync.Mutex // guards what follows
	lastID string
	seen   []string // the data of messages, in order of arrival
	kinds  map[string]int
	grew   chan struct{} // closed and replaced when something was seen

	cancel context.CancelFunc
	ended  chan struct{}
}

func subscribe(t *testing.T, h *hub, token string, channels ...string) *subscriber {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	s := &subscriber{
		hub: h, token: token, channels: channels, kinds: map[string]int{},
		grew: make(chan struct{}), cancel: cancel, ended: make(chan struct{}),
	}
	go func() {
		defer close(s.ended)
		for ctx.Err() == nil {
			s.read(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond): // the retry time of a client
			}
		}
	}()
	t.Cleanup(s.stop)
	return s
}

func (s *subscriber) stop() {
	s.cancel()
	<-s.ended
}

func (s *subscriber) read(ctx context.Context) {
	query := url.Values{"channel": s.channels}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.hub.dev.URL+"/stream/"+s.hub.dev.Tenant+"?"+query.Encode(), nil)
	if err != nil {
		return
	}
	req.Header.Set("Authorization", "Bearer "+s.token)
	s.mu.Lock()
	if s.lastID != "" {
		req.Header.Set("Last-Event-ID", s.lastID)
	}
	s.mu.Unlock()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return
	}
	for ev, err := range sse.Read(res.Body, &sse.ReadConfig{MaxEventSize: 4 << 20}) {
		if err != nil {
			return
		}
		s.see(ev)
	}
}

func (s *subscriber) see(ev sse.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ev.LastEventID != "" {
		s.lastID = ev.LastEventID
	}
	s.kinds[ev.Type]++
	if len(ev.Type) < 4 || ev.Type[:4] != "hub." {
		s.seen = append(s.seen, ev.Data)
	}
	close(s.grew)
	s.grew = make(chan struct{})
}

// await waits until what was seen satisfies done, or the time is up.
func (s *subscriber) await(t *testing.T, within time.Duration, what string, done func(seen []string, kinds map[string]int) bool) {
	t.Helper()
	deadline := time.NewTimer(within)
	defer deadline.Stop()
	for {
		s.mu.Lock()
		ok, grew := done(s.seen, s.kinds), s.grew
		n := len(s.seen)
		s.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-grew:
		case <-deadline.C:
			t.Fatalf("after %s still waiting for %s; %d messages seen, frames %v", within, what, n, s.kinds)
		}
	}
}

func (s *subscriber) messages() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// ready waits for the stream's first frame.
func (s *subscriber) ready(t *testing.T) {
	t.Helper()
	s.await(t, 20*time.Second, "hub.ready", func(_ []string, kinds map[string]int) bool { return kinds["hub.ready"] > 0 })
}

// stream asks for a stream that is to be refused, as a client that understands statuses, and gives the problem.
func (h *hub) stream(t *testing.T, token, channel string) (int, map[string]any) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.dev.URL+"/stream/"+h.dev.Tenant+"?channel="+url.QueryEscape(channel), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Accept", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	problem := map[string]any{}
	if res.StatusCode != http.StatusOK {
		if err := json.NewDecoder(res.Body).Decode(&problem); err != nil {
			t.Fatal(err)
		}
	}
	return res.StatusCode, problem
}
