package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/tributary-hub/tributary/internal/problem"
)

// access is what the log learns of a request. It has no place for its path, query, referer or any header's value:
// those carry endpoint tokens, tickets and credentials.
type access struct {
	began    time.Time
	route    string // the mux's pattern; "" where none fits
	method   string // as knownMethod has it
	client   netip.Addr
	problem  *problem.Record
	span     trace.Span // of the request; one that does nothing where it is not traced
	facts    Facts
	aborted  bool
	panicked string
	stack    string
}

// isProbe says whether the request is one that comes every few seconds and asks how we are.
func (a *access) isProbe() bool {
	return strings.Contains(a.route, "/healthz") || strings.Contains(a.route, "/metrics")
}

// pathOf is a mux's pattern without its method.
func pathOf(pattern string) string {
	if _, path, ok := strings.Cut(pattern, " "); ok {
		return path
	}
	return pattern
}

// endSpan ends the request's span with what came of it: ids, status and code.
func (a *access) endSpan(w *response) {
	if !a.span.IsRecording() {
		return
	}
	status := w.result()
	a.span.SetAttributes(append(attributes(a.facts.attrs()), attribute.Int("http.response.status_code", status))...)
	if err := a.problem.Err(); err != nil {
		a.span.SetAttributes(attribute.String("error.type", string(problem.CodeOf(err))))
	}
	if status >= 500 || a.aborted {
		a.span.SetStatus(codes.Error, "")
	}
	a.span.End()
}

// write leaves the one record of a request: faults of ours as errors, and probes that succeed only for whoever
// debugs. What passes is no more than told: while Postgres is away each webhook is answered 503, and what the reason
// is says once whoever met it.
func (s *Server) write(ctx context.Context, a *access, w *response) {
	level := slog.LevelInfo
	status := w.result()
	switch {
	case a.panicked != "", status >= 500 && status != http.StatusServiceUnavailable:
		level = slog.LevelError
	case a.isProbe() && status < 500:
		level = slog.LevelDebug
	case strings.Contains(a.route, "/healthz/ready"): // the operator's, every few seconds, and it says what is wrong
		level = slog.LevelWarn
	}
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 20)
	attrs = append(attrs,
		slog.String("route", a.route),
		slog.String("method", a.method),
		slog.Int("status", status),
		slog.Int64("bytes", w.bytes),
		slog.Float64("duration_ms", float64(time.Since(a.began).Microseconds())/1000),
		slog.String("request_id", a.problem.RequestID),
		slog.String("client", a.client.String()),
	)
	attrs = append(attrs, a.facts.attrs()...)
	if c := a.span.SpanContext(); c.IsSampled() {
		attrs = append(attrs, slog.String("trace_id", c.TraceID().String()))
	}
	if err := a.problem.Err(); err != nil {
		attrs = append(attrs, slog.String("code", string(problem.CodeOf(err))))
		if status >= 500 || level == slog.LevelError {
			attrs = append(attrs, slog.String("error", err.Error()))
		}
	}
	if a.aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	if a.panicked != "" {
		attrs = append(attrs, slog.String("panic", a.panicked), slog.String("stack", a.stack))
	}
	s.log.LogAttrs(ctx, level, "request", attrs...)
}

// knownMethod keeps words that a client made up out of the log.
func knownMethod(method string) string {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
		http.MethodConnect, http.MethodTrace:
		return method
	}
	return "other"
}

// A response watches what is answered. Unwrap lets a ResponseController reach the connection behind it.
type response struct {
	http.ResponseWriter
	status      int
	bytes       int64
	readBounded bool // a read deadline is set
}

func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) WriteHeader(status int) {
	if !w.began() && (status >= 200 || status == http.StatusSwitchingProtocols) {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if !w.began() {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(b)
	w.bytes += int64(n)
	return n, err
}

// FlushError sends what was written, which begins the answer if nothing did.
func (w *response) FlushError() error {
	if !w.began() {
		w.status = http.StatusOK
	}
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Flush is for handlers that know only http.Flusher.
func (w *response) Flush() { _ = w.FlushError() }

// SetReadDeadline notices that the request's body has a deadline.
func (w *response) SetReadDeadline(deadline time.Time) error {
	w.readBounded = !deadline.IsZero()
	return http.NewResponseController(w.ResponseWriter).SetReadDeadline(deadline)
}

func (w *response) began() bool { return w.status != 0 }

// result is the status that was, or is about to be, answered.
func (w *response) result() int {
	if w.status == 0 {
		return http.StatusOK
	}
	return w.status
}
