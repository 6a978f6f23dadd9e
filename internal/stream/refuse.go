package stream

import (
	"errors"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
)

// refuse answers a request that gets no stream. A native EventSource gives up for good on any status but 200, so
// what passes, 429 and 503, reaches it as a stream that ends at once and says when to come back.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, err error) {
	h.metrics.refusal(err)
	var reason frame.ByeReason
	switch problem.From(err, "").Status {
	case http.StatusTooManyRequests:
		reason = frame.ByeLimit
	case http.StatusServiceUnavailable:
		reason = frame.ByeUnavailable
	}
	if reason == "" || wantsStatus(r) {
		problem.Write(w, r, err)
		return
	}
	problem.Note(r.Context(), err)
	var least time.Duration
	if coded, ok := errors.AsType[*hub.Error](err); ok {
		least = coded.RetryAfter
	}
	out := newWriter(w, false, h.o.WriteTimeout, time.Time{}, h.buffers)
	_ = out.begin(frame.Bye(reason, comeBack(reason, least))) // a client that is gone needs no answer
}

// wantsStatus says that the client reads statuses: it asks for JSON, or names itself.
func wantsStatus(r *http.Request) bool {
	return r.Header.Get("Tributary-Client") != "" || strings.Contains(r.Header.Get("Accept"), "application/json")
}

// comeBack is when a client should be back: not before least, and not all of them together.
func comeBack(reason frame.ByeReason, least time.Duration) time.Duration {
	switch reason {
	case frame.ByeDrain, frame.ByeExpired, frame.ByeMaxAge:
		least = max(least, 500*time.Millisecond)
	case frame.ByeLimit:
		least = max(least, 5*time.Second)
	case frame.ByeUnavailable, frame.ByeClosed:
		least = max(least, 2*time.Second)
	}
	return least + rand.N(max(least, 2*time.Second)) //nolint:gosec // nobody gains by guessing it
}
