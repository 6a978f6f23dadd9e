package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/pprof"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/singleflight"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
)

// OpsOptions of the operator's port.
type OpsOptions struct {
	Checks   []Check               // what must hold for the process to be ready
	Gatherer prometheus.Gatherer   // required: what /metrics shows
	Metrics  prometheus.Registerer // takes what the checks say; default: shown by readiness alone
}

// A Check is one thing that readiness asks. It must be cheap, and give up when ctx is done. What it says in a
// hub.Error is shown to whoever asked; any other error goes to the log alone.
type Check struct {
	Name string
	Run  func(ctx context.Context) error
}

// checkTime bounds all checks of one probe together.
const checkTime = 2 * time.Second

// NewOps makes the mux of the operator's port: /healthz/live, /healthz/ready, /metrics and /debug/pprof/.
func NewOps(o OpsOptions) *http.ServeMux {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz/live", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write([]byte("ok\n"))
	})
	ready := newReadiness(o.Checks)
	if o.Metrics != nil {
		o.Metrics.MustRegister(newCheckCollector(ready))
	}
	mux.Handle("GET /healthz/ready", ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(o.Gatherer, promhttp.HandlerOpts{}))
	mux.Handle("GET /debug/pprof/", loopbackOnly(pprof.Index))
	mux.Handle("GET /debug/pprof/cmdline", loopbackOnly(pprof.Cmdline))
	mux.Handle("GET /debug/pprof/profile", loopbackOnly(pprof.Profile))
	mux.Handle("GET /debug/pprof/symbol", loopbackOnly(pprof.Symbol))
	mux.Handle("POST /debug/pprof/symbol", loopbackOnly(pprof.Symbol))
	mux.Handle("GET /debug/pprof/trace", loopbackOnly(pprof.Trace))
	return mux
}

// Healthz is /healthz of the public port: 200 or 503 and nothing else, by the same checks.
func Healthz(checks []Check) http.Handler {
	ready := newReadiness(checks)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		if len(ready.failures(r.Context())) > 0 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
}

// readiness runs the checks. Probes that come while a run is under way share its result, so that strangers who ask
// in crowds cost one run at a time.
type readiness struct {
	checks []Check
	flight singleflight.Group
}

func newReadiness(checks []Check) *readiness { return &readiness{checks: slices.Clone(checks)} }

// A failure is one check that did not hold.
type failure struct {
	Name  string `json:"name"`
	Error string `json:"error"`
	cause error
}

func (h *readiness) failures(ctx context.Context) []failure {
	result, _, _ := h.flight.Do("", func() (any, error) {
		// The run is not only the first caller's: it must not fail because that one went away.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTime)
		defer cancel()
		var failed []failure
		for _, c := range h.checks {
			if err := c.Run(ctx); err != nil {
				failed = append(failed, failure{Name: c.Name, Error: shown(err), cause: err})
			}
		}
		return failed, nil
	})
	failed := result.([]failure)
	if len(failed) > 0 {
		problem.Note(ctx, unready(failed))
	}
	return failed
}

// ServeHTTP answers {"status":"ready"}, or 503 and {"status":"not_ready","checks":[{"name","error"}]} of the checks
// that failed.
func (h *readiness) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	answer := struct {
		Status string    `json:"status"`
		Checks []failure `json:"checks,omitempty"`
	}{Status: "ready", Checks: h.failures(r.Context())}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	if len(answer.Checks) > 0 {
		answer.Status = "not_ready"
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	_ = json.NewEncoder(w).Encode(answer) // nobody is left to be told
}

func shown(err error) string {
	if e, ok := errors.AsType[*hub.Error](err); ok && e.Code != hub.Internal {
		return e.Message
	}
	return "failed; the log has the rest"
}

func unready(failed []failure) error {
	var all []error
	for _, f := range failed {
		all = append(all, fmt.Errorf("%s: %w", f.Name, f.cause))
	}
	return errors.Join(all...)
}

// proxiesWrite are the headers by which a proxy is known, one of which most write.
var proxiesWrite = []string{"X-Forwarded-For", "Forwarded", "X-Real-Ip", "Via", "X-Forwarded-Proto", "X-Forwarded-Host"}

// loopbackOnly serves clients on this machine alone: profiles show what is in memory. Neither a proxy on this machine
// passes for one, nor a page that rebinds its name.
func loopbackOnly(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		addr, ok := parseAddr(r.RemoteAddr)
		forwarded := slices.ContainsFunc(proxiesWrite, func(name string) bool { return r.Header.Get(name) != "" })
		if !ok || !addr.IsLoopback() || forwarded || !slices.Contains(loopbackHosts, hostName(r.Host)) {
			problem.Write(w, r, hub.Errorf(hub.NotFound, "nothing is served at this path"))
			return
		}
		next(w, r)
	})
}
