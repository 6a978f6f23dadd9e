package stream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
	"github.com/tributary-hub/tributary/internal/stream"
)

func TestEnd_Expired(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *options) { o.stream.Warning = 200 * time.Millisecond })
	var expires time.Time
	r.rule(func(_ *http.Request, channels []string) (stream.Admission, error) {
		a := r.admission(channels)
		expires = time.Now().Add(400 * time.Millisecond)
		a.Expires = expires
		return a, nil
	})
	c := r.connect(t, channels("a"))
	c.until(t, "hub.live")
	expiring := c.until(t, "hub.expiring")
	if left := time.Until(expires); left > 200*time.Millisecond || left < 0 {
		t.Errorf("warned %s before the end", left)
	}
	if got := data(t, expiring)["expires_at"]; got != expires.UTC().Truncate(time.Second).Format(time.RFC3339) {
		t.Errorf("expires_at %v", got)
	}
	r.log.append(t, "a")
	c.until(t, "test")
	c.ends(t, "expired")
	if late := time.Since(expires); late < 0 {
		t.Errorf("ended %s early", -late)
	}
	r.becomes(t, "stream_ended_total", "expired", 1)
}

// Nothing is delivered once the credential has ended, though a slow socket held its stream up until then.
func TestEnd_ExpiredWhileWriting(t *testing.T) {
	t.Parallel()
	const streams = 8 // each may be lucky
	writing, over := make(chan struct{}, streams), make(chan struct{})
	r := start(t, func(o *options) {
		o.wrap = func(w http.ResponseWriter) http.ResponseWriter {
			return &held{ResponseWriter: w, writing: writing, over: over}
		}
	})
	expires := time.Now().Add(3 * time.Second)
	r.rule(func(_ *http.Request, channels []string) (stream.Admission, error) {
		a := r.admission(channels)
		a.Expires = expires
		return a, nil
	})
	var clients []*client
	for range streams {
		c := r.connect(t, channels("a")+"&wrapped")
		c.until(t, "hub.live")
		clients = append(clients, c)
	}
	r.log.append(t, "a")
	for range streams {
		<-writing
	}
	r.log.append(t, "a")
	r.becomes(t, "feed_queued_total", "", 2*streams)
	<-time.After(time.Until(expires))
	close(over)
	for _, c := range clients {
		c.ends(t, "expired")
		if n := len(c.positions(t)); n != 1 {
			t.Errorf("%d messages, want the one that was being written", n)
		}
	}
}

// A held response writes no message before over, and says when it begins to hold one, and when that is hurried.
type held struct {
	http.ResponseWriter
	writing chan<- struct{}
	hurried chan<- struct{} // may be nil
	over    <-chan struct{}
	holds   atomic.Bool
}

func (w *held) SetWriteDeadline(at time.Time) error {
	err := http.NewResponseController(w.ResponseWriter).SetWriteDeadline(at)
	if w.holds.Load() {
		select {
		case w.hurried <- struct{}{}:
		default:
		}
	}
	return err
}

func (w *held) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *held) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("event: test")) {
		w.holds.Store(true)
		defer w.holds.Store(false)
		select {
		case <-w.over:
		case w.writing <- struct{}{}:
			<-w.over
		}
	}
	return w.ResponseWriter.Write(b)
}

// A stream that is quiet for longer than a write may take is no stuck one.
func TestQuiet(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2], func(t *testing.T) {
			t.Parallel()
			r := start(t, func(o *options) {
				o.http2, o.stream.WriteTimeout, o.stream.Ping = http2, 100*time.Millisecond, 300*time.Millisecond
			})
			c := r.connect(t, channels("a"))
			c.until(t, "hub.ping")
			c.until(t, "hub.ping")
		})
	}
}

// A credential that is about to end is warned of at once.
func TestEnd_ExpiresSoon(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.rule(func(_ *http.Request, channels []string) (stream.Admission, error) {
		a := r.admission(channels)
		a.Expires = time.Now().Add(300 * time.Millisecond)
		return a, nil
	})
	c := r.connect(t, channels("a"))
	c.until(t, "hub.expiring")
	c.ends(t, "expired")
}

// Whatever says so, a credential that is no longer good ends its stream: a change that is told, and a look every few
// seconds. A look that cannot be had ends nothing.
func TestEnd_Closed(t *testing.T) {
	t.Parallel()
	for _, told := range []bool{true, false} {
		t.Run(map[bool]string{true: "told", false: "looked"}[told], func(t *testing.T) {
			t.Parallel()
			r := start(t, func(o *options) {
				o.stream.Recheck = 5 * time.Millisecond
				if told {
					o.stream.Recheck = time.Hour
				}
			})
			var verdict atomic.Pointer[hub.Error]
			var changed atomic.Pointer[chan struct{}]
			next := func() <-chan struct{} {
				c := make(chan struct{})
				if told {
					changed.Store(&c)
				}
				return c
			}
			looked := make(chan struct{}, 1)
			r.rule(func(_ *http.Request, channels []string) (stream.Admission, error) {
				a := r.admission(channels)
				a.Changed = next()
				a.Recheck = func(context.Context) (<-chan struct{}, error) {
					defer func() {
						select {
						case looked <- struct{}{}:
						default:
						}
					}()
					if err := verdict.Load(); err != nil {
						return nil, err
					}
					return next(), nil
				}
				return a, nil
			})
			look := func() {
				if told {
					close(*changed.Load())
				}
				await(t, looked, "a look at the credential: has the stream ended?")
				if !told {
					await(t, looked, "the next look at the credential") // one that began after the verdict
				}
			}
			c := r.connect(t, channels("a"))
			c.until(t, "hub.live")
			look()
			if !told {
				for _, unknown := range []*hub.Error{hub.Errorf(hub.Unavailable, "the database does not answer"), hub.Errorf(hub.KeyUnavailable, "the issuer does not answer")} {
					verdict.Store(unknown)
					look()
				}
			}
			r.log.append(t, "a")
			c.until(t, "test")
			verdict.Store(hub.Errorf(hub.Unauthenticated, "the key was revoked"))
			look()
			c.ends(t, "closed")
			r.becomes(t, "stream_ended_total", "closed", 1)
		})
	}
}

// Whatever ends a stream in the middle of a long write is minded between two pieces, and its client is told.
func TestEnd_BetweenPieces(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"closed", "expired", "drain"} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			writing, hurried, over := make(chan struct{}, 1), make(chan struct{}, 1), make(chan struct{})
			r := start(t, func(o *options) {
				o.wrap = func(w http.ResponseWriter) http.ResponseWriter {
					return &held{ResponseWriter: w, writing: writing, hurried: hurried, over: over}
				}
			})
			release := sync.OnceFunc(func() { close(over) })
			t.Cleanup(release)
			for range 20 {
				r.log.appendSized(t, 10_000, "a")
			}
			changed := make(chan struct{})
			expires := time.Now().Add(3 * time.Second)
			r.rule(func(_ *http.Request, channels []string) (stream.Admission, error) {
				a := r.admission(channels)
				if reason == "expired" {
					a.Expires = expires
				}
				a.Changed = changed
				a.Recheck = func(context.Context) (<-chan struct{}, error) {
					return nil, hub.Errorf(hub.Unauthenticated, "the key was revoked")
				}
				return a, nil
			})
			c := r.connect(t, channels("a")+"&since=earliest&wrapped")
			await(t, writing, "the write to be held")
			var stopped sync.WaitGroup
			switch reason {
			case "closed":
				close(changed)
				await(t, hurried, "the write to be hurried")
			case "drain":
				stopped.Go(func() {
					if err := r.handler.Stop(t.Context()); err != nil {
						t.Error(err)
					}
				})
				await(t, hurried, "the write to be hurried")
			default:
				<-time.After(time.Until(expires))
			}
			release()
			c.ends(t, reason)
			n := len(c.positions(t))
			if n == 0 || n > 3 {
				t.Errorf("%d messages, want those of the piece that was being written", n)
			}
			stopped.Wait()
			r.becomes(t, "stream_open", "", 0)
			if err := r.meter.Stop(t.Context()); err != nil {
				t.Fatal(err)
			}
			if counted := storetest.Value[int](t, r.db, `SELECT sum(delivered) FROM tributary.usage WHERE tenant_id = $1`, r.log.tenant); counted != n {
				t.Errorf("%d messages counted as delivered, %d were", counted, n)
			}
		})
	}
}

// A client that takes a byte now and then keeps no stream whose credential has ended, however long a write may take.
func TestEnd_SlowReader(t *testing.T) {
	t.Parallel()
	for _, revoked := range []bool{true, false} {
		for _, http2 := range []bool{false, true} {
			t.Run(map[bool]string{true: "revoked", false: "expired"}[revoked]+map[bool]string{false: ", HTTP/1.1", true: ", HTTP/2"}[http2], func(t *testing.T) {
				t.Parallel()
				stuck := make(chan struct{}, 1)
				r := start(t, func(o *options) {
					o.narrow, o.http2, o.stream.WriteTimeout = true, http2, time.Hour
					o.wrap = func(w http.ResponseWriter) http.ResponseWriter { return &slow{w, stuck} }
				})
				changed := make(chan struct{})
				r.rule(func(_ *http.Request, channels []string) (stream.Admission, error) {
					a := r.admission(channels)
					if !revoked {
						a.Expires = time.Now().Add(4 * time.Second)
						return a, nil
					}
					a.Changed = changed
					a.Recheck = func(context.Context) (<-chan struct{}, error) {
						return nil, hub.Errorf(hub.Unauthenticated, "the key was revoked")
					}
					return a, nil
				})
				for range 12 {
					r.log.appendSized(t, 600_000, "a")
				}
				response, _ := r.get(t, channels("a")+"&since=earliest&wrapped")
				var reading sync.WaitGroup
				reading.Go(func() {
					now := time.NewTicker(20 * time.Millisecond)
					defer now.Stop()
					for {
						if _, err := response.Body.Read(make([]byte, 1)); err != nil {
							return
						}
						<-now.C
					}
				})
				await(t, stuck, "a write to be stuck")
				close(changed)
				r.becomes(t, "stream_open", "", 0)
				_ = response.Body.Close()
				reading.Wait()
			})
		}
	}
}

// A slow response says when a write takes long.
type slow struct {
	http.ResponseWriter
	stuck chan<- struct{}
}

func (w *slow) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *slow) Write(b []byte) (int, error) {
	defer time.AfterFunc(300*time.Millisecond, func() {
		select {
		case w.stuck <- struct{}{}:
		default:
		}
	}).Stop()
	return w.ResponseWriter.Write(b)
}

func TestEnd_Drain(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2], func(t *testing.T) {
			t.Parallel()
			stuck := make(chan struct{})
			r := start(t, func(o *options) {
				o.http2, o.stream.DrainTimeout = http2, time.Nanosecond // who writes nothing just now is told all the same
				o.wrap = func(w http.ResponseWriter) http.ResponseWriter {
					return &clogged{ResponseWriter: w, stuck: stuck, moved: make(chan struct{})}
				}
			})
			reading := r.connect(t, channels("a"))
			reading.until(t, "hub.live")
			clogged, _ := r.get(t, channels("a")+"&wrapped")
			<-stuck
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			for range 2 {
				if err := r.handler.Stop(ctx); err != nil {
					t.Fatal(err)
				}
			}
			if n := r.metric(t, "stream_open", ""); n != 0 {
				t.Errorf("%v streams are open after Stop", n)
			}
			reading.ends(t, "drain")
			if body, _ := io.ReadAll(clogged.Body); strings.Contains(string(body), "hub.bye") {
				t.Errorf("a socket that takes nothing took %q", body)
			}
			r.connect(t, channels("a")).ends(t, "unavailable")
			if refused, _ := r.get(t, channels("a"), "Tributary-Client", "test"); refused.StatusCode != http.StatusServiceUnavailable {
				t.Errorf("status %d", refused.StatusCode)
			}
		})
	}
}

// A clogged response takes its first piece and then nothing more until the deadline.
type clogged struct {
	http.ResponseWriter
	stuck chan struct{} // closed when the first write hangs
	took  bool

	mu       sync.Mutex // guards what follows
	deadline time.Time
	moved    chan struct{} // closed when the deadline is another
}

func (w *clogged) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *clogged) SetWriteDeadline(at time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.deadline = at
	close(w.moved)
	w.moved = make(chan struct{})
	return nil
}

func (w *clogged) Write(b []byte) (int, error) {
	if !w.took {
		w.took = true
		return w.ResponseWriter.Write(b)
	}
	close(w.stuck)
	for {
		w.mu.Lock()
		left, moved := time.Until(w.deadline), w.moved
		w.mu.Unlock()
		select {
		case <-moved:
		case <-time.After(left):
			return 0, os.ErrDeadlineExceeded
		}
	}
}

// A socket that takes nothing is closed, and until then costs no other subscriber anything.
func TestEnd_TakesNothing(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *options) {
		o.narrow, o.stream.WriteTimeout = true, 300*time.Millisecond
		o.QueueBytes, o.RingBytes, o.PageBytes = 64<<10, 64<<10, 64<<10
	})
	_, _ = r.get(t, channels("a"))
	fast := r.connect(t, channels("*"))
	fast.until(t, "hub.live")
	r.becomes(t, "feed_subscribers", "", 2)
	for range 20 {
		r.log.appendSized(t, 50_000, "a")
		fast.until(t, "test")
	}
	r.becomes(t, "stream_ended_total", "gone", 1)
	if n := r.metric(t, "stream_open", ""); n != 1 {
		t.Errorf("%v streams open, want 1", n)
	}
	r.log.append(t, "b")
	fast.until(t, "test")
}

// A slow reader gets everything at its own pace.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2], func(t *testing.T) {
			t.Parallel()
			r := start(t, func(o *options) {
				o.http2, o.narrow = http2, true
				o.QueueBytes, o.RingBytes, o.PageBytes = 32<<10, 32<<10, 64<<10
			})
			slow := r.connect(t, channels("a"))
			slow.until(t, "hub.live")
			for range 40 {
				r.log.appendSized(t, 20_000, "a", "b", "a")
			}
			if n := r.metric(t, "feed_lagging_total", ""); n == 0 {
				t.Fatal("it never fell behind: the test sends too little")
			}
			for range 80 {
				slow.until(t, "test")
			}
			want := r.log.of([]hub.ChannelPattern{"a"}, 0, r.log.head())
			if diff := cmp.Diff(want, slow.positions(t)); diff != "" {
				t.Error(diff)
			}
			r.log.append(t, "a")
			slow.until(t, "test")
		})
	}
}

// A message of the largest size passes, whatever the queues hold.
func TestLargeMessage(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.connect(t, channels("a"))
	c.until(t, "hub.live")
	r.log.appendSized(t, hub.MaxMessageBytes-100, "a", "a")
	c.until(t, "test")
	c.until(t, "test")
	again := r.connect(t, channels("a")+"&last=2&envelope=1")
	again.until(t, "hub.live")
	if len(again.positions(t)) != 2 {
		t.Error(again.names())
	}
}

// The listener's connection may be killed: what was sent meanwhile arrives.
func TestListenerKilled(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *options) { o.Poll = time.Hour })
	c := r.connect(t, channels("a"))
	c.until(t, "hub.live")
	for range 3 {
		before := r.metric(t, "backplane_connects_total", "")
		r.db.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tributary listener' AND datname = current_database()`)
		r.log.append(t, "a")
		c.until(t, "test")
		r.becomes(t, "backplane_connects_total", "", before+1)
		r.log.append(t, "a")
		c.until(t, "test")
	}
}

func TestEpochChange(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.log.append(t, "a")
	c := r.connect(t, channels("a"))
	c.until(t, "hub.live")
	before := r.cursor(t, 1)
	r.db.Exec(t, `UPDATE tributary.epoch SET salt = 'restored'`)
	r.db.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tributary listener' AND datname = current_database()`)
	reset := c.until(t, "hub.reset")
	want := map[string]any{"reason": "epoch", "requested": before, "position": 1.0}
	if diff := cmp.Diff(want, data(t, reset)); diff != "" || reset.LastEventID != r.cursor(t, 1) {
		t.Error(reset.LastEventID, diff)
	}
	if live := c.until(t, "hub.live"); live.LastEventID != r.cursor(t, 1) {
		t.Errorf("live at %s", live.LastEventID)
	}
	r.log.append(t, "a")
	if m := c.until(t, "test"); m.LastEventID != r.cursor(t, 2) {
		t.Errorf("message at %s", m.LastEventID)
	}
}

// Without Postgres open streams stay and beat, and new ones are told to come back.
func TestPostgresAway(t *testing.T) {
	t.Parallel()
	var away atomic.Bool
	r := start(t, func(o *options) {
		o.stream.Ping = 10 * time.Millisecond
		ask := o.Epoch
		o.Epoch = func(ctx context.Context) (hub.Epoch, error) {
			if away.Load() {
				return "", hub.Errorf(hub.Unavailable, "the database does not answer")
			}
			return ask(ctx)
		}
	})
	c := r.connect(t, channels("a"))
	c.until(t, "hub.live")
	away.Store(true)
	r.feed.Reconnected()
	r.connect(t, channels("a")).ends(t, "unavailable")
	c.until(t, "hub.ping")
	r.log.append(t, "a")
	away.Store(false)
	c.until(t, "test")
}

// A feed that stops before its streams tells them that it is the hub's fault.
func TestFeedStopped(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	c := r.connect(t, channels("a"))
	c.until(t, "hub.live")
	if err := r.feed.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.ends(t, "unavailable")
}

// Streams of a tenant that is deleted are closed, though nothing else says that their credentials ended.
func TestTenantDeleted(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.log.append(t, "a")
	c := r.connect(t, channels("a"))
	c.until(t, "hub.live")
	r.db.Exec(t, `DELETE FROM tributary.tenants WHERE id = $1`, r.log.tenant)
	r.feed.Wake(backplane.Wake{All: true})
	c.ends(t, "closed")
}

func TestStop_GivesUp(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *options) { o.stream.DrainTimeout = 200 * time.Millisecond })
	entered, leave := make(chan struct{}), make(chan struct{})
	r.rule(func(_ *http.Request, channels []string) (stream.Admission, error) {
		a := r.admission(channels)
		changed := make(chan struct{})
		close(changed)
		a.Changed = changed
		a.Recheck = func(context.Context) (<-chan struct{}, error) {
			close(entered)
			<-leave
			return nil, nil
		}
		return a, nil
	})
	r.connect(t, channels("a"))
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := r.handler.Stop(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	close(leave)
}

func await(t *testing.T, signal <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-signal:
	case <-time.After(patience):
		t.Fatalf("waited in vain for %s", what)
	}
}

// ends reads to the last frame, which must be hub.bye with that reason, and sees that nothing comes after.
func (c *client) ends(t *testing.T, reason string) {
	t.Helper()
	bye := c.until(t, "hub.bye")
	if diff := cmp.Diff(map[string]any{"reason": reason}, data(t, bye)); diff != "" {
		t.Error(diff)
	}
	if event, more := c.read(t); more {
		t.Errorf("%s after hub.bye", event.Type)
	}
}

// When the node stops, streams end one by one, and until its turn has come each goes on.
func TestEnd_DrainSpread(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *options) { o.stream.DrainSpread = time.Hour }) // of which Stop's time leaves half
	clients := make([]*client, 40)
	for i := range clients {
		clients[i] = r.connect(t, channels("a"))
		clients[i].until(t, "hub.live")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
	defer cancel()
	stopped := make(chan error, 1)
	go func() { stopped <- r.handler.Stop(ctx) }()
	r.connect(t, channels("a")).ends(t, "unavailable")
	r.log.append(t, "a")
	r.feed.Wake(backplane.Wake{All: true})
	heard := 0
	for _, c := range clients {
		for {
			event, more := c.read(t)
			if !more {
				t.Fatal("a stream ended without hub.bye")
			}
			if event.Type == "hub.bye" {
				if diff := cmp.Diff(map[string]any{"reason": "drain"}, data(t, event)); diff != "" {
					t.Error(diff)
				}
				break
			}
			if !strings.HasPrefix(event.Type, "hub.") {
				heard++
			}
		}
	}
	if heard == 0 {
		t.Error("nobody heard what came after Stop began: all ended at once")
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// No stream lives for ever, and none ends before half of its time.
func TestEnd_MaxAge(t *testing.T) {
	t.Parallel()
	const age = 2 * time.Second
	r := start(t, func(o *options) { o.stream.MaxAge = age })
	began := time.Now()
	clients := []*client{r.connect(t, channels("a")), r.connect(t, channels("a"))}
	for _, c := range clients {
		c.ends(t, "max_age")
	}
	if lived := time.Since(began); lived < age/2 {
		t.Errorf("they ended after %s, of at least %s", lived, age/2)
	}
}
