package feed_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/hub"
)

// Who does not keep up loses the queue and not the place, and nobody else notices.
func TestLagging(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name     string
		size     int
		adjust   func(*feed.Options)
		messages int
		fall     float64 // at most so many times
	}{
		{"by number", 1, func(o *feed.Options) { o.QueueMessages, o.RingMessages, o.PageMessages = 4, 8, 3 }, 40, 1},
		{"by bytes", 10_000, func(o *feed.Options) { o.QueueBytes, o.RingBytes, o.PageBytes = 30_000, 50_000, 25_000 }, 40, 1},
		{"the ring still has it", 1, func(o *feed.Options) { o.QueueMessages = 4 }, 40, 1},
		{"messages larger than the queue", 50_000, func(o *feed.Options) { o.QueueBytes, o.RingBytes, o.PageBytes = 30_000, 30_000, 30_000 }, 6, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, true, tt.adjust)
			slow, fast := r.subscribe(t, feed.Start{}, "a"), r.subscribe(t, feed.Start{}, "*")
			slow.live(t)
			fast.live(t)
			for range tt.messages / 2 {
				r.log.appendSized(t, tt.size, "a", "b")
				fast.gets(t, r.log.head())
			}
			if n := r.metric(t, "lagging_total", ""); n < 1 || n > tt.fall {
				t.Errorf("%v fell behind, want 1 to %v", n, tt.fall)
			}
			cursor, ok := slow.Cursor()
			if !ok || cursor.Position > 2 {
				t.Errorf("a subscriber that got nothing claims %s", cursor)
			}
			slow.gets(t, r.log.head()-1)
			if diff := cmp.Diff([]string{"hub.live"}, slow.names()[:1]); diff != "" || len(slow.names()) != 1+tt.messages/2 {
				t.Errorf("frames %v", slow.names())
			}
			r.log.append(t, "a")
			slow.gets(t, r.log.head())
			if cursor, _ := slow.Cursor(); cursor.Position != r.log.head() {
				t.Errorf("live again at %s, want %d", cursor, r.log.head())
			}
		})
	}
}

// All subscribers of a channel get the same frame, so that it is encoded once.
func TestFanOut_SameFrame(t *testing.T) {
	t.Parallel()
	r := start(t, true, nil)
	a, b, c := r.subscribe(t, feed.Start{}, "a"), r.subscribe(t, feed.Start{}, "*"), r.subscribe(t, feed.Start{}, "b")
	for _, s := range []*subscriber{a, b, c} {
		s.live(t)
	}
	r.log.append(t, "a")
	a.gets(t, 1)
	b.gets(t, 1)
	if a.frames[len(a.frames)-1] != b.frames[len(b.frames)-1] {
		t.Error("two frames of one message")
	}
	if cursor, _ := c.Cursor(); cursor.Position != 1 || len(c.got) != 0 {
		t.Errorf("the subscriber of another channel has %v and claims %s, want 1: it was looked past", c.got, cursor)
	}
}

// A cursor that the ring covers is resumed without a read of the log.
func TestResume_FromRing(t *testing.T) {
	t.Parallel()
	r := start(t, true, nil)
	first := r.subscribe(t, feed.Start{}, "a")
	first.live(t)
	for range 10 {
		r.log.append(t, "a", "b")
	}
	first.gets(t, 19)
	first.Close()
	reads := r.metric(t, "read_seconds", "subscriptions")

	again := r.subscribe(t, feed.Start{Cursor: r.cursor(t, 5)}, "a")
	again.live(t)
	if diff := cmp.Diff([]hub.Position{7, 9, 11, 13, 15, 17, 19}, again.got); diff != "" {
		t.Error(diff)
	}
	if n := r.metric(t, "read_seconds", "subscriptions") - reads; n != 1 {
		t.Errorf("%v reads, want the one that judges the cursor", n)
	}
	if n := r.metric(t, "replayed_total", ""); n != 0 {
		t.Errorf("%v frames read from the log", n)
	}
}
