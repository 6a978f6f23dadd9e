package api_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/storetest"
)

// contents is a hash of each table of the hub.
func (w *world) contents(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, table := range storetest.Values[string](t, w.db, `
		SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'tributary'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition`) {
		all[table] = storetest.Value[string](t, w.db, `SELECT coalesce(md5(string_agg(t::text, '|' ORDER BY t::text)), '') FROM tributary.`+table+` t`)
	}
	return all
}

// TestTenancy_Walk asks every operation of the document for another tenant's objects, by that tenant's path and
// with what would be good bodies: all answer 404, and nothing changes.
func TestTenancy_Walk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	victim := w.furnish(t, "acme")
	before := w.contents(t)
	walked := 0
	for _, op := range operations(t, w.served(t)) {
		if !strings.HasPrefix(op.path, "/v1/tenants/{tenant}") {
			continue
		}
		walked++
		for _, ref := range []string{"acme", w.ids["acme"]} {
			path := strings.ReplaceAll(op.path, "{tenant}", ref)
			for name, id := range victim.ids {
				path = strings.ReplaceAll(path, "{"+name+"}", id)
			}
			if strings.Contains(path, "{") {
				t.Errorf("%s: furnish has nothing for it", path)
			}
			r := w.send(t, op.method, path, w.rival, victim.bodies[op.body["operationId"].(string)], "Idempotency-Key", "walk")
			if r.status != 404 || r.body["code"] != "not_found" {
				t.Errorf("%s %s: %d %s", op.method, path, r.status, r.raw)
			}
			for name, id := range victim.ids {
				if strings.Contains(string(r.raw), id) {
					t.Errorf("%s %s says the %s: %s", op.method, path, name, r.raw)
				}
			}
		}
	}
	if walked < 44 {
		t.Errorf("walked %d operations", walked)
	}
	if diff := cmp.Diff(before, w.contents(t)); diff != "" {
		t.Errorf("something changed: %s", diff)
	}
}

// TestTenancy_ForeignObjects asks every operation that names an object for another tenant's, by the caller's own
// path: what would be done for the owner is 404 for anybody else.
func TestTenancy_ForeignObjects(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	victim := w.furnish(t, "acme")
	own := w.furnish(t, "rival")
	before := w.contents(t)
	walked := 0
	for _, op := range operations(t, w.served(t)) {
		id := op.body["operationId"].(string)
		rest, ok := strings.CutPrefix(op.path, "/v1/tenants/{tenant}/")
		if !ok || !strings.Contains(rest, "{") {
			continue
		}
		walked++
		for _, foreign := range slices.Sorted(maps.Keys(victim.ids)) { // one object of the path is another's, the rest the caller's own
			if !strings.Contains(rest, "{"+foreign+"}") {
				continue
			}
			path := strings.ReplaceAll(op.path, "{tenant}", "rival")
			path = strings.ReplaceAll(path, "{"+foreign+"}", victim.ids[foreign])
			for name, id := range own.ids {
				path = strings.ReplaceAll(path, "{"+name+"}", id)
			}
			r := w.send(t, op.method, path, w.rival, own.bodies[id])
			if r.status != 404 || r.body["code"] != "not_found" {
				t.Errorf("%s %s with another's %s: %d %s", op.method, op.path, foreign, r.status, r.raw)
			}
		}
	}
	if walked < 26 {
		t.Errorf("walked %d operations", walked)
	}
	if diff := cmp.Diff(before, w.contents(t)); diff != "" {
		t.Errorf("something changed: %s", diff)
	}
}

// furniture is one object of each kind of a tenant, by the name of its parameter in paths, and a body for each
// operation that its owner could send.
type furniture struct {
	ids    map[string]string
	bodies map[string]any
}

func (w *world) furnish(t *testing.T, slug string) furniture {
	t.Helper()
	base := "/v1/tenants/" + slug
	key := w.must(t, 201, "POST", base+"/keys", w.operator, object{"name": "furniture", "scopes": []string{"config:read"}})
	endpoint := w.must(t, 201, "POST", base+"/endpoints", w.operator, object{"name": slug + "-endpoint", "provider": "stripe"}).text(t, "id")
	secret := w.must(t, 201, "POST", base+"/endpoints/"+endpoint+"/secrets", w.operator, object{"secret": "whsec_x"})
	return furniture{
		ids: map[string]string{
			"key": key.text(t, "id"), "endpoint": endpoint, "secret": secret.text(t, "id"),
			"rejection": w.rejectIn(t, slug, endpoint, "whsec_x", "{}", time.Now()),
			"issuer":    w.must(t, 201, "POST", base+"/issuers", w.operator, login(object{"name": slug + "-issuer"})).text(t, "id"),
			"event":     w.event(t, slug, "{}").ID.String(),
			"route":     w.must(t, 201, "POST", base+"/routes", w.operator, payments(object{"name": slug + "-route"})).text(t, "id"),
		},
		bodies: map[string]any{
			"updateTenant":   object{"name": "stolen"},
			"updateSettings": object{"ticket_seconds": 1},
			"createKey":      object{"name": "stolen", "scopes": []string{"config:read"}},
			"createEndpoint": object{"name": "stolen", "provider": "stripe"},
			"putEndpoint":    object{"name": "stolen", "provider": "stripe"},
			"updateEndpoint": object{"state": "disabled"},
			"verifyWebhook":  object{"headers": object{}},
			"addSecret":      object{"secret": "whsec_stolen"},
			"updateSecret":   object{"state": "candidate"},
			"createIssuer":   login(object{"name": "stolen", "grants": []any{"stolen:x"}}),
			"putIssuer":      login(object{"name": "stolen"}),
			"updateIssuer":   object{"session_seconds": 60},
			"checkIssuers":   object{"token": "x"},
			"createRoute":    payments(object{"name": "stolen"}),
			"putRoute":       payments(object{"name": "stolen"}),
			"updateRoute":    object{"state": "disabled"},
			"testRoute":      object{"route": payments(), "event": object{"body": "{}"}},
		},
	}
}
