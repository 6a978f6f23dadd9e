package egress_test

import (
	"bytes"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/egress"
	"github.com/tributary-hub/tributary/internal/hub"
)

func TestKeys_DocumentsThatAreRefused(t *testing.T) {
	t.Parallel()
	const discovery, jwks = "/a/.well-known/openid-configuration", "/a/keys"
	for name, test := range map[string]struct {
		path    string
		content func(s *issuers) any // a document, or how to answer
	}{
		"another issuer": {discovery, func(s *issuers) any {
			return map[string]any{"issuer": s.issuer("b"), "jwks_uri": s.issuer("a") + "/keys"}
		}},
		"a slash too many": {discovery, func(s *issuers) any {
			return map[string]any{"issuer": s.issuer("a") + "/", "jwks_uri": s.issuer("a") + "/keys"}
		}},
		"no issuer":           {discovery, func(s *issuers) any { return map[string]any{"jwks_uri": s.issuer("a") + "/keys"} }},
		"no jwks_uri":         {discovery, func(s *issuers) any { return map[string]any{"issuer": s.issuer("a")} }},
		"a relative jwks_uri": {discovery, func(s *issuers) any { return map[string]any{"issuer": s.issuer("a"), "jwks_uri": "/a/keys"} }},
		"a jwks_uri with a user": {discovery, func(s *issuers) any {
			return map[string]any{"issuer": s.issuer("a"), "jwks_uri": strings.Replace(s.issuer("a"), "http://", "http://u@", 1) + "/keys"}
		}},
		"a jwks_uri inside": {discovery, func(s *issuers) any {
			return map[string]any{"issuer": s.issuer("a"), "jwks_uri": "http://127.0.0.1:1/keys"}
		}},
		"a jwks_uri of a file":  {discovery, func(s *issuers) any { return map[string]any{"issuer": s.issuer("a"), "jwks_uri": "file:///etc/passwd"} }},
		"a discovery of 300 MB": {discovery, func(*issuers) any { return answer(huge) }},
		"a discovery not JSON":  {discovery, func(*issuers) any { return answer(page) }},
		"a discovery elsewhere": {discovery, func(s *issuers) any { return answer(redirect(s.issuer("b") + "/.well-known/openid-configuration")) }},
		"a discovery with a 201": {discovery, func(*issuers) any {
			return answer(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusCreated) })
		}},
		"a key set of 300 MB":      {jwks, func(*issuers) any { return answer(huge) }},
		"a key set not JSON":       {jwks, func(*issuers) any { return answer(page) }},
		"a key set elsewhere":      {jwks, func(s *issuers) any { return answer(redirect(s.issuer("b") + "/keys")) }},
		"a key set without keys":   {jwks, func(*issuers) any { return map[string]any{"error": "temporarily"} }},
		"a key set of keys null":   {jwks, func(*issuers) any { return map[string]any{"keys": nil} }},
		"a key set that is a list": {jwks, func(*issuers) any { return []any{} }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newIssuers(t)
			s.publish("a", es256("one"))
			s.publish("b", es256("one"))
			if handle, ok := test.content(s).(answer); ok {
				s.interceptWith(func(w http.ResponseWriter, r *http.Request) bool {
					if r.URL.Path == test.path {
						handle(w, r)
					}
					return r.URL.Path == test.path
				})
			} else {
				s.set(test.path, test.content(s))
			}
			keys, _ := newKeys(t, s, egress.KeysOptions{})
			_, err := keys.KeySet(s.issuer("a"), "", true).Key(t.Context(), "one", "ES256")
			want := hub.Errorf(hub.KeyUnavailable, "the issuer's keys cannot be fetched at the moment").Error()
			if err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
			err = keys.Check(t.Context(), s.issuer("a"), "", true)
			want = hub.Errorf(hub.IssuerUnreachable, "the issuer's discovery document or its keys cannot be fetched, or are not what they should be").Error()
			if err == nil || err.Error() != want {
				t.Errorf("%v, want %s", err, want)
			}
			if n := s.fetches("b"); n != 0 {
				t.Errorf("%d fetches at somebody else's", n)
			}
		})
	}
}

type answer http.HandlerFunc

func huge(w http.ResponseWriter, _ *http.Request) {
	space := bytes.Repeat([]byte(" "), 1<<20)
	for range 300 {
		if _, err := w.Write(space); err != nil {
			return
		}
	}
}

func page(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write([]byte("<html>please log in</html>"))
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, to, http.StatusFound) }
}

func TestKeys_Override(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("own"))
	s.publish("other", es256("overridden"))
	keys, _ := newKeys(t, s, egress.KeysOptions{})
	plain := keys.KeySet(s.issuer("a"), "", true)
	overridden := keys.KeySet(s.issuer("a"), s.issuer("other")+"/keys", true)
	expect(t, "by discovery", ask(t, plain, "own"), "")
	expect(t, "by the override", ask(t, overridden, "overridden"), "")
	expect(t, "the override's key elsewhere", ask(t, plain, "overridden"), hub.KeyUnavailable)
	expect(t, "the discovered key elsewhere", ask(t, overridden, "own"), hub.KeyUnavailable)
	if n := s.discoveries("other") + s.discoveries("a"); n != 1 {
		t.Errorf("%d fetches of discovery documents", n)
	}
}

// Whoever writes a discovery document must gain nothing over an issuer whose jwks_uri it names.
func TestKeys_NotSharedAcrossDocuments(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("victim", es256("one"))
	s.set("/evil/.well-known/openid-configuration", map[string]any{"issuer": s.issuer("evil"), "jwks_uri": s.issuer("victim") + "/keys"})
	keys, clock := newKeys(t, s, egress.KeysOptions{})
	victim, evil := keys.KeySet(s.issuer("victim"), "", true), keys.KeySet(s.issuer("evil"), "", true)
	expect(t, "the victim", ask(t, victim, "one"), "")
	clock.advance(time.Minute)
	expect(t, "junk at the other", ask(t, evil, "junk"), hub.Unauthenticated)
	expect(t, "junk at the other spends nothing of the victim's", ask(t, victim, "junk"), hub.Unauthenticated)

	s.set("/evil/.well-known/openid-configuration", map[string]any{"issuer": s.issuer("evil"), "jwks_uri": s.issuer("evil") + "/keys"})
	s.publish("evil", es256("forged"))
	clock.advance(time.Minute)
	expect(t, "the other's own key", ask(t, evil, "forged"), "")
	expect(t, "the other's key at the victim", ask(t, victim, "forged"), hub.Unauthenticated)
}

func TestKeys_InternalIsAnotherSet(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	keys, _ := newKeys(t, s, egress.KeysOptions{})
	expect(t, "an operator's row", ask(t, keys.KeySet(s.issuer("a"), "", true), "one"), "")
	before := s.connections.Load()
	expect(t, "a tenant's row", ask(t, keys.KeySet(s.issuer("a"), "", false), "one"), hub.KeyUnavailable)
	if n := s.connections.Load() - before; n != 0 {
		t.Errorf("%d connections past the guard", n)
	}
}

func TestKeys_Check(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	s.publish("empty")
	keys, _ := newKeys(t, s, egress.KeysOptions{})
	for _, test := range []struct {
		name            string
		issuer, jwksURI string
		internal        bool
		want            hub.Code
	}{
		{"good", s.issuer("a"), "", true, ""},
		{"good by its override", "https://nowhere.invalid", s.issuer("a") + "/keys", true, ""},
		{"no key that could verify", s.issuer("empty"), "", true, hub.IssuerUnreachable},
		{"not there", s.issuer("b"), "", true, hub.IssuerUnreachable},
		{"guarded", s.issuer("a"), "", false, hub.IssuerUnreachable},
		{"not an issuer", s.issuer("a") + "?x", "", true, hub.Invalid},
		{"not an override", s.issuer("a"), "nope", true, hub.Invalid},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, hub.CodeOf(keys.Check(t.Context(), test.issuer, test.jwksURI, test.internal))); diff != "" {
				t.Error(diff)
			}
		})
	}
}
