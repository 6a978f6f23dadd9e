package feed_test

import (
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/hub"
)

// Wherever a subscriber is cut off, and whatever it had seen last, it goes on with each message once, and no id on
// the way claims too much. Queue, ring and pages are so small that each step crosses a seam.
func TestSeam_AnyCutAnyResume(t *testing.T) {
	t.Parallel()
	r := start(t, true, func(o *feed.Options) { o.QueueMessages, o.RingMessages, o.PageMessages = 2, 4, 2 })
	channels := rapid.SampledFrom([]string{"a", "b", "c:1", "c:2", "d"})
	filters := rapid.SampledFrom([][]hub.ChannelPattern{{"a"}, {"a", "c:2"}, {"c:*"}, {"b", "c:*"}, {"*"}, {"x"}})
	rapid.Check(t, func(rt *rapid.T) {
		rig := &rig{Feed: r.Feed, db: r.db, registry: r.registry, log: newLog(t, r.db)}
		rig.log.append(t, rapid.SliceOfN(channels, 1, 8).Draw(rt, "before")...)
		var subscribers []*subscriber
		for range 3 {
			subscribers = append(subscribers, rig.subscribe(t, feed.Start{Earliest: true}, filters.Draw(rt, "filter")...))
		}
		pick := rapid.IntRange(0, len(subscribers)-1)
		rt.Repeat(map[string]func(*rapid.T){
			"append": func(rt *rapid.T) { rig.log.append(t, rapid.SliceOfN(channels, 1, 6).Draw(rt, "channels")...) },
			"pull": func(rt *rapid.T) {
				s := subscribers[pick.Draw(rt, "who")]
				select {
				case <-s.Ready():
					s.pull(t)
				default:
				}
			},
			"cut": func(rt *rapid.T) {
				i := pick.Draw(rt, "who")
				subscribers[i] = rig.resume(t, rt, subscribers[i])
			},
			"cut in the middle of a batch": func(rt *rapid.T) {
				s := subscribers[pick.Draw(rt, "who")]
				batch, err := s.Next(t.Context())
				if err != nil {
					rt.Fatal(err)
				}
				for _, f := range batch.Frames[:rapid.IntRange(0, len(batch.Frames)).Draw(rt, "frames")] {
					s.take(t, f)
				}
				for i := range subscribers {
					if subscribers[i] == s {
						subscribers[i] = rig.resume(t, rt, s)
					}
				}
			},
		})
		rig.log.append(t, "a", "c:1", "b", "x")
		var wait sync.WaitGroup
		for _, s := range subscribers {
			wait.Go(func() {
				if want := rig.log.of(s.filter, 0, rig.log.head()); len(want) > 0 {
					s.gets(t, want[len(want)-1])
				}
			})
		}
		wait.Wait()
		for _, s := range subscribers {
			s.Close()
		}
	})
}

// resume closes a subscription and opens another from any id that its subscriber may have stored last.
func (r *rig) resume(t testing.TB, rt *rapid.T, s *subscriber) *subscriber {
	t.Helper()
	s.Close()
	cursor := s.Opening().From.String()
	if n := len(s.events); n > 0 {
		cursor = s.events[n-1].LastEventID
	}
	again := r.subscribe(t, feed.Start{Cursor: cursor}, s.filter...)
	if again.Opening().From == nil {
		rt.Fatalf("%s cannot be resumed", cursor)
	}
	again.from, again.got = s.from, s.got
	again.check(t, "hub.ready", *again.Opening().From)
	return again
}
