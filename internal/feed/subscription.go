package feed

import (
	"context"
	"sync"
	"time"

	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
)

// A Subscription is one subscriber's way through its tenant's log. It is pulled: whoever serves the subscriber waits
// for Ready, calls Next, writes what it got, and only then looks at Cursor. These three and Close belong to one
// goroutine.
type Subscription struct {
	feed   *Feed
	tail   *tail
	tenant hub.TenantID
	filter filter
	oldest func() time.Time
	ready  chan struct{} // holds one

	// Of the goroutine that calls Next.
	opening  Opening
	seam     seam
	broken   *broken // a reset that the subscriber has yet to hear of
	oweLive  bool    // hub.live is to be said once replay is done
	failed   int     // reads in a row
	retry    *time.Timer
	gapSince time.Time

	mu    sync.Mutex // guards what follows
	ended error
	live  bool         // the tail pushes
	place hub.Position // everything up to here was handed out or looked past
	queue []*frame.Frame
	bytes int          // of queue
	last  hub.Position // of queue
	spare []*frame.Frame
}

// broken says that continuity is: the stream goes on after position.
type broken struct {
	reason    frame.ResetReason
	requested string
	position  hub.Position
}

// An Opening is what hub.ready says of a subscription.
type Opening struct {
	From *hub.Cursor  // before the first message that will follow; nil where hub.reset comes first
	Head hub.Position // of the log
}

// A Batch is what to write next.
type Batch struct {
	// Frames are messages, hub.live and hub.reset, in order; none where nothing new is there. They are the
	// subscription's own slice, good until the next call of Next.
	Frames []*frame.Frame
	// Live says that the tail pushed them: they are as young as messages get.
	Live bool
	// Cursor is the place once they are written.
	Cursor hub.Cursor
}

// Opening says where the subscription begins.
func (s *Subscription) Opening() Opening { return s.opening }

// Ready holds a value when Next has something to do.
func (s *Subscription) Ready() <-chan struct{} { return s.ready }

// Next gives what has come. It never waits for a message, but it may read from Postgres for a moment; while that
// fails the subscription keeps its place and tries again by itself. Its error is final: Unavailable when the feed was
// stopped, NotFound when the tenant was deleted, or ctx is done.
func (s *Subscription) Next(ctx context.Context) (Batch, error) {
	batch, live, err := s.takeQueue()
	if live || err != nil {
		return batch, err
	}
	batch, err = s.replay(ctx)
	switch {
	case err == nil:
		s.recovered(ctx)
	case ctx.Err() != nil:
		return Batch{}, ctx.Err()
	default:
		s.later(ctx, err)
	}
	batch.Cursor = hub.Cursor{Epoch: s.seam.epoch, Position: s.placeNow()}
	return batch, nil
}

// Cursor is the highest place up to which everything of the subscription's channels was handed out or looked past;
// false while it has none, before a hub.reset.
func (s *Subscription) Cursor() (hub.Cursor, bool) {
	if s.broken != nil {
		return hub.Cursor{}, false
	}
	reached := s.tail.reached() // first: what it has read by now is in queues
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live && len(s.queue) == 0 {
		s.place = max(s.place, reached)
	}
	return hub.Cursor{Epoch: s.seam.epoch, Position: s.place}, true
}

// Close ends the subscription. Closing twice is fine.
func (s *Subscription) Close() {
	if s.tail.leave(s) {
		s.feed.metrics.subscribers.Dec()
		if s.failed >= repeated {
			s.tail.relieve()
		}
	}
	if s.retry != nil {
		s.retry.Stop()
	}
}

// takeQueue gives what the tail pushed; live says that this is all there is to do.
func (s *Subscription) takeQueue() (batch Batch, live bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended != nil {
		return Batch{}, false, s.ended
	}
	if !s.live {
		return Batch{}, false, nil
	}
	clear(s.spare) // lets go of the last batch's frames
	batch.Frames, batch.Live = s.queue, true
	if len(s.queue) > 0 {
		s.place = s.last
	}
	s.queue, s.spare, s.bytes = s.spare[:0], s.queue, 0
	batch.Cursor = hub.Cursor{Epoch: s.seam.epoch, Position: s.place}
	return batch, true, nil
}

// push queues a message of the subscription's channels. Where the queue is full it is lost, but not the place in
// the log: from there the subscription goes on by itself, and push reports false.
func (s *Subscription) push(e entry) (queued bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.position <= s.place {
		return true // it had read further than the tail when it joined
	}
	size := e.frame.Size()
	if n := len(s.queue); n >= s.feed.o.QueueMessages || n > 0 && s.bytes+size > s.feed.o.QueueBytes {
		s.feed.metrics.lagging.Inc()
		s.fallBackLocked()
		return false
	}
	if len(s.queue) == 0 {
		s.place = e.position - 1
	}
	s.queue = append(s.queue, e.frame)
	s.bytes += size
	s.last = e.position
	s.feed.metrics.queued.Inc()
	s.signal()
	return true
}

// goLive lets the tail push what comes after place.
func (s *Subscription) goLive(place hub.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live, s.place = true, place
}

// fallBack has the subscription read from the log, from its place on.
func (s *Subscription) fallBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live {
		s.fallBackLocked()
	}
}

func (s *Subscription) fallBackLocked() {
	s.live = false
	clear(s.queue)
	s.queue, s.bytes = s.queue[:0], 0
	s.signal()
}

func (s *Subscription) end(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = err
	s.signal()
}

func (s *Subscription) placeNow() hub.Position {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.place
}

func (s *Subscription) setPlace(p hub.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.place = p
}

func (s *Subscription) signal() {
	select {
	case s.ready <- struct{}{}:
	default:
	}
}
