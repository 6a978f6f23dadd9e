package server

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
)

// access is what the log learns of a request. It has no place for its path, query, referer or any header's value:
// those carry endpoint tokens, tickets and credentials.
type access struct {
	began    time.Time
	route    string // the mux's pattern; "" where none fits
	method   string
	client   netip.Addr
	problem  *problem.Record
	aborted  bool
	panicked string
	stack    string
}

// write leaves the one record of a request: our own faults as errors, passing ones as warnings, and probes that
// succeed only for whoever debugs.
func (s *Server) write(ctx context.Context, a access, w *response) {
	level := slog.LevelInfo
	status := w.result()
	switch {
	case a.panicked != "", status >= 500 && status != http.StatusServiceUnavailable:
		level = slog.LevelError
	case status == http.StatusServiceUnavailable:
		level = slog.LevelWarn
	case strings.Contains(a.route, "/healthz"), strings.Contains(a.route, "/metrics"):
		level = slog.LevelDebug
	}
	if !s.log.Enabled(ctx, level) {
		return
	}
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("route", a.route),
		slog.String("method", knownMethod(a.method)),
		slog.Int("status", status),
		slog.Int64("bytes", w.bytes),
		slog.Float64("duration_ms", float64(time.Since(a.began).Microseconds())/1000),
		slog.String("request_id", a.problem.RequestID),
		slog.String("client", a.client.String()),
	)
	if err := a.problem.Err(); err != nil {
		attrs = append(attrs, slog.String("code", string(hub.CodeOf(err))))
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
