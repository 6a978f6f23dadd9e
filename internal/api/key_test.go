package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
)

const keys = "/v1/tenants/acme/keys"

func TestKeys(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.must(t, http.StatusCreated, "POST", keys, w.acme, object{"name": "deploy", "scopes": []string{"config:read"}, "metadata": object{"a": "b"}})
	value, id := made.text(t, "key"), made.text(t, "id")
	if !hub.IsKey(value) {
		t.Errorf("key %q", value)
	}
	me := w.must(t, http.StatusOK, "GET", "/v1/me", value, nil).body["key"].(object)
	if diff := cmp.Diff(object{"id": id, "name": "deploy", "scopes": []any{"config:read"}}, me); diff != "" {
		t.Error(diff)
	}
	got := w.must(t, http.StatusOK, "GET", keys+"/"+id, value, nil)
	delete(made.body, "key")
	if diff := cmp.Diff(made.body, got.body); diff != "" || got.header.Get("ETag") != made.header.Get("ETag") {
		t.Errorf("%s, %v", diff, got.header)
	}
	if list := w.must(t, http.StatusOK, "GET", keys, value, nil).names(t, "key"); cmp.Diff([]string{"", ""}, list) != "" {
		t.Errorf("the list shows values: %v", list)
	}

	second := w.must(t, http.StatusCreated, "POST", keys+"/"+id+"/rotate", w.acme, nil)
	w.must(t, http.StatusOK, "GET", "/v1/me", value, nil)
	me = w.must(t, http.StatusOK, "GET", "/v1/me", second.text(t, "key"), nil).body["key"].(object)
	if me["name"] != "deploy" || cmp.Diff([]any{"config:read"}, me["scopes"]) != "" {
		t.Errorf("rotated: %v", me)
	}

	w.must(t, http.StatusNoContent, "DELETE", keys+"/"+id, w.acme, nil)
	w.refused(t, hub.Unauthenticated, "GET", "/v1/me", value, nil)
	w.must(t, http.StatusOK, "GET", "/v1/me", second.text(t, "key"), nil)
	if got := w.must(t, http.StatusOK, "GET", keys+"/"+id, w.acme, nil); got.body["revoked_at"] == nil {
		t.Errorf("revoked: %s", got.raw)
	}
	w.must(t, http.StatusNoContent, "DELETE", keys+"/"+id, w.acme, nil)
	w.refused(t, hub.Conflict, "POST", keys+"/"+id+"/rotate", w.acme, nil)
	actions := storetest.Values[string](t, w.db, `SELECT action FROM tributary.audit WHERE object = $1 ORDER BY id`, id)
	if diff := cmp.Diff([]string{"key.create", "key.rotate", "key.revoke"}, actions); diff != "" {
		t.Error(diff)
	}
}

func TestKeys_NeverBeyondTheirMaker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	soon := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	maker := w.must(t, http.StatusCreated, "POST", keys, w.acme, object{"name": "maker", "scopes": []string{"keys:write", "config:read"}, "expires_at": soon}).text(t, "key")
	mightier := w.must(t, http.StatusCreated, "POST", keys, w.acme, object{"name": "mightier", "scopes": []string{"events:raw"}, "expires_at": soon}).text(t, "id")
	longer := w.must(t, http.StatusCreated, "POST", keys, w.acme, object{"name": "longer", "scopes": []string{"config:read"}}).text(t, "id")
	alike := w.must(t, http.StatusCreated, "POST", keys, maker, object{"name": "alike", "scopes": []string{"config:read"}, "expires_at": soon}).text(t, "id")

	tests := []struct {
		name, method, path string
		body               any
	}{
		{"make with another scope", "POST", keys, object{"name": "x", "scopes": []string{"config:read", "config:write"}, "expires_at": soon}},
		{"make one that lives longer", "POST", keys, object{"name": "x", "scopes": []string{"config:read"}, "expires_at": soon.Add(time.Second)}},
		{"make one that lives for ever", "POST", keys, object{"name": "x", "scopes": []string{"config:read"}}},
		{"rotate a mightier", "POST", keys + "/" + mightier + "/rotate", nil},
		{"rotate one that lives longer", "POST", keys + "/" + longer + "/rotate", nil},
		{"revoke a mightier", "DELETE", keys + "/" + mightier, nil},
		{"revoke one that lives longer", "DELETE", keys + "/" + longer, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w.refused(t, hub.ScopeMissing, test.method, test.path, maker, test.body)
		})
	}
	w.must(t, http.StatusCreated, "POST", keys+"/"+alike+"/rotate", maker, nil)
	w.must(t, http.StatusNoContent, "DELETE", keys+"/"+alike, maker, nil)
}

func TestKeys_Refused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.refused(t, hub.Invalid, "POST", keys, w.acme, object{"name": "x", "scopes": []string{"tenants:write"}})
	w.refused(t, hub.Invalid, "POST", keys, w.acme, object{"name": "x", "scopes": []string{"config:read"}, "expires_at": time.Now().Add(-time.Minute)})
	w.refused(t, hub.NotFound, "GET", keys+"/key_nonsense", w.acme, nil)
	w.refused(t, hub.ScopeMissing, "POST", keys, w.operatorKey(t, hub.KeysWrite), object{"name": "x", "scopes": []string{"config:read"}})

	soon := w.must(t, http.StatusCreated, "POST", keys, w.acme, object{"name": "soon", "scopes": []string{"config:read"}, "expires_at": time.Now().Add(time.Hour)}).text(t, "key")
	w.must(t, http.StatusOK, "GET", "/v1/me", soon, nil)
	w.clock.forward(2 * time.Hour)
	w.refused(t, hub.Unauthenticated, "GET", "/v1/me", soon, nil)
}

func TestProviders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	list := w.must(t, http.StatusOK, "GET", "/v1/providers", w.acme, nil)
	if names := list.names(t, "name"); len(names) < 6 || list.body["next_cursor"] != nil {
		t.Errorf("providers: %v", names)
	}
	stripe := w.must(t, http.StatusOK, "GET", "/v1/providers/stripe", w.acme, nil).body
	if stripe["scheme"] != "hmac-sha256" || stripe["tolerance_seconds"] != 300.0 || stripe["replay_protection"] != "time" || stripe["setup"] == "" {
		t.Errorf("stripe: %v", stripe)
	}
	w.refused(t, hub.NotFound, "GET", "/v1/providers/nobody", w.acme, nil)
	w.refused(t, hub.Unauthenticated, "GET", "/v1/providers", "", nil)
}
