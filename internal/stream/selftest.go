package stream

import (
	"net/http"
	"time"

	"github.com/tributary-hub/tributary/internal/frame"
)

// Selftest serves GET /stream/{tenant}/selftest: numbered frames at regular times, from which whoever reads them sees
// whether something in between holds them back. It is a stream in all but its messages: admitted, refused, counted and
// ended like one. How many channels there are is no matter, since it reads none.
func (h *Handler) Selftest() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, h.openSelftest) })
}

func (h *Handler) openSelftest(w http.ResponseWriter, r *http.Request) (*stream, error) {
	_, admission, err := h.admit(r)
	if err != nil {
		return nil, err
	}
	s := h.newStream(admission, h.o.SelftestLength)
	// A client that takes nothing has no more than the test's time: each frame waits for the one before it, and none
	// is kept.
	s.out = newWriter(w, false, h.o.WriteTimeout, sooner(admission.Expires, s.until), h.buffers)
	number := 0
	s.beat = func() *frame.Frame {
		number++
		return frame.Selftest(number, time.Now(), h.o.SelftestEvery)
	}
	s.first, s.every = s.beat, h.o.SelftestEvery
	return s, nil
}

// sooner is the earlier of two times, of which a may be zero: never.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || b.Before(a) {
		return b
	}
	return a
}
