package stream_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tmaxmax/go-sse"
	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A replay of 500 messages is cut after each single frame in turn, under live traffic, and resumed with the last id
// that its client saw, of whatever frame: nothing is missing, nothing comes twice, and no id on the way claims more
// than what came.
func TestSeam(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *options) {
		o.stream.Ping = 3 * time.Millisecond // heartbeats between all the rest
		o.QueueMessages, o.RingMessages, o.PageMessages = 8, 16, 64
	})
	const replayed = 500
	for range replayed / 5 {
		r.log.append(t, "a", "b", "c:1", "a", "other", "c:2", "a")
	}
	turns, live := make(chan int), make(chan struct{}, 1)
	var traffic sync.WaitGroup
	traffic.Go(func() { // a few messages for each cut, at any time of it
		for range live {
			r.log.append(t, "other", []string{"a", "b", "c:3"}[rand.IntN(3)], "a")
		}
	})
	filters := [][]hub.ChannelPattern{{"a", "b", "c:1", "c:2"}, {"a", "b", "c:*"}}

	var tally tally
	var clients sync.WaitGroup
	for range 6 {
		clients.Go(func() {
			for n := range turns {
				r.cutAndResume(t, filters[n%2], replayed, n, &tally)
			}
		})
	}
	for n := range replayed + 2 { // hub.ready and hub.live besides
		turns <- n + 1
		select {
		case live <- struct{}{}:
		default:
		}
	}
	close(turns)
	clients.Wait()
	close(live)
	traffic.Wait()
	t.Logf("%d cuts, %d frames with an id, %d messages: missing %d, twice %d, claimed too early %d", replayed+2,
		tally.frames.Load(), tally.messages.Load(), tally.missing.Load(), tally.twice.Load(), tally.early.Load())
	if tally.missing.Load()+tally.twice.Load()+tally.early.Load() > 0 {
		t.Fail()
	}
	if tally.messages.Load() < (replayed+2)*replayed {
		t.Error("too few messages came for a replay of 500 each time")
	}
}

// A tally counts what clients got, and what they should not have or should have got.
type tally struct{ frames, messages, missing, twice, early atomic.Int64 }

// A witness is one client across its connections: all that it got, and a check of each id that it saw.
type witness struct {
	log    *messageLog
	filter []hub.ChannelPattern
	tally  *tally
	from   hub.Position // where it began

	got     []hub.Position
	want    []hub.Position // up to through
	through hub.Position
}

func newWitness(log *messageLog, filter []hub.ChannelPattern, from hub.Position, tally *tally) *witness {
	return &witness{log: log, filter: filter, tally: tally, from: from, through: from}
}

// see takes a frame. Everything up to its id must have come by now.
func (w *witness) see(t testing.TB, e sse.Event) {
	t.Helper()
	w.tally.frames.Add(1)
	p := position(t, e.LastEventID)
	if isMessage(e) {
		w.tally.messages.Add(1)
		if n := len(w.got); n > 0 && w.got[n-1] >= p {
			w.tally.twice.Add(1)
			t.Errorf("%d after %d", p, w.got[n-1])
		}
		w.got = append(w.got, p)
	}
	w.due(p)
	if p == w.through && len(w.want) > len(w.got) {
		w.tally.early.Add(1)
		t.Errorf("%s claims %d: got %d messages, not %d", e.Type, p, len(w.got), len(w.want))
	}
}

// due brings what must have come up to a position.
func (w *witness) due(through hub.Position) {
	if through > w.through {
		w.want = append(w.want, w.log.of(w.filter, w.through, through)...)
		w.through = through
	}
}

// settle checks the whole of it.
func (w *witness) settle(t testing.TB, through hub.Position) {
	t.Helper()
	w.due(through)
	for _, p := range w.want {
		if !slices.Contains(w.got, p) {
			w.tally.missing.Add(1)
			t.Errorf("%d is missing", p)
		}
	}
	if !slices.Equal(w.want, w.got) {
		t.Errorf("got %v, want %v", w.got, w.want)
	}
}

func (r *rig) cutAndResume(t testing.TB, filter []hub.ChannelPattern, replayed, frames int, tally *tally) {
	t.Helper()
	own := r.log.of(filter, 0, r.log.head())
	from := own[len(own)-replayed] - 1
	w := newWitness(r.log, filter, from, tally)
	first := r.connect(t, query(filter), "Last-Event-ID", r.cursor(t, from))
	for range frames {
		event, ok := first.read(t)
		if !ok {
			t.Error("the stream ended by itself")
			return
		}
		w.see(t, event)
	}
	first.close()
	through := r.log.head()
	second := r.connect(t, query(filter), "Last-Event-ID", first.lastID)
	for position(t, second.lastIDOr(first.lastID)) < through || !second.live {
		event, ok := second.read(t)
		if !ok {
			t.Error("the resumed stream ended by itself")
			return
		}
		w.see(t, event)
	}
	second.close()
	w.settle(t, position(t, second.lastID))
}

func query(filter []hub.ChannelPattern) string {
	names := make([]string, len(filter))
	for i, c := range filter {
		names[i] = string(c)
	}
	return channels(names...)
}

func (c *client) lastIDOr(other string) string {
	if c.lastID == "" {
		return other
	}
	return c.lastID
}

// Any number of cuts, anywhere, and whatever was sent in between.
func TestSeam_AnyCuts(t *testing.T) {
	t.Parallel()
	r := start(t, func(o *options) {
		o.stream.Ping = time.Millisecond
		o.QueueMessages, o.RingMessages, o.PageMessages = 3, 6, 4
	})
	rapid.Check(t, func(rt *rapid.T) {
		own := &rig{db: r.db, log: newLog(t, r.db)}
		r.mu.Lock()
		r.log = own.log
		r.mu.Unlock()
		channel := rapid.SampledFrom([]string{"a", "b", "c:1", "c:2"})
		filter := rapid.SampledFrom([][]hub.ChannelPattern{{"a"}, {"c:*", "b"}, {"a", "b"}, {"*"}}).Draw(rt, "filter")
		var tally tally
		w := newWitness(own.log, filter, 0, &tally)
		last := own.cursor(t, 0)
		for range rapid.IntRange(1, 3).Draw(rt, "connections") {
			own.log.append(t, rapid.SliceOfN(channel, 1, 20).Draw(rt, "before")...)
			c := r.connect(t, query(filter), "Last-Event-ID", last)
			for range rapid.IntRange(1, 6).Draw(rt, "frames") {
				if rapid.IntRange(0, 3).Draw(rt, "during") == 0 {
					own.log.append(t, channel.Draw(rt, "channel"))
				}
				event, ok := c.read(t)
				if !ok {
					rt.Fatal("the stream ended by itself")
				}
				w.see(t, event)
			}
			last = c.lastID
			c.close()
		}
		through := own.log.head()
		c := r.connect(t, query(filter), "Last-Event-ID", last)
		for position(t, c.lastIDOr(last)) < through {
			event, ok := c.read(t)
			if !ok {
				rt.Fatal("the stream ended by itself")
			}
			w.see(t, event)
		}
		c.close()
		w.settle(t, position(t, c.lastIDOr(last)))
	})
}
