package hub

import (
	"errors"
	"fmt"
	"strings"
)

// MaxChannelLength is the longest channel name, in bytes.
const MaxChannelLength = 200

// reservedChannels begin the names that are the hub's own.
const reservedChannels = "hub:"

// ValidateChannel checks a channel's name: 1–200 characters of A–Z a–z 0–9 . _ ~ : @ / | + = % -, in segments
// between colons, none of them empty; those that begin with hub: are the hub's.
func ValidateChannel(name string) error {
	if name == "" || len(name) > MaxChannelLength {
		return fmt.Errorf("a channel has 1 to %d characters", MaxChannelLength)
	}
	if strings.HasPrefix(name, reservedChannels) {
		return errReserved()
	}
	for segment := range strings.SplitSeq(name, ":") {
		if segment == "" {
			return errors.New("a channel has no empty segment between colons")
		}
		if !IsSegment(segment) {
			return errors.New("a channel has only A-Z a-z 0-9 . _ ~ @ / | + = % - and colons between segments")
		}
	}
	return nil
}

func errReserved() error {
	return fmt.Errorf("channels beginning with %q are the hub's", reservedChannels)
}

// IsSegment says whether s can stand as one segment of a channel: not empty, inside the alphabet, no colon.
func IsSegment(s string) bool {
	for i := range len(s) {
		if !segmentByte(s[i]) {
			return false
		}
	}
	return s != ""
}

func segmentByte(c byte) bool {
	switch {
	case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		return true
	}
	return strings.IndexByte("._~@/|+=%-", c) >= 0
}

// A ChannelPattern covers channels: either one name, or, where its last segment is *, every channel that begins
// with the segments before it and has one or more after them.
type ChannelPattern string

// ParseChannelPattern checks a channel name or pattern such as user:7 or org:7:*; it never begins with the
// star, except for the pattern * alone, which only AllChannels may be.
func ParseChannelPattern(s string) (ChannelPattern, error) {
	name := s
	if prefix, ok := strings.CutSuffix(s, ":*"); ok {
		name = prefix
		if name+":" == reservedChannels {
			return "", errReserved() // hub alone is a channel like any other, what lies below it is not
		}
	}
	if err := ValidateChannel(name); err != nil {
		return "", err
	}
	return ChannelPattern(s), nil
}

// AllChannels covers every channel of the tenant. Only API keys have it.
const AllChannels ChannelPattern = "*"

// Prefix is what the names begin with that the pattern covers; exact says that it covers that one name only.
func (p ChannelPattern) Prefix() (prefix string, exact bool) {
	if p == AllChannels {
		return "", false
	}
	if prefix, ok := strings.CutSuffix(string(p), "*"); ok {
		return prefix, false
	}
	return string(p), true
}

// Matches says whether the pattern covers the channel.
func (p ChannelPattern) Matches(channel string) bool {
	prefix, exact := p.Prefix()
	if exact {
		return channel == prefix
	}
	return len(channel) > len(prefix) && strings.HasPrefix(channel, prefix)
}

// Covers says whether every channel of q is one of p.
func (p ChannelPattern) Covers(q ChannelPattern) bool {
	prefix, exact := q.Prefix()
	if exact {
		return p.Matches(prefix)
	}
	mine, exact := p.Prefix()
	return !exact && strings.HasPrefix(prefix, mine)
}
