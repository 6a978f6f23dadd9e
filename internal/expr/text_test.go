package expr_test

import (
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/hub"
)

func TestTextFunctions(t *testing.T) {
	t.Parallel()
	in := withBody("{}")
	for _, c := range []struct{ source, want string }{
		{"'tacocat'.charAt(3)", `"o"`},
		{"'äöü'.charAt(1)", `"ö"`},
		{"'abc'.charAt(3)", `""`},
		{"'hello mellow'.indexOf('ello')", `1`},
		{"'hello mellow'.indexOf('ello', 2)", `7`},
		{"'äöüö'.indexOf('ö', 2)", `3`},
		{"'hello'.indexOf('z')", `-1`},
		{"'hello'.indexOf('')", `0`},
		{"'hello'.indexOf('o', 20)", `-1`},
		{"'hello mellow'.lastIndexOf('ello')", `7`},
		{"'äöä'.lastIndexOf('ä')", `2`},
		{"'hello'.lastIndexOf('z')", `-1`},
		{"'TacoÄ'.lowerAscii()", `"tacoÄ"`},
		{"'tacoä'.upperAscii()", `"TACOä"`},
		{"' \\ttrim\\n '.trim()", `"trim"`},
		{"'tacocat'.substring(4)", `"cat"`},
		{"'tacocat'.substring(0, 4)", `"taco"`},
		{"'äöü'.substring(1, 2)", `"ö"`},
		{"'abc'.substring(3)", `""`},
		{"'hello hello'.replace('he', 'we')", `"wello wello"`},
		{"'hello hello'.replace('he', 'we', 1)", `"wello hello"`},
		{"'hello hello'.replace('he', 'we', 0)", `"hello hello"`},
		{"'hello hello'.replace('he', 'we', -5)", `"wello wello"`},
		{"'abc'.replace('', '_')", `"_a_b_c_"`},
		{"'a b c'.split(' ')", `["a","b","c"]`},
		{"'a b c'.split(' ', 2)", `["a","b c"]`},
		{"'a b c'.split(' ', 0)", `[]`},
		{"'a b c'.split(' ', -1)", `["a","b","c"]`},
		{"['a','b'].join()", `"ab"`},
		{"['a','b'].join(', ')", `"a, b"`},
		{"[].join(',')", `""`},
		{"segment('a b')", `"a%20b"`},
		{"segment(7)", `"7"`},
		{"segment(null)", `null`},
		{"'abc'.startsWith('a') && 'abc'.endsWith('c') && 'abc'.contains('b')", `true`},
		{"'abc'.matches('^[a-c]+$') && matches('abc', 'b')", `true`},
		{"size('äöü')", `3`},
	} {
		t.Run(c.source, func(t *testing.T) {
			t.Parallel()
			if got := mustRun(t, in, c.source); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
}

func TestTextFunctions_Fail(t *testing.T) {
	t.Parallel()
	in := withBody(`{"s":"äb"}`)
	for _, source := range []string{
		"'abc'.charAt(4)", "'abc'.charAt(-1)", "event.body.s.charAt(3)", "'abc'.indexOf('a', -1)", "'abc'.substring(4)", "'abc'.substring(-1)",
		"'abc'.substring(2, 1)", "'abc'.substring(0, 4)", "event.body.s.substring(0, 3)", "segment(true)", "segment(1.5)",
		"segment('" + strings.Repeat("x", 201) + "')",
	} {
		if got, err := run(t, in, source); err == nil {
			t.Errorf("%s gave %s", source, got)
		}
	}
}

// Two strings never become one segment, and a segment is a segment.
func TestSegment_LosesNothing(t *testing.T) {
	t.Parallel()
	segment, err := newEvents(t).Scalar("body.key", "segment(event.body)")
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.StringN(1, 50, 200).Draw(t, "s")
		got, err := segment.Get(t.Context(), textEvent(s))
		if err != nil {
			t.Fatal(err)
		}
		text := got.String()
		if !hub.IsSegment(text) {
			t.Fatalf("%q became %q", s, text)
		}
		if back, err := url.PathUnescape(text); err != nil || back != s {
			t.Fatalf("%q became %q, which reads as %q", s, text, back)
		}
	})
}
