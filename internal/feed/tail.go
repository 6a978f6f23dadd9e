package feed

import (
	"sync"
	"time"

	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// A tail follows one tenant's log for all of its subscriptions on this node. It has a place only once a
// subscription that had read up to the head gave it its own; until then, and whenever continuity broke, its
// subscriptions read for themselves.
type tail struct {
	tenant  hub.TenantID
	o       Options
	metrics *metrics

	mu       sync.Mutex // guards what follows
	placed   bool
	placing  int // counts the times that it was placed
	epoch    hub.Epoch
	position hub.Position // everything up to here was handed to the live subscriptions
	at       time.Time    // of the message at position, or earlier
	head     hub.Position // how far the log is known to reach
	ring     ring         // ends at position
	live     index        // those that get what is read
	all      subscriptions
	oldest   func() time.Time // of whoever came last: how far back the tenant shows its log
	left     time.Time        // when the last subscription left
	suffers  int              // of all: those whose own reads fail again and again

	lost     hub.Position // up to here messages that should be there are missing, and were given up
	gapSince time.Time    // zero: none is missing just now
}

func newTail(tenant hub.TenantID, o Options, m *metrics) *tail {
	return &tail{tenant: tenant, o: o, metrics: m, ring: newRing(o.RingMessages, o.RingBytes), live: newIndex(), all: subscriptions{}}
}

// enter makes the subscription one of the tail's; it reads for itself until it joins.
func (t *tail) enter(s *Subscription) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.all[s] = struct{}{}
	t.oldest = s.oldest
}

// leave reports whether the subscription had been there.
func (t *tail) leave(s *Subscription) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.all[s]; !ok {
		return false
	}
	t.live.remove(s)
	delete(t.all, s)
	if len(t.all) == 0 {
		t.left = time.Now()
	}
	return true
}

// suffer notes that a subscription's reads fail again and again, and reports whether it is the first.
func (t *tail) suffer() (first bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.suffers++
	return t.suffers == 1
}

// relieve notes that they do no longer, and reports whether it was the last.
func (t *tail) relieve() (last bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.suffers--
	return t.suffers == 0
}

func (t *tail) idle(since time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.all) == 0 && t.left.Before(since)
}

// end lets every subscription know that nothing more will come.
func (t *tail) end(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for s := range t.all {
		s.end(err)
	}
}

// forget gives up the tail's place: every subscription goes on from the log, where Postgres judges its cursor.
func (t *tail) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.forgetLocked()
}

func (t *tail) forgetLocked() {
	t.placed = false
	t.position, t.head, t.at, t.gapSince = 0, 0, time.Time{}, time.Time{}
	t.ring, t.live = newRing(t.o.RingMessages, t.o.RingBytes), newIndex()
	for s := range t.all {
		s.fallBack()
	}
}

// A seam is what a subscription brings to its hand-over.
type seam struct {
	epoch  hub.Epoch    // must be the tail's
	atHead bool         // its place was the log's head when it last asked Postgres
	headAt time.Time    // and the head was of then
	owed   hub.Position // what must be handed out before hub.live may be said: the head when the stream began
}

// join is the hand-over from replay to live: what the ring has beyond the subscription's place, and from then on
// what is read. It is refused where the ring no longer holds the next message. Both sides stand still meanwhile.
//
// A subscription at the head may give its place to a tail that has none, and may be further than a tail that is
// behind; ahead says so: the log has more than the tail knows, or may have. One that only believes to be further
// must ask Postgres first: the log may have fallen.
func (t *tail) join(s *Subscription, from seam, current *epoch) (frames []*frame.Frame, ahead, joined bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.placed && from.atHead && from.epoch == current.get() {
		t.placed, t.epoch, t.position, t.at = true, from.epoch, s.placeNow(), from.headAt
		t.placing++
		ahead = true
	}
	place := s.placeNow()
	switch {
	case !t.placed, t.epoch != from.epoch, place > t.position && !from.atHead, max(place, t.position) < from.owed:
		return nil, false, false
	}
	if place < t.position {
		entries, ok := t.ring.after(place, t.position)
		if !ok {
			return nil, false, false
		}
		for _, e := range entries {
			if s.filter.matches(e.channel) {
				frames = append(frames, e.frame)
			}
		}
	}
	s.goLive(max(place, t.position))
	t.live.add(s)
	return frames, ahead || place > t.position, true
}

// reached is the position up to which everything was handed on.
func (t *tail) reached() hub.Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.position
}

// floor is the lowest position that can be had whatever Postgres holds: above 1 only where messages were given up.
func (t *tail) floor() hub.Position {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost + 1
}

// An ask is what a tail wants to have read.
type ask struct {
	tail    *tail
	placing int
	from    store.Tail
}

// stuckAt is the position behind which a message is missing and waited for; false where none is.
func (t *tail) stuckAt() (hub.Position, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.position, !t.gapSince.IsZero()
}

// next is what to read; false where the tail has no place.
func (t *tail) next() (ask, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.placed {
		return ask{}, false
	}
	from := store.Tail{Tenant: t.tenant, After: t.position, Since: t.at}
	if !t.gapSince.IsZero() {
		from.Since = time.Time{} // in case that the bound is to blame
	}
	if t.oldest != nil {
		from.Oldest = t.oldest()
	}
	return ask{t, t.placing, from}, true
}

// A finding is what a tail made of a read.
type finding int

const (
	upToDate     finding = iota
	behind               // there is more to read
	missing              // a message is not there that should be; it is waited for
	stillMissing         // as before
	gaveUp               // it was waited for long enough
	floorRose            // what comes next is no longer held
	headFell             // Postgres has less than was read from it: another history
	overtaken            // the tail was placed anew since it asked
)

// take hands on what was read, as far as it is contiguous.
func (t *tail) take(a ask, read store.LogRead) finding {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case !t.placed || t.placing != a.placing:
		return overtaken
	case read.Head < t.position:
		t.forgetLocked()
		return headFell
	case read.Floor > t.position+1:
		t.forgetLocked()
		return floorRose
	}
	t.head = read.Head // what was heard is only a hint
	good, hole := contiguous(read, t.position)
	now := time.Now()
	for _, message := range good {
		e := entry{message.Position, message.Channel, frame.Message(t.epoch, message)}
		t.ring.add(e)
		t.live.each(e.channel, func(s *Subscription) {
			if !s.push(e) {
				t.live.remove(s)
			}
		})
		t.position, t.at = message.Position, message.At
		t.metrics.age.Observe(now.Sub(message.At).Seconds())
	}
	t.metrics.messages.Add(float64(len(good)))
	if hole == 0 {
		t.gapSince = time.Time{}
		if read.Through < read.Head {
			return behind
		}
		return upToDate
	}
	if t.gapSince.IsZero() || len(good) > 0 {
		t.gapSince = time.Now()
		return missing
	}
	if time.Since(t.gapSince) < t.o.Patience {
		return stillMissing
	}
	t.lost = hole
	t.forgetLocked()
	return gaveUp
}

// contiguous is the part of a read that follows after without a gap, and the last position that is missing behind
// it, 0 where none is. The log has no gaps, so one that Postgres does not account for by its floor is a fault of
// the hub's.
func contiguous(read store.LogRead, after hub.Position) (good []hub.Logged, hole hub.Position) {
	for i, m := range read.Messages {
		if m.Position != after+hub.Position(i)+1 {
			return read.Messages[:i], m.Position - 1
		}
	}
	if after+hub.Position(len(read.Messages)) != read.Through {
		return read.Messages, read.Through
	}
	return read.Messages, 0
}
