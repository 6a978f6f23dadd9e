package ingest

import (
	"errors"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/server"
)

// bodies reads requests' bodies. Until one is verified it is a stranger's, so what all of them hold at once is
// bounded, and what those from one address hold besides: past that a request is refused, and its sender comes again.
type bodies struct {
	mu   sync.Mutex // guards what follows
	held int
	of   map[netip.Prefix]int
}

const (
	// bodyTimeout bounds the reading of a body; providers wait 10 s for the whole answer.
	bodyTimeout = 30 * time.Second
	// firstBuffer is what a request gets before its body came: a header alone must not cost what it promises. Most
	// webhooks fit, and it is not counted.
	firstBuffer = 32 << 10
	maxHeld     = 256 << 20
	maxHeldOf   = maxHeld / 4 // by one address: providers send from few, and a proxy is one
)

// read reads the raw bytes once; they are counted until release. A body above the cap is refused, never truncated;
// a compressed one is refused.
func (b *bodies) read(w http.ResponseWriter, r *http.Request, limit int) (body []byte, release func(), err error) {
	if err := server.RefuseCompressed(r); err != nil {
		return nil, nil, err
	}
	if r.ContentLength > int64(limit) {
		return nil, nil, tooLarge(limit)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTimeout)) // a server without deadlines waits for its client
	promised := limit + 1                                                          // one more, so that the end shows without growing
	if r.ContentLength >= 0 {
		promised = int(r.ContentLength) + 1
	}
	mine := share{bodies: b, from: meter.PrefixOf(server.ClientAddr(r.Context()))}
	body, err = mine.readAll(http.MaxBytesReader(w, r.Body, int64(limit)), promised)
	if err == nil {
		return body, mine.release, nil
	}
	mine.release()
	if _, over := errors.AsType[*http.MaxBytesError](err); over {
		return nil, nil, tooLarge(limit)
	}
	if hub.CodeOf(err) == hub.Unavailable {
		return nil, nil, err
	}
	return nil, nil, hub.Errorf(hub.Malformed, "the body could not be read to its end")
}

func tooLarge(limit int) error {
	return hub.Errorf(hub.TooLarge, "a webhook has at most %d bytes here", limit)
}

// A share is what one request holds.
type share struct {
	bodies *bodies
	from   netip.Prefix
	held   int
}

// readAll reads to the end. The buffer grows with what has come, to what was promised.
func (s *share) readAll(r io.Reader, promised int) ([]byte, error) {
	buffer := make([]byte, 0, min(max(512, promised), firstBuffer))
	for {
		if len(buffer) == cap(buffer) {
			size := max(min(2*cap(buffer), promised), cap(buffer)+512) // a body may be longer than it promised
			if !s.take(size) {
				return nil, hub.Errorf(hub.Unavailable, "too many large bodies are being read")
			}
			buffer = append(make([]byte, 0, size), buffer...)
		}
		n, err := r.Read(buffer[len(buffer):cap(buffer)])
		buffer = buffer[:len(buffer)+n]
		if errors.Is(err, io.EOF) {
			return buffer, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// take makes the share that large, if there is room.
func (s *share) take(size int) bool {
	more := size - s.held
	s.bodies.mu.Lock()
	defer s.bodies.mu.Unlock()
	if s.bodies.held+more > maxHeld || s.bodies.of[s.from]+more > maxHeldOf {
		return false
	}
	if s.bodies.of == nil {
		s.bodies.of = map[netip.Prefix]int{}
	}
	s.held = size
	s.bodies.held += more
	s.bodies.of[s.from] += more
	return true
}

// heldBytes is what all of them hold: a gauge.
func (b *bodies) heldBytes() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.held
}

func (s *share) release() {
	if s.held == 0 {
		return
	}
	s.bodies.mu.Lock()
	defer s.bodies.mu.Unlock()
	s.bodies.held -= s.held
	if s.bodies.of[s.from] -= s.held; s.bodies.of[s.from] == 0 {
		delete(s.bodies.of, s.from)
	}
	s.held = 0
}
