package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// answerBound is the longest that any webhook may wait for its answer, whatever happens to Postgres: a flush may take
// 10 s, and may have to wait for the one before it.
const answerBound = 25 * time.Second

// A sender posts signed webhooks at a steady rate, whatever becomes of them, as many accounts of a provider do together.
// What was not acknowledged is sent again until it is, to the next process at once where nobody listened, and after
// Retry-After where the hub asked for it.
type sender struct {
	own    *tenant
	doors  []*node
	client *http.Client
	name   string        // stands in the events' ids
	slots  chan struct{} // holds one for each request under way: this side is not to be what is slow
	sent   atomic.Int64

	mu       sync.Mutex // guards what follows
	answers  map[string]int
	odd      []string // answers that say more than their kind
	acks     []ack
	slowest  time.Duration // answer
	attempts int
}

// An ack is an event that the hub has acknowledged.
type ack struct {
	event string
	at    time.Time
}

// newSender makes one for the processes that take webhooks in.
func (s *fleet) newSender(t *testing.T, own *tenant) *sender {
	t.Helper()
	transport := &http.Transport{
		MaxIdleConnsPerHost: 64, IdleConnTimeout: 90 * time.Second,
		DialContext: (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return &sender{
		own: own, doors: s.with("ingest"), client: &http.Client{Transport: transport, Timeout: 2 * answerBound},
		name: strconv.FormatUint(rand.Uint64(), 36), slots: make(chan struct{}, 128), answers: map[string]int{},
	}
}

// A burst is a load that runs.
type burst struct {
	*sender
	cancel  context.CancelFunc // no new webhooks
	stopped chan struct{}      // all that were sent are acknowledged
	ctx     context.Context    // ends when the test gives up
}

// start sends that many webhooks a second until end.
func (s *sender) start(t *testing.T, rate int) *burst {
	t.Helper()
	giveUp, abandon := context.WithCancel(context.WithoutCancel(t.Context()))
	until, cancel := context.WithCancel(giveUp)
	b := &burst{sender: s, cancel: cancel, stopped: make(chan struct{}), ctx: giveUp}
	go func() {
		defer close(b.stopped)
		var sending sync.WaitGroup
		defer sending.Wait()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for began, n := time.Now(), 0; ; {
			select {
			case <-until.Done():
				return
			case now := <-tick.C:
				for due := int(now.Sub(began).Seconds() * float64(rate)); n < due; n++ {
					id := n
					sending.Go(func() { s.deliver(giveUp, id) })
				}
			}
		}
	}()
	t.Cleanup(func() {
		abandon()
		<-b.stopped
	})
	return b
}

// end sends no more and waits until all that were sent are acknowledged.
func (b *burst) end(t *testing.T) {
	t.Helper()
	b.cancel()
	select {
	case <-b.stopped:
	case <-time.After(2 * time.Minute):
		t.Fatalf("two minutes after the last webhook some are not acknowledged; answers %v", b.kinds())
	}
}

// deliver sends the webhook until it is acknowledged.
func (s *sender) deliver(ctx context.Context, n int) {
	s.sent.Add(1)
	body := payment(fmt.Sprintf("evt_%s_%d", s.name, n), n, "cus_load")
	for try := 0; ctx.Err() == nil; try++ {
		select {
		case s.slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		began := time.Now()
		kind, wait, event := s.post(ctx, s.doors[(n+try)%len(s.doors)], body)
		<-s.slots
		if ctx.Err() != nil {
			return
		}
		s.note(kind, time.Since(began), event)
		if event != "" {
			return
		}
		if wait > 0 { // not all together, and later each time
			wait = time.Duration(float64(wait) * float64(min(try+1, 3)) * (0.5 + rand.Float64()))
		} else {
			wait = 20 * time.Millisecond
		}
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// post says what kind of answer came, when the hub wants the webhook again, and which event it is, where it is one.
func (s *sender) post(ctx context.Context, door *node, body []byte) (kind string, wait time.Duration, event string) {
	res, err := postSigned(ctx, s.client, door.url()+s.own.path, s.own.secret, body)
	if err != nil {
		return kindOf(err), 0, ""
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return kindOf(err), 0, ""
	case res.StatusCode == http.StatusOK:
		var r receipt
		if json.Unmarshal(content, &r) != nil || r.Event == "" {
			s.oddity(fmt.Sprintf("200 with %q", content))
			return "200 without an event", time.Second, ""
		}
		if r.Duplicate {
			return "200 duplicate", 0, r.Event
		}
		return "200", 0, r.Event
	case res.StatusCode == http.StatusServiceUnavailable:
		seconds, err := strconv.Atoi(res.Header.Get("Retry-After"))
		if err != nil || seconds < 1 {
			return "503 without Retry-After", time.Second, ""
		}
		return "503", time.Duration(seconds) * time.Second, ""
	}
	s.oddity(fmt.Sprintf("%d with %.300s", res.StatusCode, content))
	return strconv.Itoa(res.StatusCode), time.Second, ""
}

// kindOf tells a process that was not there from a connection that broke under a request.
func kindOf(err error) string {
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no answer"
	}
	return "connection broken"
}

func (s *sender) note(kind string, took time.Duration, event string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts++
	s.answers[kind]++
	s.slowest = max(s.slowest, took)
	if event != "" {
		s.acks = append(s.acks, ack{event, time.Now()})
	}
}

func (s *sender) oddity(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.odd) < 5 {
		s.odd = append(s.odd, what)
	}
}

func (s *sender) kinds() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.answers)
}

// awaitAck waits for the first webhook that is acknowledged from now on, and says how long after since that was.
func (s *sender) awaitAck(t *testing.T, since time.Time) time.Duration {
	t.Helper()
	var at time.Time
	waitUntil(t, func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := slices.IndexFunc(s.acks, func(a ack) bool { return a.at.After(since) })
		if i >= 0 {
			at = s.acks[i].at
		}
		return i >= 0
	})
	return at.Sub(since)
}

// wantKinds fails where an answer was of another kind, or took longer than the bound.
func (s *sender) wantKinds(t *testing.T, allowed ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for kind, n := range s.answers {
		if !slices.Contains(allowed, kind) {
			t.Errorf("%d webhooks were answered by %s; allowed are %s; %s", n, kind, strings.Join(allowed, ", "), s.odd)
		}
	}
	if s.slowest > answerBound {
		t.Errorf("a webhook waited %s for its answer, want at most %s", s.slowest, answerBound)
	}
}
