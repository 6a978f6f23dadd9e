package expr_test

import (
	"regexp"
	"regexp/syntax"
	"testing"

	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/expr"
)

// The count from the syntax never lies far below the program's own: else the bound would hold nothing.
func TestInstructions_BoundTheProgram(t *testing.T) {
	t.Parallel()
	grammar := rapid.StringMatching(`(\(?[ab.]|\[a-f\]|\\pL|abc|a\{2,9\}|\(ab\)\{3\}|x\*|y\?|z\+|\||\)|\^|\$|\\b){0,12}`)
	rapid.Check(t, func(t *rapid.T) {
		text := grammar.Draw(t, "pattern")
		if _, err := regexp.Compile(text); err != nil {
			return
		}
		parsed, err := syntax.Parse(text, syntax.Perl)
		if err != nil {
			t.Fatal(err)
		}
		program, err := syntax.Compile(parsed.Simplify())
		if err != nil {
			t.Fatal(err)
		}
		counted := expr.Instructions(parsed)
		if len(program.Inst) > 3*counted+4 {
			t.Fatalf("%q: %d counted, %d in the program", text, counted, len(program.Inst))
		}
	})
}

func TestMatches(t *testing.T) {
	t.Parallel()
	in := withBody(`{"s":"order-17","p":"^[a-z]+-\\d+$","bad":"(","n":1}`)
	for _, c := range []struct{ source, want string }{
		{"event.body.s.matches('^order')", "true"},
		{"event.body.s.matches('^17')", "false"},
		{"event.body.s.matches(event.body.p)", "true"},
		{"matches(event.body.s, '17$')", "true"},
		{"matches(event.body.s, event.body.p)", "true"},
		{"['a', 'b1'].filter(x, x.matches('[0-9]'))", `["b1"]`},
	} {
		if got := mustRun(t, in, c.source); got != c.want {
			t.Errorf("%s: %s, want %s", c.source, got, c.want)
		}
	}
	for _, source := range []string{
		"event.body.s.matches(event.body.bad)", "event.body.s.matches(event.body.n)", "event.body.n.matches('a')",
		"event.body.absent.matches('a')", "event.body.s.matches(event.body.absent)",
	} {
		if got, err := run(t, in, source); err == nil {
			t.Errorf("%s gave %s", source, got)
		}
	}
}
