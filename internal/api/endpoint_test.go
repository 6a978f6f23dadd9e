package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/storetest"
)

const endpoints = "/v1/tenants/acme/endpoints"

func TestEndpoints(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.must(t, http.StatusCreated, "POST", endpoints, w.acme, object{"name": "pay", "provider": "stripe", "secret": "whsec_abc", "config": object{"tolerance": "60"}, "metadata": object{"a": "b"}})
	id := made.text(t, "id")
	token, ok := strings.CutPrefix(made.text(t, "url"), "https://hub.example.com/in/")
	if !ok || len(token) != 32 || made.body["secret"] != nil {
		t.Errorf("made: %s", made.raw)
	}
	hash := hub.HashToken(token)
	if owner, err := w.db.Pipeline.TenantByToken(t.Context(), hash); err != nil || owner.String() != w.ids["acme"] {
		t.Errorf("the token leads to %s, %v", owner, err)
	}
	for _, ref := range []string{id, "pay"} {
		got := w.must(t, http.StatusOK, "GET", endpoints+"/"+ref, w.acme, nil)
		if diff := cmp.Diff(made.body, got.body); diff != "" || got.header.Get("ETag") != made.header.Get("ETag") {
			t.Errorf("%s: %s", ref, diff)
		}
	}
	got := w.must(t, http.StatusOK, "PATCH", endpoints+"/pay", w.acme, object{"name": "paid", "state": "disabled", "mode": "monitor", "config": nil, "metadata": object{"a": nil, "c": "d"}})
	want := made.body
	want["name"], want["state"], want["mode"], want["config"], want["metadata"] = "paid", "disabled", "monitor", object{}, object{"c": "d"}
	want["updated_at"] = got.body["updated_at"]
	if diff := cmp.Diff(want, got.body); diff != "" {
		t.Error(diff)
	}
	w.refused(t, hub.NotFound, "GET", endpoints+"/pay", w.acme, nil)

	rotated := w.must(t, http.StatusOK, "POST", endpoints+"/paid/rotate-url", w.acme, nil)
	if rotated.text(t, "url") == made.text(t, "url") {
		t.Error("the URL stays")
	}
	if _, err := w.db.Pipeline.TenantByToken(t.Context(), hash); hub.CodeOf(err) != hub.NotFound {
		t.Errorf("the old URL: %v", err)
	}
	w.must(t, http.StatusNoContent, "DELETE", endpoints+"/paid", w.acme, nil)
	w.refused(t, hub.NotFound, "DELETE", endpoints+"/"+id, w.acme, nil)
	actions := storetest.Values[string](t, w.db, `SELECT action FROM tributary.audit WHERE object = $1 ORDER BY id`, id)
	if diff := cmp.Diff([]string{"endpoint.create", "endpoint.update", "endpoint.rotate_url", "endpoint.delete"}, actions); diff != "" {
		t.Error(diff)
	}
}

func TestEndpoints_SecretIsMadeWhereItIsTheUsers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	github := w.must(t, http.StatusCreated, "POST", endpoints, w.acme, object{"name": "github", "provider": "github"}, "Idempotency-Key", "k")
	if github.text(t, "secret") == "" {
		t.Errorf("github: %s", github.raw)
	}
	again := w.must(t, http.StatusCreated, "POST", endpoints, w.acme, object{"name": "github", "provider": "github"}, "Idempotency-Key", "k")
	if again.text(t, "secret") != github.text(t, "secret") {
		t.Error("sent again it has another secret")
	}
	if stripe := w.must(t, http.StatusCreated, "POST", endpoints, w.acme, object{"name": "stripe", "provider": "stripe"}); stripe.body["secret"] != nil {
		t.Errorf("stripe: %s", stripe.raw)
	}
	if n := len(w.must(t, http.StatusOK, "GET", endpoints+"/github/secrets", w.acme, nil).names(t, "id")); n != 1 {
		t.Errorf("github has %d secrets", n)
	}
	if n := len(w.must(t, http.StatusOK, "GET", endpoints+"/stripe/secrets", w.acme, nil).names(t, "id")); n != 0 {
		t.Errorf("stripe has %d secrets", n)
	}
	for _, stored := range storetest.Values[[]byte](t, w.db, `SELECT answer FROM tributary.idempotency UNION ALL SELECT token_sealed FROM tributary.endpoints UNION ALL SELECT sealed FROM tributary.secrets`) {
		if strings.Contains(string(stored), github.text(t, "secret")) || strings.Contains(string(stored), strings.TrimPrefix(github.text(t, "url"), "https://hub.example.com/in/")) {
			t.Error("a secret lies open in the database")
		}
	}
}

func TestEndpoints_Put(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.must(t, http.StatusCreated, "PUT", endpoints+"/pay", w.acme, object{"provider": "stripe", "secret": "whsec_one", "config": object{"tolerance": "60"}}, "If-None-Match", "*")
	if made.text(t, "name") != "pay" {
		t.Errorf("made: %s", made.raw)
	}
	got := w.must(t, http.StatusOK, "PUT", endpoints+"/pay", w.acme, object{"provider": "stripe", "secret": "whsec_one", "name": "pay"})
	if got.text(t, "id") != made.text(t, "id") || got.text(t, "url") != made.text(t, "url") || len(got.body["config"].(object)) != 0 {
		t.Errorf("replaced: %s", got.raw)
	}
	count := func() int {
		return len(w.must(t, http.StatusOK, "GET", endpoints+"/pay/secrets", w.acme, nil).names(t, "id"))
	}
	if n := count(); n != 1 {
		t.Errorf("%d secrets after the same was put twice", n)
	}
	w.must(t, http.StatusOK, "PUT", endpoints+"/pay", w.acme, object{"provider": "stripe", "secret": "whsec_two"})
	if n := count(); n != 2 {
		t.Errorf("%d secrets after another was put", n)
	}
	renamed := w.must(t, http.StatusOK, "PUT", endpoints+"/"+made.text(t, "id"), w.acme, object{"provider": "stripe", "name": "paid"})
	if renamed.text(t, "name") != "paid" {
		t.Errorf("renamed: %s", renamed.raw)
	}
	tag := renamed.header.Get("ETag")
	w.must(t, http.StatusOK, "PUT", endpoints+"/paid", w.acme, object{"provider": "stripe", "mode": "monitor"}, "If-Match", tag)

	tests := []struct {
		name, path string
		body       object
		headers    []string
		code       hub.Code
		locations  []string
	}{
		{"another provider", "/paid", object{"provider": "github"}, nil, hub.Invalid, []string{"body.provider"}},
		{"another name", "/paid", object{"provider": "stripe", "name": "x"}, nil, hub.Invalid, []string{"body.name"}},
		{"an id that is not there", "/" + hub.NewID[hub.EndpointID]().String(), object{"provider": "stripe", "name": "x"}, nil, hub.NotFound, nil},
		{"a name like an id", "/ep_x", object{"provider": "stripe"}, nil, hub.NotFound, nil},
		{"a bad name", "/-x", object{"provider": "stripe"}, nil, hub.Invalid, []string{"path"}},
		{"a bad body for nothing", "/new", object{"provider": "nobody"}, nil, hub.Invalid, []string{"body.provider"}},
		{"create only", "/paid", object{"provider": "stripe"}, []string{"If-None-Match", "*"}, hub.PreconditionFailed, nil},
		{"an old version", "/paid", object{"provider": "stripe"}, []string{"If-Match", tag}, hub.PreconditionFailed, nil},
		{"a version of nothing", "/new", object{"provider": "stripe"}, []string{"If-Match", tag}, hub.PreconditionFailed, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := w.refused(t, test.code, "PUT", endpoints+test.path, w.acme, test.body, test.headers...)
			if diff := cmp.Diff(test.locations, r.locations()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEndpoints_Refused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, http.StatusCreated, "POST", endpoints, w.acme, object{"name": "taken", "provider": "stripe"})
	w.must(t, http.StatusCreated, "POST", endpoints, w.acme, object{"name": "other", "provider": "stripe"})
	reader := w.key(t, "acme", hub.ConfigRead)
	tests := []struct {
		name, method, path string
		key                string
		body               any
		code               hub.Code
		locations          []string
	}{
		{"reader creates", "POST", endpoints, reader, object{"name": "x", "provider": "stripe"}, hub.ScopeMissing, nil},
		{"no scope to list", "GET", endpoints, w.key(t, "acme", hub.EventsRead), nil, hub.ScopeMissing, nil},
		{"name taken", "POST", endpoints, w.acme, object{"name": "taken", "provider": "stripe"}, hub.Conflict, nil},
		{"name taken by a change", "PATCH", endpoints + "/other", w.acme, object{"name": "taken"}, hub.Conflict, nil},
		{"name like an id", "POST", endpoints, w.acme, object{"name": "ep_x", "provider": "stripe"}, hub.Invalid, []string{"body.name"}},
		{"unknown provider", "POST", endpoints, w.acme, object{"name": "x", "provider": "nobody"}, hub.Invalid, []string{"body.provider"}},
		{"unknown setting", "POST", endpoints, w.acme, object{"name": "x", "provider": "stripe", "config": object{"nonsense": "1"}}, hub.Invalid, []string{"body.config.nonsense"}},
		{"bad setting by a change", "PATCH", endpoints + "/taken", w.acme, object{"config": object{"tolerance": "x"}}, hub.Invalid, []string{"body.config.tolerance"}},
		{"missing settings", "POST", endpoints, w.acme, object{"name": "x", "provider": "generic-hmac"}, hub.Invalid, nil},
		{"blank secret", "POST", endpoints, w.acme, object{"name": "x", "provider": "stripe", "secret": " "}, hub.Invalid, []string{"body.secret"}},
		{"provider changed", "PATCH", endpoints + "/taken", w.acme, object{"provider": "github"}, hub.Invalid, []string{"body.provider"}},
		{"no handshake that sets a secret", "POST", endpoints + "/taken/handshake", w.acme, nil, hub.Invalid, []string{"path.endpoint"}},
		{"unknown endpoint", "POST", endpoints + "/nobody/handshake", w.acme, nil, hub.NotFound, nil},
		{"unknown endpoint's secrets", "GET", endpoints + "/nobody/secrets", w.acme, nil, hub.NotFound, nil},
		{"unknown endpoint's rejections", "GET", endpoints + "/nobody/rejections", w.acme, nil, hub.NotFound, nil},
		{"half an id", "GET", endpoints + "/ep_0198", w.acme, nil, hub.NotFound, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := w.refused(t, test.code, test.method, test.path, test.key, test.body)
			if test.locations != nil {
				if diff := cmp.Diff(test.locations, r.locations()); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestEndpoints_Limit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, http.StatusOK, "PATCH", "/v1/tenants/acme", w.operator, object{"limits": object{"endpoints": 1}})
	w.must(t, http.StatusCreated, "POST", endpoints, w.acme, object{"name": "one", "provider": "stripe"})
	r := w.refused(t, hub.LimitExceeded, "POST", endpoints, w.acme, object{"name": "two", "provider": "stripe"})
	if r.status != http.StatusTooManyRequests || r.body["limit"] != "endpoints" || r.header.Get("Retry-After") == "" {
		t.Errorf("%d %s %v", r.status, r.raw, r.header)
	}
	w.refused(t, hub.LimitExceeded, "PUT", endpoints+"/two", w.acme, object{"provider": "stripe"})
	w.must(t, http.StatusOK, "PUT", endpoints+"/one", w.acme, object{"provider": "stripe"})
	w.must(t, http.StatusCreated, "POST", "/v1/tenants/rival/endpoints", w.rival, object{"name": "two", "provider": "stripe"})
}

func TestSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, http.StatusCreated, "POST", endpoints, w.acme, object{"name": "stripe", "provider": "stripe", "secret": "whsec_old"})
	const all = endpoints + "/stripe/secrets"
	made := w.must(t, http.StatusCreated, "POST", all, w.acme, object{"secret": "whsec_new", "state": "candidate"})
	id := made.text(t, "id")
	if made.body["secret"] != nil || made.body["state"] != "candidate" || made.body["matches"] != 0.0 {
		t.Errorf("made: %s", made.raw)
	}
	sealed := storetest.Value[[]byte](t, w.db, `SELECT sealed FROM tributary.secrets WHERE id = $1::uuid`, id[len("sec_"):])
	endpoint := storetest.Value[hub.EndpointID](t, w.db, `SELECT endpoint_id FROM tributary.secrets WHERE id = $1::uuid`, id[len("sec_"):])
	tenant, _ := hub.ParseID[hub.TenantID](w.ids["acme"])
	sec, _ := hub.ParseID[hub.SecretID](id)
	if opened, err := w.keeper.Open(secret.EndpointSecret, sealed, tenant[:], endpoint[:], sec[:]); err != nil || string(opened) != "whsec_new" {
		t.Errorf("sealed: %q, %v", opened, err)
	}
	expires := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	got := w.must(t, http.StatusOK, "PATCH", all+"/"+id, w.acme, object{"state": "active", "expires_at": expires}, "If-Match", made.header.Get("ETag"))
	if got.body["state"] != "active" || got.text(t, "expires_at") != expires.Format(time.RFC3339) {
		t.Errorf("changed: %s", got.raw)
	}
	w.db.Exec(t, `UPDATE tributary.secrets SET matches = 7, last_used_at = now()`)
	counted := w.must(t, http.StatusOK, "GET", all+"/"+id, w.acme, nil)
	if counted.body["matches"] != 7.0 || counted.header.Get("ETag") != got.header.Get("ETag") {
		t.Errorf("counting changes the tag: %s", counted.raw)
	}
	zero := object{"expires_at": "0001-01-01T00:00:00Z"} // Go's zero time, which stands for never
	w.refused(t, hub.Invalid, "PATCH", all+"/"+id, w.acme, zero)
	w.refused(t, hub.Invalid, "PATCH", all+"/"+hub.NewID[hub.SecretID]().String(), w.acme, zero)
	w.refused(t, hub.Invalid, "POST", all, w.acme, object{"secret": "whsec_x", "expires_at": "0001-01-01T00:00:00Z"})
	if got := w.must(t, http.StatusOK, "PATCH", all+"/"+id, w.acme, object{"expires_at": nil}); got.body["expires_at"] != nil {
		t.Errorf("expiry taken away: %s", got.raw)
	}
	list := w.must(t, http.StatusOK, "GET", all, w.acme, nil)
	if strings.Contains(string(list.raw), "whsec") || len(list.names(t, "id")) != 2 {
		t.Errorf("list: %s", list.raw)
	}
	w.refused(t, hub.Invalid, "POST", all, w.acme, object{}) // Stripe shows it
	w.refused(t, hub.Invalid, "PATCH", all+"/"+id, w.acme, object{"secret": "whsec_other"})
	w.refused(t, hub.NotFound, "GET", all+"/sec_x", w.acme, nil)
	w.must(t, http.StatusNoContent, "DELETE", all+"/"+id, w.acme, nil)
	w.refused(t, hub.NotFound, "DELETE", all+"/"+id, w.acme, nil)

	w.must(t, http.StatusCreated, "POST", endpoints, w.acme, object{"name": "github", "provider": "github"})
	if made := w.must(t, http.StatusCreated, "POST", endpoints+"/github/secrets", w.acme, object{}); made.text(t, "secret") == "" {
		t.Errorf("github: %s", made.raw)
	}
	for range 18 {
		w.must(t, http.StatusCreated, "POST", endpoints+"/github/secrets", w.acme, object{})
	}
	w.refused(t, hub.Conflict, "POST", endpoints+"/github/secrets", w.acme, object{})
}

// signed is a webhook as the provider sends it.
func signed(t *testing.T, name, value string, body []byte, at time.Time) http.Header {
	t.Helper()
	p, ok := provider.Get(name)
	if !ok {
		t.Fatalf("no provider %s", name)
	}
	header, err := p.Sign(value, body, at, provider.SignOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return header
}

func TestVerify(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	made := w.must(t, http.StatusCreated, "POST", endpoints, w.acme, object{"name": "stripe", "provider": "stripe", "secret": "whsec_right"})
	candidate := w.must(t, http.StatusCreated, "POST", endpoints+"/stripe/secrets", w.acme, object{"secret": "whsec_next", "state": "candidate"}).text(t, "id")
	_ = made
	const path = endpoints + "/stripe/verify"
	body := `{"id":"evt_1","type":"payment_intent.succeeded"}`
	captured := time.Now().Add(-time.Hour)

	r := w.must(t, http.StatusOK, "POST", path, w.acme, object{"headers": signed(t, "stripe", "whsec_right", []byte(body), time.Now()), "body": body})
	if !yes(r.body["ok"]) || r.body["type"] != "payment_intent.succeeded" || r.body["provider_id"] != "evt_1" || !strings.HasPrefix(r.text(t, "secret"), "sec_") {
		t.Errorf("good: %s", r.raw)
	}
	r = w.must(t, http.StatusOK, "POST", path, w.acme, object{"headers": signed(t, "stripe", "whsec_wrong", []byte(body), time.Now()), "body": body})
	if !no(r.body["ok"]) || r.body["cause"] != "signature_mismatch" || len(r.body["explanation"].([]any)) == 0 {
		t.Errorf("wrong secret: %s", r.raw)
	}
	r = w.must(t, http.StatusOK, "POST", path, w.acme, object{"headers": signed(t, "stripe", "whsec_next", []byte(body), time.Now()), "body": body})
	if !no(r.body["ok"]) || cmp.Diff([]any{candidate}, r.body["candidates"]) != "" {
		t.Errorf("candidate: %s", r.raw)
	}
	old := object{"headers": signed(t, "stripe", "whsec_right", []byte(body), captured), "body": body}
	if r = w.must(t, http.StatusOK, "POST", path, w.acme, old); r.body["cause"] != "timestamp_too_old" {
		t.Errorf("old: %s", r.raw)
	}
	old["received_at"] = captured
	if r = w.must(t, http.StatusOK, "POST", path, w.acme, old); !yes(r.body["ok"]) {
		t.Errorf("old, judged by its arrival: %s", r.raw)
	}
	w.refused(t, hub.Invalid, "POST", path, w.acme, object{"headers": object{}, "body_base64": "!"})
	w.refused(t, hub.Invalid, "POST", path, w.acme, object{"headers": object{}, "body_base64": "eA==", "body": "x"})
	w.refused(t, hub.NotFound, "POST", endpoints+"/nobody/verify", w.acme, object{"headers": object{}})
	for _, canary := range []string{"whsec_right", "whsec_next"} {
		if strings.Contains(fmt.Sprint(storetest.Values[string](t, w.db, `SELECT detail::text FROM tributary.audit`)), canary) {
			t.Error("the audit has a secret")
		}
	}
}
