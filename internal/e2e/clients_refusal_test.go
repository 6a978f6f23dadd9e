package e2e_test

import (
	"fmt"
	"net/http"
	"testing"
)

// refusalCases are about streams that a client does not get. What passes lets it come again; anything else is final.
func refusalCases() []clientCase {
	final := []string{"error, closed"}
	refused := func(name, query string, prepare func(*testing.T, *scene)) clientCase {
		return clientCase{name: name, query: query, prepare: prepare, want: final, asks: []string{name[:3]}}
	}
	by := func(credential string) func(*testing.T, *scene) {
		return func(_ *testing.T, s *scene) { s.credential = func(int) string { return credential } }
	}
	instead := func(name, status string, h http.HandlerFunc) clientCase {
		return clientCase{name: name, way: answered(h), want: final, asks: []string{status}}
	}
	forbidden := refused("403: a channel that is not granted", "&channel=user:bob", alice)
	forbidden.demo = true
	named := func(c clientCase) clientCase {
		c.name, c.way, c.want = c.name+", to one who reads statuses", asking("Tributary-Client", "test"), final
		c.asks = []string{c.name[:3]}
		return c
	}
	hundred := ""
	for i := range 100 {
		hundred += fmt.Sprintf("&channel=c%d", i)
	}
	limited := clientCase{
		name: "429: too many channels", query: hundred, way: shortened(),
		want: []string{"open", `hub.bye - {"reason":"limit"}`, "error, comes again", "open", `hub.bye - {"reason":"limit"}`, "error, comes again"}, asks: []string{"200", "200"},
	}
	unavailable := clientCase{
		name: "503: an issuer that does not answer", prepare: deafIssuer,
		want: []string{"open", `hub.bye - {"reason":"unavailable"}`, "error, comes again", "open", "hub.ready #0", "hub.live #0"}, asks: []string{"200", "200"},
	}
	return []clientCase{
		refused("401: no credential", "", by("")),
		refused("401: a credential that is none", "", by("nonsense")),
		forbidden,
		refused("403: a suspended tenant", "", func(t *testing.T, s *scene) {
			t.Helper()
			s.api(t, http.MethodPatch, "/v1/tenants/"+s.tenant, map[string]any{"state": "suspended"}, http.StatusOK)
		}),
		refused("404: no such tenant", "", func(_ *testing.T, s *scene) { s.tenant = "nobody" }),
		refused("400: half a query", "&last=%zz", nil),
		refused("422: last that is no number", "&last=all", nil),
		limited,
		named(limited),
		unavailable,
		named(unavailable),
		instead("204 is the end", "204", answer(http.StatusNoContent, "", "")),
		instead("502 of a proxy", "502", answer(http.StatusBadGateway, "text/html", "<h1>Bad Gateway</h1>")),
		instead("503 of a proxy", "503", answer(http.StatusServiceUnavailable, "text/html", "<h1>Away</h1>")),
		instead("a page to log in", "200", answer(http.StatusOK, "text/html", "<form></form>")),
		{
			name: "a redirect", log: []entry{{typ: "n", data: `1`}}, query: "&since=earliest",
			way: answered(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, r.URL.String()+"&again=1", http.StatusTemporaryRedirect)
			}),
			want: opened("#0", "n #1 1", "hub.live #1"), asks: []string{"307", "200"},
		},
	}
}

// alice is a user of the demo tenant.
func alice(t *testing.T, s *scene) {
	t.Helper()
	token := s.bench.hub.token(t, "alice", nil)
	s.credential = func(int) string { return token }
}

// deafIssuer makes an issuer whose keys cannot be fetched. The first connection comes with a token of it, which may be
// good or not, and the next with another credential.
func deafIssuer(t *testing.T, s *scene) {
	t.Helper()
	issuer := newIssuer(t)
	token := issuer.token(t, "alice")
	s.exec(t, `INSERT INTO tributary.issuers (tenant_id, id, name, issuer, audiences, authorized_parties, grants)
		SELECT id, gen_random_uuid(), 'deaf', $2, '{app}', '{}', '[]' FROM tributary.tenants WHERE slug = $1`, s.tenant, issuer.URL)
	s.api(t, http.MethodPatch, "/v1/tenants/"+s.tenant, map[string]any{"name": "Deaf"}, http.StatusOK) // the hub looks again
	s.credential = func(n int) string {
		if n == 0 {
			return token
		}
		return s.bench.hub.dev.OperatorKey
	}
}

// shortened is a way that takes the minutes off which the hub wants a client to wait.
func shortened() way {
	return edited("retry: ", "retry: 50\nx: ")
}
