package server_test

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
)

// The canary is put wherever a request can carry a secret. No log may have it.
const canary = "c4n4ry"

func TestAccessRecord(t *testing.T) {
	t.Parallel()
	away := errors.New("dial: refused")
	mux := http.NewServeMux()
	mux.HandleFunc("POST /in/{token}", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("taken")) })
	mux.HandleFunc("GET /v1/things/{id}", func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, r, hub.Errorf(hub.NotFound, "no such thing"))
	})
	mux.HandleFunc("GET /fault", func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, r, fmt.Errorf("read thing: %w", away))
	})
	mux.HandleFunc("GET /busy", func(w http.ResponseWriter, r *http.Request) {
		problem.Write(w, r, hub.Errorf(hub.Unavailable, "the queue is full"))
	})
	mux.HandleFunc("GET /panic", func(_ http.ResponseWriter, r *http.Request) { panic("bad " + r.URL.RawQuery) })
	mux.HandleFunc("GET /index", func(w http.ResponseWriter, r *http.Request) {
		_ = r.URL.Path[len(r.URL.Path)+len(r.Header)]
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /silent", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /healthz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /hint", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusAccepted)
	})

	tests := []struct {
		name, method, path string
		want               map[string]any
	}{
		{"webhook", "POST", "/in/" + canary, map[string]any{"level": "INFO", "route": "POST /in/{token}", "status": 200.0, "bytes": 5.0}},
		{"nothing there", "GET", "/" + canary, map[string]any{"level": "INFO", "route": "", "status": 404.0, "code": "not_found"}},
		{"wrong method", "PUT", "/in/" + canary, map[string]any{"level": "INFO", "route": "", "status": 405.0, "code": "method_not_allowed"}},
		{"made-up method", canary, "/silent", map[string]any{"level": "INFO", "route": "", "method": "other", "status": 405.0, "code": "method_not_allowed"}},
		{"object not found", "GET", "/v1/things/" + canary, map[string]any{"level": "INFO", "route": "GET /v1/things/{id}", "status": 404.0, "code": "not_found"}},
		{"our fault", "GET", "/fault", map[string]any{"level": "ERROR", "route": "GET /fault", "status": 500.0, "code": "internal", "error": "read thing: dial: refused"}},
		{"a passing fault", "GET", "/busy", map[string]any{"level": "INFO", "route": "GET /busy", "status": 503.0, "code": "unavailable", "error": "unavailable: the queue is full"}},
		{"panic with a text", "GET", "/panic", map[string]any{"level": "ERROR", "route": "GET /panic", "status": 500.0, "code": "internal", "error": "handler panicked: string", "panic": "string"}},
		{"nothing written", "GET", "/silent", map[string]any{"level": "INFO", "route": "GET /silent", "status": 200.0, "bytes": 0.0}},
		{"probe", "GET", "/healthz", map[string]any{"level": "DEBUG", "route": "GET /healthz", "status": 200.0, "bytes": 0.0}},
		{"status after a hint", "GET", "/hint", map[string]any{"level": "INFO", "route": "GET /hint", "status": 202.0, "bytes": 0.0}},
		{"path to be cleaned", "GET", "//x/../" + canary, map[string]any{"level": "INFO", "route": "", "status": 307.0}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, mux, nil)
			req := s.request(t, tt.method, tt.path+"?ticket="+canary, nil)
			for _, name := range []string{"Authorization", "Cookie", "Referer", "User-Agent", "Last-Event-Id", "X-Forwarded-For", "X-Request-Id"} {
				req.Header.Set(name, "/"+canary)
			}
			req.Host = canary + ".example"
			res, _ := s.do(t, req)
			s.stop(t)

			records := s.log.records(t)
			if len(records) != 1 {
				t.Fatalf("%d records: %s", len(records), s.log)
			}
			got := records[0]
			stack, _ := got["stack"].(string)
			if _, panicked := tt.want["panic"]; panicked != strings.Contains(stack, "access_test.go") {
				t.Errorf("stack %q", stack)
			}
			delete(got, "stack")
			want := map[string]any{"server": "test", "method": tt.method, "client": "127.0.0.1", "request_id": res.Header.Get("X-Request-Id")}
			if _, counted := tt.want["bytes"]; !counted {
				want["bytes"] = got["bytes"]
			}
			maps.Copy(want, tt.want)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(s.log.String(), canary) {
				t.Errorf("the log has the canary: %s", s.log)
			}
		})
	}

	t.Run("panic of the runtime keeps its text", func(t *testing.T) {
		t.Parallel()
		s := start(t, mux, nil)
		s.get(t, "/index")
		s.stop(t)
		if got := s.log.records(t)[0]["panic"]; !strings.Contains(fmt.Sprint(got), "index out of range") {
			t.Errorf("panic %v", got)
		}
	})
}
