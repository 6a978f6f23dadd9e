package expr_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
)

// invalid says what an Invalid error tells about which place of the request.
func invalid(t *testing.T, err error) hub.FieldError {
	t.Helper()
	var e *hub.Error
	if !errors.As(err, &e) || e.Code != hub.Invalid || len(e.Fields) != 1 {
		t.Fatalf("error %v, want Invalid with one field", err)
	}
	return e.Fields[0]
}

func TestCondition_Refuses(t *testing.T) {
	t.Parallel()
	env := newEvents(t)
	for _, c := range []struct{ name, source, want string }{
		{"empty", "", "1:1: an expression is missing"},
		{"unknown field", "event.typo == 'x'", "1:6: an unknown field: event has id, provider_id, type, provider, endpoint, received_at, verified, headers, body"},
		{"unknown name", "evnt.type == 'x'", "1:1: an unknown name (did you mean 'event'?)"},
		{"second line", "event.type == 'a' &&\n  nope", "2:3: an unknown name: what an expression sees begins with event"},
		{"types", "event.type == 5", "1:12: '==' does not take (string, int)"},
		{"not a boolean", "event.type", "1:1: the expression must be true or false, not a string"},
		{"cut", "1 +", "1:4: the expression ends too early"},
		{"unclosed string", "'abc", "1:1: a text is not closed"},
		{"unknown function", "event.type.shout()", "1:17: an unknown function"},
		{"bad pattern", "event.type.matches('(')", "1:20: the regular expression is not valid"},
		{"bad pattern, called as a function", "matches(event.type, 'a' + 'b') && matches(event.type, '[')", "1:55: the regular expression is not valid"},
		{"complex pattern", "event.type.matches('a{600}b{600}')", "1:20: a regular expression is too complex"},
		{"bad duration", "duration('x') > duration('1s')", "1:10: invalid duration argument"},
		{"bad constant", "int('x') == 1", "1:1: a value cannot be converted to that type"},
		{"constant that CEL panics on", "{b'a': 1} == {}", "1:1: the expression cannot be worked out"},
		{"misplaced sign", "event.type) == 'x'", "1:11: unexpected ')'"},
		{"unknown escape", "event.type == b'\\u1234'", "1:15: a string has an unknown escape"},
		{"claims", "claims.sub == 'x'", "1:1: an unknown name: what an expression sees begins with event"},
		{"characters, not bytes", "'äöü' == nope", "1:10: an unknown name: what an expression sees begins with event"},
		{"one equals sign", "event.type = 'a'", "1:12: compare with =="},
		{"three equals signs", "event.type === 'a'", "1:14: compare with =="},
		{"one ampersand", "event.type == 'a' & event.verified", "1:19: join with &&"},
		{"one bar", "event.type == 'a' | event.verified", "1:19: join with ||"},
		{"and", "event.type == 'a' and event.verified", "1:19: unexpected text: join with &&"},
		{"or", "event.type == 'a' or event.verified", "1:19: unexpected text: join with ||"},
		{"unclosed at the end", "event.type == \"abc", "1:15: a text is not closed"},
		{"unclosed before another", "event.type == 'abc && event.body.x == 'y'", "1:41: a text is not closed"},
		{"quotes of a text processor", "event.type == “a”", "1:15: a text stands in straight quotes"},
		{"no colon", "{'a' event.body.x}", "1:6: a colon is missing"},
		{"no value", "{'a'}", "1:5: a colon is missing"},
		{"a member without quotes", "{amount: event.body.x}", "1:2: an unknown name: the name of a member is quoted"},
		{"another on the next line", "{'a': 1,\n  amount : event.body.x}", "2:3: an unknown name: the name of a member is quoted"},
		{"the function type", "type == 'a'", "1:6: '==' does not take (type(type), string): what an expression sees begins with event"},
		{"a field alone", "body.x == 1", "1:1: an unknown name: what an expression sees begins with event"},
		{"a name that is like a function's", "sub == 'x'", "1:1: an unknown name: what an expression sees begins with event"},
		{"a function's name misspelt", "event.type.startWith('a')", "1:21: an unknown function (did you mean 'startsWith'?)"},
		{"anything else", "event.type == $x", "1:15: not understood here; see /docs/routes"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := env.Condition("body.match", c.source)
			if diff := cmp.Diff(hub.FieldError{Location: "body.match", Message: c.want}, invalid(t, err)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestCondition_BoundsItsText(t *testing.T) {
	t.Parallel()
	env := newEvents(t)
	for _, c := range []struct{ name, source string }{
		{"too long", "'" + strings.Repeat("x", hub.MaxExpressionBytes) + "' == 'x'"},
		{"parentheses", strings.Repeat("(", 1000) + "true" + strings.Repeat(")", 1000)},
		{"nested macros", strings.Repeat("[1].exists(x,", 120) + "true" + strings.Repeat(")", 120)},
		{"large pattern", "event.type.matches('(a{90}){10}(b{90}){10}')"},
		{"huge repetition", "event.type.matches('((((a{100}){100}){100}){100}){100}')"},
		{"nested types in the message", strings.Repeat("[", 40) + "1" + strings.Repeat("]", 40) + " == 1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := env.Condition("body.match", c.source)
			if message := invalid(t, err).Message; len(message) > 300 {
				t.Errorf("a message of %d bytes", len(message))
			}
		})
	}
	longest := "true" + strings.Repeat(" ", hub.MaxExpressionBytes-4)
	if _, err := env.Condition("body.match", longest); err != nil {
		t.Errorf("the longest expression: %v", err)
	}
}

// Whatever is wrong with an expression, what stands in it is not said again: it may be a secret.
func TestCompile_RepeatsNothing(t *testing.T) {
	t.Parallel()
	const canary = "sk_live_canary"
	events, claims := newEvents(t), newClaims(t)
	for _, source := range []string{
		canary, canary + ".x == 1", canary + "()", "event." + canary, "event.type." + canary + "()", "event.type " + canary, "event.type == " + canary,
		"'" + canary, "\"" + canary, "'" + canary + "\\y'", "`" + canary, "event.`" + canary + "`", "event.type == '" + canary + "' '" + canary + "'",
		"#" + canary, "$" + canary, canary + "-$!" + canary, "event.type == " + canary + "{}", canary + "." + canary + "{a: 1}", "tributary.Event{" + canary + ": 1}",
		"{'a': 1}['" + canary + "']", "{'a': 1}." + canary, "int('" + canary + "') == 1", "duration('" + canary + "') == duration('1s')", "timestamp('" + canary + "') == event.received_at",
		"event.type.matches('(" + canary + "')", "event.type == '" + canary + "' + 1", "[1].all('" + canary + "', true)", "[1].all(" + canary + ", " + canary + "s)",
		"cel.bind(" + canary + ", 1, " + canary + "s)", "has(" + canary + ")", "[1].map(" + canary + ", " + canary + " + '')", "1" + canary, "0x" + canary, "{" + canary + "}", "[" + canary, "(" + canary,
		"event." + canary + " == 1 &&\n" + canary, "import " + canary, "'" + canary + "'", "['" + canary + "']", "@" + canary, "event.type ?" + canary, "math.least('" + canary + "')",
		"optional.of(1).optMap('" + canary + "', 1)", "event[?'" + canary + "']", "type(event." + canary + ")", "{'" + canary + "': 1} == 1", "{" + canary + ": 1}", "{'a' " + canary + "}", "event.type = " + canary, "event.type === '" + canary + "'", canary + " and " + canary, "'" + canary + "' == '" + canary + " '" + canary + "'",
		"“" + canary + "”", "f(" + canary + ",, 1)", "[1] " + canary + "(2", "{b'" + canary + "': 1} == {}",
	} {
		var errs []error
		for _, env := range []*expr.Env{events, claims} {
			_, err := env.Condition("body.match", source)
			errs = append(errs, err)
			_, err = env.Value("body.data", source)
			errs = append(errs, err)
			_, err = env.Channel("body.channels[0]", "x:{"+source+"}:y")
			errs = append(errs, err)
			_, err = env.Channel("body.channels[0]", source+"{")
			errs = append(errs, err)
			_, err = env.Grant("body.grants[0]", hub.Grant{Pattern: "x:{" + source + "}"}, "login")
			errs = append(errs, err)
			_, err = env.Grant("body.grants[0]", hub.Grant{Pattern: source, When: source}, "login "+canary)
			errs = append(errs, err)
		}
		if errs[0] == nil {
			t.Errorf("%s: compiles", source)
		}
		for _, err := range errs {
			if err != nil && (strings.Contains(err.Error(), "canary") || strings.Contains(err.Error(), "sk_live")) {
				t.Errorf("%s: %v", source, err)
			}
		}
	}
}

func TestScalar_Refuses(t *testing.T) {
	t.Parallel()
	env := newEvents(t)
	for _, source := range []string{"true", "[1]", "{'a': 1}", "1.5", "event.received_at", "b'x'", "event"} {
		_, err := env.Scalar("body.key", source)
		if got := invalid(t, err); got.Location != "body.key" || !strings.HasPrefix(got.Message, "1:1: the expression must give a string or an integer, not a ") {
			t.Errorf("%s: %+v", source, got)
		}
	}
	for _, source := range []string{"'x'", "1", "1u", "null", "event.body.x", "event.body.?x", "optional.of('x')"} {
		if _, err := env.Scalar("body.key", source); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestScalar_Get(t *testing.T) {
	t.Parallel()
	env := newEvents(t)
	in := withBody(`{"i":-7,"s":"x","n":null,"big":18446744073709551615,"f":1.0,"b":true,"e":""}`)
	for _, c := range []struct {
		source string
		want   hub.Version
		fails  bool
	}{
		{"event.body.i", hub.Version{Number: new(int64(-7))}, false},
		{"event.body.s", hub.Version{Text: new("x")}, false},
		{"event.body.e", hub.Version{Text: new("")}, false},
		{"event.body.n", hub.Version{}, false},
		{"event.body.?absent", hub.Version{}, false},
		{"event.body.?s", hub.Version{Text: new("x")}, false},
		{"7u", hub.Version{Number: new(int64(7))}, false},
		{"event.body.big", hub.Version{}, true},
		{"event.body.f", hub.Version{}, true},
		{"event.body.b", hub.Version{}, true},
		{"event.body.absent", hub.Version{}, true},
	} {
		t.Run(c.source, func(t *testing.T) {
			t.Parallel()
			scalar, err := env.Scalar("body.version", c.source)
			if err != nil {
				t.Fatal(err)
			}
			got, err := scalar.Get(t.Context(), in)
			if (err != nil) != c.fails {
				t.Fatalf("error %v", err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFailure_NeverRepeatsValues(t *testing.T) {
	t.Parallel()
	in := withBody(`{"secret":"canary","n":1,"list":[1],"nothing":null,"weird":"no such key: canary"}`)
	for _, c := range []struct{ source, want string }{
		{"event.body.missing", "no such key: missing"},
		{"event.body.nothing.x", "no such key: x"},
		{"event.body[event.body.secret]", "no such key"},
		{"event.body.list[7]", "a list has no such index"},
		{"event.body.list[event.body.secret]", "a list takes only a number as index"},
		{"int(event.body.secret)", "a value cannot be converted to that type"},
		{"timestamp(event.body.secret)", "a string is not an RFC 3339 timestamp"},
		{"duration(event.body.secret)", "a value cannot be converted to that type"},
		{"event.received_at.getHours(event.body.secret)", "the expression failed on this value"},
		{"event.body.n / 0", "division by zero"},
		{"event.body.n % 0", "modulus by zero"},
		{"9223372036854775807 + event.body.n", "integer overflow"},
		{"event.body.n + event.body.secret", "an operator or function got a value of a type that it does not take"},
		{"[?event.body.secret]", "a value after ? is not an optional"},
		{"{?event.body.secret: event.body.secret}", "a value after ? is not an optional"},
		{"event.body.?missing.value()", "value() of an optional that has none"},
		{"event.body.secret.matches(event.body.secret + '(')", "the regular expression is not valid"},
		{"event.body.secret.substring(99)", "substring: the string has no such range"},
		{"event.body.secret.charAt(99)", "charAt: the string has no such index"},
		{"[event.body.secret, event.body.n].join()", "join: the list has an element that is not a string"},
		{"segment(event.body.list)", "segment takes a string or an integer"},
		{"string(b'\\xff' + bytes(event.body.secret))", "bytes are not UTF-8"},
		{"tributary.Event{type: event.body.secret}", "an expression cannot make an event"},
		{"double(event.body.n) / 0.0", "the result has a number that JSON cannot say: NaN or infinity"},
		{"type(event.body.secret)", "the result has a value without a JSON form"},
		{"{1.5: event.body.secret}", "the result has a map key that is not a string, an integer or a boolean"},
		{"{event.body.n: 1, '1': 2}", "the result has a map with two keys that are the same text"},
	} {
		t.Run(c.source, func(t *testing.T) {
			t.Parallel()
			out, err := run(t, in, c.source)
			var failure *expr.Failure
			if !errors.As(err, &failure) {
				t.Fatalf("gave %s, %v", out, err)
			}
			if failure.Error() != c.want {
				t.Errorf("%q, want %q", failure.Error(), c.want)
			}
			if strings.Contains(failure.Error(), "canary") {
				t.Error("the text repeats a value")
			}
		})
	}
}

func TestCondition_GivesOnlyBooleans(t *testing.T) {
	t.Parallel()
	match, err := newEvents(t).Condition("body.match", "event.body.flag")
	if err != nil {
		t.Fatal(err)
	}
	for body, want := range map[string]bool{`{"flag":true}`: true, `{"flag":false}`: false} {
		if got, err := match.Holds(t.Context(), withBody(body)); err != nil || got != want {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
	for _, body := range []string{`{"flag":1}`, `{"flag":"true"}`, `{"flag":null}`, `{}`, ``} {
		if got, err := match.Holds(t.Context(), withBody(body)); err == nil || got {
			t.Errorf("%s: %v, %v", body, got, err)
		}
	}
}
