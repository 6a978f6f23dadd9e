package dev_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/dev"
)

// A foreign library, given nothing but the issuer's URL, verifies what the token endpoint gave; also after a restart
// at another address.
func TestIssuer_ForeignVerifier(t *testing.T) {
	t.Parallel()
	key, err := dev.NewIssuerKey()
	if err != nil {
		t.Fatal(err)
	}
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		i, err := dev.Issuer(server.URL+"/dev/issuer", key, time.Now)
		if err != nil {
			t.Errorf("issuer: %v", err)
			return
		}
		i.ServeHTTP(w, r)
	}))
	defer server.Close()

	status, answer := ask(t, server.URL, `{"sub":"alice","claims":{"customer":"cus_1","big":9007199254740993},"ttl":600}`, nil)
	if status != http.StatusOK {
		t.Fatalf("token endpoint: %d %v", status, answer)
	}
	if answer["token_type"] != "Bearer" || answer["expires_in"] != float64(600) {
		t.Errorf("answer: %v", answer)
	}
	provider, err := oidc.NewProvider(t.Context(), server.URL+"/dev/issuer")
	if err != nil {
		t.Fatalf("discovery: %v", err)
	}
	token, err := provider.Verifier(&oidc.Config{ClientID: "tributary-dev", SupportedSigningAlgs: []string{"ES256"}}).Verify(t.Context(), answer["access_token"].(string))
	if err != nil {
		t.Fatalf("verify: %v", err)
	}
	var claims struct {
		Customer string      `json:"customer"`
		Big      json.Number `json:"big"`
	}
	if err := token.Claims(&claims); err != nil {
		t.Fatal(err)
	}
	if token.Subject != "alice" || claims.Customer != "cus_1" || claims.Big != "9007199254740993" {
		t.Errorf("sub %q, claims %+v", token.Subject, claims)
	}
	if left := time.Until(token.Expiry); left < 590*time.Second || left > 600*time.Second {
		t.Errorf("expires in %s, want 600 s", left)
	}
}

func TestIssuer_Refusals(t *testing.T) {
	t.Parallel()
	server := serveIssuer(t)
	for _, tt := range []struct {
		name   string
		body   string
		header http.Header
		status int
		code   string
	}{
		{"no sub", `{}`, nil, 422, "invalid"},
		{"a sub too long", `{"sub":"` + strings.Repeat("a", 256) + `"}`, nil, 422, "invalid"},
		{"a claim of the issuer's", `{"sub":"a","claims":{"iss":"https://example.com"}}`, nil, 422, "invalid"},
		{"too long a life", `{"sub":"a","ttl":99999999}`, nil, 422, "invalid"},
		{"a ttl that overflows", `{"sub":"a","ttl":9223372036854775807}`, nil, 422, "invalid"},
		{"an unknown field", `{"sub":"a","scope":"x"}`, nil, 400, "malformed_request"},
		{"no JSON", `sub=a`, nil, 400, "malformed_request"},
		{"nothing", ``, nil, 400, "malformed_request"},
		{"two objects", `{"sub":"a"}{"sub":"b"}`, nil, 400, "malformed_request"},
		{"a body too large", `{"sub":"` + strings.Repeat("a", 70_000) + `"}`, nil, 413, "body_too_large"},
		{"a form", `sub=a`, http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}, 415, "unsupported_media_type"},
		{"a simple request", `{"sub":"a"}`, http.Header{"Content-Type": {"text/plain"}}, 415, "unsupported_media_type"},
		{"a page of the web", `{"sub":"a"}`, http.Header{"Origin": {"https://example.com"}, "Sec-Fetch-Site": {"cross-site"}}, 403, "origin_not_allowed"},
		{"a page that is called like this machine", `{"sub":"a"}`, http.Header{"Origin": {"http://localhost.example.com"}}, 403, "origin_not_allowed"},
		{"a page without an origin", `{"sub":"a"}`, http.Header{"Origin": {"null"}}, 403, "origin_not_allowed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			status, answer := ask(t, server, tt.body, tt.header)
			if status != tt.status || answer["code"] != tt.code {
				t.Errorf("%d %v, want %d %s", status, answer, tt.status, tt.code)
			}
		})
	}
}

func TestIssuer_ExpiredToken(t *testing.T) {
	t.Parallel()
	server := serveIssuer(t)
	status, answer := ask(t, server, `{"sub":"a","ttl":-60}`, nil)
	if status != http.StatusOK || answer["expires_in"] != float64(-60) {
		t.Errorf("%d %v, want a token that has expired", status, answer)
	}
}

// Only pages of this machine may read an answer.
func TestIssuer_CORS(t *testing.T) {
	t.Parallel()
	server := serveIssuer(t)
	for origin, allowed := range map[string]bool{
		"http://localhost:3000":      true,
		"http://127.0.0.1:8080":      true,
		"http://127.1.2.3":           true,
		"https://[::1]:5173":         true,
		"http://LOCALHOST:3000":      true,
		"https://example.com":        false,
		"http://localhost:3000/":     false,
		"http://a@localhost:3000":    false,
		"http://localhost.evil.test": false,
		"http://10.0.0.1":            false,
		"file://localhost":           false,
		"null":                       false,
		"":                           false,
	} {
		for _, asked := range []struct{ method, path string }{
			{"OPTIONS", "/token"}, {"GET", "/jwks"}, {"GET", "/.well-known/openid-configuration"},
		} {
			request, err := http.NewRequestWithContext(t.Context(), asked.method, server+"/dev/issuer"+asked.path, nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Origin", origin)
			response, err := http.DefaultClient.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			want := ""
			if allowed {
				want = origin
			}
			got := map[string]string{}
			for _, name := range []string{"Access-Control-Allow-Origin", "Vary", "Access-Control-Allow-Credentials"} {
				got[name] = response.Header.Get(name)
			}
			if diff := cmp.Diff(map[string]string{"Access-Control-Allow-Origin": want, "Vary": "Origin", "Access-Control-Allow-Credentials": ""}, got); diff != "" {
				t.Errorf("%s %s from %q (-want +got):\n%s", asked.method, asked.path, origin, diff)
			}
		}
	}
}

func TestIssuer_RefusesAnotherKey(t *testing.T) {
	t.Parallel()
	for name, key := range map[string]string{
		"nothing":          "",
		"no JWK":           "{}",
		"a public key":     `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"}`,
		"a symmetric one":  `{"kty":"oct","k":"c2VjcmV0"}`,
		"half a JSON file": `{"kty":"EC","d":"topsecret`,
	} {
		if _, err := dev.Issuer("http://localhost/dev/issuer", key, time.Now); err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func serveIssuer(t *testing.T) string {
	t.Helper()
	key, err := dev.NewIssuerKey()
	if err != nil {
		t.Fatal(err)
	}
	i, err := dev.Issuer("http://localhost:8080/dev/issuer", key, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(i)
	t.Cleanup(server.Close)
	return server.URL
}

// ask sends a body to the token endpoint, as JSON unless header says otherwise.
func ask(t *testing.T, server, body string, header http.Header) (status int, answer map[string]any) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server+"/dev/issuer/token", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/json")
	maps.Copy(request.Header, header)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatalf("%d with a body that is no JSON: %v", response.StatusCode, err)
	}
	return response.StatusCode, answer
}
