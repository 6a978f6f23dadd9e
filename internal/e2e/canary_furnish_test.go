package e2e_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/provider"
)

// make does what must be done before there is something to visit.
func (v *visitor) make(t *testing.T, id, path, key string, body object) object {
	t.Helper()
	status, answer := v.call(t, v.callNamed(id), path, key, encodedJSON(t, body))
	if status != http.StatusCreated {
		t.Fatalf("%s: %d %v", id, status, answer)
	}
	return answer
}

// furnish makes two tenants, and one object of each kind.
func (v *visitor) furnish(t *testing.T) {
	t.Helper()
	scopes := []any{"config:read", "config:write", "events:read", "events:raw", "events:replay", "messages:read", "messages:publish", "tickets:create", "keys:write"}
	const base = "/v1/tenants/acme"
	keys := map[string]object{}
	for _, tenant := range []string{"acme", "rival"} {
		v.make(t, "createTenant", "/v1/tenants", v.operator, object{"slug": tenant, "name": tenant})
		for _, name := range []string{"all", "spare", "revoked"} {
			keys[tenant+" "+name] = v.make(t, "createKey", "/v1/tenants/"+tenant+"/keys", v.operator, object{"name": name, "scopes": scopes})
		}
	}
	value := func(name string) string { return keys[name]["key"].(string) }
	v.key, v.rival, v.revoked = value("acme all"), value("rival all"), value("acme revoked")
	if status, answer := v.call(t, v.callNamed("revokeKey"), base+"/keys/"+keys["acme revoked"]["id"].(string), v.key, ""); status != http.StatusNoContent {
		t.Fatalf("revoke a key: %d %v", status, answer)
	}
	v.stripe = v.secret(t, "Stripe's secret", "whsec_"+canary.Text())
	newEndpoint := func(name string) (object, string) {
		made := v.make(t, "createEndpoint", base+"/endpoints", v.key, object{"name": name, "provider": "stripe", "secret": v.stripe})
		_, token, _ := strings.Cut(made["url"].(string), "/in/")
		return made, token
	}
	endpoint, token := newEndpoint("first")
	_, v.token = newEndpoint("steady")
	route := v.make(t, "createRoute", base+"/routes", v.key, object{"name": "first", "match": "true", "channels": []any{"first:{event.provider}"}, "data": "event.body"})
	issuer := v.make(t, "createIssuer", base+"/issuers", v.operator, object{
		"name": "first", "issuer": v.issuer.URL, "audiences": []any{"hub"}, "grants": []any{"first:*"}, "internal": true,
	})
	at := base + "/endpoints/" + endpoint["id"].(string)
	secret := v.make(t, "addSecret", at+"/secrets", v.key, object{"secret": v.secret(t, "a spare secret", "whsec_"+canary.Text())})
	v.ids = map[string]string{
		"tenant": "acme", "provider": "stripe", "endpoint": endpoint["id"].(string), "secret": secret["id"].(string), "issuer": issuer["id"].(string),
		"route": route["id"].(string), "key": keys["acme spare"]["id"].(string),
	}
	v.sendTo(t, stripeProvider(t), "/in/"+token, v.stripe)
	for name, list := range map[string]documentedCall{"rejection": v.callNamed("listRejections"), "event": v.callNamed("listEvents")} {
		waitUntil(t, func() bool {
			_, answer := v.call(t, list, strings.NewReplacer("{tenant}", "acme", "{endpoint}", endpoint["id"].(string)).Replace(list.path), v.key, "")
			items, _ := answer["items"].([]any)
			if len(items) > 0 {
				v.ids[name] = items[0].(object)["id"].(string)
			}
			return len(items) > 0
		})
	}
}

func stripeProvider(t *testing.T) *provider.Provider {
	t.Helper()
	p, ok := provider.Get("stripe")
	if !ok {
		t.Fatal("no stripe")
	}
	return p
}

// waitWorked waits until every webhook was worked, so that what comes of it is stored, a route's failure too.
func (v *visitor) waitWorked(t *testing.T) {
	t.Helper()
	waitUntil(t, func() bool {
		left := 0
		v.sql(t, `SELECT 1`, func(conn *pgx.Conn) {
			left = count(t, conn, `SELECT count(*) FROM tributary_river.river_job WHERE kind = 'route_event' AND state IN ('available', 'running', 'retryable', 'scheduled')`) +
				count(t, conn, `SELECT CASE WHEN sum(failures) > 0 THEN 0 ELSE 1 END FROM tributary.routes`) // they are counted every few seconds
		})
		return left == 0
	})
}
