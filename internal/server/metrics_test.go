package server_test

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/server"
)

// A request is counted by the pattern that served it, and by nothing that its client made up; what the checks of
// readiness say is shown to whoever scrapes.
func TestMetrics(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	ready := true
	ops := server.NewOps(server.OpsOptions{Gatherer: registry, Metrics: registry, Checks: []server.Check{
		{Name: "stands", Run: func(context.Context) error { return nil }},
		{Name: "falls", Run: func(context.Context) error {
			if ready {
				return nil
			}
			return hub.Errorf(hub.Unavailable, "it fell")
		}},
	}})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /things/{thing}", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/broken", func(http.ResponseWriter, *http.Request) { panic("broken") })
	mux.Handle("GET /metrics", ops)
	s := start(t, mux, func(o *server.Options) { o.Metrics = registry })
	for _, r := range []struct{ method, path string }{
		{"GET", "/things/1"},
		{"GET", "/things/2"},
		{"HEAD", "/things/3"},
		{"POST", "/things/4"},
		{"GET", "/nothing/5"},
		{"MADEUP", "/nothing/6"},
		{"GET", "/broken"},
	} {
		req, err := http.NewRequestWithContext(t.Context(), r.method, s.url+r.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = s.do(t, req)
	}
	_, body := s.get(t, "/metrics")
	for _, want := range []string{
		`tributary_http_requests_total{method="GET",route="/things/{thing}",server="test",status="2xx"} 2`,
		`tributary_http_requests_total{method="HEAD",route="/things/{thing}",server="test",status="2xx"} 1`,
		`tributary_http_requests_total{method="POST",route="none",server="test",status="4xx"} 1`,
		`tributary_http_requests_total{method="GET",route="none",server="test",status="4xx"} 1`,
		`tributary_http_requests_total{method="other",route="none",server="test",status="4xx"} 1`,
		`tributary_http_requests_total{method="GET",route="/broken",server="test",status="5xx"} 1`,
		`tributary_http_request_seconds_count{route="/things/{thing}",server="test"} 3`,
		`tributary_http_requests_in_flight{server="test"} 1`, // this one
		`tributary_http_certificate_expiry_timestamp_seconds{server="test"} NaN`,
		`tributary_check_passed{check="falls"} 1`,
		`tributary_ready 1`,
	} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	ready = false
	_, body = s.get(t, "/metrics")
	for _, want := range []string{`tributary_check_passed{check="falls"} 0`, `tributary_check_passed{check="stands"} 1`, `tributary_ready 0`} {
		if !strings.Contains(body, want+"\n") {
			t.Errorf("no %s", want)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
}
