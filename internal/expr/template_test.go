package expr_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
)

func TestSplitTemplate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, source string
		want         []string // expressions in braces
		problem      string
	}{
		{"text", "news", []string{"news"}, ""},
		{"one", "user:{a.b}", []string{"user:", "{a.b}"}, ""},
		{"two", "{a}:{b}:x", []string{"{a}", ":", "{b}", ":x"}, ""},
		{"side by side", "{a}{b}", []string{"{a}", "{b}"}, ""},
		{"map", "x:{{'a': 1}['a']}", []string{"x:", "{{'a': 1}['a']}"}, ""},
		{"map in map", "{{'a': {'b': 1}}.a.b}", []string{"{{'a': {'b': 1}}.a.b}"}, ""},
		{"brace in single quotes", "{a + '}'}", []string{"{a + '}'}"}, ""},
		{"brace in double quotes", `{a + "}{"}`, []string{`{a + "}{"}`}, ""},
		{"quote in the other quotes", `{"'" + a + '"'}:{b}`, []string{`{"'" + a + '"'}`, ":", "{b}"}, ""},
		{"escaped quote", `{'\'}'}`, []string{`{'\'}'}`}, ""},
		{"escaped backslash", `{'\\'}:x`, []string{`{'\\'}`, ":x"}, ""},
		{"raw string", `{r'\'}:x`, []string{`{r'\'}`, ":x"}, ""},
		{"raw string, upper case", `{R"\"}:x`, []string{`{R"\"}`, ":x"}, ""},
		{"raw bytes", `{string(br'\')}:x`, []string{`{string(br'\')}`, ":x"}, ""},
		{"bytes", `{string(b'\'}')}`, []string{`{string(b'\'}')}`}, ""},
		{"name that ends like a prefix", `{bar}:{'\''}`, []string{"{bar}", ":", `{'\''}`}, ""},
		{"three quotes", `{'''it's a } '''}:x`, []string{`{'''it's a } '''}`, ":x"}, ""},
		{"three double quotes over lines", "{\"\"\"}\n\"\"\"}", []string{"{\"\"\"}\n\"\"\"}"}, ""},
		{"empty string", `{a + ''}:{b}`, []string{`{a + ''}`, ":", "{b}"}, ""},
		{"backticks", "{a.`}`}:x", []string{"{a.`}`}", ":x"}, ""},
		{"comment", "{a // }\n}:x", []string{"{a // }\n}", ":x"}, ""},
		{"division is no comment", "{a / b}", []string{"{a / b}"}, ""},
		{"empty", "", nil, ""},
		{"not closed", "user:{a", nil, "the brace is not closed"},
		{"not closed in a string", "user:{'a}", nil, "the brace is not closed"},
		{"not closed behind a comment", "{a // }", nil, "the brace is not closed"},
		{"string over two lines", "{'a\n'}", nil, "the brace is not closed"},
		{"never opened", "user:}", nil, "a brace closes that was never opened"},
		{"one too many", "{a}}", nil, "a brace closes that was never opened"},
		{"empty braces", "user:{}", nil, "the braces are empty"},
		{"blank braces", "user:{ }", nil, "the braces are empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fragments, _, problem := expr.SplitTemplate(c.source)
			var got []string
			for _, f := range fragments {
				if f.IsExpression() {
					got = append(got, "{"+f.Text()+"}")
				} else {
					got = append(got, f.Text())
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" || problem != c.problem {
				t.Errorf("problem %q\n%s", problem, diff)
			}
		})
	}
}

// FuzzTemplate: whatever the template, it does not panic, its fragments are its text, and what it makes is a channel.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"customer:{event.body.data.object.customer}", "{r'\\'}:{b\"}\"}", "x:{{'a':'}'}['a']}", "{'''}'''}", "{a // }\n}", "{event.`}`}", "a:{segment(event.type)}:b", "{", "}", "{'",
	} {
		f.Add(seed)
	}
	env := newEvents(f)
	in := expr.NewEvent(stripe(f), "stripe")
	f.Fuzz(func(t *testing.T, source string) {
		fragments, at, problem := expr.SplitTemplate(source)
		if problem == "" {
			var b strings.Builder
			for _, fragment := range fragments {
				if fragment.IsExpression() {
					b.WriteString("{" + fragment.Text() + "}")
				} else {
					b.WriteString(fragment.Text())
				}
			}
			if b.String() != source {
				t.Fatalf("%q was split into %q", source, b.String())
			}
		} else if at < 0 || at > len(source) {
			t.Fatalf("a problem at %d of %d", at, len(source))
		}
		template, err := env.Channel("body.channels[0]", source)
		if err != nil {
			if hub.CodeOf(err) != hub.Invalid {
				t.Fatal(err)
			}
			return
		}
		if problem != "" {
			t.Fatalf("%q compiles although %s", source, problem)
		}
		name, ok, err := template.Name(t.Context(), in)
		if ok && (err != nil || hub.ValidateChannel(name) != nil) {
			t.Fatalf("%q gave %q, %v", source, name, err)
		}
	})
}

func TestChannel_Refuses(t *testing.T) {
	t.Parallel()
	env := newEvents(t)
	for _, c := range []struct{ name, source, want string }{
		{"empty", "", "a channel has 1 to 200 characters"},
		{"star", "org:*", "a channel has only A-Z a-z 0-9 . _ ~ @ / | + = % - and colons between segments"},
		{"space", "a b:{event.id}", "a channel has only A-Z a-z 0-9 . _ ~ @ / | + = % - and colons between segments"},
		{"the hub's", "hub:{event.id}", `channels beginning with "hub:" are the hub's`},
		{"empty segment", "a::{event.id}", "a channel has no empty segment between colons"},
		{"ends with a colon", "a:{event.id}:", "a channel has no empty segment between colons"},
		{"too long", strings.Repeat("x", 201), "a channel has 1 to 200 characters"},
		{"unknown field", "user:{event.typo}", "1:12: an unknown field: event has id, provider_id, type, provider, endpoint, received_at, verified, headers, body"},
		{"in the second braces", "a:{event.id}:{event.nope}", "1:20: an unknown field: event has id, provider_id, type, provider, endpoint, received_at, verified, headers, body"},
		{"on a second line", "a:{event.id +\n nope}", "2:2: an unknown name: what an expression sees begins with event"},
		{"boolean", "a:{event.verified}", "1:4: a channel takes a string or an integer in braces, not a bool"},
		{"list", "a:{[event.id]}", "1:4: a channel takes a string or an integer in braces, not a list(string)"},
		{"double", "a:{1.5}", "1:4: a channel takes a string or an integer in braces, not a double"},
		{"not closed", "user:{event.id", "1:6: the brace is not closed"},
		{"empty braces", "user:{}", "1:6: the braces are empty"},
		{"empty expression", "user:{//x\n}", "2:1: the expression ends too early"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := env.Channel("body.channels[1]", c.source)
			got := invalid(t, err)
			if diff := cmp.Diff(hub.FieldError{Location: "body.channels[1]", Message: c.want}, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	long := "a:{'" + strings.Repeat("x", hub.MaxExpressionBytes) + "'}"
	if _, err := env.Channel("body.channels[0]", long); hub.CodeOf(err) != hub.Invalid {
		t.Errorf("a long template: %v", err)
	}
}

func TestTemplate_Name(t *testing.T) {
	t.Parallel()
	env := newEvents(t)
	in := withBody(`{"s":"cus_1","i":42,"neg":-1,"big":18446744073709551615,"huge":1e30,"whole":3.0,"no":null,"empty":"","yes":true,
		"list":["a"],"map":{"k":"v"},"colon":"a:b","star":"*","space":"a b","umlaut":"ä","mail":"a@b.example","percent":"50%","hub":"hub","line":"a\nb",
		"long":"` + strings.Repeat("x", 190) + `"}`)
	const badSegment = "a value in braces has characters that a channel's segment cannot have; segment(…) encodes them"
	for _, c := range []struct {
		source, want string
		skipped      bool
		failure      string
	}{
		{"news", "news", false, ""},
		{"customer:{event.body.s}", "customer:cus_1", false, ""},
		{"n:{event.body.i}", "n:42", false, ""},
		{"n:{event.body.neg}", "n:-1", false, ""},
		{"n:{event.body.big}", "n:18446744073709551615", false, ""},
		{"n:{7u}", "n:7", false, ""},
		{"{event.body.s}", "cus_1", false, ""},
		{"a-{event.body.s}.{event.body.i}:z", "a-cus_1.42:z", false, ""},
		{"m:{event.body.mail}", "m:a@b.example", false, ""},
		{"p:{event.body.percent}", "p:50%", false, ""},
		{"h:{event.body.hub}", "h:hub", false, ""},
		{"m:{{'a': event.body.s}['a']}", "m:cus_1", false, ""},

		{"x:{event.body.no}", "", true, ""},
		{"x:{event.body.empty}", "", true, ""},
		{"x:{event.body.absent}", "", true, ""},
		{"x:{event.body.absent.deeper}", "", true, ""},
		{"x:{event.body.no.deeper}", "", true, ""},
		{"x:{event.body.list[3]}", "", true, ""},
		{"x:{event.body.?absent}", "", true, ""},
		{"x:{event.body.?s}", "x:cus_1", false, ""},
		{"x:{event.type}", "", true, ""},
		{"x:{event.headers['x-none']}", "", true, ""},
		{"x:{segment(event.body.absent)}", "", true, ""},
		{"x:{segment(event.body.no)}", "", true, ""},
		{"x:{segment(event.body.empty)}", "", true, ""},
		{"x:{event.body.s}:{event.body.no}", "", true, ""},

		{"x:{event.body.yes}", "", false, "a channel takes a string or an integer in braces, not a bool"},
		{"x:{event.body.huge}", "", false, "a channel takes a string or an integer in braces, not a double"},
		{"x:{event.body.whole}", "", false, "a channel takes a string or an integer in braces, not a double"},
		{"x:{event.body.list}", "", false, "a channel takes a string or an integer in braces, not a list"},
		{"x:{event.body.map}", "", false, "a channel takes a string or an integer in braces, not a map"},
		{"x:{event.body.colon}", "", false, badSegment},
		{"x:{event.body.star}", "", false, badSegment},
		{"x:{event.body.space}", "", false, badSegment},
		{"x:{event.body.umlaut}", "", false, badSegment},
		{"x:{event.body.line}", "", false, badSegment},
		{"{event.body.hub}:x", "", false, `channels beginning with "hub:" are the hub's`},
		{"far:too:{event.body.long}:long", "", false, "a channel has 1 to 200 characters"},
		{"x:{event.body.s / 2}", "", false, "an operator or function got a value of a type that it does not take"},

		{"x:{segment(event.body.colon)}", "x:a%3Ab", false, ""},
		{"x:{segment(event.body.star)}", "x:%2A", false, ""},
		{"x:{segment(event.body.space)}", "x:a%20b", false, ""},
		{"x:{segment(event.body.umlaut)}", "x:%C3%A4", false, ""},
		{"x:{segment(event.body.percent)}", "x:50%25", false, ""},
		{"x:{segment(event.body.mail)}", "x:a@b.example", false, ""},
		{"x:{segment(event.body.i)}", "x:42", false, ""},
		{"x:{segment(event.body.list)}", "", false, "segment takes a string or an integer"},
	} {
		t.Run(c.source, func(t *testing.T) {
			t.Parallel()
			template, err := env.Channel("body.channels[0]", c.source)
			if err != nil {
				t.Fatal(err)
			}
			name, ok, err := template.Name(t.Context(), in)
			if name != c.want || ok == (c.skipped || c.failure != "") {
				t.Errorf("gave %q, %v", name, ok)
			}
			var failure *expr.Failure
			switch {
			case c.failure == "" && err != nil, c.failure != "" && !errors.As(err, &failure):
				t.Errorf("error %v", err)
			case failure != nil && failure.Reason != c.failure:
				t.Errorf("failure %q, want %q", failure.Reason, c.failure)
			}
		})
	}
}

func TestTemplate_LoopsIsSeen(t *testing.T) {
	t.Parallel()
	env := newEvents(t)
	for source, want := range map[string]bool{"a:{event.id}": false, "a": false, "a:{['x'].filter(v, v == event.id)[0]}": true} {
		template, err := env.Channel("body.channels[0]", source)
		if err != nil {
			t.Fatal(err)
		}
		if template.Loops() != want {
			t.Errorf("%s loops: %v", source, template.Loops())
		}
	}
}
