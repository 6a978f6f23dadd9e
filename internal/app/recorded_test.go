package app_test

import (
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A recorded token is one that the page on issuers shows, and what it opens there.
type recorded struct {
	header, claims map[string]any
	channels       []any
}

// A shown row is one of the page's, with its tokens.
type shown struct {
	product string // the section
	row     map[string]any
	tokens  []recorded
}

// shownRows reads the page: the rows that it shows are those that are tested.
func shownRows(t *testing.T) []shown {
	t.Helper()
	page, err := os.ReadFile("../docs/pages/issuers.md")
	must(t, err)
	var all []shown
	product := ""
	for _, match := range regexp.MustCompile("(?ms)^## ([^\n]+)$|^```([^\n]*)\n(.*?)^```$").FindAllStringSubmatch(string(page), -1) {
		heading, info, text := match[1], match[2], match[3]
		decode := func(into any) {
			d := json.NewDecoder(strings.NewReader(text))
			d.UseNumber()
			must(t, d.Decode(into))
		}
		switch {
		case heading != "":
			product = heading
		case info == "json issuer":
			row := shown{product: product}
			decode(&row.row)
			all = append(all, row)
		case info == "json token":
			var parts struct{ Header, Claims map[string]any }
			decode(&parts)
			row := &all[len(all)-1]
			row.tokens = append(row.tokens, recorded{header: parts.Header, claims: parts.Claims})
		case info == "json channels":
			tokens := all[len(all)-1].tokens
			decode(&tokens[len(tokens)-1].channels)
		default:
			t.Fatalf("the page has a block of %q, which nobody tries", info)
		}
	}
	return all
}

// moved is the token's claims as issued a moment ago by the issuer at that address.
func (r recorded) moved(t *testing.T, issuer string, now time.Time) map[string]any {
	t.Helper()
	claims := maps.Clone(r.claims)
	claims["iss"] = issuer
	at := func(name string) int64 {
		number, _ := r.claims[name].(json.Number)
		seconds, err := number.Int64()
		must(t, err)
		return seconds
	}
	later := now.Unix() - 2 - at("iat")
	for _, name := range []string{"iat", "exp", "nbf", "auth_time"} {
		if _, ok := claims[name]; ok {
			claims[name] = at(name) + later
		}
	}
	return claims
}

// Default tokens of each product, signed by keys of the test's with the algorithms that the product uses, open by the
// row that the page shows just the channels that the page says, and the same row takes none of another application.
func TestStream_TakesRecordedTokens(t *testing.T) {
	t.Parallel()
	d := newDoor(t)
	rsa := rsaSigner(t, "", "RS256")
	ec := ecSigner(t, "")
	tokens := map[string]int{}
	tenants := map[string]hub.TenantID{} // one a product: two rows of one product live beside each other
	for _, shown := range shownRows(t) {
		tenant, ok := tenants[shown.product]
		if !ok {
			tenant = d.db.Tenant(t)
			tenants[shown.product] = tenant
		}
		original, _ := shown.row["issuer"].(string)
		issuer := d.issuers.at(original)
		shown.row["issuer"] = issuer
		signers := make([]signer, len(shown.tokens))
		for i, token := range shown.tokens {
			signers[i] = rsa
			if token.header["alg"] == "ES256" {
				signers[i] = ec
			}
			signers[i].id, _ = token.header["kid"].(string)
			key := signers[i].public()
			if shown.product == "Entra" {
				key.Algorithm = "" // its keys do not say
			}
			d.issuers.publish(issuer, key)
		}
		if shown.product == "Keycloak" { // which publishes its key for encryption beside
			d.issuers.publish(issuer, jose.JSONWebKey{Key: rsa.key.Public(), KeyID: "enc", Algorithm: "RSA-OAEP", Use: "enc"})
		}
		d.trust(t, tenant, maps.Clone(shown.row))
		for i, token := range shown.tokens {
			tokens[shown.product]++
			claims := token.moved(t, issuer, d.clock.read())
			sign := func(t *testing.T, changes map[string]any) string {
				t.Helper()
				changed := maps.Clone(claims)
				maps.Copy(changed, changes)
				payload, err := json.Marshal(changed)
				must(t, err)
				header := maps.Clone(token.header)
				delete(header, "alg") // the signer puts these
				delete(header, "kid")
				return signers[i].sign(t, header, payload)
			}
			if alg, _ := token.header["alg"].(string); alg != signers[i].alg {
				t.Fatalf("%s signs with %s", shown.product, alg)
			}
			t.Run(shown.product, func(t *testing.T) {
				t.Parallel()
				opened, err := d.ask(t.Context(), tenant.String(), sign(t, nil))
				must(t, err)
				if !opened.accepted() {
					t.Fatalf("%d %v", opened.status, opened.body)
				}
				if diff := cmp.Diff(token.channels, opened.body["channels"]); diff != "" {
					t.Errorf("channels (-page +stream):\n%s", diff)
				}
				ends, _ := claims["exp"].(int64)
				if seconds, ok := shown.row["session_seconds"].(json.Number); ok {
					session, err := seconds.Int64()
					must(t, err)
					issued, _ := claims["iat"].(int64)
					ends = max(ends, issued+session)
				}
				if got := time.Unix(ends, 0).UTC().Format(time.RFC3339); opened.body["expires_at"] != got {
					t.Errorf("the stream ends at %v, want %s", opened.body["expires_at"], got)
				}
				verdict := d.post(t, "/v1/tenants/"+tenant.String()+"/issuers/check", map[string]any{"token": sign(t, nil)})
				want := map[string]any{"ok": true, "subject": token.claims["sub"], "channels": token.channels, "failures": []any{}, "expires_at": opened.body["expires_at"], "issuer": verdict["issuer"]}
				if diff := cmp.Diff(want, verdict); diff != "" {
					t.Errorf("check (-want +got):\n%s", diff)
				}
				d.refusesOthers(t, tenant, shown.row, claims, sign)
			})
		}
	}
	want := map[string]int{"Clerk": 2, "Auth0": 3, "Supabase": 1, "Keycloak": 2, "Cognito": 2, "Entra": 2, "Firebase": 2}
	if diff := cmp.Diff(want, tokens); diff != "" {
		t.Errorf("tokens by product: %s", diff)
	}
}

// refusesOthers changes each thing by which the row knows its tokens, one at a time.
func (d *door) refusesOthers(t *testing.T, tenant hub.TenantID, row, claims map[string]any, sign func(t *testing.T, changes map[string]any) string) {
	t.Helper()
	const other = "00000000-0000-4000-8000-0000000000dd"
	application := map[string]any{}
	for _, name := range []string{"aud", "azp", "client_id", "appid"} {
		if _, ok := claims[name]; ok {
			application[name] = other
		}
	}
	issued, _ := claims["iat"].(int64)
	issuer, _ := claims["iss"].(string)
	tries := map[string]map[string]any{
		"of another application": application,
		"expired":                {"exp": issued},
		"of another issuer":      {"iss": strings.TrimSuffix(issuer, "/") + "-2"},
	}
	required, _ := row["required_claims"].(map[string]any)
	for _, name := range slices.Sorted(maps.Keys(required)) {
		tries["another "+name] = map[string]any{name: "other"}
		tries["no "+name] = map[string]any{name: nil}
	}
	for what, changes := range tries {
		opened, err := d.ask(t.Context(), tenant.String(), sign(t, changes))
		must(t, err)
		if opened.status != 401 {
			t.Errorf("%s: %d %v", what, opened.status, opened.body)
		}
	}
}
