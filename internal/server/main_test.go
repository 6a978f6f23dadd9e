package server_test

import (
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tributary-hub/tributary/internal/logtest"
	"github.com/tributary-hub/tributary/internal/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A running server, its log, and a client that keeps nothing open.
type running struct {
	*server.Server
	url    string
	client *http.Client
	log    *logBuffer
}

// start serves mux on a free port until the test ends. change may be nil.
func start(t *testing.T, mux *http.ServeMux, change func(*server.Options)) *running {
	t.Helper()
	log := &logBuffer{}
	o := server.Options{
		Failed: make(chan error, 1),
		Name:   "test", Listen: "127.0.0.1:0", Mux: mux,
		Log: slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	if change != nil {
		change(&o)
	}
	s := server.New(o)
	if err := s.Listen(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	r := &running{Server: s, url: "http://" + s.Addr().String(), client: client, log: log}
	t.Cleanup(func() { r.stop(t) })
	return r
}

// stop waits for every record to be written.
func (r *running) stop(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 10*time.Second)
	defer cancel()
	if err := r.Stop(ctx); err != nil {
		t.Errorf("stop: %v", err)
	}
}

func (r *running) do(t *testing.T, req *http.Request) (*http.Response, string) {
	t.Helper()
	res, err := r.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

func (r *running) get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	return r.do(t, r.request(t, http.MethodGet, path, nil))
}

func (r *running) request(t *testing.T, method, path string, body io.Reader) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.url+path, body)
	if err != nil {
		t.Fatal(err)
	}
	return req
}

func dial(t *testing.T, s *running) net.Conn {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

type logBuffer struct{ logtest.Buffer }

// records are the access records, without what differs from run to run.
func (b *logBuffer) records(t *testing.T) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range strings.Lines(b.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		if record["msg"] != "request" {
			continue
		}
		if ms, ok := record["duration_ms"].(float64); !ok || ms < 0 {
			t.Errorf("duration %v", record["duration_ms"])
		}
		delete(record, "time")
		delete(record, "msg")
		delete(record, "duration_ms")
		all = append(all, record)
	}
	return all
}

type problemBody struct {
	Type      string `json:"type"`
	Status    int    `json:"status"`
	Code      string `json:"code"`
	RequestID string `json:"request_id"`
}

// wantProblem checks that an answer is a whole problem.
func wantProblem(t *testing.T, res *http.Response, body string, status int, code string) {
	t.Helper()
	var p problemBody
	if err := json.Unmarshal([]byte(body), &p); err != nil {
		t.Fatalf("%d %q: %v", res.StatusCode, body, err)
	}
	want := problemBody{"/docs/problems#" + code, status, code, res.Header.Get("X-Request-Id")}
	if p != want || res.StatusCode != status || res.Header.Get("Content-Type") != "application/problem+json" || p.RequestID == "" {
		t.Errorf("answered %d %s %+v, want %+v", res.StatusCode, res.Header.Get("Content-Type"), p, want)
	}
}
