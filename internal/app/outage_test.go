package app_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// The bounds that an outage of Postgres is held to. What was measured is far below them; a busy machine may take
// longer than an idle one, and nothing may take for ever.
const (
	answerBound   = 20 * time.Second // of any request: acquire and statement take 9 s at most
	recoveryBound = 2 * time.Minute  // from its end until all goes on
)

// A scene is where an outage happens.
type scene struct {
	t       *testing.T
	cluster *storetest.Cluster
	gate    *storetest.Gate // before it
}

// An outage is one way for Postgres to be away.
type outage struct {
	begin, end func(scene)
	reads      bool // what only reads goes on
}

func outages() map[string]outage {
	return map[string]outage{
		"stopped": {
			begin: func(s scene) { s.cluster.Stop(s.t) },
			end:   func(s scene) { s.cluster.Start(s.t) },
		},
		"killed": {
			begin: func(s scene) { s.cluster.Kill(s.t) },
			end:   func(s scene) { s.cluster.Start(s.t) },
		},
		"hung, and goes on": { // a machine that stands still
			begin: func(s scene) { s.gate.Freeze() },
			end:   func(s scene) { s.gate.Thaw() },
		},
		"hung, and its connections are lost": { // a firewall that forgot them: nobody is told
			begin: func(s scene) { s.gate.Lose(); s.gate.Freeze() },
			end:   func(s scene) { s.gate.Thaw() },
		},
		"a server in recovery answers in its place": {
			begin: func(s scene) { s.gate.Lead(s.cluster.Standby(s.t)); s.gate.CutAll() },
			end:   func(s scene) { s.gate.Lead(s.cluster); s.gate.CutAll() },
		},
		"read-only": { // a primary that was demoted
			begin: func(s scene) {
				s.cluster.Exec(s.t, `ALTER SYSTEM SET default_transaction_read_only = on`)
				s.cluster.Exec(s.t, `SELECT pg_reload_conf()`)
			},
			end: func(s scene) {
				s.cluster.Exec(s.t, `ALTER SYSTEM RESET default_transaction_read_only`)
				s.cluster.Exec(s.t, `SELECT pg_reload_conf()`)
			},
			reads: true,
		},
		"out of connections": {
			begin: func(s scene) {
				s.cluster.Exec(s.t, `ALTER ROLE `+storetest.Login+` CONNECTION LIMIT 0`)
				s.gate.CutAll()
			},
			end: func(s scene) { s.cluster.Exec(s.t, `ALTER ROLE `+storetest.Login+` CONNECTION LIMIT -1`) },
		},
	}
}

// Whatever happens to Postgres: what writes is answered 503 with Retry-After and in bounded time, streams stay and are
// pinged, and when it is back the process goes on by itself, with every acknowledged webhook worked and delivered once.
func TestOutage(t *testing.T) {
	t.Parallel()
	for name, tt := range outages() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cluster := storetest.NewCluster(t)
			gate := storetest.NewGate(t, cluster)
			s := newSiteOn(t, cluster.DB(t), "")
			s.config.DatabaseURL, s.config.DirectDatabaseURL = secret.New(gate.URL), secret.New(gate.URL)
			s.config.DatabaseConnections = 12
			_, where := s.start(t, "one", "")
			heard := s.follow(t, where)
			load := s.load(t, where)

			load.await(t, "answers before the outage", func(r results) bool { return r.since(time.Time{}).with("in", 200) >= 20 && heard.count() >= 10 })
			tt.begin(scene{t, cluster, gate})
			began := time.Now()
			heard.awaitPing(t, began)
			load.await(t, "answers amid the outage", func(r results) bool {
				r = r.since(began.Add(time.Second))
				return r.with("in", 503) >= 3 && r.of("read") >= 3 && r.of("write") >= 1 && r.of("stream") >= 1
			})
			ended := time.Now()
			tt.end(scene{t, cluster, gate})
			back := time.Now()
			for _, what := range []string{"in", "read", "write", "stream"} {
				load.await(t, what+" after the outage", func(r results) bool { return r.since(back).with(what, 200) >= 3 })
			}
			load.stop()
			heard.awaitAll(t, load.results().acknowledged())

			amid := load.results().since(began.Add(time.Second)).until(ended)
			for _, r := range amid {
				if want := map[bool]int{true: 200, false: 503}[tt.reads && (r.what == "read" || r.what == "stream")]; r.status != want {
					t.Errorf("%s amid the outage: %d after %s, want %d", r.what, r.status, r.took, want)
				}
			}
			for _, r := range load.results() {
				if r.err != nil || r.status != 200 && r.status != 503 || r.status == 503 && r.retryAfter == "" {
					t.Errorf("%s: %d, Retry-After %q, %v", r.what, r.status, r.retryAfter, r.err)
				}
				if r.took > answerBound {
					t.Errorf("%s took %s to be answered %d", r.what, r.took, r.status)
				}
			}
			heard.check(t, load.results().acknowledged())
			after := load.results().since(back)
			before := load.results().until(ended)
			t.Logf("away for %s, %d requests amid it; longest answer %s; after it the first webhook %s, its message %s, read %s, write %s, stream %s",
				ended.Sub(began).Round(time.Second), len(amid), load.results().longest(), after.first("in").Sub(back), heard.firstAfter(after).Sub(back),
				after.first("read").Sub(back), after.first("write").Sub(back), after.first("stream").Sub(back))
			t.Logf("the last message of a webhook that was acknowledged before came %s after it", heard.last(before).Sub(back))
			for said, n := range s.said(began) {
				if n > 2 {
					t.Errorf("said %d times: %s", n, said)
				}
			}
		})
	}
}

// said counts the warnings and errors since then by their texts, but the records of requests.
func (s *site) said(since time.Time) map[string]int {
	said := map[string]int{}
	for line := range strings.Lines(s.log.String()) {
		var record struct {
			Time       time.Time
			Level, Msg string
		}
		if json.Unmarshal([]byte(line), &record) == nil && record.Time.After(since) && record.Msg != "request" && (record.Level == "WARN" || record.Level == "ERROR") {
			said[record.Msg]++
		}
	}
	return said
}

// A result is how one request was answered.
type result struct {
	what       string
	began      time.Time
	took       time.Duration
	status     int
	retryAfter string
	event      string // of a webhook
	err        error
}

type results []result

func (r results) filter(keep func(result) bool) (kept results) {
	for _, one := range r {
		if keep(one) {
			kept = append(kept, one)
		}
	}
	return kept
}

// since are those that began then, until those that had their answer by then.
func (r results) since(at time.Time) results {
	return r.filter(func(r result) bool { return r.began.After(at) })
}

func (r results) until(at time.Time) results {
	return r.filter(func(r result) bool { return r.began.Add(r.took).Before(at) })
}

func (r results) of(what string) int {
	return len(r.filter(func(r result) bool { return r.what == what }))
}

func (r results) with(what string, status int) int {
	return len(r.filter(func(r result) bool { return r.what == what && r.status == status }))
}

// first is when the first success was answered.
func (r results) first(what string) (at time.Time) {
	for _, one := range r.filter(func(r result) bool { return r.what == what && r.status == 200 }) {
		if end := one.began.Add(one.took); at.IsZero() || end.Before(at) {
			at = end
		}
	}
	return at
}

func (r results) longest() (longest time.Duration) {
	for _, one := range r {
		longest = max(longest, one.took)
	}
	return longest
}

func (r results) acknowledged() map[string]bool {
	events := map[string]bool{}
	for _, one := range r {
		if one.event != "" {
			events[one.event] = true
		}
	}
	return events
}

// A load asks for everything again and again, whatever is answered.
type load struct {
	cancel context.CancelFunc
	asking sync.WaitGroup

	mu  sync.Mutex // guards all
	all results
}

func (s *site) load(t *testing.T, where string) *load {
	t.Helper()
	l := &load{}
	var ctx context.Context
	ctx, l.cancel = context.WithCancel(t.Context())
	t.Cleanup(l.stop)
	stripe, _ := provider.Get("stripe")
	base := where + "/v1/tenants/" + s.tenant.String()
	key := http.Header{"Authorization": {"Bearer " + s.key}, "Content-Type": {"application/json"}}
	l.every(ctx, 100*time.Millisecond, "in", func(ctx context.Context, n int) (*http.Request, error) {
		body := fmt.Sprintf(`{"id":"evt_%d","type":"charge.succeeded"}`, n)
		header, err := stripe.Sign(s.secret, []byte(body), time.Now(), provider.SignOptions{Config: s.endpoint.Config})
		if err != nil {
			return nil, err
		}
		return request(ctx, http.MethodPost, where+"/in/"+s.endpoint.Token, body, header)
	})
	l.every(ctx, 200*time.Millisecond, "read", func(ctx context.Context, _ int) (*http.Request, error) {
		return request(ctx, http.MethodGet, base+"/events?limit=1", "", key)
	})
	l.every(ctx, 500*time.Millisecond, "write", func(ctx context.Context, n int) (*http.Request, error) {
		return request(ctx, http.MethodPatch, base+"/endpoints/"+s.endpoint.ID.String(), fmt.Sprintf(`{"name":"stripe-%d"}`, n), http.Header{
			"Authorization": key["Authorization"], "Content-Type": {"application/merge-patch+json"}, "If-Match": {"*"},
		})
	})
	l.every(ctx, 500*time.Millisecond, "stream", func(ctx context.Context, _ int) (*http.Request, error) {
		return request(ctx, http.MethodGet, where+"/stream/"+s.tenant.String()+"?channel=user:"+known, "", http.Header{
			"Authorization": key["Authorization"], "Accept": {"application/json"},
		})
	})
	return l
}

func request(ctx context.Context, method, url, body string, header http.Header) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err == nil {
		r.Header = header.Clone()
	}
	return r, err
}

// every sends a request so often, each by itself, until the load stops; then it waits for the answers.
func (l *load) every(ctx context.Context, pause time.Duration, what string, next func(ctx context.Context, n int) (*http.Request, error)) {
	sending := context.WithoutCancel(ctx)
	l.asking.Go(func() {
		tick := time.NewTicker(pause)
		defer tick.Stop()
		for n := 0; ; n++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			l.asking.Go(func() { l.ask(sending, what, n, next) })
		}
	})
}

func (l *load) ask(ctx context.Context, what string, n int, next func(ctx context.Context, n int) (*http.Request, error)) {
	ctx, cancel := context.WithTimeout(ctx, 2*answerBound)
	defer cancel()
	one := result{what: what, began: time.Now()}
	r, err := next(ctx, n)
	var res *http.Response
	if err == nil {
		res, err = http.DefaultClient.Do(r)
	}
	if one.err = err; err == nil {
		one.status, one.retryAfter = res.StatusCode, res.Header.Get("Retry-After")
		if what != "stream" {
			var answer struct{ Event string }
			_ = json.NewDecoder(res.Body).Decode(&answer) // a refusal names none
			one.event = answer.Event
		}
		_ = res.Body.Close()
	}
	one.took = time.Since(one.began)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, one)
}

func (l *load) results() results {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append(results(nil), l.all...)
}

func (l *load) stop() {
	l.cancel()
	l.asking.Wait()
}

func (l *load) await(t *testing.T, what string, done func(results) bool) {
	t.Helper()
	await(t, what, func() bool { return done(l.results()) })
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	timeout := time.After(recoveryBound)
	for !done() {
		select {
		case <-look.C:
		case <-timeout:
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A follower reads one stream, which must never end.
type follower struct {
	mu     sync.Mutex             // guards what follows
	events map[string][]time.Time // messages by their events, when each came
	names  map[string]int         // of other frames
	resets []string               // reasons
	reset  time.Time              // the last
	pinged time.Time
	ended  error
}

func (s *site) follow(t *testing.T, where string) *follower {
	t.Helper()
	f := &follower{events: map[string][]time.Time{}, names: map[string]int{}}
	ctx, cancel := context.WithCancel(t.Context())
	r, err := request(ctx, http.MethodGet, where+"/stream/"+s.tenant.String()+"?envelope=1&channel=user:"+known, "", http.Header{"Authorization": {"Bearer " + s.key}})
	must(t, err)
	res, err := http.DefaultClient.Do(r)
	must(t, err)
	var reading sync.WaitGroup
	reading.Go(func() {
		defer func() { _ = res.Body.Close() }()
		f.read(res.Body)
	})
	t.Cleanup(func() { cancel(); reading.Wait() })
	return f
}

func (f *follower) read(body io.Reader) {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	name := ""
	for lines.Scan() {
		field, value, _ := strings.Cut(lines.Text(), ": ")
		switch field {
		case "event":
			name = value
		case "data":
			f.take(name, value)
			name = ""
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended = lines.Err(); f.ended == nil {
		f.ended = io.EOF
	}
}

func (f *follower) take(name, data string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if name == "" {
		var message struct{ Event string }
		_ = json.Unmarshal([]byte(data), &message)
		f.events[message.Event] = append(f.events[message.Event], time.Now())
		return
	}
	f.names[name]++
	switch name {
	case "hub.ping":
		f.pinged = time.Now()
	case "hub.reset":
		var reset struct{ Reason string }
		_ = json.Unmarshal([]byte(data), &reset)
		f.resets, f.reset = append(f.resets, reset.Reason), time.Now()
	}
}

func (f *follower) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.events)
}

func (f *follower) awaitPing(t *testing.T, after time.Time) {
	t.Helper()
	await(t, "a heartbeat", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.pinged.After(after)
	})
}

func (f *follower) awaitAll(t *testing.T, events map[string]bool) {
	t.Helper()
	await(t, "the acknowledged events", func() bool {
		f.mu.Lock()
		defer f.mu.Unlock()
		for event := range events {
			if len(f.events[event]) == 0 {
				return false
			}
		}
		return true
	})
}

// resetAt is when hub.reset came.
func (f *follower) resetAt() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.reset
}

// firstAfter is when the first message of those webhooks came.
func (f *follower) firstAfter(r results) (at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for event := range r.acknowledged() {
		if came := f.events[event]; len(came) > 0 && (at.IsZero() || came[0].Before(at)) {
			at = came[0]
		}
	}
	return at
}

// last is when the last message of those webhooks came.
func (f *follower) last(r results) (at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for event := range r.acknowledged() {
		if came := f.events[event][0]; came.After(at) {
			at = came
		}
	}
	return at
}

// check says that the stream is what it was, and that every event came once.
func (f *follower) check(t *testing.T, acknowledged map[string]bool) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for event, came := range f.events {
		if len(came) != 1 {
			t.Errorf("%s came %d times", event, len(came))
		}
	}
	for event := range acknowledged {
		if len(f.events[event]) == 0 {
			t.Errorf("%s was acknowledged and never came", event)
		}
	}
	if f.ended != nil || f.names["hub.bye"] > 0 || len(f.resets) > 0 {
		t.Errorf("the stream ended (%v), or was told of a break: %v %v", f.ended, f.names, f.resets)
	}
}
