package feed

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// repeated is how many reads of a subscription must fail in a row to be worth a word.
const repeated = 2

// replay is one step of a subscription that is not live: it joins the tail if it can, or reads a page of the log
// from its own place on. That is how a resumed subscriber catches up, and one that fell behind. Its error is that of
// a read.
func (s *Subscription) replay(ctx context.Context) (Batch, error) {
	if s.broken != nil {
		return s.reset(), nil
	}
	if s.epochChanged() {
		return s.changeEpoch(ctx)
	}
	if frames, joined := s.join(); joined {
		return Batch{Frames: frames}, nil
	}
	read, err := s.readLog(ctx)
	if err != nil {
		return Batch{}, err
	}
	if read.Head < s.placeNow() { // another history, which the epoch may tell, or none any more
		if deleted, err := s.feed.endDeleted(ctx, s.tail, read.Head); deleted || err != nil {
			return Batch{}, err
		}
		s.feed.doubt()
		if err := s.feed.epoch.settle(ctx); err != nil {
			return Batch{}, err
		}
	}
	if s.epochChanged() { // since the first look: nothing of another history is handed out under the old epoch
		return s.changeEpoch(ctx)
	}
	frames, wait := s.judge(ctx, read)
	if s.broken != nil {
		return s.reset(), nil
	}
	if more, joined := s.join(); joined {
		return Batch{Frames: append(frames, more...)}, nil
	}
	if wait > 0 {
		s.wakeIn(wait)
	} else {
		s.signal()
	}
	return Batch{Frames: frames}, nil
}

// epochChanged says that the subscription's place is of another history.
func (s *Subscription) epochChanged() bool { return s.seam.epoch != s.feed.epoch.get() }

// join goes live and says so where that is owed.
func (s *Subscription) join() (frames []*frame.Frame, joined bool) {
	frames, ahead, joined := s.tail.join(s, s.seam, s.feed.epoch)
	if ahead {
		s.feed.mark(s.tail)
	}
	if !joined {
		return nil, false
	}
	s.seam.atHead, s.seam.owed = false, 0 // from now on the tail knows
	if s.oweLive {
		s.oweLive = false
		frames = append(frames, frame.Live(hub.Cursor{Epoch: s.seam.epoch, Position: s.placeNow()}))
	}
	return frames, true
}

// lookAhead is at how many messages, of whichever channels, one read for a pattern looks: for each that a page holds.
const lookAhead = 20

func (s *Subscription) readLog(ctx context.Context) (read store.LogRead, err error) {
	if err := s.feed.epoch.settle(ctx); err != nil {
		return read, err
	}
	replay := store.Replay{Tenant: s.tenant, After: s.placeNow(), Oldest: s.oldest(), Page: s.feed.page()}
	if !s.filter.all() {
		replay.Channels, replay.Prefixes = s.filter.lists()
		replay.Look = lookAhead * replay.Page.Messages
	}
	err = s.inTurn(ctx, func(ctx context.Context) (err error) {
		read, err = s.feed.o.Store.ReadLog(ctx, replay, time.Now())
		return err
	})
	return read, err
}

// inTurn reads what may be much where a pattern is among the subscription's channels.
func (s *Subscription) inTurn(ctx context.Context, fn func(context.Context) error) error {
	if s.filter.exact() {
		return s.feed.borrow(ctx, fn)
	}
	return s.feed.scan(ctx, fn)
}

// judge makes frames of what was read and moves the place over it, or finds that continuity is broken: by what
// Postgres holds, never by what the tail knows. Where a message is missing, wait says when to look again.
func (s *Subscription) judge(ctx context.Context, read store.LogRead) (frames []*frame.Frame, wait time.Duration) {
	place := s.placeNow()
	floor := max(read.Floor, s.tail.floor())
	switch {
	case read.Head < place:
		s.breakOff(frame.ResetFuture, read.Head, read.Place)
		return nil, 0
	case floor > place+1:
		s.breakOff(frame.ResetRetention, floor-1, read.Place)
		return nil, 0
	}
	messages, through, hole := read.Messages, read.Through, read.Hole
	if s.filter.all() {
		if messages, hole = contiguous(read, place); hole > 0 {
			through = place + hub.Position(len(messages))
		}
	}
	if hole > 0 {
		if wait = s.waitForMissing(ctx, through > place, through, hole); wait == 0 {
			s.breakOff(frame.ResetRetention, hole, read.Place)
			return nil, 0
		}
	}
	if stuck, waits := s.tail.stuckAt(); waits && place <= stuck && stuck < through {
		// The index of channels cannot know whether what is missing belongs to one of them.
		n := slices.IndexFunc(messages, func(m hub.Logged) bool { return m.Position > stuck })
		if n >= 0 {
			messages = messages[:n]
		}
		through, wait = stuck, backoff(4)
	}
	for _, m := range messages {
		if s.filter.matches(m.Channel) {
			frames = append(frames, frame.Message(s.seam.epoch, m))
		}
	}
	s.feed.metrics.replayed.Add(float64(len(frames)))
	s.setPlace(through)
	s.seam.atHead, s.seam.headAt = through == read.Head, read.At
	return frames, wait
}

// waitForMissing says for how long to wait before the next look at a gap; 0 gives it up.
func (s *Subscription) waitForMissing(ctx context.Context, moved bool, after, hole hub.Position) time.Duration {
	if s.gapSince.IsZero() || moved {
		s.gapSince = time.Now()
		s.feed.metrics.gaps.Inc()
		s.feed.o.Log.ErrorContext(ctx, "messages are missing from a log, waiting for them",
			"tenant", s.tenant, "after", after, "through", hole)
	}
	if time.Since(s.gapSince) < s.feed.o.Patience {
		return backoff(4)
	}
	s.gapSince = time.Time{}
	s.feed.metrics.lost.Inc()
	s.feed.o.Log.ErrorContext(ctx, "messages are missing from a log, resetting a subscriber",
		"tenant", s.tenant, "after", after, "through", hole)
	return 0
}

// breakOff notes that the stream can only go on after position, as place shows the log.
func (s *Subscription) breakOff(reason frame.ResetReason, position hub.Position, place store.Place) {
	s.broken = &broken{reason, hub.Cursor{Epoch: s.seam.epoch, Position: s.placeNow()}.String(), position}
	s.seam.atHead, s.seam.headAt, s.seam.owed = position == place.Head, place.At, place.Head
}

// changeEpoch starts anew at the head: positions may have been used twice.
func (s *Subscription) changeEpoch(ctx context.Context) (Batch, error) {
	now := s.feed.epoch.get()
	place, err := s.feed.place(ctx, s.tenant, s.oldest())
	if err != nil {
		return Batch{}, err
	}
	if now != s.feed.epoch.get() {
		return Batch{}, hub.Errorf(hub.Unavailable, "the epoch changed again")
	}
	s.breakOff(frame.ResetEpoch, place.Head, place)
	s.seam.epoch = now
	return s.reset(), nil
}

// reset tells the subscriber and goes on from there.
func (s *Subscription) reset() Batch {
	b := s.broken
	s.broken = nil
	s.oweLive = true
	s.setPlace(b.position)
	s.feed.metrics.resets.WithLabelValues(string(b.reason)).Inc()
	s.signal()
	cursor := hub.Cursor{Epoch: s.seam.epoch, Position: b.position}
	return Batch{Frames: []*frame.Frame{frame.Reset(b.reason, b.requested, b.position, &cursor)}}
}

// later keeps the subscription where it is until Postgres answers again. One failure is soon made good; of more in a
// row whoever runs the hub hears, once for all subscriptions of a tenant.
func (s *Subscription) later(ctx context.Context, err error) {
	s.wakeIn(backoff(s.failed))
	s.failed++
	if s.failed != repeated || !s.tail.suffer() {
		return
	}
	level := slog.LevelWarn
	if !store.IsUnavailable(err) {
		level = slog.LevelError
	}
	s.feed.o.Log.Log(ctx, level, "a log cannot be read for its subscribers, trying on", "tenant", s.tenant, "error", err)
}

// recovered ends a row of failures.
func (s *Subscription) recovered(ctx context.Context) {
	if s.failed >= repeated && s.tail.relieve() {
		s.feed.o.Log.InfoContext(ctx, "a log can be read again for its subscribers", "tenant", s.tenant)
	}
	s.failed = 0
}

func (s *Subscription) wakeIn(d time.Duration) {
	if s.retry == nil {
		s.retry = time.AfterFunc(d, s.signal)
		return
	}
	s.retry.Reset(d)
}
