package server

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// linger is how long connections that are open get, once the port is closed, to send what their client has begun and
// to hear that it was the last. A connection that is closed under a request leaves its client without an answer, and a
// webhook's sender may not send it again for long. A busy client has a pool of idle connections and uses the newest
// first: in this time a request for each of them has come, or they are idle indeed.
const linger = 3 * time.Second

// drain is how a server says goodbye.
type drain struct {
	open  atomic.Int64  // connections
	begun chan struct{} // closed: each answer is its connection's last
	gone  chan struct{} // holds one when the last connection of a drain may have ended
	until time.Time     // set before begun is closed
}

func newDrain() *drain { return &drain{begun: make(chan struct{}), gone: make(chan struct{}, 1)} }

func (d *drain) isOn() bool {
	select {
	case <-d.begun:
		return true
	default:
		return false
	}
}

// count follows connections, for net/http.
func (d *drain) count(_ net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		d.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		if d.open.Add(-1) == 0 {
			select {
			case d.gone <- struct{}{}:
			default:
			}
		}
	case http.StateActive, http.StateIdle:
	}
}

// wait returns when no connection is left, or the time of lingering is over.
func (d *drain) wait(ctx context.Context) {
	timer := time.NewTimer(time.Until(d.until))
	defer timer.Stop()
	for d.open.Load() > 0 {
		select {
		case <-d.gone:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// Drain takes no more connections and returns at once. Those that are open are served on, and each answer is their
// last. It may be called twice, and on a server that never started.
func (s *Server) Drain(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.done == nil || s.drain.isOn() {
		return nil
	}
	s.drain.until = time.Now().Add(linger)
	close(s.drain.begun) // first: the end of Serve that follows is no failure then
	_ = s.listener.Close()
	return nil
}
