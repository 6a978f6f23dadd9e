package expr_test

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/expr"
)

const (
	jsonType = "application/json; charset=utf-8"
	formType = "application/x-www-form-urlencoded"
)

func TestParseBody(t *testing.T) {
	t.Parallel()
	type object = map[string]any
	for _, c := range []struct {
		name, contentType, body string
		want                    any
	}{
		{"object", jsonType, `{"a":[1,"x",true,null]}`, object{"a": []any{int64(1), "x", true, nil}}},
		{"white space around", jsonType, " \r\n\t{} \n", object{}},
		{"no content type", "", `{"a":1}`, object{"a": int64(1)}},
		{"scalar", jsonType, `"x"`, "x"},
		{"empty", jsonType, "", nil},
		{"white space alone", jsonType, " \n", nil},
		{"not JSON", jsonType, `{"a":`, `{"a":`},
		{"something after it", jsonType, `{} {}`, `{} {}`},
		{"text", "text/plain", "hello", "hello"},
		{"not UTF-8", "application/octet-stream", "\xff\xfe", nil},
		{"bytes that are not UTF-8 in JSON", jsonType, "{\"a\":\"\xff\xfe\"}", object{"a": "\uFFFD\uFFFD"}},
		{"form", formType, "a=1&b=x+y&b=%26&c", object{"a": "1", "b": []any{"x y", "&"}, "c": ""}},
		{"form with parameter", formType + "; charset=utf-8", "a=1", object{"a": "1"}},
		{"form that would be a number", formType, "123", object{"123": ""}},
		{"form with payload", formType, "payload=%7B%22type%22%3A%22x%22%2C%22n%22%3A2%7D&a=1", object{"payload": object{"type": "x", "n": int64(2)}, "a": "1"}},
		{"payload that is no object", formType, "payload=%5B1%5D", object{"payload": "[1]"}},
		{"payload that is no JSON", formType, "payload=x", object{"payload": "x"}},
		{"two payloads", formType, "payload=%7B%7D&payload=%7B%7D", object{"payload": []any{"{}", "{}"}}},
		{"form whose value is not UTF-8", formType, "a=%FF", object{"a": "\uFFFD"}},
		{"broken form", formType, "a=%zz", "a=%zz"},
		{"JSON labelled as a form", formType, `{"a":1}`, object{"a": int64(1)}},
		{"payload only in forms", jsonType, `{"payload":"{}"}`, object{"payload": "{}"}},
		{"broken content type", "a/b; =", `{"a":1}`, object{"a": int64(1)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, expr.ParseBody(c.contentType, []byte(c.body))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeJSON_Numbers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text    string
		want    any
		written string // as data; "" where it cannot be written
	}{
		{"2000", int64(2000), "2000"},
		{"-7", int64(-7), "-7"},
		{"-0", int64(0), "0"},
		{"9223372036854775807", int64(math.MaxInt64), "9223372036854775807"},
		{"-9223372036854775808", int64(math.MinInt64), "-9223372036854775808"},
		{"9223372036854775808", uint64(math.MaxInt64) + 1, "9223372036854775808"},
		{"18446744073709551615", uint64(math.MaxUint64), "18446744073709551615"},
		{"18446744073709551616", 18446744073709551616.0, "18446744073709552000"}, // no integer holds it: rounded, as in a browser
		{"-9223372036854775809", -9223372036854775809.0, "-9223372036854776000"},
		{"20.5", 20.5, "20.5"},
		{"2000.0", 2000.0, "2000"},
		{"2e3", 2000.0, "2000"},
		{"1E-7", 1e-7, "1e-07"},
		{"1.10", 1.1, "1.1"},
		{"123456789012345678901234567890", 123456789012345678901234567890.0, "1.2345678901234568e+29"},
		{"1e999", math.Inf(1), ""},
	} {
		t.Run(c.text, func(t *testing.T) {
			t.Parallel()
			got, ok := expr.DecodeJSON([]byte(c.text))
			if diff := cmp.Diff(c.want, got); !ok || diff != "" {
				t.Fatal(ok, diff)
			}
			out, err := run(t, withBody(`{"n":`+c.text+`}`), "event.body.n")
			if (err == nil) != (c.written != "") || err == nil && out != c.written {
				t.Errorf("written as %s, %v; want %s", out, err, c.written)
			}
		})
	}
}

func TestDecodeJSON_Depth(t *testing.T) {
	t.Parallel()
	nested := func(depth int) []byte {
		return []byte(strings.Repeat("[", depth) + strings.Repeat("]", depth))
	}
	if _, ok := expr.DecodeJSON(nested(expr.MaxBodyDepth)); !ok {
		t.Errorf("depth %d is refused", expr.MaxBodyDepth)
	}
	for _, depth := range []int{expr.MaxBodyDepth + 2, 1 << 20} {
		if _, ok := expr.DecodeJSON(nested(depth)); ok {
			t.Errorf("depth %d is taken", depth)
		}
	}
}

// FuzzDecodeJSON holds the decoder against encoding/json: the same texts are JSON, and mean the same.
func FuzzDecodeJSON(f *testing.F) {
	f.Add(stripe(f).Body)
	for _, seed := range []string{
		`{"a":{"b":[1,2.5e-3,"\u00e9\ud83d\ude00\ud800\n"]},"a":null}`, `[]`, `"\ud800\u0041"`, "\"\xff\"", `-`, `01`, `1.`, `1e`, `+1`,
		`[1,]`, `{"a"}`, `{"a":1,}`, "\"\x01\"", `"\x"`, `nul`, `truefalse`, ` 1 `, "\ufeff{}", `"\u12"`, `{1:2}`, `-0.0`, `1e999`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := expr.DecodeJSON(body)
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.UseNumber()
		var want any
		err := decoder.Decode(&want)
		isJSON := err == nil && json.Valid(body)
		if ok && !isJSON {
			t.Fatalf("%q was taken for JSON: %v", body, err)
		}
		if !ok {
			if isJSON && depth(want) <= expr.MaxBodyDepth {
				t.Fatalf("%q was not taken for JSON", body)
			}
			return
		}
		if diff := cmp.Diff(numbers(want), got); diff != "" {
			t.Fatal(diff)
		}
	})
}

func depth(value any) int {
	deepest := 0
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			deepest = max(deepest, depth(element))
		}
	case map[string]any:
		for _, element := range v {
			deepest = max(deepest, depth(element))
		}
	default:
		return 0
	}
	return deepest + 1
}

// numbers makes json.Number into what the decoder makes of it, by another way.
func numbers(value any) any {
	switch v := value.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n
		}
		var u uint64
		if json.Unmarshal([]byte(v), &u) == nil {
			return u
		}
		f, _ := v.Float64()
		return f
	case []any:
		for i := range v {
			v[i] = numbers(v[i])
		}
	case map[string]any:
		for key := range v {
			v[key] = numbers(v[key])
		}
	}
	return value
}
