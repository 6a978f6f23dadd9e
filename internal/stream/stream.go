package stream

import (
	"context"
	"sync"
	"time"

	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/problem"
)

// A stream is one open connection. It belongs to the goroutine of its request; another one watches its credential.
type stream struct {
	id        hub.ConnectionID
	o         *Options
	metrics   *metrics
	counts    *meter.Connection
	drained   chan struct{} // closed when it is this stream's turn to end, as the node stops
	revoked   chan struct{} // closed when the credential is no longer good
	until     time.Time     // when it is as old as a stream may be
	admission Admission
	out       *writer
	warned    bool // hub.expiring was sent
	frames    int  // written

	first func() *frame.Frame // what it begins with
	beat  func() *frame.Frame // made and written regularly
	every time.Duration       // so often
	sub   *feed.Subscription  // nil: no messages are delivered
	news  <-chan struct{}     // holds a value when sub has something; nil: never
}

// An ending says why a stream is over. Without a reason the client is gone, and there is nobody to tell.
type ending struct{ reason frame.ByeReason }

// serve writes until something ends the stream, and says what did: a reason of hub.bye, or gone.
func (s *stream) serve(ctx context.Context) string {
	s.metrics.open.Inc()
	defer s.metrics.open.Dec()
	s.counts = s.o.Meter.Connected(s.admission.Tenant)
	defer s.counts.Close()
	ctx, cancel := context.WithCancel(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel()
	if s.admission.Recheck != nil {
		watch.Go(func() { s.watch(ctx) })
	}

	end := s.run(ctx)
	if end.reason == "" {
		s.metrics.ended.WithLabelValues(gone).Inc()
		return gone
	}
	s.metrics.ended.WithLabelValues(string(end.reason)).Inc()
	s.wrote(1)
	s.out.last(frame.Bye(end.reason, comeBack(end.reason, 0)))
	return string(end.reason)
}

// wrote counts frames.
func (s *stream) wrote(frames int) {
	s.frames += frames
	s.metrics.frames.Add(float64(frames))
}

func (s *stream) run(ctx context.Context) ending {
	if !s.begin() {
		return ending{}
	}
	beat := time.NewTicker(s.every)
	defer beat.Stop()
	expiry := s.expiry()
	defer expiry.Stop()
	age := time.NewTimer(time.Until(s.until))
	defer age.Stop()

	for {
		var end ending
		var over bool
		select {
		case <-ctx.Done():
			end, over = s.over(ctx)
		case <-s.drained:
			end, over = s.over(ctx)
		case <-s.revoked:
			end, over = s.over(ctx)
		case <-age.C:
			end, over = s.over(ctx)
		case <-s.news:
			end, over = s.deliver(ctx)
		case <-beat.C:
			end, over = s.write(ctx, s.beat())
		case <-expiry.C:
			end, over = s.expire(ctx, expiry)
		}
		if over {
			return end
		}
	}
}

// over says whether something has ended the stream.
func (s *stream) over(ctx context.Context) (end ending, over bool) {
	select {
	case <-ctx.Done():
		return ending{}, true
	case <-s.revoked:
		return ending{frame.ByeClosed}, true
	case <-s.drained:
		return ending{frame.ByeDrain}, true
	default:
	}
	if isPast(s.admission.Expires) {
		return ending{frame.ByeExpired}, true
	}
	return ending{frame.ByeMaxAge}, isPast(s.until)
}

// drain is called once, by the registry, when the node stops.
func (s *stream) drain() {
	close(s.drained)
	s.out.hurry(s.o.DrainTimeout)
}

// close gives back what the stream holds of others.
func (s *stream) close() {
	if s.sub != nil {
		s.sub.Close()
	}
}

// begin sends the first bytes at once, so that a client which is cut off before the first message still resumes.
func (s *stream) begin() bool {
	if s.out.begin(s.first()) != nil {
		return false
	}
	s.wrote(1)
	return true
}

// hello is how a stream of messages begins.
func (s *stream) hello() *frame.Frame {
	opening := s.sub.Opening()
	channels := make([]string, len(s.admission.Channels))
	for i, c := range s.admission.Channels {
		channels[i] = string(c)
	}
	return frame.Ready(frame.ReadyData{
		Connection: s.id, Identity: s.admission.Identity, Channels: channels, Position: opening.Head, ExpiresAt: s.admission.Expires,
	}, opening.From)
}

// ping is the heartbeat of a stream of messages.
func (s *stream) ping() *frame.Frame { return frame.Ping(time.Now(), s.cursor()) }

// deliver writes what the feed has.
func (s *stream) deliver(ctx context.Context) (end ending, over bool) {
	batch, err := s.sub.Next(ctx)
	switch {
	case ctx.Err() != nil:
		return ending{}, true
	case hub.CodeOf(err) == hub.NotFound: // the tenant is gone
		return ending{frame.ByeClosed}, true
	case err != nil:
		return ending{frame.ByeUnavailable}, true
	}
	return s.send(ctx, batch.Live, batch.Frames...)
}

// write sends frames, unless the stream is over: a credential that has ended gets nothing more, however slow its
// socket was. Where time runs out on the way, the rest stays unsaid, and what comes next is the last frame.
func (s *stream) write(ctx context.Context, frames ...*frame.Frame) (end ending, over bool) {
	return s.send(ctx, false, frames...)
}

// send is write for frames of which some are messages; live ones show how fast the hub is.
func (s *stream) send(ctx context.Context, live bool, frames ...*frame.Frame) (end ending, over bool) {
	if end, over := s.over(ctx); over {
		return end, true
	}
	written, err := s.out.write(frames...)
	s.wrote(written)
	messages := 0
	var first time.Time
	for _, f := range frames[:written] {
		if !f.IsMessage() {
			continue
		}
		if messages == 0 {
			first = f.At()
		}
		messages++
	}
	s.metrics.delivered(first, messages, live)
	s.counts.Delivered(messages)
	return ending{}, err != nil
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

func (s *stream) expire(ctx context.Context, timer *time.Timer) (end ending, over bool) {
	if s.warned {
		return ending{frame.ByeExpired}, true
	}
	s.warned = true
	timer.Reset(time.Until(s.admission.Expires))
	return s.write(ctx, frame.Expiring(s.admission.Expires))
}

// watch looks after the credential until the stream ends, also while a write is stuck. It ends the stream where the
// credential is no longer good. Where that cannot be told, the stream goes on: the next look comes in a few seconds.
func (s *stream) watch(ctx context.Context) {
	ticker := time.NewTicker(s.o.Recheck)
	defer ticker.Stop()
	for changed := s.admission.Changed; ; {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-ticker.C:
		}
		var err error
		if changed, err = s.recheck(ctx); err != nil {
			problem.Note(ctx, err)
			close(s.revoked)
			s.out.hurry(grace)
			return
		}
	}
}

// recheck gives the error for which the credential is no longer good, else the channel that closes with the next
// change; none where that cannot be told.
func (s *stream) recheck(ctx context.Context) (changed <-chan struct{}, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Recheck)
	defer cancel()
	changed, err = s.admission.Recheck(ctx)
	if ctx.Err() != nil || hub.CodeOf(err) == hub.Unavailable || hub.CodeOf(err) == hub.KeyUnavailable {
		return nil, nil
	}
	return changed, err
}
