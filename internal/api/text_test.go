package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
)

// TestText sends what Postgres does not take as text. It is the sender's fault, wherever it stands.
func TestText(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, 201, "POST", issuers, w.acme, login())
	const base, canary = "/v1/tenants/acme", "s3cr3t-canary"
	nul := canary + "\x00"
	rules := func(claims object) object {
		return login(object{"name": "x", "grants": []any{"x:{sub}"}, "required_claims": claims})
	}
	tests := []struct {
		name, method, path string
		body               any
		code               hub.Code
		locations          []string
	}{
		{"audience", "POST", issuers, login(object{"audiences": []string{nul}}), hub.Malformed, nil},
		{"authorized party", "POST", issuers, login(object{"authorized_parties": []string{nul}}), hub.Malformed, nil},
		{"required claim", "POST", issuers, rules(object{"a": nul}), hub.Malformed, nil},
		{"required claim, within", "POST", issuers, rules(object{"a": []any{object{"b": nul}}}), hub.Malformed, nil},
		{"required claim's name", "POST", issuers, rules(object{nul: "a"}), hub.Malformed, nil},
		{"grant's condition", "PATCH", issuers + "/login", object{"grants": []any{object{"pattern": "x:{sub}", "when": "claims.a == '" + nul + "'"}}}, hub.Malformed, nil},
		{"route", "POST", base + "/routes", payments(object{"match": "event.type == '" + nul + "'"}), hub.Malformed, nil},
		{"key's name", "POST", base + "/keys", object{"name": nul, "scopes": []string{"config:read"}}, hub.Malformed, nil},
		{"not UTF-8", "POST", base + "/keys", `{"name":"` + canary + "\xff" + `","scopes":["config:read"]}`, hub.Malformed, nil},
		{"half of a pair", "POST", base + "/keys", `{"name":"` + canary + `\ud83d","scopes":["config:read"]}`, hub.Malformed, nil},
		{"half of a pair, the second", "POST", base + "/keys", `{"name":"\uDE00` + canary + `","scopes":["config:read"]}`, hub.Malformed, nil},
		{"half of a pair before another", "POST", base + "/keys", `{"name":"\ud83d\ud83d\ude00","scopes":["config:read"]}`, hub.Malformed, nil},
		{"half of a pair before something else", "POST", base + "/keys", `{"name":"\ud83d\n","scopes":["config:read"]}`, hub.Malformed, nil},
		{"half of a pair in what is pasted", "POST", base + "/routes/test", `{"route":"x","event":{"body":"\ud83d"}}`, hub.Malformed, nil},
		{"a number that is not kept", "POST", issuers, rules(object{"a": []any{object{"b": 9007199254740993}}}), hub.Invalid, []string{"body.required_claims"}},
		{"no issuer", "GET", issuers + "/%00", nil, hub.Malformed, nil},
		{"no issuer either", "PATCH", issuers + "/%ff", object{}, hub.Malformed, nil},
		{"no endpoint", "GET", base + "/endpoints/%00", nil, hub.Malformed, nil},
		{"no route", "DELETE", base + "/routes/%ff", nil, hub.Malformed, nil},
		{"no event", "GET", events + "/%00", nil, hub.Malformed, nil},
		{"what is no name", "GET", issuers + "/%20", nil, hub.NotFound, nil},
		{"no tenant", "GET", "/v1/tenants/%00/events", nil, hub.NotFound, nil},
		{"no tenant either", "GET", "/v1/tenants/%ff/events", nil, hub.NotFound, nil},
		{"name to put", "PUT", issuers + "/%00", login(), hub.Malformed, nil},
		{"query", "GET", events + "?type=" + canary + "%00", nil, hub.Malformed, nil},
		{"query not UTF-8", "GET", events + "?type=" + canary + "%ff", nil, hub.Malformed, nil},
		{"query's name", "GET", events + "?" + canary + "%00=x", nil, hub.Malformed, nil},
		{"query cut short", "GET", events + "?type=" + canary + "%f", nil, hub.Malformed, nil},
		{"query of an operation without any", "GET", base + "/settings?x=%00", nil, hub.Malformed, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := w.refused(t, test.code, test.method, test.path, w.acme, test.body)
			if diff := cmp.Diff(test.locations, r.locations()); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(string(r.raw), canary) {
				t.Errorf("what was sent comes back: %s", r.raw)
			}
		})
	}
	// Where the body of a webhook is pasted, it may hold anything; and what only looks like a NUL is none.
	w.must(t, http.StatusOK, "POST", base+"/routes/test", w.acme, object{"route": payments(object{"match": "true", "channels": []string{"x"}}), "event": object{"body": "a\x00b"}})
	w.must(t, http.StatusCreated, "POST", base+"/keys", w.acme, object{"name": `a\u0000b`, "scopes": []string{"config:read"}})
	w.must(t, http.StatusCreated, "POST", base+"/keys", w.acme, `{"name":"\ud83d\ude00 \\ud83d","scopes":["config:read"]}`)
	w.must(t, http.StatusCreated, "POST", issuers, w.acme, rules(object{"a": 9007199254740991, "b": -1.5, "c": []any{true, nil}}))
}
