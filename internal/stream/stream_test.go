package stream_test

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
	"github.com/tributary-hub/tributary/internal/stream"
)

func TestStream(t *testing.T) {
	t.Parallel()
	for _, http2 := range []bool{false, true} {
		t.Run(map[bool]string{false: "HTTP/1.1", true: "HTTP/2"}[http2], func(t *testing.T) {
			t.Parallel()
			r := start(t, func(o *options) { o.http2 = http2 })
			r.log.append(t, "a", "b")
			expires := time.Now().Add(time.Hour).Truncate(time.Second)
			r.rule(func(_ *http.Request, channels []string) (stream.Admission, error) {
				a := r.admission(channels)
				a.Expires = expires
				return a, nil
			})
			c := r.connect(t, channels("a", "c:*"))
			want := http.Header{
				"Content-Type": {"text/event-stream"}, "Cache-Control": {"no-store, no-transform"},
				"X-Accel-Buffering": {"no"}, "X-Content-Type-Options": {"nosniff"},
			}
			got := c.response.Header.Clone()
			got.Del("Date")
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			ready := c.until(t, "hub.ready")
			fields := data(t, ready)
			if id, _ := fields["connection"].(string); !strings.HasPrefix(id, "con_") {
				t.Errorf("connection %v", fields["connection"])
			}
			delete(fields, "connection")
			wantFields := map[string]any{
				"identity": "somebody", "channels": []any{"a", "c:*"}, "position": 2.0, "expires_at": expires.UTC().Format(time.RFC3339),
			}
			if diff := cmp.Diff(wantFields, fields); diff != "" || ready.LastEventID != r.cursor(t, 2) {
				t.Errorf("id %s, %s", ready.LastEventID, diff)
			}
			if live := c.until(t, "hub.live"); live.LastEventID != r.cursor(t, 2) {
				t.Errorf("live at %s", live.LastEventID)
			}
			r.log.append(t, "b", "a", "c", "c:1")
			first, second := c.until(t, "test"), c.until(t, "test")
			if first.LastEventID != r.cursor(t, 4) || first.Data != `{"nth":4,"pad":"x"}` || second.LastEventID != r.cursor(t, 6) {
				t.Errorf("got %+v and %+v", first, second)
			}
			if r.metric(t, "stream_open", "") != 1 {
				t.Error("not counted")
			}
			c.close()
			r.becomes(t, "stream_open", "", 0)
			r.becomes(t, "stream_ended_total", "gone", 1)
			r.becomes(t, "feed_subscribers", "", 0)
		})
	}
}

func TestStream_Envelope(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.log.append(t, "a")
	c := r.connect(t, channels("a")+"&last=1&envelope=1")
	event := c.until(t, "")
	item := data(t, event)
	if item["channel"] != "a" || item["type"] != "test" || item["position"] != 1.0 || event.LastEventID != r.cursor(t, 1) {
		t.Errorf("item %v", item)
	}
	c.until(t, "hub.live")
}

func TestStream_Starts(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.log.append(t, "a", "b", "a", "b", "a")
	moment := time.Now()
	r.log.append(t, "a", "a")
	tests := []struct {
		name, query, header string
		want                []hub.Position
	}{
		{"now", "", "", nil},
		{"header", "", r.cursor(t, 3), []hub.Position{5, 6, 7}},
		{"header wins", "last_event_id=" + r.cursor(t, 1) + "&last=1&since=earliest", r.cursor(t, 5), []hub.Position{6, 7}},
		{"query", "last_event_id=" + r.cursor(t, 1) + "&last=1", "", []hub.Position{3, 5, 6, 7}},
		{"an empty one does not count", "last_event_id=&last=2", "", []hub.Position{6, 7}},
		{"last wins over since", "last=1&since=earliest", "", []hub.Position{7}},
		{"last of none", "last=0", "", nil},
		{"earliest", "since=earliest", "", []hub.Position{1, 3, 5, 6, 7}},
		{"since a time", "since=" + moment.UTC().Format("2006-01-02T15:04:05.999999Z"), "", []hub.Position{6, 7}},
		{"since a time in a zone, not escaped", "since=" + moment.In(time.FixedZone("", 7200)).Format("2006-01-02T15:04:05.999999Z07:00"), "", []hub.Position{6, 7}},
		{"since Go's zero time", "since=0001-01-01T00:00:00Z", "", []hub.Position{1, 3, 5, 6, 7}},
		{"since before it", "since=0000-01-01T00:00:00Z", "", []hub.Position{1, 3, 5, 6, 7}},
		{"since minutes ago", "since=-10m", "", []hub.Position{1, 3, 5, 6, 7}},
		{"since days ago", "since=-7d", "", []hub.Position{1, 3, 5, 6, 7}},
		{"since this moment", "since=-0s", "", nil},
		{"what is not used is not checked", "since=what&last=1", "", []hub.Position{7}},
		{"unknown parameters", "utm_source=x&last=1&zz", "", []hub.Position{7}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c := r.connect(t, channels("a")+"&"+tt.query, "Last-Event-ID", tt.header)
			c.until(t, "hub.live")
			if diff := cmp.Diff(tt.want, c.positions(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestStream_Resets(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.log.append(t, "a", "a", "a")
	r.db.Exec(t, `UPDATE tributary.log_days SET day = day - 1 WHERE tenant_id = $1`, r.log.tenant)
	r.db.Exec(t, `INSERT INTO tributary.log_days SELECT tenant_id, position, at::date, at FROM tributary.messages WHERE tenant_id = $1 AND position = 3`, r.log.tenant)
	r.rule(func(_ *http.Request, channels []string) (stream.Admission, error) {
		a := r.admission(channels)
		a.Oldest = time.Now
		return a, nil
	})
	for reason, tt := range map[string]struct {
		cursor   string
		position hub.Position
		want     []hub.Position
	}{
		"retention": {r.cursor(t, 1), 2, []hub.Position{3}},
		"epoch":     {"ffffffff-2", 3, nil},
		"future":    {r.cursor(t, 4), 3, nil},
		"malformed": {"<script>\u00e9", 3, nil},
	} {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			c := r.connect(t, channels("a"), "Last-Event-ID", tt.cursor)
			ready := c.until(t, "hub.ready")
			if ready.LastEventID != "" || data(t, ready)["position"] != 3.0 {
				t.Errorf("hub.ready has id %q and %v", ready.LastEventID, data(t, ready))
			}
			reset := c.until(t, "hub.reset")
			want := map[string]any{"reason": reason, "requested": tt.cursor, "position": float64(tt.position)}
			if diff := cmp.Diff(want, data(t, reset)); diff != "" || reset.LastEventID != r.cursor(t, tt.position) {
				t.Error(reset.LastEventID, diff)
			}
			c.until(t, "hub.live")
			if diff := cmp.Diff(tt.want, c.positions(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Who has no credential hears of that first, also by a query that cannot be read.
func TestStream_MalformedQuery(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.rule(func(request *http.Request, _ []string) (stream.Admission, error) {
		if request.Header.Get("Authorization") == "" {
			return stream.Admission{}, hub.Errorf(hub.Unauthenticated, "no credential")
		}
		return r.admission([]string{"a"}), nil
	})
	if response, _ := r.get(t, "channel=a&last=%zz"); response.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a credential: status %d", response.StatusCode)
	}
	if response, _ := r.get(t, "channel=a&last=%zz", "Authorization", "Bearer x"); response.StatusCode != http.StatusBadRequest {
		t.Errorf("with a credential: status %d", response.StatusCode)
	}
}

// What streams take is in the tenant's usage: messages and no other frames, and how many were open at once.
func TestStream_Usage(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	r.log.append(t, "a", "b", "a", "b")
	both, one := r.connect(t, channels("a", "b")+"&since=earliest"), r.connect(t, channels("b"))
	both.until(t, "hub.live")
	one.until(t, "hub.live")
	r.log.append(t, "a", "b")
	both.until(t, "test")
	both.until(t, "test")
	one.until(t, "test")
	both.close()
	one.close()
	r.becomes(t, "stream_open", "", 0)
	third := r.connect(t, channels("a"))
	third.until(t, "hub.live")
	if err := r.meter.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	type used struct{ Delivered, Peak int }
	got := used{
		storetest.Value[int](t, r.db, `SELECT sum(delivered) FROM tributary.usage WHERE tenant_id = $1`, r.log.tenant),
		storetest.Value[int](t, r.db, `SELECT max(connections_peak) FROM tributary.usage WHERE tenant_id = $1`, r.log.tenant),
	}
	if diff := cmp.Diff(used{Delivered: 7, Peak: 2}, got); diff != "" {
		t.Error(diff)
	}
}

// Heartbeats move the cursor over other channels' messages.
func TestStream_Ping(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *options) { o.stream.Ping = 5 * time.Millisecond })
	c := r.connect(t, channels("a"))
	c.until(t, "hub.live")
	r.log.append(t, "b", "b", "b")
	for {
		ping := c.until(t, "hub.ping")
		sent, err := time.Parse(time.RFC3339, data(t, ping)["time"].(string))
		if err != nil || time.Since(sent).Abs() > time.Minute {
			t.Fatalf("ping at %v, %v", sent, err)
		}
		if position(t, ping.LastEventID) == 3 {
			break
		}
	}
}

func TestStream_Refusals(t *testing.T) {
	t.Parallel()
	r := start(t, nil)
	verdicts := map[string]error{} // by channel
	r.rule(func(_ *http.Request, channels []string) (stream.Admission, error) {
		return r.admission(channels), verdicts[channels[0]]
	})
	limit := &hub.Error{Code: hub.LimitExceeded, Limit: "connections", Message: "too many", RetryAfter: 7 * time.Second}
	tests := []struct {
		name   string
		err    error
		header []string
		status int
		code   string // of the problem
		reason string // of hub.bye
	}{
		{"no credential", hub.Errorf(hub.Unauthenticated, "no credential"), nil, 401, "unauthenticated", ""},
		{"no grants", hub.Errorf(hub.NoGrants, "nothing is granted"), nil, 403, "no_grants", ""},
		{"channel not granted", hub.Errorf(hub.ChannelNotGranted, "channel b"), nil, 403, "channel_not_granted", ""},
		{"suspended", hub.Errorf(hub.TenantSuspended, "suspended"), nil, 403, "tenant_suspended", ""},
		{"no tenant", hub.Errorf(hub.NotFound, "no such tenant"), nil, 404, "not_found", ""},
		{"limit", limit, nil, 200, "", "limit"},
		{"limit, to one who asks for JSON", limit, []string{"Accept", "text/event-stream, application/json"}, 429, "limit_exceeded", ""},
		{"limit, to one who names itself", limit, []string{"Tributary-Client", "js/1"}, 429, "limit_exceeded", ""},
		{"unavailable", hub.Errorf(hub.Unavailable, "away"), nil, 200, "", "unavailable"},
		{"unavailable, to one who names itself", hub.Errorf(hub.Unavailable, "away"), []string{"Tributary-Client", "js/1"}, 503, "unavailable", ""},
		{"a key that cannot be fetched", hub.Errorf(hub.KeyUnavailable, "the issuer does not answer"), nil, 200, "", "unavailable"},
		{"a fault of ours", http.ErrBodyNotAllowed, nil, 500, "internal", ""},
	}
	for _, tt := range tests {
		verdicts[tt.name] = tt.err
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			response, _ := r.get(t, channels(tt.name), tt.header...)
			if response.StatusCode != tt.status {
				t.Errorf("status %d, want %d", response.StatusCode, tt.status)
			}
			body, err := io.ReadAll(response.Body) // ends by itself
			if err != nil {
				t.Fatal(err)
			}
			if tt.reason != "" {
				bye := regexp.MustCompile(`^event: hub\.bye\nretry: (\d+)\ndata: {"reason":"` + tt.reason + `"}\n\n$`).FindSubmatch(body)
				if bye == nil {
					t.Fatalf("body %q", body)
				}
				if retry, _ := strconv.Atoi(string(bye[1])); retry < 2000 || tt.reason == "limit" && retry < 7000 {
					t.Errorf("come back after %d ms", retry)
				}
				return
			}
			var problem struct{ Code string }
			if err := json.Unmarshal(body, &problem); err != nil || problem.Code != tt.code {
				t.Errorf("problem %s, %v", body, err)
			}
			if r.metric(t, "stream_refused_total", tt.code) == 0 {
				t.Error("not counted")
			}
		})
	}

	t.Run("the request's form comes after the credential", func(t *testing.T) {
		t.Parallel()
		for _, query := range []string{"last=x", "last=-1", "last=101", "since=yesterday", "since=10m", "since=--10m", "since=-x", "since=-1.5d"} {
			response, _ := r.get(t, channels("a")+"&"+query, "Tributary-Client", "test")
			var problem struct{ Detail string }
			err := json.NewDecoder(response.Body).Decode(&problem)
			name, _, _ := strings.Cut(query, "=")
			if err != nil || response.StatusCode != http.StatusUnprocessableEntity || !strings.HasPrefix(problem.Detail, "query."+name+": ") {
				t.Errorf("%s: status %d, %q, %v", query, response.StatusCode, problem.Detail, err)
			}
		}
	})
	t.Run("too many channels", func(t *testing.T) {
		t.Parallel()
		response, _ := r.get(t, channels(slices.Repeat([]string{"a"}, 101)...), "Tributary-Client", "test")
		var problem struct{ Code, Limit string }
		if err := json.NewDecoder(response.Body).Decode(&problem); err != nil || problem.Limit != "channels_per_connection" || response.StatusCode != 429 {
			t.Errorf("status %d, %+v, %v", response.StatusCode, problem, err)
		}
		r.connect(t, channels(slices.Repeat([]string{"a"}, 100)...)).until(t, "hub.live")
	})
	t.Run("other methods", func(t *testing.T) {
		t.Parallel()
		for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions} {
			request, err := http.NewRequestWithContext(t.Context(), method, r.server.URL+"/stream/acme", nil)
			if err != nil {
				t.Fatal(err)
			}
			response, err := r.server.Client().Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != http.StatusMethodNotAllowed || response.Header.Get("Allow") != "GET" {
				t.Errorf("%s: status %d, Allow %q", method, response.StatusCode, response.Header.Get("Allow"))
			}
		}
	})
}
