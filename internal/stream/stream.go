package stream

import (
	"context"
	"time"

	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
)

// A stream is one open connection. It belongs to the goroutine of its request.
type stream struct {
	id        hub.ConnectionID
	o         *Options
	metrics   *metrics
	stopping  <-chan struct{} // closed when the node drains
	admission Admission
	sub       *feed.Subscription
	out       *writer
	warned    bool // hub.expiring was sent
}

// An ending says why a stream is over. Without a reason the client is gone, and there is nobody to tell.
type ending struct{ reason frame.ByeReason }

// serve writes until something ends the stream.
func (s *stream) serve(ctx context.Context) {
	s.metrics.open.Inc()
	defer s.metrics.open.Dec()

	end := s.run(ctx)
	if end.reason == "" {
		s.metrics.ended.WithLabelValues("gone").Inc()
		return
	}
	s.metrics.ended.WithLabelValues(string(end.reason)).Inc()
	s.write(frame.Bye(end.reason, comeBack(end.reason, 0)))
}

func (s *stream) run(ctx context.Context) ending {
	if !s.begin() {
		return ending{}
	}
	ping := time.NewTicker(s.o.Ping)
	defer ping.Stop()
	recheck, changed := s.rechecks()
	defer recheck.Stop()
	expiry := s.expiry()
	defer expiry.Stop()

	for {
		var end ending
		var over bool
		select {
		case <-ctx.Done():
			return ending{}
		case <-s.stopping:
			return ending{frame.ByeDrain}
		case <-s.sub.Ready():
			end, over = s.deliver(ctx)
		case now := <-ping.C:
			over = !s.write(frame.Ping(now, s.cursor()))
		case <-expiry.C:
			end, over = s.expire(expiry)
		case <-recheck.C:
			changed, end, over = s.recheck(ctx)
		case <-changed:
			changed, end, over = s.recheck(ctx)
		}
		if over {
			return end
		}
	}
}

// begin sends the first bytes at once, so that a client which is cut off before the first message still resumes.
func (s *stream) begin() bool {
	opening := s.sub.Opening()
	channels := make([]string, len(s.admission.Channels))
	for i, c := range s.admission.Channels {
		channels[i] = string(c)
	}
	ready := frame.Ready(frame.ReadyData{
		Connection: s.id, Identity: s.admission.Identity, Channels: channels, Position: opening.Head, ExpiresAt: s.admission.Expires,
	}, opening.From)
	s.metrics.frames.Inc()
	return s.out.begin(ready) == nil
}

// deliver writes what the feed has. A credential that has ended gets nothing more, however slow its socket was.
func (s *stream) deliver(ctx context.Context) (end ending, over bool) {
	if ends := s.admission.Expires; !ends.IsZero() && !time.Now().Before(ends) {
		return ending{frame.ByeExpired}, true
	}
	batch, err := s.sub.Next(ctx)
	switch {
	case ctx.Err() != nil:
		return ending{}, true
	case hub.CodeOf(err) == hub.NotFound: // the tenant is gone
		return ending{frame.ByeClosed}, true
	case err != nil:
		return ending{frame.ByeUnavailable}, true
	}
	return ending{}, !s.write(batch.Frames...)
}

// cursor is what a heartbeat may claim.
func (s *stream) cursor() *hub.Cursor {
	cursor, ok := s.sub.Cursor()
	if !ok {
		return nil
	}
	return &cursor
}

// expiry fires when the end of the credential is to be warned of, and then when it has come.
func (s *stream) expiry() *time.Timer {
	if s.admission.Expires.IsZero() {
		never := time.NewTimer(0)
		never.Stop()
		return never
	}
	return time.NewTimer(time.Until(s.admission.Expires.Add(-s.o.Warning)))
}

func (s *stream) expire(timer *time.Timer) (end ending, over bool) {
	if s.warned {
		return ending{frame.ByeExpired}, true
	}
	s.warned = true
	timer.Reset(time.Until(s.admission.Expires))
	return ending{}, !s.write(frame.Expiring(s.admission.Expires))
}

// rechecks gives what tells that the admission may no longer hold.
func (s *stream) rechecks() (*time.Ticker, <-chan struct{}) {
	ticker := time.NewTicker(s.o.Recheck)
	if s.admission.Recheck == nil {
		ticker.Stop()
		return ticker, nil
	}
	return ticker, s.admission.Changed
}

// recheck ends the stream where its credential is no longer good. Where that cannot be told, it goes on: the next
// look comes in a few seconds.
func (s *stream) recheck(ctx context.Context) (changed <-chan struct{}, end ending, over bool) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Recheck)
	defer cancel()
	changed, err := s.admission.Recheck(ctx)
	switch {
	case err == nil:
		return changed, ending{}, false
	case ctx.Err() != nil || hub.CodeOf(err) == hub.Unavailable || hub.CodeOf(err) == hub.KeyUnavailable:
		return nil, ending{}, false
	}
	problem.Note(ctx, err)
	return nil, ending{frame.ByeClosed}, true
}

// write reports whether the client still takes frames.
func (s *stream) write(frames ...*frame.Frame) bool {
	s.metrics.frames.Add(float64(len(frames)))
	return s.out.write(frames...) == nil
}
