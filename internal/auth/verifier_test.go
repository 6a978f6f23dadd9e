package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/auth"
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
)

func TestVerify_Good(t *testing.T) {
	t.Parallel()
	s, c := newIssuers(t), newClock()
	key := ecKey("ec")
	s.publish("a", key.public())
	v := newVerifier(t, s, c)
	row := s.row("a")
	row.AuthorizedParties = []string{"https://app.example.com"}
	now := c.Now().Unix()

	for name, token := range map[string]string{
		"plain":                    key.sign(t, nil, good(s, c)),
		"typ JWT":                  key.sign(t, map[string]any{"typ": "JWT"}, good(s, c)),
		"typ jwt":                  key.sign(t, map[string]any{"typ": "jwt"}, good(s, c)),
		"typ at+jwt":               key.sign(t, map[string]any{"typ": "at+jwt"}, good(s, c)),
		"typ AT+JWT":               key.sign(t, map[string]any{"typ": "AT+JWT"}, good(s, c)),
		"one of several audiences": key.sign(t, nil, good(s, c, "aud", []string{"x", audience})),
		"an authorized party":      key.sign(t, nil, good(s, c, "aud", absent, "azp", "https://app.example.com")),
		"a party as client_id":     key.sign(t, map[string]any{"typ": "at+jwt"}, good(s, c, "aud", absent, "client_id", "https://app.example.com")),
		"a party beside aud":       key.sign(t, nil, good(s, c, "aud", "x", "azp", "https://app.example.com")),
		"nbf within the leeway":    key.sign(t, nil, good(s, c, "nbf", now+300)),
		"iat within the leeway":    key.sign(t, nil, good(s, c, "iat", now+300)),
		"expires next second":      key.sign(t, nil, good(s, c, "exp", now+1)),
		"times with fractions":     key.sign(t, nil, good(s, c, "exp", float64(now)+10.5, "iat", float64(now)-0.5)),
		"no iat":                   key.sign(t, nil, good(s, c, "iat", absent)),
		"no key id":                signingKey{"", "ES256", key.key}.sign(t, nil, good(s, c)),
		"a header nobody knows":    key.sign(t, map[string]any{"x5t": "AAAA", "jku": "https://example.com/keys"}, good(s, c)),
		"claims nobody knows":      key.sign(t, nil, good(s, c, "nonce", "x", "at_hash", "x", "_claim_names", map[string]any{})),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claims, err := v.Verify(t.Context(), token, []*directory.Issuer{row})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(hub.Subject{Issuer: row.ID, Sub: "alice"}, claims.Subject); diff != "" {
				t.Error(diff)
			}
			if claims.Issuer.ID != row.ID || claims.ExpiresAt.Before(c.Now()) || claims.Values["sub"] != "alice" {
				t.Errorf("claims %+v", claims)
			}
		})
	}
}

func TestVerify_Times(t *testing.T) {
	t.Parallel()
	s, c := newIssuers(t), newClock()
	key := ecKey("ec")
	s.publish("a", key.public())
	v := newVerifier(t, s, c)
	claims, err := v.Verify(t.Context(), key.sign(t, nil, good(s, c)), []*directory.Issuer{s.row("a")})
	if err != nil {
		t.Fatal(err)
	}
	if !claims.IssuedAt.Equal(c.Now()) || !claims.ExpiresAt.Equal(c.Now().Add(time.Hour)) {
		t.Errorf("issued %s, expires %s", claims.IssuedAt, claims.ExpiresAt)
	}
	claims, err = v.Verify(t.Context(), key.sign(t, nil, good(s, c, "iat", absent)), []*directory.Issuer{s.row("a")})
	if err != nil || !claims.IssuedAt.IsZero() {
		t.Errorf("issued %s, %v", claims.IssuedAt, err)
	}
}

func TestVerify_Algorithms(t *testing.T) {
	t.Parallel()
	s, c := newIssuers(t), newClock()
	v := newVerifier(t, s, c)
	keys := []signingKey{
		rsaKey("RS256", "RS256"), rsaKey("RS384", "RS384"), rsaKey("RS512", "RS512"),
		rsaKey("PS256", "PS256"), rsaKey("PS384", "PS384"), rsaKey("PS512", "PS512"),
		ecKey("ES256"), edKey("EdDSA"),
		{"ES384", "ES384", must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))},
		{"ES512", "ES512", must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader))},
	}
	var published []any
	for _, key := range keys {
		published = append(published, key.public())
	}
	s.publish("a", published...)
	for _, key := range keys {
		if _, err := v.Verify(t.Context(), key.sign(t, nil, good(s, c)), []*directory.Issuer{s.row("a")}); err != nil {
			t.Errorf("%s: %v", key.alg, err)
		}
	}
}

// Each row of one iss is judged by itself, and the first that fits is the subject's.
func TestVerify_SeveralRows(t *testing.T) {
	t.Parallel()
	s, c := newIssuers(t), newClock()
	key, other := ecKey("ec"), ecKey("other")
	s.publish("a", key.public())
	s.publish("keys-of-old", other.public())
	v := newVerifier(t, s, c)
	web, mobile, party, old := s.row("a"), s.row("a"), s.row("a"), s.row("a")
	web.Audiences, mobile.Audiences = []string{"web"}, []string{"mobile", "web"}
	party.Audiences, party.AuthorizedParties = nil, []string{"app"}
	old.Audiences, old.JWKSURI = []string{"old"}, s.issuer("keys-of-old")+"/keys"
	rows := []*directory.Issuer{web, mobile, party, old, s.row("b")}

	for name, test := range map[string]struct {
		token string
		want  hub.IssuerID
		err   string
	}{
		"the first":            {key.sign(t, nil, good(s, c, "aud", "web")), web.ID, ""},
		"the second":           {key.sign(t, nil, good(s, c, "aud", "mobile")), mobile.ID, ""},
		"by its party":         {key.sign(t, nil, good(s, c, "aud", "x", "azp", "app")), party.ID, ""},
		"by keys of its own":   {other.sign(t, nil, good(s, c, "aud", "old")), old.ID, ""},
		"another row's key":    {key.sign(t, nil, good(s, c, "aud", "old")), hub.IssuerID{}, "key_unavailable: the issuer's keys cannot be fetched at the moment"},
		"none":                 {key.sign(t, nil, good(s, c, "aud", "x")), hub.IssuerID{}, "unauthenticated: the token's aud is none of the issuer's audiences"},
		"a row of another iss": {key.sign(t, nil, good(s, c)), hub.IssuerID{}, "unauthenticated: the token's aud is none of the issuer's audiences"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := v.Verify(t.Context(), key.sign(t, nil, good(s, c, "aud", "web")), rows); err != nil {
				t.Fatal(err)
			}
			if _, err := v.Verify(t.Context(), other.sign(t, nil, good(s, c, "aud", "old")), rows); err != nil {
				t.Fatal(err)
			}
			claims, err := v.Verify(t.Context(), test.token, rows)
			if got := text(err); got != test.err || claims.Subject.Issuer != test.want {
				t.Errorf("row %s, %q; want %s, %q", claims.Subject.Issuer, got, test.want, test.err)
			}
		})
	}
}

func text(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestVerify_RowWithoutAudience(t *testing.T) {
	t.Parallel()
	s, c := newIssuers(t), newClock()
	key := ecKey("ec")
	s.publish("a", key.public())
	row := s.row("a")
	row.Audiences = nil
	for _, changes := range [][]any{{}, {"aud", absent}, {"aud", ""}, {"azp", ""}} {
		_, err := newVerifier(t, s, c).Verify(t.Context(), key.sign(t, nil, good(s, c, changes...)), []*directory.Issuer{row})
		if hub.CodeOf(err) != hub.Unauthenticated {
			t.Errorf("%v: %v", changes, err)
		}
	}
	if _, err := newVerifier(t, s, c).Verify(t.Context(), key.sign(t, nil, good(s, c)), nil); hub.CodeOf(err) != hub.Unauthenticated {
		t.Errorf("a tenant without issuers: %v", err)
	}
}

func TestVerify_RequiredClaims(t *testing.T) {
	t.Parallel()
	s, c := newIssuers(t), newClock()
	key := ecKey("ec")
	s.publish("a", key.public())
	v := newVerifier(t, s, c)
	token := key.sign(t, nil, good(s, c,
		"plan", "pro", "level", 7, "ratio", 0.5, "big", json.Number("9007199254740993"), "on", true, "nothing", nil, "list", []any{"a", 1}, "object", map[string]any{"x": 1},
		"realm", map[string]any{"a": map[string]any{"b": "c"}, "d.e": "f"}, "https://example.com/role", "admin", "dotted.name", "whole",
	))
	for _, test := range []struct {
		path string
		want any // as it comes out of the database
		fits bool
	}{
		{"plan", "pro", true},
		{"plan", "free", false},
		{"plan", "Pro", false},
		{"absent", nil, false},
		{"absent", "", false},
		{"nothing", nil, true},
		{"nothing", false, false},
		{"level", 7.0, true},
		{"level", 8.0, false},
		{"level", "7", false},
		{"ratio", 0.5, true},
		{"big", 9007199254740992.0, false},
		{"big", 9007199254740993.0, false},
		{"on", true, true},
		{"on", "true", false},
		{"on", 1.0, false},
		{"list", []any{"a", 1.0}, true},
		{"list", []any{"a"}, false},
		{"list", "a", false},
		{"object", map[string]any{"x": 1.0}, true},
		{"object", map[string]any{}, false},
		{"object", map[string]any{"y": 1.0}, false},
		{"realm.a.b", "c", true},
		{"realm.a.b", "x", false},
		{"realm.a", map[string]any{"b": "c"}, true},
		{"realm.d.e", "f", true},
		{"realm.a.b.c", "c", false},
		{"plan.x", "pro", false},
		{"https://example.com/role", "admin", true},
		{"dotted.name", "whole", true},
		{"", "pro", false},
		{".", "pro", false},
	} {
		row := s.row("a")
		row.RequiredClaims = map[string]any{"plan": "pro", test.path: test.want}
		_, err := v.Verify(t.Context(), token, []*directory.Issuer{row})
		if (err == nil) != test.fits || err != nil && hub.CodeOf(err) != hub.Unauthenticated {
			t.Errorf("%s = %v: %v", test.path, test.want, err)
		}
	}
}

func TestVerify_IssuerDown(t *testing.T) {
	t.Parallel()
	s, c := newIssuers(t), newClock()
	key := ecKey("ec")
	s.publish("a", key.public())
	s.setDown(true)
	v := newVerifier(t, s, c)
	token := key.sign(t, nil, good(s, c))
	rows := []*directory.Issuer{s.row("a")}
	_, err := v.Verify(t.Context(), token, rows)
	if want := "key_unavailable: the issuer's keys cannot be fetched at the moment"; text(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
	s.setDown(false)
	c.advance(30 * time.Second)
	if _, err := v.Verify(t.Context(), token, rows); err != nil {
		t.Error(err)
	}
}

func TestVerify_GuardedRow(t *testing.T) {
	t.Parallel()
	s, c := newIssuers(t), newClock()
	key := ecKey("ec")
	s.publish("a", key.public())
	row := s.row("a")
	row.Internal = false // a tenant's own row reaches no exempt address
	_, err := newVerifier(t, s, c).Verify(t.Context(), key.sign(t, nil, good(s, c)), []*directory.Issuer{row})
	if hub.CodeOf(err) != hub.KeyUnavailable {
		t.Error(err)
	}
	if keys, discovery := s.fetches("a"); keys+discovery != 0 {
		t.Errorf("%d fetches", keys+discovery)
	}
}

func TestVerify_Rotation(t *testing.T) {
	t.Parallel()
	s, c := newIssuers(t), newClock()
	before, after := ecKey("before"), ecKey("after")
	s.publish("a", before.public())
	v := newVerifier(t, s, c)
	rows := []*directory.Issuer{s.row("a")}
	old := before.sign(t, nil, good(s, c))
	if _, err := v.Verify(t.Context(), old, rows); err != nil {
		t.Fatal(err)
	}
	s.publish("a", after.public())
	c.advance(30 * time.Second)
	if _, err := v.Verify(t.Context(), after.sign(t, nil, good(s, c)), rows); err != nil {
		t.Errorf("by the new key: %v", err)
	}
	c.advance(30 * time.Second)
	if _, err := v.Verify(t.Context(), old, rows); hub.CodeOf(err) != hub.Unauthenticated && hub.CodeOf(err) != hub.KeyUnavailable {
		t.Errorf("by the withdrawn key: %v", err)
	}
}

func TestBearer(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		values []string
		want   string
		code   hub.Code
	}{
		"none":           {nil, "", ""},
		"a token":        {[]string{"Bearer abc.def-_~+/="}, "abc.def-_~+/=", ""},
		"in lower case":  {[]string{"bearer abc"}, "abc", ""},
		"more spaces":    {[]string{"Bearer   abc"}, "abc", ""},
		"two":            {[]string{"Bearer abc", "Bearer abc"}, "", hub.Unauthenticated},
		"another scheme": {[]string{"Basic YWJj"}, "", hub.Unauthenticated},
		"no scheme":      {[]string{"abc"}, "", hub.Unauthenticated},
		"nothing":        {[]string{""}, "", hub.Unauthenticated},
		"no credential":  {[]string{"Bearer "}, "", hub.Unauthenticated},
		"two words":      {[]string{"Bearer abc def"}, "", hub.Unauthenticated},
		"a comma":        {[]string{"Bearer abc,Bearer def"}, "", hub.Unauthenticated},
		"a tab":          {[]string{"Bearer\tabc"}, "", hub.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := auth.Bearer(http.Header{"Authorization": test.values})
			if got != test.want || hub.CodeOf(err) != test.code {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

func BenchmarkVerify(b *testing.B) {
	for _, key := range []signingKey{ecKey("ES256"), rsaKey("RS256", "RS256"), edKey("EdDSA")} {
		b.Run(key.alg, func(b *testing.B) {
			s, c := newIssuers(b), newClock()
			s.publish("a", key.public())
			v, rows, token := newVerifier(b, s, c), []*directory.Issuer{s.row("a")}, key.sign(b, nil, good(s, c))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := v.Verify(b.Context(), token, rows); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func FuzzVerify(f *testing.F) {
	s, c := newIssuers(f), newClock()
	key := ecKey("ec")
	s.publish("a", key.public())
	v, rows := newVerifier(f, s, c), []*directory.Issuer{s.row("a")}
	f.Add(key.sign(f, nil, good(s, c)))
	f.Add(key.sign(f, map[string]any{"typ": "at+jwt"}, good(s, c, "aud", []string{audience}, "nbf", 1.5)))
	f.Add("a.b.c")
	f.Add(raw(map[string]any{"alg": "none"}, good(s, c), func([]byte) []byte { return nil }))
	f.Fuzz(func(t *testing.T, token string) {
		claims, err := v.Verify(t.Context(), token, rows)
		if err == nil && claims.Subject.Sub != "alice" {
			t.Errorf("verified a token that nobody signed: %v", claims.Values)
		}
		if code := hub.CodeOf(err); err != nil && code != hub.Unauthenticated && code != hub.KeyUnavailable {
			t.Error(err)
		}
	})
}
