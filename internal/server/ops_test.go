package server_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/server"
)

func TestOps_Health(t *testing.T) {
	t.Parallel()
	good := server.Check{Name: "migrations", Run: func(context.Context) error { return nil }}
	told := server.Check{Name: "draining", Run: func(context.Context) error { return hub.Errorf(hub.Unavailable, "stopping") }}
	hidden := server.Check{Name: "database", Run: func(context.Context) error { return errors.New("dial 10.0.0.1: refused") }}
	tests := []struct {
		name, path string
		checks     []server.Check
		status     int
		body       string
	}{
		{"ready", "/healthz/ready", []server.Check{good}, 200, `{"status":"ready"}` + "\n"},
		{"nothing to ask", "/healthz/ready", nil, 200, `{"status":"ready"}` + "\n"},
		{
			"not ready", "/healthz/ready",
			[]server.Check{good, told, hidden},
			503, `{"status":"not_ready","checks":[{"name":"draining","error":"stopping"},{"name":"database","error":"failed; the log has the rest"}]}` + "\n",
		},
		{"live although not ready", "/healthz/live", []server.Check{told}, 200, "ok\n"},
		{"public, ready", "/healthz", []server.Check{good}, 200, ""},
		{"public, not ready", "/healthz", []server.Check{good, hidden}, 503, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			mux := server.NewOps(server.OpsOptions{Checks: tt.checks, Gatherer: prometheus.NewRegistry()})
			mux.Handle("GET /healthz", server.Healthz(tt.checks)) // of the other port, tried on this one
			s := start(t, mux, nil)
			res, body := s.get(t, tt.path)
			if res.StatusCode != tt.status || body != tt.body || res.Header.Get("Cache-Control") != "no-store" {
				t.Errorf("%d %q %v", res.StatusCode, body, res.Header)
			}
			s.stop(t)
			if failed := tt.status == 503 && tt.path != "/healthz"; failed != strings.Contains(s.log.String(), `"level":"WARN"`) {
				t.Errorf("logged %s", s.log)
			}
			if len(tt.checks) > 1 && tt.status == 503 && !strings.Contains(s.log.String(), "database: dial 10.0.0.1: refused") {
				t.Errorf("the log does not have the rest: %s", s.log)
			}
		})
	}
}

// A crowd of probes costs one run at a time.
func TestOps_ProbesShareARun(t *testing.T) {
	t.Parallel()
	const crowd = 8
	var running, most atomic.Int32
	s := start(t, server.NewOps(server.OpsOptions{Gatherer: prometheus.NewRegistry(), Checks: []server.Check{{
		Name: "counted",
		Run: func(ctx context.Context) error {
			defer running.Add(-1)
			if n := running.Add(1); n > most.Load() {
				most.Store(n)
			}
			if _, ok := ctx.Deadline(); !ok {
				t.Error("a run without a deadline")
			}
			runtime.Gosched()
			return nil
		},
	}}}), nil)
	var wg sync.WaitGroup
	for range crowd {
		wg.Go(func() {
			for range 5 {
				if res, body := s.get(t, "/healthz/ready"); res.StatusCode != 200 {
					t.Errorf("%d %q", res.StatusCode, body)
				}
			}
		})
	}
	wg.Wait()
	if most.Load() != 1 {
		t.Errorf("%d runs at a time", most.Load())
	}
}

// A run serves all who wait for it, so it must not fail because the first of them went away.
func TestOps_FirstProbeLeaves(t *testing.T) {
	t.Parallel()
	mux := server.NewOps(server.OpsOptions{Gatherer: prometheus.NewRegistry(), Checks: []server.Check{{
		Name: "patient",
		Run:  func(ctx context.Context) error { return ctx.Err() },
	}}})
	ctx, leave := context.WithCancel(t.Context())
	leave()
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/healthz/ready", nil))
	if w.Code != http.StatusOK {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

func TestOps_Metrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	counter := prometheus.NewCounter(prometheus.CounterOpts{Name: "tributary_things_total", Help: "Things."})
	registry.MustRegister(counter)
	counter.Add(3)
	s := start(t, server.NewOps(server.OpsOptions{Gatherer: registry}), nil)
	if res, body := s.get(t, "/metrics"); res.StatusCode != 200 || !strings.Contains(body, "tributary_things_total 3") {
		t.Errorf("%d %q", res.StatusCode, body)
	}
}

func TestOps_ProfilesStayHere(t *testing.T) {
	t.Parallel()
	mux := server.NewOps(server.OpsOptions{Gatherer: prometheus.NewRegistry()})
	tests := []struct {
		name, remote, host string
		header             http.Header
		status             int
	}{
		{"loopback", "127.0.0.1:9", "localhost:9090", nil, 200},
		{"loopback by IPv6", "[::1]:9", "[::1]:9090", nil, 200},
		{"another machine", "10.0.0.7:9", "localhost:9090", nil, 404},
		{"another machine that claims to be here", "10.0.0.7:9", "127.0.0.1", http.Header{"X-Forwarded-For": {"127.0.0.1"}}, 404},
		{"through one that says so otherwise", "127.0.0.1:9", "localhost", http.Header{"X-Real-Ip": {"10.0.0.7"}}, 404},
		{"through one that only says that it is one", "127.0.0.1:9", "localhost", http.Header{"Via": {"1.1 proxy"}}, 404},
		{"through a proxy on this machine", "127.0.0.1:9", "localhost", http.Header{"X-Forwarded-For": {"10.0.0.7"}}, 404},
		{"through one that says so in the newer way", "127.0.0.1:9", "localhost", http.Header{"Forwarded": {"for=10.0.0.7"}}, 404},
		{"a page that rebinds its name", "127.0.0.1:9", "evil.example:9090", nil, 404},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, path := range []string{"/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/goroutine", "/debug/pprof/symbol"} {
				r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
				r.RemoteAddr, r.Host = tt.remote, tt.host
				maps.Copy(r.Header, tt.header)
				w := httptest.NewRecorder()
				mux.ServeHTTP(w, r)
				if w.Code != tt.status {
					t.Errorf("%s: status %d, want %d", path, w.Code, tt.status)
				}
			}
		})
	}

	t.Run("over a real connection", func(t *testing.T) {
		t.Parallel()
		s := start(t, mux, nil)
		if res, body := s.get(t, "/debug/pprof/goroutine?debug=1"); res.StatusCode != 200 || !strings.Contains(body, "goroutine profile") {
			t.Errorf("%d %.80q", res.StatusCode, body)
		}
	})
}
