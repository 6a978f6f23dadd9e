package expr_test

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"cel.dev/cel-go/common/types"
	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/expr"
)

func TestWriteJSON(t *testing.T) {
	t.Parallel()
	in := withBody(`{"z":1,"a":{"y":[1,2.5],"x":"é\n\u0000\"\\"},"bytes":"AQ=="}`)
	for _, c := range []struct{ source, want string }{
		{"null", "null"},
		{"true", "true"},
		{"-3", "-3"},
		{"18446744073709551615u", "18446744073709551615"},
		{"2000.0", "2000"},
		{"0.1", "0.1"},
		{"1e21", "1e+21"},
		{"-0.0", "0"},
		{"'a\\u2028<b>&'", "\"a\u2028<b>&\""},
		{"b'\\xff\\x00'", `"/wA="`},
		{"timestamp('2026-02-03T04:05:06.5+02:00')", `"2026-02-03T02:05:06.5Z"`},
		{"duration('90m')", `"5400s"`},
		{"duration('1ms')", `"0.001s"`},
		{"duration('-1500ms')", `"-1.5s"`},
		{"[]", "[]"},
		{"{}", "{}"},
		{"[1, 'a', null, [true]]", `[1,"a",null,[true]]`},
		{"{'b': 1, 'a': {'d': 1, 'c': 2}}", `{"a":{"c":2,"d":1},"b":1}`},
		{"{2: 'a', 10: 'b', true: 'c', 3u: 'd'}", `{"10":"b","2":"a","3":"d","true":"c"}`},
		{"event.body", `{"a":{"x":"é\n\u0000\"\\","y":[1,2.5]},"bytes":"AQ==","z":1}`},
		{"event.body.a.y + [event.body.z]", "[1,2.5,1]"},
		{"event.body.a.y.map(v, {'v': v})", `[{"v":1},{"v":2.5}]`},
		{"{'n': optional.none(), 's': optional.of(1)}", `{"n":null,"s":1}`},
		{"{?'n': optional.none(), ?'s': optional.of(1)}", `{"s":1}`},
		{"event.headers", `{"content-type":"application/json"}`},
		{"'a,b'.split(',')", `["a","b"]`},
	} {
		t.Run(c.source, func(t *testing.T) {
			t.Parallel()
			got := mustRun(t, in, c.source)
			if got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
			if !json.Valid([]byte(got)) {
				t.Errorf("%s is not JSON", got)
			}
		})
	}
}

func TestWriteJSON_StopsAtItsLimit(t *testing.T) {
	t.Parallel()
	for _, value := range []any{
		[]any{"abc", int64(1)},
		map[string]any{"a": "b", "c": nil},
		strings.Repeat("\x00", 10), types.Bytes("abcdef"),
		[]any{[]any{}, map[string]any{}},
		1.5, true,
		types.Timestamp{Time: time.Unix(0, 0)},
	} {
		whole, err := expr.WriteJSON(value, 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		if out, err := expr.WriteJSON(value, len(whole)); err != nil || !bytes.Equal(out, whole) {
			t.Errorf("at its own size: %s, %v", out, err)
		}
		for limit := range whole {
			if out, err := expr.WriteJSON(value, limit); err == nil {
				t.Errorf("limit %d gave %s", limit, out)
			}
		}
	}
}

func TestWriteJSON_BoundsDepth(t *testing.T) {
	t.Parallel()
	nested := func(depth int) any {
		var value any = int64(1)
		for range depth {
			value = []any{value}
		}
		return value
	}
	if _, err := expr.WriteJSON(nested(expr.MaxJSONDepth), 1<<20); err != nil {
		t.Error(err)
	}
	if _, err := expr.WriteJSON(nested(expr.MaxJSONDepth+1), 1<<20); err == nil {
		t.Error("too deep, yet written")
	}
}

func TestWriteJSON_RefusesWhatJSONCannotSay(t *testing.T) {
	t.Parallel()
	for _, value := range []any{math.NaN(), math.Inf(1), math.Inf(-1), types.Double(math.NaN()), types.IntType, types.NewErr("x"), make(chan int)} {
		if out, err := expr.WriteJSON([]any{value}, 1<<20); err == nil {
			t.Errorf("%v was written as %s", value, out)
		}
	}
}

// FuzzWriteJSON writes what the decoder read: it must be JSON, mean the same to encoding/json, and be the same
// bytes again when read and written once more.
func FuzzWriteJSON(f *testing.F) {
	f.Add(stripe(f).Body)
	for _, seed := range []string{`{"b":1,"a":[null,true,"\u0000\u001f\"\\/\u2028"]}`, `1e-7`, `123456789012345678901234567890`, `-0`, "\"\u0080\U0001F600\"", `1e999`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		value, ok := expr.DecodeJSON(body)
		if !ok {
			return
		}
		out, err := expr.WriteJSON(value, 1<<20)
		if err != nil {
			if infinite(value) || depth(value) > expr.MaxJSONDepth || len(body) > 1<<17 {
				return
			}
			t.Fatalf("%q: %v", body, err)
		}
		var want, got any
		if err := json.Unmarshal(body, &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(out, &got); err != nil {
			t.Fatalf("%q was written as %q: %v", body, out, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatal(diff)
		}
		again, ok := expr.DecodeJSON(out)
		if !ok {
			t.Fatalf("%q cannot be read back", out)
		}
		if second, err := expr.WriteJSON(again, 1<<20); err != nil || !bytes.Equal(second, out) {
			t.Fatalf("%q, then %q, %v", out, second, err)
		}
	})
}

func infinite(value any) bool {
	switch v := value.(type) {
	case float64:
		return math.IsInf(v, 0)
	case []any:
		return slices.ContainsFunc(v, infinite)
	case map[string]any:
		for _, element := range v {
			if infinite(element) {
				return true
			}
		}
	}
	return false
}
