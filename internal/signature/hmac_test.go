package signature_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"hash"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/signature"
)

var (
	at   = time.Unix(1_760_000_000, 0).UTC()
	body = []byte(`{"a":1}`)
	key  = []byte("a key")
)

// mac is computed with the standard library alone.
func mac(h func() hash.Hash, text string) []byte {
	m := hmac.New(h, key)
	m.Write([]byte(text))
	return m.Sum(nil)
}

func compile(t testing.TB, d signature.HMAC) *signature.Scheme {
	t.Helper()
	s, err := d.Compile()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func single(headers ...string) signature.Carrier {
	return signature.Carrier{Headers: headers}
}

// TestScheme reads what was written by hand, and what Sign writes is read the same.
func TestScheme(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		scheme signature.HMAC
		header http.Header
	}{
		{
			"defaults",
			signature.HMAC{Carrier: single("X-Sig")},
			http.Header{"X-Sig": {hex.EncodeToString(mac(sha256.New, `{"a":1}`))}},
		},
		{
			"sha1, prefix",
			signature.HMAC{Carrier: signature.Carrier{Headers: []string{"x-sig"}, Prefix: "sha1="}, Hash: signature.SHA1},
			http.Header{"X-Sig": {"sha1=" + hex.EncodeToString(mac(sha1.New, `{"a":1}`))}},
		},
		{
			"sha512, base64",
			signature.HMAC{Carrier: signature.Carrier{Headers: []string{"X-Sig"}, Encoding: signature.Base64}, Hash: signature.SHA512},
			http.Header{"X-Sig": {base64.StdEncoding.EncodeToString(mac(sha512.New, `{"a":1}`))}},
		},
		{
			"base64url",
			signature.HMAC{Carrier: signature.Carrier{Headers: []string{"X-Sig"}, Encoding: signature.Base64URL}},
			http.Header{"X-Sig": {base64.RawURLEncoding.EncodeToString(mac(sha256.New, `{"a":1}`))}},
		},
		{
			"the text around the body",
			signature.HMAC{Carrier: single("X-Sig"), Signed: `{method}\n{header:X-None|X-Id}:{body}:end`},
			http.Header{"X-Id": {"7"}, "X-Sig": {hex.EncodeToString(mac(sha256.New, "POST\n7:{\"a\":1}:end"))}},
		},
		{
			"no body",
			signature.HMAC{Carrier: single("X-Sig"), Signed: `{header:X-Id}`},
			http.Header{"X-Id": {"7"}, "X-Sig": {hex.EncodeToString(mac(sha256.New, "7"))}},
		},
		{
			"time inside the header",
			signature.HMAC{
				Carrier: signature.Carrier{Layout: signature.KV, Headers: []string{"X-Sig"}, Sep: ";", KVSep: "=", TimeKey: "ts", SigKeys: []string{"h1"}},
				Signed:  "{ts}:{body}", Time: &signature.TimeRule{Tolerance: time.Second},
			},
			http.Header{"X-Sig": {"ts=1760000000;h1=" + hex.EncodeToString(mac(sha256.New, `1760000000:{"a":1}`))}},
		},
		{
			"time in milliseconds",
			signature.HMAC{
				Carrier: single("X-Sig"), Signed: "{ts}{body}",
				Time: &signature.TimeRule{Headers: []string{"x-time"}, Format: signature.UnixMilli, Tolerance: time.Second},
			},
			http.Header{"X-Time": {"1760000000000"}, "X-Sig": {hex.EncodeToString(mac(sha256.New, `1760000000000{"a":1}`))}},
		},
		{
			"time as RFC 3339",
			signature.HMAC{
				Carrier: single("X-Sig"), Signed: "{ts}{body}",
				Time: &signature.TimeRule{Headers: []string{"X-Time"}, Format: signature.RFC3339, Tolerance: time.Second},
			},
			http.Header{"X-Time": {"2025-10-09T08:53:20Z"}, "X-Sig": {hex.EncodeToString(mac(sha256.New, `2025-10-09T08:53:20Z{"a":1}`))}},
		},
		{
			"time as HTTP writes it",
			signature.HMAC{
				Carrier: single("X-Sig"), Signed: "{ts}{body}",
				Time: &signature.TimeRule{Headers: []string{"X-Time"}, Format: signature.IMF, Tolerance: time.Second},
			},
			http.Header{
				"X-Time": {"Thu, 09 Oct 2025 08:53:20 GMT"},
				"X-Sig":  {hex.EncodeToString(mac(sha256.New, `Thu, 09 Oct 2025 08:53:20 GMT{"a":1}`))},
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := compile(t, tc.scheme)
			m := signature.Message{Method: "POST", Header: tc.header, Body: body}
			claim, failure := s.Read(m)
			if failure != nil {
				t.Fatalf("%+v", failure)
			}
			if !claim.MadeBy(key) {
				t.Error("the key did not make it")
			}
			if claim.MadeBy([]byte("another")) || claim.MadeBy(nil) {
				t.Error("another key made it")
			}
			if failure := claim.CheckTime(at); failure != nil || tc.scheme.Time != nil && !claim.SignedAt.Equal(at) {
				t.Errorf("signed at %s: %+v", claim.SignedAt, failure)
			}
			want := tc.header.Get("X-Sig")
			m.Header = tc.header.Clone()
			m.Header.Del("X-Sig")
			if err := s.Sign(m, key, at); err != nil || m.Header.Get("X-Sig") != want {
				t.Errorf("signed %q, %v, want %q", m.Header.Get("X-Sig"), err, want)
			}
		})
	}
}

// TestMadeBy_EveryBit: a signature counts whole.
func TestMadeBy_EveryBit(t *testing.T) {
	t.Parallel()
	s := compile(t, signature.HMAC{Carrier: single("X-Sig")})
	right := mac(sha256.New, `{"a":1}`)
	for i := range right {
		wrong := slices.Clone(right)
		wrong[i] ^= 0x10
		claim, failure := s.Read(signature.Message{Header: http.Header{"X-Sig": {hex.EncodeToString(wrong)}}, Body: body})
		if failure != nil || claim.MadeBy(key) {
			t.Errorf("byte %d does not count: %+v", i, failure)
		}
	}
}

func TestCompile_Refuses(t *testing.T) {
	t.Parallel()
	timed := func(rule signature.TimeRule) *signature.TimeRule { return &rule }
	for _, tc := range []struct {
		name string
		d    signature.HMAC
		want string
	}{
		{"no header", signature.HMAC{}, "no header"},
		{"a header that is none", signature.HMAC{Carrier: single("X Sig")}, "does not name a header"},
		{"an unknown hash", signature.HMAC{Carrier: single("X"), Hash: "md5"}, "hash"},
		{"an unknown encoding", signature.HMAC{Carrier: signature.Carrier{Headers: []string{"X"}, Encoding: "b32"}}, "encoding"},
		{"an unknown layout", signature.HMAC{Carrier: signature.Carrier{Headers: []string{"X"}, Layout: "x"}}, "layout"},
		{"labels without separators", signature.HMAC{Carrier: signature.Carrier{Headers: []string{"X"}, Layout: signature.KV}}, "separators"},
		{"an unknown key form", signature.HMAC{Carrier: single("X"), Key: "pem"}, "key form"},
		{"an unknown token", signature.HMAC{Carrier: single("X"), Signed: "{url}{body}"}, "{url} is unknown"},
		{"a token without a header", signature.HMAC{Carrier: single("X"), Signed: "{header:}{body}"}, "does not name a header"},
		{"an open brace", signature.HMAC{Carrier: single("X"), Signed: "{body"}, "without a closing"},
		{"a closing brace", signature.HMAC{Carrier: single("X"), Signed: "}{body}"}, "without an opening"},
		{"two bodies", signature.HMAC{Carrier: single("X"), Signed: "{body}{body}"}, "twice"},
		{"a signed time without a place", signature.HMAC{Carrier: single("X"), Signed: "{ts}{body}"}, "where the timestamp"},
		{"a rule without a place", signature.HMAC{Carrier: single("X"), Signed: "{ts}{body}", Time: timed(signature.TimeRule{})}, "where the timestamp"},
		{"a time that is not signed", signature.HMAC{Carrier: single("X"), Time: timed(signature.TimeRule{Headers: []string{"T"}})}, "not signed"},
		{"an unknown time format", signature.HMAC{
			Carrier: single("X"), Signed: "{ts}{body}", Time: timed(signature.TimeRule{Headers: []string{"T"}, Format: "x"}),
		}, "time format"},
		{"a negative tolerance", signature.HMAC{
			Carrier: single("X"), Signed: "{ts}{body}", Time: timed(signature.TimeRule{Headers: []string{"T"}, Tolerance: -1}),
		}, "negative"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if _, err := tc.d.Compile(); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

// TestCompile_Copies: a declaration that is changed afterwards changes nothing.
func TestCompile_Copies(t *testing.T) {
	t.Parallel()
	headers, times := []string{"X-Sig"}, []string{"X-Time"}
	rule := &signature.TimeRule{Headers: times, Tolerance: time.Second}
	s := compile(t, signature.HMAC{Carrier: signature.Carrier{Headers: headers}, Signed: "{ts}{body}", Time: rule})
	headers[0], times[0], rule.Tolerance = "X-Other", "X-Other", 0
	if d := s.Declaration(); d.Headers[0] != "X-Sig" || d.Time.Headers[0] != "X-Time" || d.Time.Tolerance != time.Second {
		t.Errorf("%+v", d)
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	s := compile(t, signature.HMAC{Carrier: single("X"), Signed: "{header:svix-id|webhook-id}.{body}"})
	if !s.CoversBody() || !s.CoversHeader("Svix-Id") {
		t.Error("what is signed is not covered")
	}
	// The second name is signed only where the first is absent: it must not count.
	if s.CoversHeader("Webhook-Id") || s.CoversHeader("X-Other") {
		t.Error("what may be unsigned is covered")
	}
	if compile(t, signature.HMAC{Carrier: single("X"), Signed: "{header:A}"}).CoversBody() {
		t.Error("a body that is not signed is covered")
	}
}

// TestFailures has the causes that lie in the form of a request.
func TestFailures(t *testing.T) {
	t.Parallel()
	good := hex.EncodeToString(mac(sha256.New, `1760000000.{"a":1}`))
	labelled := signature.HMAC{
		Carrier: signature.Carrier{
			Layout: signature.KV, Headers: []string{"X-Sig"}, Sep: ",", KVSep: "=", TimeKey: "t", SigKeys: []string{"v1", "v2"}, Strict: true,
		},
		Signed: "{ts}.{body}", Time: &signature.TimeRule{},
	}
	for _, tc := range []struct {
		name  string
		value string
		cause hub.Cause
	}{
		{"good", "t=1760000000,v1=" + good, ""},
		{"under another label that counts", "t=1760000000,v2=" + good, ""},
		{"an unknown label beside", "v9=x,t=1760000000,v1=" + good, ""},
		{"the last time counts", "t=1,t=1760000000,v1=" + good, ""},
		{"empty", "", hub.NoSignature},
		{"blank", " ", hub.MalformedSignature},
		{"no labels", good, hub.MalformedSignature},
		{"a comma at the end", "t=1760000000,v1=" + good + ",", hub.MalformedSignature},
		{"unknown labels alone", "t=1760000000,v0=" + good, hub.UnknownSchemeVersion},
		{"upper-case label", "t=1760000000,V1=" + good, hub.UnknownSchemeVersion},
		{"a broken one and an unknown label", "t=1760000000,v0=" + good + ",v1=zz", hub.MalformedSignature},
		{"no time", "v1=" + good, hub.TimestampMissing},
		{"an empty time", "t=,v1=" + good, hub.TimestampMissing},
		{"a time with a sign", "t=+1760000000,v1=" + good, hub.MalformedSignature},
		{"a time with a fraction", "t=1760000000.0,v1=" + good, hub.MalformedSignature},
		{"a time beyond all years", "t=9999999999999999,v1=" + good, hub.MalformedSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			claim, failure := compile(t, labelled).Read(signature.Message{Header: http.Header{"X-Sig": {tc.value}}, Body: body})
			switch {
			case tc.cause == "" && (failure != nil || !claim.MadeBy(key)):
				t.Errorf("refused: %+v", failure)
			case tc.cause != "" && (failure == nil || failure.Cause != tc.cause || !strings.HasSuffix(failure.Detail, ".")):
				t.Errorf("%+v, want %s", failure, tc.cause)
			}
		})
	}
}

// TestTimeRule_Unchecked: without a tolerance any time is as good as another.
func TestTimeRule_Unchecked(t *testing.T) {
	t.Parallel()
	s := compile(t, signature.HMAC{Carrier: single("X-Sig"), Signed: "{ts}{body}", Time: &signature.TimeRule{Headers: []string{"X-Time"}}})
	m := signature.Message{Header: http.Header{}, Body: body}
	if err := s.Sign(m, key, at); err != nil {
		t.Fatal(err)
	}
	claim, failure := s.Read(m)
	if failure != nil || !claim.MadeBy(key) {
		t.Fatalf("%+v", failure)
	}
	for _, away := range []time.Duration{-1000 * time.Hour, 1000 * time.Hour} {
		if failure := claim.CheckTime(at.Add(away)); failure != nil {
			t.Errorf("%s away: %+v", away, failure)
		}
	}
}

func TestSign_MissingHeader(t *testing.T) {
	t.Parallel()
	s := compile(t, signature.HMAC{Carrier: single("X-Sig"), Signed: "{header:X-Id}{body}"})
	m := signature.Message{Header: http.Header{}, Body: body}
	if err := s.Sign(m, key, at); err == nil || !strings.Contains(err.Error(), "X-Id") {
		t.Errorf("%v", err)
	}
	if len(m.Header) != 0 {
		t.Errorf("signed all the same: %v", m.Header)
	}
}
