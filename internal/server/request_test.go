package server_test

import (
	"bufio"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/problem"
)

func TestRequestID(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, problem.RequestID(r.Context())) })
	s := start(t, mux, nil)
	own := regexp.MustCompile(`^req_[0-9a-f-]{36}$`)
	tests := []struct {
		name  string
		given []string
		kept  bool
	}{
		{"none", nil, false},
		{"good", []string{"A-z.0_9"}, true},
		{"longest", []string{strings.Repeat("x", 64)}, true},
		{"too long", []string{strings.Repeat("x", 65)}, false},
		{"empty", []string{""}, false},
		{"space", []string{"a b"}, false},
		{"not ASCII", []string{"é"}, false},
		{"quotes", []string{`a"b`}, false},
		{"two", []string{"a", "b"}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := s.request(t, http.MethodGet, "/", nil)
			req.Header["X-Request-Id"] = tt.given
			res, body := s.do(t, req)
			id := res.Header.Get("X-Request-Id")
			if body != id || tt.kept && id != tt.given[0] || !tt.kept && !own.MatchString(id) {
				t.Errorf("given %q: header %q, context %q", tt.given, id, body)
			}
		})
	}
}

func TestNotServed(t *testing.T) {
	t.Parallel()
	inner := http.NewServeMux()
	inner.HandleFunc("GET /v1/things/{id}", func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.PathValue("id")) })
	mux := http.NewServeMux()
	mux.Handle("/v1/", inner)
	mux.HandleFunc("POST /in/{token}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /in/{token}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /plain", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "mine", http.StatusNotFound) })
	mux.HandleFunc("/any", func(http.ResponseWriter, *http.Request) {})
	s := start(t, mux, nil)
	tests := []struct {
		name, method, path string
		status             int
		code, allow        string
	}{
		{"no such path", "GET", "/nope", 404, "not_found", ""},
		{"no such method", "DELETE", "/in/x", 405, "method_not_allowed", "GET, HEAD, POST"},
		{"no such path in a mux inside", "GET", "/v1/nope", 404, "not_found", ""},
		{"no such method in a mux inside", "POST", "/v1/things/1", 405, "method_not_allowed", "GET, HEAD"},
		{"root", "GET", "/", 404, "not_found", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			res, body := s.do(t, s.request(t, tt.method, tt.path, nil))
			wantProblem(t, res, body, tt.status, tt.code)
			if got := res.Header.Get("Allow"); got != tt.allow || !strings.Contains(body, tt.allow) {
				t.Errorf("Allow %q, want %q; %s", got, tt.allow, body)
			}
		})
	}
	t.Run("a mux inside serves", func(t *testing.T) {
		t.Parallel()
		if _, body := s.get(t, "/v1/things/7"); body != "7" {
			t.Errorf("body %q", body)
		}
	})
	t.Run("a handler's own 404 stays", func(t *testing.T) {
		t.Parallel()
		if res, body := s.get(t, "/plain"); body != "mine\n" || res.StatusCode != 404 {
			t.Errorf("%d %q", res.StatusCode, body)
		}
	})
	t.Run("a path to be cleaned is redirected", func(t *testing.T) {
		t.Parallel()
		if res, _ := s.get(t, "/v1//things/7"); res.StatusCode != http.StatusTemporaryRedirect || res.Header.Get("Location") != "/v1/things/7" {
			t.Errorf("%d %q", res.StatusCode, res.Header.Get("Location"))
		}
	})
	t.Run("CONNECT", func(t *testing.T) {
		t.Parallel()
		conn := dial(t, s)
		_, _ = io.WriteString(conn, "CONNECT /any HTTP/1.1\r\nHost: localhost\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || res.StatusCode != http.StatusMethodNotAllowed {
			t.Errorf("%+v, %v", res, err)
		}
	})
}

func TestPanic(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /before", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "2")
		panic(errors.New(canary))
	})
	mux.HandleFunc("GET /after", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(canary)
	})
	mux.HandleFunc("GET /abort", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })

	t.Run("before the answer", func(t *testing.T) {
		t.Parallel()
		s := start(t, mux, nil)
		res, body := s.get(t, "/before")
		wantProblem(t, res, body, 500, "internal")
		if strings.Contains(body, canary) {
			t.Errorf("body %q", body)
		}
	})
	t.Run("in the middle of the answer", func(t *testing.T) {
		t.Parallel()
		s := start(t, mux, nil)
		res, err := s.client.Do(s.request(t, http.MethodGet, "/after", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		if body, err := io.ReadAll(res.Body); err == nil {
			t.Errorf("half an answer %q passes for a whole one", body)
		}
		s.stop(t)
		record := s.log.records(t)[0]
		got := map[string]any{"level": record["level"], "aborted": record["aborted"], "panic": record["panic"]}
		if diff := cmp.Diff(map[string]any{"level": "ERROR", "aborted": true, "panic": "string"}, got); diff != "" || record["stack"] == nil {
			t.Errorf("record %v: %s", record, diff)
		}
		if strings.Contains(s.log.String(), canary) {
			t.Errorf("the log has the canary: %s", s.log)
		}
	})
	t.Run("abort", func(t *testing.T) {
		t.Parallel()
		s := start(t, mux, nil)
		if _, err := s.client.Do(s.request(t, http.MethodGet, "/abort", nil)); err == nil {
			t.Error("answered")
		}
		s.stop(t)
		want := map[string]any{"level": "INFO", "aborted": true, "stack": nil}
		record := s.log.records(t)[0]
		got := map[string]any{"level": record["level"], "aborted": record["aborted"], "stack": record["stack"]}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
