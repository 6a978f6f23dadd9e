package api_test

import (
	"encoding/hex"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// TestSecrecy_NothingLiesOpen hands the API secrets in every way there is, has it make some, and looks for them in
// every table: values given and made, URLs, keys, idempotent answers, what was pasted to be tried.
func TestSecrecy_NothingLiesOpen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	canaries := []string{w.operator, w.acme}
	keep := func(r reply, names ...string) {
		t.Helper()
		for _, name := range names {
			canaries = append(canaries, r.text(t, name))
		}
	}
	given := func(name string) string {
		canaries = append(canaries, "whsec_canary_"+name)
		return "whsec_canary_" + name
	}
	once := func(key string) []string { return []string{"Idempotency-Key", key} }

	made := w.must(t, 201, "POST", endpoints, w.acme, object{"name": "github", "provider": "github"}, once("a")...)
	keep(made, "secret")
	stripe := w.must(t, 201, "POST", endpoints, w.acme, object{"name": "stripe", "provider": "stripe", "secret": given("create")}, once("b")...)
	for _, r := range []reply{made, stripe, w.must(t, 200, "POST", endpoints+"/stripe/rotate-url", w.acme, nil, once("c")...)} {
		_, token, _ := strings.Cut(r.text(t, "url"), "/in/")
		canaries = append(canaries, token)
	}
	w.must(t, 200, "PUT", endpoints+"/stripe", w.acme, object{"provider": "stripe", "secret": given("put")})
	w.must(t, 201, "POST", endpoints+"/stripe/secrets", w.acme, object{"secret": given("add")}, once("d")...)
	keep(w.must(t, 201, "POST", endpoints+"/github/secrets", w.acme, object{}, once("e")...), "secret")
	key := w.must(t, 201, "POST", "/v1/tenants/acme/keys", w.acme, object{"name": "k", "scopes": []string{"config:read"}}, once("f")...)
	keep(key, "key")
	keep(w.must(t, 201, "POST", "/v1/tenants/acme/keys/"+key.text(t, "id")+"/rotate", w.acme, nil, once("g")...), "key")
	w.must(t, 200, "POST", endpoints+"/stripe/verify", w.acme, object{"headers": object{"Authorization": given("pasted")}, "body": `{"token":"` + given("body") + `"}`}, once("h")...)
	w.must(t, 200, "POST", routes+"/test", w.acme, object{
		"route": object{"match": "true", "channels": []string{"x"}, "data": "{'b': event.body, 'h': event.headers}"},
		"event": object{"provider": "slack", "headers": object{"Authorization": given("test")}, "body": object{"token": given("slack")}},
	}, once("i")...)
	w.must(t, 200, "POST", issuers+"/check", w.acme, object{"token": given("token")}, once("j")...)

	for _, table := range storetest.Values[string](t, w.db, `
		SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'tributary'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition`) {
		all := storetest.Value[string](t, w.db, `SELECT coalesce(string_agg(t::text, E'\n'), '') FROM tributary.`+table+` t`)
		for _, canary := range canaries {
			if strings.Contains(all, canary) || strings.Contains(all, hex.EncodeToString([]byte(canary))) {
				t.Errorf("%s lies open in %s", canary, table)
			}
		}
	}
	if len(canaries) < 17 {
		t.Errorf("%d canaries", len(canaries))
	}
}

// TestSecrecy_Credentials keeps an event and a rejection as ingest does, with credentials in header and body: no view
// shows one, but the raw body, to whoever may see that.
func TestSecrecy_Credentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const canary = "s3cr3t-canary"
	slack := w.must(t, 201, "POST", endpoints, w.acme, object{"name": "slack", "provider": "slack", "secret": strings.Repeat("0a", 16)}).text(t, "id")
	endpoint, err := hub.ParseID[hub.EndpointID](slack)
	if err != nil {
		t.Fatal(err)
	}
	const shown, whole = `{"token":"REDACTED","type":"x"}`, `{"token":"` + canary + `","type":"x"}`
	seal := func(purpose secret.Purpose, text string, tenant hub.TenantID, id [16]byte) []byte {
		sealed, err := w.keeper.Seal(purpose, []byte(text), tenant[:], id[:])
		if err != nil {
			t.Fatal(err)
		}
		return sealed
	}
	header := http.Header{"Content-Type": {"application/json"}, "X-Slack-Signature": {"v0=00"}}
	hidden := string(store.EncodeHeader(http.Header{"Authorization": {"Bearer " + canary}, "Cookie": {"s=" + canary}}))
	e := w.event(t, "acme", shown, func(e *hub.Event) {
		e.Provider, e.Endpoint, e.Header = "slack", endpoint, header
		e.Sealed, e.SealedBody = seal(secret.EventHeaders, hidden, e.Tenant, e.ID), seal(secret.EventBody, whole, e.Tenant, e.ID)
	})
	w.rejectIn(t, "acme", slack, "x", shown, time.Now(), func(r *store.Rejected) {
		r.Header = store.EncodeHeader(header)
		r.Sealed, r.SealedBody = seal(secret.EventHeaders, hidden, r.Tenant, r.ID), seal(secret.EventBody, whole, r.Tenant, r.ID)
	})
	w.rejectIn(t, "acme", slack, "x", whole, time.Now()) // as an older hub has kept it
	reader := w.key(t, "acme", hub.EventsRead, hub.ConfigRead)
	one := events + "/" + e.ID.String()
	test := object{"route": object{"match": "true", "channels": []string{"x"}, "data": "{'b': event.body, 'h': event.headers}"}, "event": e.ID.String()}
	pasted := object{"route": test["route"], "event": object{"provider": "slack", "headers": object{"Cookie": "x"}, "body": whole}}
	for _, r := range []reply{
		w.must(t, 200, "GET", events, reader, nil), w.must(t, 200, "GET", one, reader, nil), w.must(t, 200, "GET", one+"/trail", reader, nil),
		w.must(t, 200, "GET", endpoints+"/slack/rejections", reader, nil),
		w.must(t, 200, "POST", routes+"/test", reader, test), w.must(t, 200, "POST", routes+"/test", reader, pasted),
		w.refused(t, hub.ScopeMissing, "GET", one+"/body", reader, nil),
	} {
		if strings.Contains(string(r.raw), canary) {
			t.Errorf("%s", r.raw)
		}
	}
	if r := w.must(t, 200, "GET", one+"/body", w.acme, nil); string(r.raw) != whole {
		t.Errorf("raw: %s", r.raw)
	}
}
