package canary_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/canary"
)

const value = `Zq8"r\Kd/3+x=9Lm%2&vT<7?bN é Wp5jXc`

// A value is found in each coding, wherever it stands, and in parts.
func TestFinder_Finds(t *testing.T) {
	t.Parallel()
	f := canary.New()
	f.Add(t, "the value", value)
	f.Add(t, "another", canary.Text())
	asJSON := func(v any) string {
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return string(encoded)
	}
	places := map[string]string{
		"as it is":            value,
		"its beginning":       value[:12],
		"its end":             value[len(value)-12:],
		"its middle":          value[9:21],
		"lower case":          strings.ToLower(value),
		"JSON":                asJSON(map[string]string{"x": value}),
		"JSON in JSON":        asJSON(map[string]string{"x": asJSON(map[string]string{"y": value})}),
		"quoted by fmt":       fmt.Sprintf("%q", value),
		"a query":             "https://x/?a=b&c=" + url.QueryEscape(value),
		"a query, lower case": strings.ToLower(url.QueryEscape(value[2:])),
		"a path":              "/in/" + url.PathEscape(value),
		"a bytea of a dump":   `\x` + hex.EncodeToString([]byte("before"+value+"after")),
		"JSON in a bytea":     `\x` + hex.EncodeToString([]byte(asJSON([]string{value}))),
		"base64 in a bytea":   `\x` + hex.EncodeToString([]byte(base64.StdEncoding.EncodeToString([]byte("user:"+value)))),
		"hex, upper case":     strings.ToUpper(hex.EncodeToString([]byte(value))),
		"SQL":                 "'" + strings.ReplaceAll(value, "'", "''") + "'",
	}
	for i := range 3 {
		before := strings.Repeat("x", i)
		for name, encoding := range map[string]*base64.Encoding{
			"std": base64.StdEncoding, "std, raw": base64.RawStdEncoding, "url": base64.URLEncoding, "url, raw": base64.RawURLEncoding,
		} {
			places[fmt.Sprintf("base64 %s, %d bytes after its beginning", name, i)] = encoding.EncodeToString([]byte(before + value + "!"))
			places[fmt.Sprintf("base64 %s of a part, %d bytes after its beginning", name, i)] = encoding.EncodeToString([]byte(before + value[3:19]))
		}
	}
	for place, text := range places {
		hits := f.Search([]byte("something before " + text + " and something after"))
		if len(hits) != 1 || hits[0].Name != "the value" {
			t.Errorf("%s: %v", place, hits)
		}
	}
	if diff := cmp.Diff([]string{"another", "the value"}, f.Names()); diff != "" {
		t.Error(diff)
	}
}

// A key is bytes, and shows itself as such.
func TestFinder_FindsBytes(t *testing.T) {
	t.Parallel()
	key := "\xfc\xa4\x98]|\x01J\xe2\x86\xcf\xcauS\xf7C\xbe\x00\xc3\xddS"
	f := canary.New()
	f.Add(t, "the key", key)
	for _, text := range []string{
		key, key[3:16], hex.EncodeToString([]byte("x" + key)), base64.StdEncoding.EncodeToString([]byte("xy" + key)), fmt.Sprintf("%q", "before"+key+"after"), strconv.QuoteToASCII(key),
	} {
		if hits := f.Search([]byte(text)); len(hits) != 1 {
			t.Errorf("%q: %v", text, hits)
		}
	}
	if hits := f.Search([]byte(`"\xfc\xa4\x98" and "\x98]|\x01J\xe2"` + key[:11])); len(hits) > 0 {
		t.Errorf("%v", hits)
	}
}

// What is not there is not found: other values of the same form, hashes, parts that are too short.
func TestFinder_FindsNothingElse(t *testing.T) {
	t.Parallel()
	f := canary.New()
	f.Add(t, "the value", value)
	for range 50 {
		f.Add(t, canary.Text(), canary.Text())
	}
	var text strings.Builder
	for range 2000 {
		other := canary.Text()
		fmt.Fprintln(&text, other, hex.EncodeToString([]byte(other)), base64.StdEncoding.EncodeToString([]byte(other)))
	}
	text.WriteString(value[:11] + " " + value[20:31])
	if hits := f.Search([]byte(text.String())); len(hits) > 0 {
		t.Errorf("%v", hits)
	}
}
