package expr_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
)

// bombs are expressions that cost little as CEL counts and much as machines do, with the bodies that arm them.
// Each must end by itself, soon, and without taking much memory.
func bombs() []struct{ name, source string } {
	repeat := strings.Repeat
	doubled := "[1]" + repeat(".map(a,[a,a])", 50)
	added := "[[1]]" + repeat(".map(a,a+a)", 50)
	sums := "cel.bind(a0,[1],"
	for i := range 22 {
		sums += fmt.Sprintf("cel.bind(a%d,a%d+a%d,", i+1, i, i)
	}
	sums += "a22==a22" + repeat(")", 23)
	return []struct{ name, source string }{
		{"lists that share their parts", doubled},
		{"equality of such", "cel.bind(x, " + doubled + ", x == x)"},
		{"maps that share their parts", "[1]" + repeat(".map(a,{'l':a,'r':a})", 50)},
		{"optionals that share their parts", "[1]" + repeat(".map(a,[optional.of(a),optional.of(a)])", 50)},
		{"bindings", "cel.bind(a,[1,1],cel.bind(b,[a,a],cel.bind(c,[b,b],cel.bind(d,[c,c],cel.bind(e,[d,d],[e,e].map(x,[x,x]).map(x,[x,x]).map(x,[x,x]).map(x,[x,x]).map(x,[x,x]).map(x,[x,x]).map(x,[x,x]).map(x,[x,x]).map(x,[x,x]).map(x,[x,x]).map(x,[x,x]).map(x,[x,x]).map(x,[x,x])==[])))))"},
		{"concatenation", added},
		{"concatenations bound to names", sums},
		{"size of a concatenation", "cel.bind(x, " + added + ", size(x[0]))"},
		{"text of an error about such", "cel.bind(x, " + added + ", [?dyn(x)])"},
		{"doubled strings", "['x']" + repeat(".map(a,a+a)", 50)},
		{"doubled bytes", "[b'x']" + repeat(".map(a,a+a)", 50)},
		{"products of lists", "event.body.l" + repeat(".map(x,event.body.l)", 4)},
		{"three loops", "event.body.l.map(x, event.body.l.map(y, event.body.l.map(z, x+y+z)))"},
		{"three loops that make nothing", "event.body.l.all(x, event.body.l.all(y, event.body.l.all(z, true)))"},
		{"search in a loop", "event.body.l.filter(x, -1 in event.body.l)"},
		{"equality in a loop", "event.body.l.all(x, event.body == event.body)"},
		{"conversion errors in a loop", "event.body.l.exists(x, int(event.body.s) == 1 || false)"},
		{"optional errors in a loop", "event.body.l.exists(x, [?dyn(event.body.l)] == [] || false)"},
		{"time zones in a loop", "event.body.l.exists(x, event.received_at.getHours(event.body.s) == 1 || false)"},
		{"replace nothing by much", "event.body.s.replace('', event.body.s)"},
		{"replace little by much", "event.body.s.replace('a', event.body.s)"},
		{"join by much", "event.body.l.map(x, 'x').join(event.body.s)"},
		{"join much", "event.body.l.map(x, event.body.s).join()"},
		{"split to characters, again and again", repeat("event.body.s.split('') == [] || ", 20) + "false"},
		{"sum of long strings", repeat("event.body.s+", 50) + "''"},
		{"pattern from the body", "event.body.s.matches(event.body.s)"},
		{"patterns in a loop", "event.body.l.all(x, event.body.s.matches('^(a|aa)*$'))"},
		{"large patterns in a loop", "event.body.l.exists(x, 'a'.matches(event.body.p) || false)"},
		{"large pattern on a long text", "event.body.s.matches('(a{80}){10}b')"},
		{"contains in a row", repeat("event.body.s.contains('aaaaaaaab')||", 100) + "false"},
		{"sizes in a row", repeat("size(event.body.s)>0&&", 100) + "true"},
		{"lower and upper", "event.body.s" + repeat(".lowerAscii().upperAscii()", 25)},
		{"the body many times", "[" + repeat("event.body,", 300) + "1]"},
		{"the event many times", "[" + repeat("event,", 300) + "1]"},
		{"the data of security.md", "[[event.body,event.body,event.body,event.body,event.body,event.body,event.body,event.body,event.body]].map(x,[x,x,x,x,x,x,x,x,x]).map(x,[x,x,x,x,x])"},
	}
}

//nolint:paralleltest // it measures
func TestBounds_EndByThemselves(t *testing.T) {
	env := newEvents(t)
	bodies := map[string]string{
		"long list": `{"p":"` + strings.Repeat("a{1000}", 146) + `","l":[` + strings.Repeat("0,", 1<<16) + `0],"s":"` + strings.Repeat("a", 1<<19) + `"}`,
		"long text": `{"l":[1,2,3],"s":"` + strings.Repeat("a", 1<<20-50) + `"}`,
	}
	for _, bomb := range bombs() {
		value, err := env.Value("body.data", bomb.source)
		if err != nil {
			t.Errorf("%s: %v", bomb.name, err)
			continue
		}
		for name, body := range bodies {
			in := withBody(body)
			mustRun(t, in, "size(event.body)") // parsed before the clock starts
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			start := time.Now()
			out, err := value.JSON(t.Context(), in)
			took := time.Since(start)
			runtime.ReadMemStats(&after)
			made := (after.TotalAlloc - before.TotalAlloc) >> 20

			var failure *expr.Failure
			if !errors.As(err, &failure) && len(out) > hub.MaxMessageBytes || err != nil && failure == nil {
				t.Errorf("%s, %s: %d bytes, %v", bomb.name, name, len(out), err)
			}
			t.Logf("%8s %4d MiB %s, %s: %v", took.Round(time.Millisecond), made, bomb.name, name, err)
			if took > 30*time.Second { // some 100 ms on a quiet machine; without the bounds it never ends
				t.Errorf("%s, %s: took %v", bomb.name, name, took)
			}
			if made > 200 {
				t.Errorf("%s, %s: made %d MiB", bomb.name, name, made)
			}
		}
	}
}

// What is slow to compile is not slow to run: types that double with each variable that is used twice, and types as
// deep as the text may nest.
//
//nolint:paralleltest // it measures
func TestBounds_CompileEnds(t *testing.T) {
	env := newEvents(t)
	repeat := strings.Repeat
	chain := "b"
	for range 30 {
		chain = "cel.bind(b,[],b+[{b:b}]==[]||" + chain + ")"
	}
	for _, c := range []struct{ name, source string }{
		{"loops over maps of themselves", "[1]" + repeat(".map(a,{a:a})", 50)},
		{"bindings of maps of themselves", repeat("cel.bind(a,{a:a},", 40) + "a" + repeat(")", 40)},
		{"bindings in a map", "cel.bind(a,1," + repeat("cel.bind(a,{a:a},", 40) + "a" + repeat(")", 41)},
		{"optional maps of themselves", "optional.of(1)" + repeat(".optMap(a,{a:a})", 50)},
		{"more optional maps of themselves", "optional.of(1)" + repeat(".optFlatMap(a,optional.of({a:a}))", 50)},
		{"lists of themselves", "[1]" + repeat(".map(a,[a,[a],{'a':a}])", 50)},
		{"types left open", "cel.bind(b,[]," + chain + ")"},
		{"deep optionals", repeat("optional.of(", 45) + "1" + repeat(")", 45)},
		{"deep keys", repeat("{[]:", 45) + "1" + repeat("}", 45)},
		{"deep lists", repeat("[[],", 45) + "1" + repeat("]", 45)},
		{"deep choice", repeat("1 == 1 ? [] : [", 40) + "1" + repeat("]", 40)},
		{"unclosed", repeat("[{(", 1300)},
		{"unclosed macros", repeat("x.map(", 600)},
		{"no grammar", repeat("a b ", 1000)},
		{"long list", "[" + repeat("1,", 1900) + "1]"},
		{"long path", repeat("a.b.", 1000) + "c"},
		{"long sum", "1" + repeat("+1", 1900)},
	} {
		start := time.Now()
		_, err := env.Value("body.data", c.source)
		if took := time.Since(start); took > 30*time.Second { // some 100 ms on a quiet machine; without the bounds it never ends
			t.Errorf("%s: took %v (%v)", c.name, took, err)
		}
	}
}

func TestBounds_LeaveRoomForRealWork(t *testing.T) {
	t.Parallel()
	// 2,000 commits with 5 files each, a 400 KB body: a push as large as GitHub sends one.
	commit := `{"id":"0123456789012345678901234567890123456789","author":{"name":"a"},"modified":["a/b.go","c/d.go","e/f.go","g/h.go","README.md"]}`
	in := withBody(`{"commits":[` + strings.Repeat(commit+",", 1999) + commit + `]}`)
	for _, source := range []string{
		"event.body.commits.exists(c, c.modified.exists(f, f.startsWith('docs/')))",
		"event.body.commits.filter(c, c.author.name == 'b').map(c, {'id': c.id})",
		"event.body.commits.map(c, c.id)",
		"{'ref': 'x', 'body': event.body}",
		"event.body",
	} {
		if _, err := run(t, in, source); err != nil {
			t.Errorf("%s: %v", source, err)
		}
	}
}

func TestBounds_ContextEndsALoop(t *testing.T) {
	t.Parallel()
	cause := errors.New("no time left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	value, err := newEvents(t).Value("body.data", "[1,2,3].map(x, x)")
	if err != nil {
		t.Fatal(err)
	}
	if !value.Loops() {
		t.Error("a loop is not seen")
	}
	if _, err := value.JSON(ctx, withBody("{}")); !errors.Is(err, cause) {
		t.Errorf("error %v, want the context's cause", err)
	}
	var failure *expr.Failure
	if _, err := value.JSON(ctx, withBody("{}")); errors.As(err, &failure) {
		t.Error("the end of a context is no failure of the expression")
	}
}
