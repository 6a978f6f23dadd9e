package feed_test

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/hub"
)

// Whatever patterns overlap, a subscription gets each message of its channels once.
func TestFilter(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		channel := rapid.StringMatching(`[ab]{1,2}(:[ab]{1,2}){0,3}`)
		pattern := rapid.OneOf(rapid.StringMatching(`[ab]{1,2}(:[ab]{1,2}){0,3}(:\*)?`), rapid.Just("*"))
		patterns := []hub.ChannelPattern{}
		for _, p := range rapid.SliceOfN(pattern, 0, 6).Draw(t, "patterns") {
			patterns = append(patterns, hub.ChannelPattern(p))
		}
		channels := rapid.SliceOfN(channel, 1, 20).Draw(t, "channels")
		matched, found := feed.Filter(patterns, channels)
		for i, c := range channels {
			want := slices.ContainsFunc(patterns, func(p hub.ChannelPattern) bool { return p.Matches(c) })
			if matched[i] != want || (found[i] == 1) != want || found[i] > 1 {
				t.Fatalf("%s: matched %v, found %d times, want %v", c, matched[i], found[i], want)
			}
		}
	})
}
