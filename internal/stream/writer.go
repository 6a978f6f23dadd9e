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

// A writer puts frames on one connection.
type writer struct {
	w        http.ResponseWriter
	conn     *http.ResponseController
	envelope bool
	buffers  *sync.Pool

	mu      sync.Mutex // guards what follows
	timeout time.Duration
	writing bool
}

func newWriter(w http.ResponseWriter, envelope bool, timeout time.Duration, buffers *sync.Pool) *writer {
	return &writer{w: w, conn: http.NewResponseController(w), envelope: envelope, timeout: timeout, buffers: buffers}
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
	return w.write(frames...)
}

// write sends frames, many in one piece where there are many, and returns when the socket has taken all of them.
func (w *writer) write(frames ...*frame.Frame) error {
	if len(frames) == 0 {
		return nil
	}
	if len(frames) == 1 {
		if err := w.put(w.text(frames[0])); err != nil {
			return err
		}
		return w.flush()
	}
	buffer, _ := w.buffers.Get().(*[]byte)
	defer w.buffers.Put(buffer)
	*buffer = (*buffer)[:0]
	for _, f := range frames {
		text := w.text(f)
		if len(*buffer)+len(text) > pieceBytes {
			if err := w.put(*buffer); err != nil {
				return err
			}
			*buffer = (*buffer)[:0]
		}
		if len(text) > pieceBytes {
			if err := w.put(text); err != nil {
				return err
			}
			continue
		}
		*buffer = append(*buffer, text...)
	}
	if err := w.put(*buffer); err != nil {
		return err
	}
	return w.flush()
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
	return w.conn.SetWriteDeadline(time.Now().Add(w.timeout))
}

// hurry gives the socket only that long from now on, also for what is being written. Any goroutine may call it.
func (w *writer) hurry(timeout time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.timeout = min(w.timeout, timeout)
	if w.writing {
		_ = w.conn.SetWriteDeadline(time.Now().Add(w.timeout)) // if it cannot be set, the write has failed
	}
}

func (w *writer) text(f *frame.Frame) []byte {
	if w.envelope {
		return f.SSEEnvelope()
	}
	return f.SSE()
}
