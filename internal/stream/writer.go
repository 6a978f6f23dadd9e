package stream

import (
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/tributary-hub/tributary/internal/frame"
)

// pieceBytes is what is written under one deadline: a slow client is not one that takes nothing.
const pieceBytes = 32 << 10

// grace is what a write that is under way may still take when its stream's credential has ended, and then the frame
// that says so.
const grace = 2 * time.Second

// A writer puts frames on one connection.
type writer struct {
	w        http.ResponseWriter
	conn     *http.ResponseController
	envelope bool
	timeout  time.Duration
	ends     time.Time // of the credential: after it no frame is begun but the last; zero: never
	buffers  *sync.Pool

	mu      sync.Mutex // guards what follows
	hurried bool       // no frame is begun but the last
	limit   time.Time  // no write goes on after it; zero: none
	writing bool
}

func newWriter(w http.ResponseWriter, envelope bool, timeout time.Duration, ends time.Time, buffers *sync.Pool) *writer {
	out := &writer{w: w, conn: http.NewResponseController(w), envelope: envelope, timeout: timeout, ends: ends, buffers: buffers}
	if !ends.IsZero() {
		out.limit = ends.Add(grace)
	}
	return out
}

func newBuffers() *sync.Pool {
	return &sync.Pool{New: func() any {
		b := make([]byte, 0, pieceBytes)
		return &b
	}}
}

// begin sends status, header and first frames at once.
func (w *writer) begin(frames ...*frame.Frame) error {
	h := w.w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
	h.Set("X-Content-Type-Options", "nosniff")
	w.w.WriteHeader(http.StatusOK)
	_, err := w.write(frames...)
	return err
}

// write sends frames, many in one piece where there are many, and returns how many the socket has taken: all of them,
// unless there is an error, or time ran out between two pieces.
func (w *writer) write(frames ...*frame.Frame) (written int, err error) {
	switch len(frames) {
	case 0:
		return 0, nil
	case 1:
		if err := w.put(w.text(frames[0])); err != nil {
			return 0, err
		}
		return 1, w.flush()
	}
	buffer, _ := w.buffers.Get().(*[]byte)
	defer w.buffers.Put(buffer)
	*buffer = (*buffer)[:0]
	for i, f := range frames {
		text := w.text(f)
		if len(*buffer) > 0 && len(*buffer)+len(text) > pieceBytes {
			if err := w.put(*buffer); err != nil {
				return written, err
			}
			*buffer, written = (*buffer)[:0], i
			if w.isOver() {
				return written, w.flush()
			}
		}
		if len(text) > pieceBytes {
			if err := w.put(text); err != nil {
				return written, err
			}
			written = i + 1
			if w.isOver() {
				return written, w.flush()
			}
			continue
		}
		*buffer = append(*buffer, text...)
	}
	if err := w.put(*buffer); err != nil {
		return written, err
	}
	return len(frames), w.flush()
}

// last sends the frame after which nothing comes. It has a moment of its own, whatever the frames before it took.
func (w *writer) last(f *frame.Frame) {
	w.mu.Lock()
	w.limit = time.Now().Add(grace)
	w.mu.Unlock()
	_, _ = w.write(f) // a client that is gone needs no goodbye
}

// put writes bytes, renewing the deadline for each piece that the socket took.
func (w *writer) put(text []byte) error {
	for piece := range slices.Chunk(text, pieceBytes) {
		if err := w.bound(func() error {
			_, err := w.w.Write(piece)
			return err
		}); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) flush() error {
	return w.bound(w.conn.Flush)
}

// bound runs one write under a deadline, and leaves none behind: over HTTP/2 it would end a stream that is quiet,
// and over HTTP/1.1 hit the connection's next request.
func (w *writer) bound(write func() error) error {
	if err := w.setDeadline(true); err != nil {
		return err
	}
	if err := write(); err != nil {
		return err
	}
	return w.setDeadline(false)
}

func (w *writer) setDeadline(writing bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.writing = writing
	if !writing {
		return w.conn.SetWriteDeadline(time.Time{})
	}
	deadline := time.Now().Add(w.timeout)
	if !w.limit.IsZero() && w.limit.Before(deadline) {
		deadline = w.limit
	}
	return w.conn.SetWriteDeadline(deadline)
}

// hurry lets the socket have what is being written within that time, and nothing more but the last frame. Any
// goroutine may call it; what calls for the hurry is to be seen before.
func (w *writer) hurry(within time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hurried = true
	if limit := time.Now().Add(within); w.limit.IsZero() || limit.Before(w.limit) {
		w.limit = limit
	}
	if w.writing {
		_ = w.conn.SetWriteDeadline(w.limit) // if it cannot be set, the write has failed
	}
}

func (w *writer) isOver() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.hurried || isPast(w.ends)
}

// isPast says that a time, where there is one, has come.
func isPast(at time.Time) bool { return !at.IsZero() && !time.Now().Before(at) }

func (w *writer) text(f *frame.Frame) []byte {
	if w.envelope {
		return f.SSEEnvelope()
	}
	return f.SSE()
}
