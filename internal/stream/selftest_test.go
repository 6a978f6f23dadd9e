package stream_test

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/tmaxmax/go-sse"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/stream"
)

const selftest = "/stream/acme/selftest"

// Each frame reaches its reader before the next is made, and all are numbered and dated. It ends with its time, not
// before.
func TestSelftest(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2], func(t *testing.T) {
			t.Parallel()
			const every, length = 20 * time.Millisecond, time.Second
			read := make(chan struct{}, 1)
			r := start(t, func(o *options) {
				o.http2, o.stream.SelftestEvery, o.stream.SelftestLength = http2, every, length
				o.wrap = func(w http.ResponseWriter) http.ResponseWriter { return &stepwise{ResponseWriter: w, read: read} }
			})
			r.log.append(t, "a")
			began := time.Now()
			c := r.connectTo(t, selftest+"?wrapped")
			want := http.Header{
				"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-store, no-transform"},
				"X-Accel-Buffering": {"no"}, "X-Content-Type-Options": {"nosniff"},
			}
			got := c.response.Header.Clone()
			got.Del("Date")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			var last sse.Event
			numbers, before := 0, began.UnixMilli()
			for {
				event, more := c.read(t)
				if !more {
					break
				}
				if time.Since(began) > length+patience {
					t.Fatal("it goes on and on")
				}
				if last = event; event.Type != "hub.selftest" {
					continue
				}
				numbers++
				var said struct{ Number, Sent, Interval int64 }
				if err := json.Unmarshal([]byte(event.Data), &said); err != nil || event.LastEventID != "" {
					t.Fatalf("%+v: %v", event, err)
				}
				if said.Number != int64(numbers) || said.Interval != every.Milliseconds() {
					t.Fatalf("frame %d of every %s: %+v", numbers, every, said)
				}
				if said.Sent < before || said.Sent > time.Now().UnixMilli() {
					t.Fatalf("frame %d was made at %d; the one before was read at %d, and it is %d", numbers, said.Sent, before, time.Now().UnixMilli())
				}
				if numbers == 1 && r.metric(t, "stream_open", "") != 1 {
					t.Error("not counted")
				}
				before = time.Now().UnixMilli()
				read <- struct{}{}
			}
			if last.Type != "hub.bye" || data(t, last)["reason"] != "max_age" || time.Since(began) < length {
				t.Errorf("it ended after %s with %+v", time.Since(began), last)
			}
			if diff := cmp.Diff([]string{"hub.bye"}, strings.Fields(strings.ReplaceAll(strings.Join(c.names(), " "), "hub.selftest", ""))); diff != "" || numbers < 5 {
				t.Errorf("%d frames, and beside them: %s", numbers, diff)
			}
			r.becomes(t, "stream_ended_total", "max_age", 1)
			if n := r.metric(t, "stream_frames_total", ""); n != float64(numbers+1) {
				t.Errorf("%v frames counted, %d came", n, numbers+1)
			}
			if n := r.metric(t, "stream_messages_total", ""); n != 0 {
				t.Errorf("%v of them counted as messages", n)
			}
		})
	}
}

// A stepwise response writes a frame of a self-test once the one before has been read.
type stepwise struct {
	http.ResponseWriter
	read  <-chan struct{}
	began bool
}

func (w *stepwise) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *stepwise) Write(b []byte) (int, error) {
	if bytes.Contains(b, []byte("hub.selftest")) {
		if w.began {
			select {
			case <-w.read:
			case <-time.After(patience):
				return 0, os.ErrDeadlineExceeded
			}
		}
		w.began = true
	}
	return w.ResponseWriter.Write(b)
}

// The first frame comes at once, whatever the interval is.
func TestSelftest_First(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *options) { o.stream.SelftestEvery = time.Hour })
	r.connectTo(t, selftest).until(t, "hub.selftest")
}

// It is admitted as a stream is, but for the number of channels, which it does not read.
func TestSelftest_Admitted(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	var asked []string
	r.rule(func(_ *http.Request, channels []string) (stream.Admission, error) {
		asked = channels
		a := r.admission([]string{"a", "b"})
		a.MaxChannels = 1
		return a, nil
	})
	c := r.connectTo(t, selftest+"?channel=a")
	c.until(t, "hub.selftest")
	if diff := cmp.Diff([]string{"a"}, asked); diff != "" {
		t.Errorf("the channels that were asked for are not judged: %s", diff)
	}
	c.close()
	r.becomes(t, "stream_ended_total", "gone", 1)
}

func TestSelftest_Refused(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	verdicts := map[string]error{}
	r.rule(func(request *http.Request, _ []string) (stream.Admission, error) {
		return r.admission(nil), verdicts[request.Header.Get("Verdict")]
	})
	limit := &hub.Error{Code: hub.LimitExceeded, Limit: "connections", Message: "too many", RetryAfter: 7 * time.Second}
	tests := []struct {
		name, path string
		err        error
		header     []string
		status     int
		code       string
		bye        string // the reason for which it ends at once
	}{
		{"no credential", selftest, hub.Errorf(hub.Unauthenticated, "no credential"), nil, 401, "unauthenticated", ""},
		{"no grants", selftest, hub.Errorf(hub.NoGrants, "nothing is granted"), nil, 403, "no_grants", ""},
		{"no tenant", "/stream/nobody/selftest", nil, nil, 404, "not_found", ""},
		{"half a query", selftest + "?a=%zz", nil, nil, 400, "malformed_request", ""},
		{"half a query and no credential", selftest + "?a=%zz", hub.Errorf(hub.Unauthenticated, "no credential"), nil, 401, "unauthenticated", ""},
		{"limit", selftest, limit, nil, 200, "", "limit"},
		{"limit, to one who names itself", selftest, limit, []string{"Tributary-Client", "selftest"}, 429, "limit_exceeded", ""},
		{"unavailable", selftest, hub.Errorf(hub.Unavailable, "away"), nil, 200, "", "unavailable"},
		{"unavailable, to one who names itself", selftest, hub.Errorf(hub.Unavailable, "away"), []string{"Tributary-Client", "selftest"}, 503, "unavailable", ""},
	}
	for _, tt := range tests {
		verdicts[tt.name] = tt.err
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			header := append([]string{"Verdict", tt.name}, tt.header...)
			if tt.bye != "" {
				r.connectTo(t, tt.path, header...).ends(t, tt.bye)
				return
			}
			response, _ := r.getAt(t, tt.path, header...)
			var problem struct{ Code string }
			if err := json.NewDecoder(response.Body).Decode(&problem); err != nil || response.StatusCode != tt.status || problem.Code != tt.code {
				t.Errorf("status %d, %+v, %v", response.StatusCode, problem, err)
			}
			if r.metric(t, "stream_refused_total", tt.code) == 0 {
				t.Error("not counted")
			}
		})
	}
	t.Run("another method", func(t *testing.T) {
		t.Parallel()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.server.URL+selftest, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := r.server.Client().Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != "GET" {
			t.Errorf("status %d, Allow %q", response.StatusCode, response.Header.Get("Allow"))
		}
	})
}

// What ends a stream ends a self-test: its credential's time, its credential's revocation, the node's stop.
func TestSelftest_Ends(t *testing.T) {
	t.Parallel()
	for _, reason := range []string{"expired", "closed", "drain"} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			r := start(t, func(o *options) { o.stream.SelftestEvery, o.stream.SelftestLength = 10*time.Millisecond, time.Hour })
			changed := make(chan struct{})
			r.rule(func(_ *http.Request, channels []string) (stream.Admission, error) {
				a := r.admission(channels)
				if reason == "expired" {
					a.Expires = time.Now().Add(400 * time.Millisecond)
				}
				a.Changed = changed
				a.Recheck = func(context.Context) (<-chan struct{}, error) {
					return nil, hub.Errorf(hub.Unauthenticated, "the key was revoked")
				}
				return a, nil
			})
			c := r.connectTo(t, selftest)
			c.until(t, "hub.selftest")
			switch reason {
			case "closed":
				close(changed)
			case "drain":
				if err := r.handler.Stop(t.Context()); err != nil {
					t.Fatal(err)
				}
				r.connectTo(t, selftest).ends(t, "unavailable")
			}
			c.ends(t, reason)
			r.becomes(t, "stream_ended_total", reason, 1)
		})
	}
}

// A client that takes nothing is not waited for beyond the test's time, however long a write may take elsewhere.
func TestSelftest_TakesNothing(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *options) {
		o.stream.SelftestEvery, o.stream.SelftestLength, o.stream.WriteTimeout = 10*time.Millisecond, 200*time.Millisecond, time.Hour
		o.wrap = func(w http.ResponseWriter) http.ResponseWriter {
			return &clogged{ResponseWriter: w, stuck: make(chan struct{}), moved: make(chan struct{})}
		}
	})
	_, _ = r.getAt(t, selftest+"?wrapped")
	r.becomes(t, "stream_ended_total", "gone", 1)
	r.becomes(t, "stream_open", "", 0)
	if n := r.metric(t, "stream_frames_total", ""); n != 1 {
		t.Errorf("%v frames were written", n)
	}
}
