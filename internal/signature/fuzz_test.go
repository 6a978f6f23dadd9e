package signature_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/signature"
)

// The fuzzers of the layouts hold one thing: a header verifies only if one of its signatures is, letter for letter, the
// canonical text of the right one. (Hex may have either case.)

func FuzzVerifySingle(f *testing.F) {
	right := mac(sha256.New, `{"a":1}`)
	asHex, asBase64 := hex.EncodeToString(right), base64.StdEncoding.EncodeToString(right)
	for _, seed := range []string{
		"sha256=" + asHex, "sha256=" + strings.ToUpper(asHex), asHex, "sha1=" + asHex, "sha256=" + asHex[1:], "sha256=" + asHex + " ",
		"sha256=" + asBase64, asBase64, asBase64[:43], asBase64[:42] + "B=", asBase64[:20] + "\r\n" + asBase64[20:], "sha256=", "=", "",
	} {
		f.Add(seed, "")
		f.Add("sha256=00", seed)
	}
	hexed := compile(f, signature.HMAC{Carrier: signature.Carrier{Headers: []string{"X-Sig"}, Prefix: "sha256="}})
	based := compile(f, signature.HMAC{Carrier: signature.Carrier{Headers: []string{"X-Sig"}, Encoding: signature.Base64}})
	f.Fuzz(func(t *testing.T, first, second string) {
		lines := []string{first, second}
		if verifies(hexed, lines) != slices.ContainsFunc(lines, func(s string) bool {
			text, ok := strings.CutPrefix(s, "sha256=")
			return ok && strings.EqualFold(text, asHex) && isASCII(text)
		}) {
			t.Errorf("hex: %q", lines)
		}
		if verifies(based, lines) != slices.Contains(lines, asBase64) {
			t.Errorf("base64: %q", lines)
		}
	})
}

func FuzzVerifyKV(f *testing.F) {
	right := mac(sha256.New, `1760000000.{"a":1}`)
	asHex, asBase64 := hex.EncodeToString(right), base64.StdEncoding.EncodeToString(right)
	for _, seed := range []string{
		"t=1760000000,v1=" + asHex, "t=1760000000, v1=" + asHex, "v1=" + asHex + ",t=1760000000", "t=1760000000,v0=" + asHex,
		"t=1760000000,v1=00,v1=" + asHex, "t=1760000000,v1=" + asHex + ",", "t=1760000000,,v1=" + asHex, "t=01760000000,v1=" + asHex,
		"t=1760000000,v1==" + asHex, "t==,v1", "v1," + asBase64, "v1a,x v1," + asBase64, "v1, " + asBase64, "v1," + asBase64[:42] + "B=", "",
	} {
		f.Add(seed)
	}
	strict := compile(f, signature.HMAC{
		Carrier: signature.Carrier{
			Layout: signature.KV, Headers: []string{"X-Sig"}, Sep: ",", KVSep: "=", TimeKey: "t", SigKeys: []string{"v1"}, Strict: true,
		},
		Signed: "{ts}.{body}", Time: &signature.TimeRule{},
	})
	listed := compile(f, signature.HMAC{
		Carrier: signature.Carrier{
			Layout: signature.KV, Headers: []string{"X-Sig"}, Sep: " ", KVSep: ",", SigKeys: []string{"v1"}, Encoding: signature.Base64,
		},
		Signed: "{ts}.{body}", Time: &signature.TimeRule{Headers: []string{"X-Time"}},
	})
	f.Fuzz(func(t *testing.T, value string) {
		parts := strings.Split(value, ",")
		for i := range parts {
			parts[i] = strings.Trim(parts[i], " \t")
		}
		times := slices.DeleteFunc(slices.Clone(parts), func(s string) bool { return !strings.HasPrefix(s, "t=") })
		want := slices.ContainsFunc(parts, func(s string) bool { return strings.EqualFold(s, "v1="+asHex) && s[0] == 'v' && isASCII(s) }) &&
			len(times) > 0 && times[len(times)-1] == "t=1760000000" &&
			!slices.ContainsFunc(parts, func(s string) bool { return !strings.Contains(s, "=") })
		if got := verifies(strict, []string{value}); got != want {
			t.Errorf("strict: %q verifies: %t, want %t", value, got, want)
		}
		want = slices.ContainsFunc(strings.Split(value, " "), func(s string) bool { return strings.Trim(s, "\t") == "v1,"+asBase64 })
		if got := verifies(listed, []string{value}); got != want {
			t.Errorf("listed: %q verifies: %t, want %t", value, got, want)
		}
	})
}

func verifies(s *signature.Scheme, lines []string) bool {
	h := http.Header{"X-Sig": lines, "X-Time": {"1760000000"}}
	claim, failure := s.Read(signature.Message{Header: h, Body: body})
	return failure == nil && claim.MadeBy(key)
}

func isASCII(s string) bool {
	return !slices.ContainsFunc([]byte(s), func(b byte) bool { return b >= 0x80 })
}

// FuzzTemplate: what parses can be signed and read again, whatever stands around the body.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{"{body}", "{ts}.{body}", "v0:{ts}:{body}", `{method}\n{header:X-A|X-B}{body}end`, "{", "}", "{}", "{body}{body}", "{header:|}", `\n`} {
		f.Add(seed, []byte("x"))
	}
	f.Fuzz(func(t *testing.T, text string, body []byte) {
		d := signature.HMAC{Carrier: single("X-Sig"), Signed: text}
		if strings.Contains(text, "{ts}") {
			d.Time = &signature.TimeRule{Headers: []string{"X-Time"}}
		}
		s, err := d.Compile()
		if err != nil {
			return
		}
		if text != "" && signature.CheckTemplate(text) != nil {
			t.Errorf("%q compiles and is refused", text)
		}
		m := signature.Message{Method: "POST", Header: http.Header{"X-A": {"a"}, "X-B": {"b"}}, Body: body}
		if s.Sign(m, key, at) != nil {
			return // a header that is not there
		}
		claim, failure := s.Read(m)
		if failure != nil || !claim.MadeBy(key) {
			t.Fatalf("%q: signed and not read: %+v", text, failure)
		}
		other := append(bytes.Clone(body), 'x')
		m.Body = other
		if claim, failure = s.Read(m); failure != nil || claim.MadeBy(key) == s.CoversBody() {
			t.Errorf("%q: another body: %+v", text, failure)
		}
	})
}
