package expr

import (
	"context"
	"strings"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"

	"github.com/tributary-hub/tributary/internal/hub"
)

// maxPatterns bounds what one grant gives one token, whatever lists its claims hold.
const maxPatterns = 1_000

// A Grant says which channels a token may read: a pattern with claims in braces, and a condition.
type Grant struct {
	pieces   []piece
	star     bool // the pattern ends with :*
	when     *Condition
	segments []gap
}

// Grant compiles a grant of the issuer row of that name; location is the grant's in the request. {sub} is short for
// {claims.sub}, and {issuer} is the row's name. A grant begins with a literal segment, and its last may be *.
func (e *Env) Grant(location string, grant hub.Grant, issuer string) (*Grant, error) {
	at := place{location: location}
	source, star := strings.CutSuffix(grant.Pattern, ":*")
	if !hub.IsSegment(issuer) {
		return nil, at.errorf("the issuer's name cannot stand in a channel")
	}
	pieces, err := e.pieces(at, source, shorthand(issuer),
		types.StringKind, types.IntKind, types.UintKind, types.NullTypeKind, types.ListKind)
	if err != nil {
		return nil, err
	}
	if first, _, braces := strings.Cut(source, "{"); braces && !strings.Contains(first, ":") {
		return nil, at.errorf("1:1: a grant begins with a literal segment, such as user:{sub}")
	}
	pattern := filled(pieces)
	if star {
		pattern += ":*"
	}
	if _, err := hub.ParseChannelPattern(pattern); err != nil {
		return nil, at.errorf("%v", err)
	}
	g := &Grant{pieces: pieces, star: star, segments: gaps(pieces)}
	if grant.When != "" {
		if g.when, err = e.Condition(location+".when", grant.When); err != nil {
			return nil, err
		}
	}
	return g, nil
}

// shorthand reads {issuer} as the row's name and any other bare name as a claim.
func shorthand(issuer string) func(string) (string, bool, int) {
	return func(inside string) (text string, plain bool, shift int) {
		name := strings.TrimSpace(inside)
		switch {
		case name == "issuer":
			return issuer, true, 0
		case name != "claims" && isName(name):
			at := strings.Index(inside, name)
			const object = "claims."
			return inside[:at] + object + inside[at:], false, len(object)
		}
		return inside, false, 0
	}
}

func isName(s string) bool {
	for i := range len(s) {
		if !isWordByte(s[i]) {
			return false
		}
	}
	return s != "" && !('0' <= s[0] && s[0] <= '9')
}

// Patterns gives the channels that the grant gives a token with these claims: none where its condition does not
// hold or a claim is null, absent or empty, and one for each element where a claim is a list. The error is a
// *Failure, or the context's cause; then the grant gives nothing.
func (g *Grant) Patterns(ctx context.Context, claims *Claims) ([]hub.ChannelPattern, error) {
	if g.when != nil {
		holds, err := g.when.Holds(ctx, claims)
		if absent(err) || err == nil && !holds {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
	}
	names := []string{""}
	for _, p := range g.pieces {
		texts := []string{p.text}
		if p.program != nil {
			value, err := p.program.eval(ctx, claims)
			if err == nil {
				texts, err = segmentTexts(value)
			}
			if absent(err) || err == nil && len(texts) == 0 {
				return nil, nil
			}
			if err != nil {
				return nil, err
			}
		}
		if len(names)*len(texts) > maxPatterns {
			return nil, failuref("a grant gives at most %d channels", maxPatterns)
		}
		names = product(names, texts)
	}
	return g.patterns(names)
}

func (g *Grant) patterns(names []string) ([]hub.ChannelPattern, error) {
	seen := make(map[string]bool, len(names))
	patterns := make([]hub.ChannelPattern, 0, len(names))
	for _, name := range names {
		if seen[name] {
			continue
		}
		seen[name] = true
		if g.star {
			name += ":*"
		}
		pattern, err := hub.ParseChannelPattern(name)
		if err != nil {
			return nil, failuref("%v", err)
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

func product(names, texts []string) []string {
	out := make([]string, 0, len(names)*len(texts))
	for _, name := range names {
		for _, text := range texts {
			out = append(out, name+text)
		}
	}
	return out
}

// segmentTexts is segmentText for a value that may be a list; what gives nothing is left out.
func segmentTexts(value ref.Val) ([]string, error) {
	if optional, ok := value.(*types.Optional); ok && optional.HasValue() {
		return segmentTexts(optional.GetValue())
	}
	elements := []ref.Val{value}
	if list, ok := value.(traits.Lister); ok {
		size, _ := list.Size().(types.Int)
		if size > maxPatterns {
			return nil, failuref("a grant gives at most %d channels", maxPatterns)
		}
		elements = elements[:0]
		for i := range size {
			elements = append(elements, list.Get(i))
		}
	}
	texts := make([]string, 0, len(elements))
	for _, element := range elements {
		text, err := segmentText(element)
		if err != nil {
			return nil, err
		}
		if text != "" {
			texts = append(texts, text)
		}
	}
	return texts, nil
}

// Overlaps says whether one channel name can fit both grants, each pair of braces read as any text of one segment
// and conditions ignored. {issuer} is the row's name here too: it is what keeps two rows apart.
func (g *Grant) Overlaps(other *Grant) bool {
	a, b := g, other
	if len(a.segments) > len(b.segments) {
		a, b = b, a
	}
	// a has as many segments or fewer. Where it has fewer, its star must take the rest of b; where it has as many
	// and a star, that star needs one more than b's own segments, which only another star can give.
	if len(a.segments) < len(b.segments) && !a.star {
		return false
	}
	if len(a.segments) == len(b.segments) && a.star != b.star {
		return false
	}
	for i, segment := range a.segments {
		if !segment.fits(b.segments[i]) {
			return false
		}
	}
	return true
}

// A gap is one segment of a pattern: literal text, or, with open, prefix and suffix around what braces give.
type gap struct {
	prefix, suffix string
	open           bool
}

func gaps(pieces []piece) []gap {
	const braces = "\x00" // never in a channel
	var b strings.Builder
	for _, p := range pieces {
		if p.program == nil {
			b.WriteString(p.text)
		} else {
			b.WriteString(braces)
		}
	}
	var out []gap
	for segment := range strings.SplitSeq(b.String(), ":") {
		prefix, rest, open := strings.Cut(segment, braces)
		suffix := rest[strings.LastIndex(rest, braces)+1:]
		out = append(out, gap{prefix: prefix, suffix: suffix, open: open})
	}
	return out
}

// fits says whether some text fits both. For two open ones that is decided by their ends alone.
func (s gap) fits(other gap) bool {
	switch {
	case !s.open && !other.open:
		return s.prefix == other.prefix
	case s.open && !other.open:
		return s.holds(other.prefix)
	case !s.open && other.open:
		return other.holds(s.prefix)
	}
	return (strings.HasPrefix(s.prefix, other.prefix) || strings.HasPrefix(other.prefix, s.prefix)) &&
		(strings.HasSuffix(s.suffix, other.suffix) || strings.HasSuffix(other.suffix, s.suffix))
}

// holds says whether an open segment can be text: braces give at least one character.
func (s gap) holds(text string) bool {
	return len(text) > len(s.prefix)+len(s.suffix) && strings.HasPrefix(text, s.prefix) && strings.HasSuffix(text, s.suffix)
}
