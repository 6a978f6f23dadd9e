package expr_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
)

func mustGrant(t testing.TB, pattern, issuer string) *expr.Grant {
	t.Helper()
	grant, err := newClaims(t).Grant("body.grants[0]", hub.Grant{Pattern: pattern}, issuer)
	if err != nil {
		t.Fatalf("%s: %v", pattern, err)
	}
	return grant
}

func TestGrant_Refuses(t *testing.T) {
	t.Parallel()
	env := newClaims(t)
	const form = "a channel has only A-Z a-z 0-9 . _ ~ @ / | + = % - and colons between segments"
	for _, c := range []struct {
		name, pattern, when string
		location, want      string
	}{
		{"begins with braces", "{sub}", "", "", "1:1: a grant begins with a literal segment, such as user:{sub}"},
		{"begins with braces and more", "{sub}:x", "", "", "1:1: a grant begins with a literal segment, such as user:{sub}"},
		{"begins with half a literal", "user-{sub}:x", "", "", "1:1: a grant begins with a literal segment, such as user:{sub}"},
		{"begins with the issuer", "{issuer}:x", "", "", "1:1: a grant begins with a literal segment, such as user:{sub}"},
		{"everything", "*", "", "", form},
		{"star inside", "org:*:x", "", "", form},
		{"star in a segment", "org:x*", "", "", form},
		{"two stars", "org:*:*", "", "", form},
		{"star alone behind a colon", ":*", "", "", "a channel has 1 to 200 characters"},
		{"the hub's", "hub:{sub}", "", "", `channels beginning with "hub:" are the hub's`},
		{"all of the hub's", "hub:*", "", "", `channels beginning with "hub:" are the hub's`},
		{"empty", "", "", "", "a channel has 1 to 200 characters"},
		{"bad expression", "user:{claims.sub +}", "", "", "1:19: the expression ends too early"},
		{"boolean", "user:{claims.sub == 'x'}", "", "", "1:7: a channel takes a string or an integer in braces, not a bool"},
		{"map", "user:{claims}", "", "", "1:7: a channel takes a string or an integer in braces, not a map(string, dyn)"},
		{"event", "user:{event.type}", "", "", "1:7: an unknown name: what an expression sees begins with claims"},
		{"condition", "user:{sub}", "claims.x +", ".when", "1:11: the expression ends too early"},
		{"condition of another type", "user:{sub}", "'yes'", ".when", "1:1: the expression must be true or false, not a string"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := env.Grant("body.grants[2]", hub.Grant{Pattern: c.pattern, When: c.when}, "auth0")
			got := invalid(t, err)
			if diff := cmp.Diff(hub.FieldError{Location: "body.grants[2]" + c.location, Message: c.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGrant_Patterns(t *testing.T) {
	t.Parallel()
	claims := map[string]any{
		"sub": "auth0|42", "org_id": float64(7), "big": float64(1 << 53), "exact": json.Number("9007199254740993"), "half": 1.5,
		"groups": []any{"a", "b", "a", nil, ""}, "mixed": []any{"a", true}, "nested": []any{[]any{"a"}}, "none": []any{}, "numbers": []any{float64(1), json.Number("2")},
		"null": nil, "empty": "", "admin": true, "text": "yes", "mail": "a b@c.example",
		"realm_access":          map[string]any{"roles": []any{"editor"}, "level": float64(3)},
		"https://x.example/org": "acme",
	}
	for _, c := range []struct {
		pattern, when string
		want          []hub.ChannelPattern
		fails         bool
	}{
		{"user:{sub}", "", []hub.ChannelPattern{"user:auth0|42"}, false},
		{"user:{ sub }", "", []hub.ChannelPattern{"user:auth0|42"}, false},
		{"user:{claims.sub}", "", []hub.ChannelPattern{"user:auth0|42"}, false},
		{"org:{claims.org_id}:*", "", []hub.ChannelPattern{"org:7:*"}, false},
		{"org:{org_id}", "", []hub.ChannelPattern{"org:7"}, false},
		{"org:{exact}", "", []hub.ChannelPattern{"org:9007199254740993"}, false},
		{"org:{claims['https://x.example/org']}", "", []hub.ChannelPattern{"org:acme"}, false},
		{"demo:*", "", []hub.ChannelPattern{"demo:*"}, false},
		{"news", "", []hub.ChannelPattern{"news"}, false},
		{"i:{issuer}:{sub}", "", []hub.ChannelPattern{"i:auth0:auth0|42"}, false},
		{"group:{groups}", "", []hub.ChannelPattern{"group:a", "group:b"}, false},
		{"group:{groups}:*", "", []hub.ChannelPattern{"group:a:*", "group:b:*"}, false},
		{"group:{groups}:{numbers}", "", []hub.ChannelPattern{"group:a:1", "group:a:2", "group:b:1", "group:b:2"}, false},
		{"role:{claims.realm_access.roles}", "", []hub.ChannelPattern{"role:editor"}, false},
		{"group:{claims.groups.filter(g, g == 'b')}", "", []hub.ChannelPattern{"group:b"}, false},
		{"mail:{segment(claims.mail)}", "", []hub.ChannelPattern{"mail:a%20b@c.example"}, false},

		{"x:{claims['null']}", "", nil, false},
		{"x:{empty}", "", nil, false},
		{"x:{absent}", "", nil, false},
		{"x:{claims.absent.deeper}", "", nil, false},
		{"x:{claims.?absent}", "", nil, false},
		{"x:{none}", "", nil, false},

		{"x:{admin}", "", nil, true},
		{"x:{half}", "", nil, true},
		{"x:{big}", "", nil, true}, // as a float64 it may be another number than the issuer wrote
		{"x:{mixed}", "", nil, true},
		{"x:{nested}", "", nil, true},
		{"x:{mail}", "", nil, true},
		{"x:{realm_access}", "", nil, true},

		{"user:{sub}", "claims.admin", []hub.ChannelPattern{"user:auth0|42"}, false},
		{"user:{sub}", "claims.realm_access.level >= 3", []hub.ChannelPattern{"user:auth0|42"}, false},
		{"user:{sub}", "'a' in claims.groups", []hub.ChannelPattern{"user:auth0|42"}, false},
		{"user:{sub}", "!claims.admin", nil, false},
		{"user:{sub}", "claims.absent", nil, false},
		{"user:{sub}", "claims.absent != true", nil, false}, // what is not there grants nothing
		{"user:{sub}", "claims.text", nil, true},
	} {
		t.Run(c.pattern+" when "+c.when, func(t *testing.T) {
			t.Parallel()
			grant, err := newClaims(t).Grant("body.grants[0]", hub.Grant{Pattern: c.pattern, When: c.when}, "auth0")
			if err != nil {
				t.Fatal(err)
			}
			got, err := grant.Patterns(t.Context(), expr.ClaimsOf(claims))
			var failure *expr.Failure
			if c.fails != errors.As(err, &failure) || !c.fails && err != nil {
				t.Errorf("error %v", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestGrant_BoundsItsLists(t *testing.T) {
	t.Parallel()
	list := func(n int) []any {
		out := make([]any, n)
		for i := range out {
			out[i] = strconv.Itoa(i)
		}
		return out
	}
	grant := mustGrant(t, "group:{a}:{b}", "auth0")
	for _, c := range []struct {
		a, b int
		fine bool
	}{{1, expr.MaxPatterns, true}, {40, 25, true}, {41, 25, false}, {1, expr.MaxPatterns + 1, false}, {100_000, 100_000, false}} {
		got, err := grant.Patterns(t.Context(), expr.ClaimsOf(map[string]any{"a": list(c.a), "b": list(c.b)}))
		if (err == nil) != c.fine || c.fine && len(got) != c.a*c.b {
			t.Errorf("%d times %d: %d patterns, %v", c.a, c.b, len(got), err)
		}
	}
}

func TestGrant_IssuerIsNeverAnotherSegment(t *testing.T) {
	t.Parallel()
	for _, issuer := range []string{"", "a:b", "*", "a b", "{sub}"} {
		if _, err := newClaims(t).Grant("body.grants[0]", hub.Grant{Pattern: "i:{issuer}:{sub}"}, issuer); hub.CodeOf(err) != hub.Invalid {
			t.Errorf("issuer %q: %v", issuer, err)
		}
	}
}

func TestGrant_Overlaps(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"user:{sub}", "user:{sub}", true},
		{"user:{sub}", "user:{claims.email}", true},
		{"user:{sub}", "org:{sub}", false},
		{"user:{sub}", "user:7", true},
		{"user:{sub}", "user:{sub}:x", false},
		{"user:{sub}", "user", false},
		{"user:*", "user:7", true},
		{"user:*", "user:7:x", true},
		{"user:*", "user", false},
		{"user:*", "user:*", true},
		{"user:*", "user:7:*", true},
		{"user:7:*", "user:7", false},
		{"user:7:*", "user:8:*", false},
		{"user:{sub}:*", "user:{sub}", false},
		{"user:{sub}:*", "user:{sub}:x", true},
		{"user:{sub}:*", "user:*", true},
		{"user:{sub}:a", "user:{sub}:b", false},
		{"user:a:{sub}", "user:{sub}:b", true},
		{"i:{issuer}:{sub}", "i:{issuer}:{sub}", false}, // issuers a and b
		{"i:{issuer}:{sub}", "i:{sub}:x", true},
		{"i:{issuer}:*", "i:b:*", false},
		{"i:{issuer}:*", "i:a:x", true},
		{"u:a-{sub}", "u:b-{sub}", false},
		{"u:a-{sub}", "u:a-{sub}", true},
		{"u:a-{sub}", "u:{sub}-a", true},
		{"u:{sub}-x", "u:{sub}-y", false},
		{"u:a-{sub}", "u:a-", false}, // braces never give nothing
		{"u:a-{sub}", "u:a-b", true},
		{"u:aa{sub}aa", "u:aaa", false},
	} {
		t.Run(c.a+" and "+c.b, func(t *testing.T) {
			t.Parallel()
			a, b := mustGrant(t, c.a, "a"), mustGrant(t, c.b, "b")
			if got := a.Overlaps(b); got != c.want {
				t.Errorf("%v", got)
			}
			// The other way round is the same question, but for which row {issuer} names.
			if !strings.Contains(c.a+c.b, "{issuer}") && b.Overlaps(a) != c.want {
				t.Error("not symmetric")
			}
		})
	}
}

// Whatever claims two tokens have: where a channel fits what both grants give them, the grants overlap.
func TestGrant_OverlapsMissesNothing(t *testing.T) {
	t.Parallel()
	values := rapid.SampledFrom([]string{"a", "b", "ab", "ba"})
	pattern := rapid.Custom(func(t *rapid.T) string {
		n := rapid.IntRange(0, 2).Draw(t, "segments")
		out := "s"
		for i := range n {
			segment := rapid.SampledFrom([]string{"a", "b", "{%s}", "a{%s}", "{%s}b", "{%s}{%s}"}).Draw(t, "segment")
			for strings.Contains(segment, "%s") {
				segment = strings.Replace(segment, "%s", fmt.Sprintf("c%d", i), 1)
			}
			out += ":" + segment
		}
		if rapid.Bool().Draw(t, "star") {
			out += ":*"
		}
		return out
	})
	env := newClaims(t)
	rapid.Check(t, func(t *rapid.T) {
		give := func(label string) (*expr.Grant, hub.ChannelPattern) {
			grant, err := env.Grant("g", hub.Grant{Pattern: pattern.Draw(t, label)}, "x")
			if err != nil {
				t.Fatal(err)
			}
			patterns, err := grant.Patterns(t.Context(), expr.ClaimsOf(map[string]any{"c0": values.Draw(t, "c0"), "c1": values.Draw(t, "c1")}))
			if err != nil || len(patterns) != 1 {
				t.Fatal(patterns, err)
			}
			return grant, patterns[0]
		}
		a, givenA := give("a")
		b, givenB := give("b")
		shared := false
		for _, p := range []hub.ChannelPattern{givenA, givenB} {
			name, exact := p.Prefix()
			if !exact {
				name += "z"
			}
			shared = shared || givenA.Matches(name) && givenB.Matches(name)
		}
		if shared && (!a.Overlaps(b) || !b.Overlaps(a)) {
			t.Fatalf("%s and %s share a channel", givenA, givenB)
		}
	})
}
