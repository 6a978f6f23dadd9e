package hub_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/hub"
)

func TestValidateChannel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, channel string
		ok            bool
	}{
		{"one segment", "news", true},
		{"several", "org:7:orders", true},
		{"whole alphabet", "AZaz09._~@/|+=%-", true},
		{"longest", strings.Repeat("x", 200), true},
		{"too long", strings.Repeat("x", 201), false},
		{"empty", "", false},
		{"empty segment at the end", "org:7:", false},
		{"empty segment at the beginning", ":org", false},
		{"empty segment inside", "org::7", false},
		{"colon alone", ":", false},
		{"star", "org:*", false},
		{"space", "org:a b", false},
		{"line feed", "org:a\n", false},
		{"NUL", "org:\x00", false},
		{"not ASCII", "org:é", false},
		{"braces", "org:{x}", false},
		{"comma", "a,b", false},
		{"the hub's", "hub:presence", false},
		{"hub alone", "hub", true},
		{"begins like the hub's", "hubs:1", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := hub.ValidateChannel(c.channel); (err == nil) != c.ok {
				t.Errorf("ValidateChannel(%q) = %v", c.channel, err)
			}
		})
	}
}

func TestParseChannelPattern(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, pattern string
		ok            bool
	}{
		{"a name", "user:7", true},
		{"star", "org:7:*", true},
		{"star below one segment", "demo:*", true},
		{"star alone", "*", false},
		{"star inside", "org:*:orders", false},
		{"two stars", "org:*:*", false},
		{"star in a segment", "org:a*", false},
		{"star without colon", "org*", false},
		{"colon and star alone", ":*", false},
		{"all of the hub's", "hub:*", false},
		{"some of the hub's", "hub:presence:*", false},
		{"below hub's namesake", "hubs:*", true},
		{"empty", "", false},
		{"empty segment", "org::*", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if _, err := hub.ParseChannelPattern(c.pattern); (err == nil) != c.ok {
				t.Errorf("ParseChannelPattern(%q) = %v", c.pattern, err)
			}
		})
	}
}

func TestChannelPattern_Matches(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern hub.ChannelPattern
		channel string
		want    bool
	}{
		{"user:7", "user:7", true},
		{"user:7", "user:77", false},
		{"user:7", "user:7:x", false},
		{"user:7", "user", false},
		{"org:7:*", "org:7:a", true},
		{"org:7:*", "org:7:a:b", true},
		{"org:7:*", "org:7", false},  // one or more segments, never none
		{"org:7:*", "org:7:", false}, // which is no channel at all
		{"org:7:*", "org:77:a", false},
		{hub.AllChannels, "org:7", true},
		{hub.AllChannels, "x", true},
	} {
		if got := c.pattern.Matches(c.channel); got != c.want {
			t.Errorf("%q matches %q: %v, want %v", c.pattern, c.channel, got, c.want)
		}
	}
}

// segments draws from few letters, so that names and patterns meet often.
func segments(t *rapid.T, label string) string {
	return strings.Join(rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "ab"}), 1, 4).Draw(t, label), ":")
}

func drawPattern(t *rapid.T, label string) hub.ChannelPattern {
	name := segments(t, label)
	if rapid.Bool().Draw(t, label+" star") {
		name += ":*"
	}
	p, err := hub.ParseChannelPattern(name)
	if err != nil {
		t.Fatalf("%q: %v", name, err)
	}
	return p
}

// What a pattern means, said plainly: the same segments, and one or more after them where it ends with a star.
func means(p hub.ChannelPattern, channel string) bool {
	want, have := strings.Split(string(p), ":"), strings.Split(channel, ":")
	for i, segment := range want {
		if segment == "*" {
			return len(have) > i
		}
		if i >= len(have) || have[i] != segment {
			return false
		}
	}
	return len(have) == len(want)
}

func TestChannelPattern_MatchesIsItsMeaning(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, channel := drawPattern(t, "pattern"), segments(t, "channel")
		if got := p.Matches(channel); got != means(p, channel) {
			t.Fatalf("%q matches %q: %v", p, channel, got)
		}
	})
}

func TestChannelPattern_CoversIsItsMeaning(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, q, channel := drawPattern(t, "p"), drawPattern(t, "q"), segments(t, "channel")
		covers := p.Covers(q)
		if covers && q.Matches(channel) && !p.Matches(channel) {
			t.Fatalf("%q covers %q, and only the latter matches %q", p, q, channel)
		}
		if covers {
			return
		}
		// What q has and p lacks: q itself, or below its star a segment that p cannot name.
		prefix, exact := q.Prefix()
		witness := prefix
		if !exact {
			witness += "z"
		}
		if !q.Matches(witness) || p.Matches(witness) {
			t.Fatalf("%q does not cover %q, yet matches %q", p, q, witness)
		}
	})
}

func TestChannelPattern_AllChannelsCoversAll(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := drawPattern(t, "p")
		if !hub.AllChannels.Covers(p) || p.Covers(hub.AllChannels) {
			t.Fatalf("with %q", p)
		}
	})
	if !hub.AllChannels.Covers(hub.AllChannels) {
		t.Error("all channels do not cover themselves")
	}
}
