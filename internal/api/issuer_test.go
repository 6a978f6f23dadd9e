package api_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/api"
	"github.com/tributary-hub/tributary/internal/auth"
	"github.com/tributary-hub/tributary/internal/egress"
	"github.com/tributary-hub/tributary/internal/hub"
)

const issuers = "/v1/tenants/acme/issuers"

func login(changes ...object) object {
	return changed(object{"name": "login", "issuer": "https://login.example.com", "audiences": []string{"app"}, "grants": []any{"user:{sub}"}}, changes...)
}

func TestIssuers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.must(t, http.StatusCreated, "POST", issuers, w.acme, login(object{
		"grants":          []any{"user:{sub}", object{"pattern": "org:{claims.org}:*", "when": "claims.staff == true"}, object{"pattern": "news"}},
		"required_claims": object{"email_verified": true}, "session_seconds": 3600, "metadata": object{"a": "b"},
	}))
	want := object{
		"id": made.text(t, "id"), "name": "login", "issuer": "https://login.example.com", "audiences": []any{"app"}, "authorized_parties": []any{},
		"required_claims": object{"email_verified": true}, "session_seconds": 3600.0, "shares_channels": false, "internal": false, "metadata": object{"a": "b"},
		"grants":     []any{"user:{sub}", object{"pattern": "org:{claims.org}:*", "when": "claims.staff == true"}, "news"},
		"created_at": made.body["created_at"], "updated_at": made.body["updated_at"],
	}
	if diff := cmp.Diff(want, made.body); diff != "" {
		t.Error(diff)
	}
	for _, ref := range []string{"login", made.text(t, "id")} {
		got := w.must(t, http.StatusOK, "GET", issuers+"/"+ref, w.acme, nil)
		if diff := cmp.Diff(made.body, got.body); diff != "" || got.header.Get("ETag") != made.header.Get("ETag") {
			t.Error(diff)
		}
	}
	got := w.must(t, http.StatusOK, "PATCH", issuers+"/login", w.acme, object{"session_seconds": nil, "grants": []any{"user:{sub}"}, "authorized_parties": []string{"spa"}, "audiences": nil})
	if got.body["session_seconds"] != nil || cmp.Diff([]any{"user:{sub}"}, got.body["grants"]) != "" || cmp.Diff([]any{"spa"}, got.body["authorized_parties"]) != "" || cmp.Diff([]any{}, got.body["audiences"]) != "" {
		t.Errorf("changed: %s", got.raw)
	}
	put := login(object{"name": "login"})
	got = w.must(t, http.StatusOK, "PUT", issuers+"/login", w.acme, put)
	if cmp.Diff([]any{"app"}, got.body["audiences"]) != "" || cmp.Diff([]any{}, got.body["authorized_parties"]) != "" || got.body["id"] != made.body["id"] {
		t.Errorf("replaced: %s", got.raw)
	}
	other := login(object{"issuer": "https://other.example.com", "grants": []any{"guest:{sub}"}})
	delete(other, "name")
	w.must(t, http.StatusCreated, "PUT", issuers+"/other", w.acme, other)
	if diff := cmp.Diff([]string{"login", "other"}, w.must(t, http.StatusOK, "GET", issuers, w.acme, nil).names(t, "name")); diff != "" {
		t.Error(diff)
	}
	w.must(t, http.StatusNoContent, "DELETE", issuers+"/other", w.acme, nil)
	w.refused(t, hub.NotFound, "GET", issuers+"/other", w.acme, nil)
}

func TestIssuers_Refused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, http.StatusCreated, "POST", issuers, w.acme, login())
	body := func(changes ...object) object {
		return login(append([]object{{"name": "second", "grants": []any{"guest:{sub}"}}}, changes...)...)
	}
	tests := []struct {
		name      string
		body      any
		code      hub.Code
		locations []string
	}{
		{"name taken", body(object{"name": "login"}), hub.Conflict, nil},
		{"http", body(object{"issuer": "http://login.example.com"}), hub.Invalid, []string{"body.issuer"}},
		{"no URL", body(object{"issuer": "nope"}), hub.Invalid, []string{"body.issuer"}},
		{"javascript", body(object{"issuer": "javascript:alert(1)"}), hub.Invalid, []string{"body.issuer"}},
		{"user in the URL", body(object{"issuer": "https://a@login.example.com"}), hub.Invalid, []string{"body.issuer"}},
		{"query in the URL", body(object{"issuer": "https://login.example.com?"}), hub.Invalid, []string{"body.issuer"}},
		{"fragment in the URL", body(object{"issuer": "https://login.example.com/#x"}), hub.Invalid, []string{"body.issuer"}},
		{"nobody in particular", body(object{"audiences": []string{}}), hub.Invalid, []string{"body.audiences"}},
		{"any audience", body(object{"audiences": []string{"app", "*"}}), hub.Invalid, []string{"body.audiences[1]"}},
		{"any party", body(object{"authorized_parties": []string{"https://*.example.com"}}), hub.Invalid, []string{"body.authorized_parties[0]"}},
		{"no grants", body(object{"grants": []any{}}), hub.Invalid, []string{"body.grants"}},
		{"a grant that begins with a claim", body(object{"grants": []any{"guest:x", "{sub}:x"}}), hub.Invalid, []string{"body.grants[1]"}},
		{"a grant of everything", body(object{"grants": []any{"*"}}), hub.Invalid, []string{"body.grants[0]"}},
		{"a grant of the hub's", body(object{"grants": []any{"hub:{sub}"}}), hub.Invalid, []string{"body.grants[0]"}},
		{"a grant that does not compile", body(object{"grants": []any{"guest:{claims.}"}}), hub.Invalid, []string{"body.grants[0]"}},
		{"a condition that does not compile", body(object{"grants": []any{object{"pattern": "guest:x", "when": "claims.a =="}}}), hub.Invalid, []string{"body.grants[0].when"}},
		{"a grant that overlaps", body(object{"grants": []any{"guest:x", "user:7"}}), hub.GrantsOverlap, []string{"body.grants[1]"}},
		{"a pattern that overlaps", body(object{"grants": []any{"user:*"}}), hub.GrantsOverlap, []string{"body.grants[0]"}},
		{"jwks_uri", body(object{"jwks_uri": "https://keys.example.com"}), hub.ScopeMissing, nil},
		{"internal", body(object{"internal": true}), hub.ScopeMissing, nil},
		{"short session", body(object{"session_seconds": 1}), hub.Invalid, []string{"body.session_seconds"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			for _, ask := range []struct{ method, path string }{{"POST", issuers}, {"PUT", issuers + "/second"}} {
				if test.name == "name taken" && ask.method == "PUT" {
					continue
				}
				r := w.refused(t, test.code, ask.method, ask.path, w.acme, test.body)
				if test.locations == nil {
					continue
				}
				// A grant of neither form is told with the places of both.
				if diff := cmp.Diff(test.locations, r.locations()); diff != "" {
					t.Errorf("%s: %s", ask.method, diff)
				}
			}
		})
	}
}

func TestIssuers_SharedChannelsAndScopes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, http.StatusCreated, "POST", issuers, w.acme, login())
	second := login(object{"name": "second", "grants": []any{"user:7"}, "shares_channels": true})
	w.must(t, http.StatusCreated, "POST", issuers, w.acme, second)
	w.refused(t, hub.GrantsOverlap, "PATCH", issuers+"/login", w.acme, object{"grants": []any{"user:{sub}", "more:{sub}"}})
	for _, scopes := range [][]hub.Scope{{hub.ConfigWrite}, {hub.MessagesRead}, {hub.ConfigRead}} {
		w.refused(t, hub.ScopeMissing, "POST", issuers, w.key(t, "acme", scopes...), second)
		w.refused(t, hub.ScopeMissing, "PATCH", issuers+"/login", w.key(t, "acme", scopes...), object{})
	}
	w.must(t, http.StatusOK, "PATCH", issuers+"/login", w.key(t, "acme", hub.ConfigWrite, hub.MessagesRead), object{"metadata": object{"a": "b"}})
}

func TestIssuers_OfAnOperator(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, http.StatusCreated, "POST", issuers, w.operator, login(object{"jwks_uri": "https://keys.example.com/jwks", "internal": true}))
	const one = issuers + "/login"
	for name, change := range map[string]object{
		"issuer":   {"issuer": "https://elsewhere.example.com"},
		"jwks_uri": {"jwks_uri": "https://elsewhere.example.com"},
		"internal": {"internal": false},
	} {
		r := w.refused(t, hub.ScopeMissing, "PATCH", one, w.acme, change)
		if r.status != http.StatusForbidden {
			t.Errorf("%s: %d", name, r.status)
		}
	}
	w.refused(t, hub.ScopeMissing, "PUT", one, w.acme, login(object{"issuer": "https://elsewhere.example.com"}))
	got := w.must(t, http.StatusOK, "PUT", one, w.acme, login(object{"metadata": object{"a": "b"}}))
	if !yes(got.body["internal"]) || got.body["jwks_uri"] != "https://keys.example.com/jwks" {
		t.Errorf("what is the operator's: %s", got.raw)
	}
	got = w.must(t, http.StatusOK, "PATCH", one, w.operator, object{"internal": nil, "jwks_uri": nil, "issuer": "https://moved.example.com"})
	if !no(got.body["internal"]) || got.body["jwks_uri"] != nil {
		t.Errorf("taken away: %s", got.raw)
	}
	w.must(t, http.StatusOK, "PATCH", one, w.acme, object{"issuer": "https://again.example.com"})
	w.refused(t, hub.Invalid, "PATCH", one, w.operator, object{"jwks_uri": "http://keys.example.com"})
}

func TestIssuers_Limit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, http.StatusOK, "PATCH", "/v1/tenants/acme", w.operator, object{"limits": object{"issuers": 1}})
	w.must(t, http.StatusCreated, "POST", issuers, w.acme, login())
	if r := w.refused(t, hub.LimitExceeded, "POST", issuers, w.acme, login(object{"name": "two", "grants": []any{"two:x"}})); r.body["limit"] != "issuers" {
		t.Errorf("%s", r.raw)
	}
}

func TestIssuers_Dev(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *api.Options) { o.Dev = true })
	w.must(t, http.StatusCreated, "POST", issuers, w.acme, login(object{"issuer": "http://127.0.0.1:8080/dev/issuer"}))
	w.refused(t, hub.Invalid, "POST", issuers, w.acme, login(object{"issuer": "ftp://127.0.0.1"}))
}

// oidcServer is a real issuer with one key.
type oidcServer struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func newOIDCServer(t *testing.T) *oidcServer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s := &oidcServer{key: key}
	mux := http.NewServeMux()
	answer := func(w http.ResponseWriter, document any) { _ = json.NewEncoder(w).Encode(document) }
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, object{"issuer": s.URL, "jwks_uri": s.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}})
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *oidcServer) token(t *testing.T, claims object) string {
	t.Helper()
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: s.key, KeyID: "k"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := signed.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

func TestIssuers_Check(t *testing.T) {
	t.Parallel()
	s := newOIDCServer(t)
	client, err := egress.NewClient(egress.Options{Allow: []string{s.Listener.Addr().String()}, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	keys := egress.NewKeys(egress.KeysOptions{Client: client})
	t.Cleanup(func() { _ = keys.Stop(t.Context()) })
	w := newWorld(t, func(o *api.Options) {
		o.Dev, o.Verifier = true, auth.NewVerifier(auth.VerifierOptions{Keys: keys})
	})
	row := w.must(t, http.StatusCreated, "POST", issuers, w.operator, login(object{
		"issuer": s.URL, "internal": true, "grants": []any{"user:{sub}", "org:{claims.org}", "bad:{claims.bad}"},
	})).text(t, "id")
	claims := object{"iss": s.URL, "sub": "7", "aud": "app", "org": "x", "bad": "a b", "exp": time.Now().Add(time.Hour).Unix(), "iat": time.Now().Unix()}
	check := func(changes object) reply {
		t.Helper()
		return w.must(t, http.StatusOK, "POST", issuers+"/check", w.acme, object{"token": s.token(t, changed(claims, changes))})
	}
	r := check(nil)
	if !yes(r.body["ok"]) || r.body["issuer"] != row || r.body["subject"] != "7" || r.body["expires_at"] == nil || len(r.body["failures"].([]any)) != 1 ||
		cmp.Diff([]any{"user:7", "org:x"}, r.body["channels"]) != "" {
		t.Errorf("good: %s", r.raw)
	}
	for name, changes := range map[string]object{"expired": {"exp": 1}, "another audience": {"aud": "x"}, "another issuer": {"iss": "https://x.example.com"}} {
		if r := check(changes); !no(r.body["ok"]) || r.body["reason"] == nil {
			t.Errorf("%s: %s", name, r.raw)
		}
	}
	if r := w.must(t, http.StatusOK, "POST", issuers+"/check", w.acme, object{"token": "nonsense-canary"}); !no(r.body["ok"]) || strings.Contains(string(r.raw), "canary") {
		t.Errorf("nonsense: %s", r.raw)
	}
	r = w.must(t, http.StatusOK, "POST", "/v1/tenants/rival/issuers/check", w.rival, object{"token": s.token(t, claims)})
	if !no(r.body["ok"]) {
		t.Errorf("another tenant trusts it: %s", r.raw)
	}
}
