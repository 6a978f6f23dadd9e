package server

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"runtime"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
)

// ServeHTTP is the way of every request: it gets its id and its client, is served, and leaves one record.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	record := &problem.Record{RequestID: requestID(r)}
	a := &access{
		began:   time.Now(),
		method:  knownMethod(r.Method),
		client:  s.client(r),
		problem: record,
		span:    noop.Span{},
	}
	ctx := problem.WithRecord(r.Context(), record)
	ctx = context.WithValue(ctx, accessKey{}, a)
	r = r.WithContext(ctx)
	out := &response{ResponseWriter: w}
	out.Header().Set("X-Request-Id", record.RequestID)
	if s.drain.isOn() {
		out.Header().Set("Connection", "close") // over HTTP/2 net/http makes a GOAWAY of it
	}

	s.metrics.inFlight.Inc()
	defer func() {
		abort := s.recovered(recover(), out, r, a)
		s.metrics.answered(a, out)
		a.endSpan(out)
		s.write(ctx, a, out)
		if abort {
			panic(http.ErrAbortHandler) // net/http cuts the connection and says nothing
		}
		s.boundBody(out, r)
	}()
	s.route(out, r, a)
}

// route serves r, or says in a problem why it is not served.
func (s *Server) route(w http.ResponseWriter, r *http.Request, a *access) {
	if !s.servesHost(r) {
		problem.Write(w, r, hub.Errorf(hub.Misdirected, "this listener does not serve that Host"))
		return
	}
	if r.Method == http.MethodConnect { // for proxies, and the one method whose path a mux takes as it comes
		problem.Write(w, r, hub.Errorf(hub.MethodNotAllowed, "CONNECT is not served"))
		return
	}
	handler, pattern := s.mux.Handler(r)
	for inner, ok := handler.(*http.ServeMux); ok; inner, ok = handler.(*http.ServeMux) {
		handler, pattern = inner.Handler(r)
	}
	a.route = pattern
	if pattern == "" {
		refuse(w, r, handler)
		return
	}
	if !a.isProbe() {
		ctx, span := s.tracer.Request(r.Context(), a.method, pathOf(pattern))
		if a.span = span; span.IsRecording() {
			r = r.WithContext(ctx)
		}
	}
	s.mux.ServeHTTP(w, r) // not handler's: only the mux that serves gives r its path values
}

// refuse says as a problem what a mux's own handler says as plain text: 404, or 405 with its Allow header. A path
// that only needs cleaning is redirected as the mux would.
func refuse(w http.ResponseWriter, r *http.Request, handler http.Handler) {
	probe := probe{header: http.Header{}}
	handler.ServeHTTP(&probe, r)
	switch {
	case probe.status == http.StatusMethodNotAllowed:
		allowed := probe.header.Get("Allow")
		w.Header().Set("Allow", allowed)
		problem.Write(w, r, hub.Errorf(hub.MethodNotAllowed, "this path takes %s", allowed))
	case probe.status >= 300 && probe.status < 400:
		handler.ServeHTTP(w, r)
	default:
		problem.Write(w, r, hub.Errorf(hub.NotFound, "nothing is served at this path"))
	}
}

// A probe is a ResponseWriter that keeps the status and the header, and sends nothing.
type probe struct {
	header http.Header
	status int
}

func (p *probe) Header() http.Header         { return p.header }
func (p *probe) WriteHeader(status int)      { p.status = status }
func (p *probe) Write(b []byte) (int, error) { return len(b), nil }

// recovered makes a 500 of a panic. Where the answer has begun, or the handler wants its connection cut, it says
// that the request is to be aborted: the client must not take half an answer for a whole one.
func (s *Server) recovered(v any, w *response, r *http.Request, a *access) (abort bool) {
	switch v {
	case nil:
		return false
	case http.ErrAbortHandler:
		a.aborted = true
		return true
	}
	a.stack = string(debug.Stack())
	// The runtime's own texts name types and numbers. Any other value may hold what a stranger sent, and the stack
	// says where it was thrown.
	a.panicked = fmt.Sprintf("%T", v)
	if err, ok := v.(runtime.Error); ok {
		a.panicked = err.Error()
	}
	if w.began() {
		a.aborted = true
		return true
	}
	problem.Write(w, r, fmt.Errorf("handler panicked: %s", a.panicked))
	return false
}

// boundBody gives a client that still owes a body, which no handler wanted, only so long to send it: net/http reads
// on before it answers, and by itself without a deadline. A deadline that the handler set stands.
func (s *Server) boundBody(w *response, r *http.Request) {
	if r.ContentLength != 0 && !w.readBounded {
		_ = w.SetReadDeadline(time.Now().Add(s.bodyGrace)) // a writer without deadlines has no connection
	}
}

var requestIDForm = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// requestID is the one that the caller names, where it has the form of one, else a new one.
func requestID(r *http.Request) string {
	if ids := r.Header.Values("X-Request-Id"); len(ids) == 1 && requestIDForm.MatchString(ids[0]) {
		return ids[0]
	}
	return hub.NewID[hub.RequestID]().String()
}
