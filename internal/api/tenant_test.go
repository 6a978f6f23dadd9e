package api_test

import (
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func TestTenants(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.must(t, http.StatusCreated, "POST", "/v1/tenants", w.operator, object{
		"slug": "new-one", "name": "New One", "limits": object{"routes": 3}, "retention_days": 7, "metadata": object{"plan": "gold"},
	})
	id := made.text(t, "id")
	for _, ref := range []string{id, "new-one"} {
		got := w.must(t, http.StatusOK, "GET", "/v1/tenants/"+ref, w.operator, nil)
		if diff := cmp.Diff(made.body, got.body); diff != "" || got.header.Get("ETag") != made.header.Get("ETag") {
			t.Errorf("%s: %s", ref, diff)
		}
	}
	if diff := cmp.Diff([]string{"acme", "rival", "new-one"}, w.must(t, http.StatusOK, "GET", "/v1/tenants", w.operator, nil).names(t, "slug")); diff != "" {
		t.Error(diff)
	}
	got := w.must(t, http.StatusOK, "PATCH", "/v1/tenants/new-one", w.operator, object{
		"name": "Renamed", "limits": object{"endpoints": 5, "routes": nil}, "retention_days": nil, "metadata": object{"seats": "4"},
	})
	want := made.body
	want["name"], want["limits"], want["metadata"] = "Renamed", object{"endpoints": 5.0}, object{"plan": "gold", "seats": "4"}
	delete(want, "retention_days")
	want["updated_at"] = got.body["updated_at"]
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Error(diff)
	}
	w.must(t, http.StatusNoContent, "DELETE", "/v1/tenants/new-one", w.operator, nil)
	w.refused(t, hub.NotFound, "GET", "/v1/tenants/new-one", w.operator, nil)
	w.refused(t, hub.NotFound, "DELETE", "/v1/tenants/"+id, w.operator, nil)
	actions := storetest.Values[string](t, w.db, `SELECT action FROM tributary.audit WHERE tenant_id = $1::uuid ORDER BY id`, id[len("ten_"):])
	if diff := cmp.Diff([]string{"tenant.create", "tenant.update", "tenant.delete"}, actions); diff != "" {
		t.Error(diff)
	}
}

func TestTenants_Refused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tests := []struct {
		name, method, path string
		key                string
		body               any
		code               hub.Code
		locations          []string
	}{
		{"a tenant's key lists", "GET", "/v1/tenants", w.acme, nil, hub.ScopeMissing, nil},
		{"a tenant's key creates", "POST", "/v1/tenants", w.acme, object{"slug": "x", "name": "x"}, hub.ScopeMissing, nil},
		{"a tenant's key reads its own", "GET", "/v1/tenants/acme", w.acme, nil, hub.ScopeMissing, nil},
		{"a tenant's key raises its own limits", "PATCH", "/v1/tenants/acme", w.acme, object{"limits": object{}}, hub.ScopeMissing, nil},
		{"a tenant's key deletes another", "DELETE", "/v1/tenants/rival", w.acme, nil, hub.NotFound, nil},
		{"an operator without the scope", "POST", "/v1/tenants", w.operatorKey(t, hub.TenantsRead), object{"slug": "x", "name": "x"}, hub.ScopeMissing, nil},
		{"slug taken", "POST", "/v1/tenants", w.operator, object{"slug": "acme", "name": "x"}, hub.Conflict, nil},
		{"slug in capitals", "POST", "/v1/tenants", w.operator, object{"slug": "Acme", "name": "x"}, hub.Invalid, []string{"body.slug"}},
		{"slug and state are wrong", "POST", "/v1/tenants", w.operator, object{"slug": "1", "name": "x", "state": "gone"}, hub.Invalid, []string{"body.slug", "body.state"}},
		{"retention beyond the hub's", "PATCH", "/v1/tenants/acme", w.operator, object{"retention_days": 31}, hub.Invalid, []string{"body.retention_days"}},
		{"limit below nothing", "PATCH", "/v1/tenants/acme", w.operator, object{"limits": object{"routes": -1}}, hub.Invalid, []string{"body.limits.routes"}},
		{"unknown limit", "PATCH", "/v1/tenants/acme", w.operator, object{"limits": object{"rout": 1}}, hub.Invalid, []string{"body.limits.rout"}},
		{"slug changed", "PATCH", "/v1/tenants/acme", w.operator, object{"slug": "other"}, hub.Invalid, []string{"body.slug"}},
		{"name taken away", "PATCH", "/v1/tenants/acme", w.operator, object{"name": nil}, hub.Invalid, []string{"body.name"}},
		{"metadata of numbers", "PATCH", "/v1/tenants/acme", w.operator, object{"metadata": object{"a": 1}}, hub.Invalid, []string{"body.metadata.a"}},
		{"a name of two lines", "PATCH", "/v1/tenants/acme", w.operator, object{"name": "a\nb"}, hub.Invalid, []string{"body.name"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := w.refused(t, test.code, test.method, test.path, test.key, test.body)
			if diff := cmp.Diff(test.locations, r.locations()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const path = "/v1/tenants/acme/settings"
	got := w.must(t, http.StatusOK, "GET", path, w.acme, nil)
	want := object{
		"allowed_origins": []any{}, "same_site": "lax", "ticket_seconds": 60.0, "ticket_reuse": "session", "credential_seconds": 86400.0, "presence": []any{},
	}
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Error(diff)
	}
	got = w.must(t, http.StatusOK, "PATCH", path, w.acme, object{"allowed_origins": []string{"https://app.example.com", "http://localhost:3000"}, "presence": []string{"room:"}, "ticket_seconds": 30})
	want["allowed_origins"], want["presence"], want["ticket_seconds"] = []any{"https://app.example.com", "http://localhost:3000"}, []any{"room:"}, 30.0
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Error(diff)
	}
	got = w.must(t, http.StatusOK, "PATCH", path, w.acme, object{"allowed_origins": nil, "ticket_seconds": nil})
	want["allowed_origins"], want["ticket_seconds"] = []any{}, 60.0
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Error(diff)
	}
	for _, origin := range []string{"*", "null", "https://*.example.com", "https://app.example.com/", "https://App.example.com", "https://app.example.com:443", "app.example.com", "javascript:alert(1)", "https://u@app.example.com", "file:///x", "https://app.example.com:"} {
		r := w.refused(t, hub.Invalid, "PATCH", path, w.acme, object{"allowed_origins": []string{"https://ok.example.com", origin}})
		if diff := cmp.Diff([]string{"body.allowed_origins[1]"}, r.locations()); diff != "" {
			t.Errorf("%s: %s", origin, diff)
		}
	}
	w.refused(t, hub.Invalid, "PATCH", path, w.acme, object{"presence": []string{"hub:"}})
	w.refused(t, hub.Invalid, "PATCH", path, w.acme, object{"ticket_seconds": 601})
	w.refused(t, hub.ScopeMissing, "PATCH", path, w.key(t, "acme", hub.ConfigRead), object{})
	w.refused(t, hub.ScopeMissing, "GET", path, w.key(t, "acme", hub.EventsRead), nil)
}
