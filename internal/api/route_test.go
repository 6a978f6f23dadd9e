package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
)

const routes = "/v1/tenants/acme/routes"

// payments is the seed's route.
func payments(changes ...object) object {
	return changed(object{
		"name": "payments", "match": "event.type == 'payment_intent.succeeded'", "channels": []string{"customer:{event.body.data.object.customer}"},
		"type": "payment_success", "data": "{'amount': event.body.data.object.amount}",
	}, changes...)
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	endpoint := w.stripe(t)
	made := w.must(t, http.StatusCreated, "POST", routes, w.acme, payments(object{"endpoint": "stripe", "key": "event.body.id", "version": "event.body.created", "metadata": object{"a": "b"}}))
	want := payments(object{
		"id": made.text(t, "id"), "endpoint": endpoint, "channels": []any{"customer:{event.body.data.object.customer}"}, "key": "event.body.id", "version": "event.body.created",
		"state": "enabled", "metadata": object{"a": "b"}, "failures": object{"count": 0.0}, "created_at": made.body["created_at"], "updated_at": made.body["updated_at"],
	})
	if diff := cmp.Diff(want, made.body); diff != "" {
		t.Error(diff)
	}
	for _, ref := range []string{"payments", made.text(t, "id")} {
		got := w.must(t, http.StatusOK, "GET", routes+"/"+ref, w.acme, nil)
		if diff := cmp.Diff(made.body, got.body); diff != "" || got.header.Get("ETag") != made.header.Get("ETag") {
			t.Error(diff)
		}
	}
	w.db.Exec(t, `UPDATE tributary.routes SET failures = 3, last_error = 'no such key', last_failed_event = gen_random_uuid(), last_failed_at = now()`)
	failed := w.must(t, http.StatusOK, "GET", routes+"/payments", w.acme, nil)
	if f := failed.body["failures"].(object); f["count"] != 3.0 || f["last_error"] != "no such key" || f["last_event"] == nil || f["last_at"] == nil {
		t.Errorf("failures: %v", f)
	}
	if failed.header.Get("ETag") != made.header.Get("ETag") {
		t.Error("failing changes the tag")
	}
	got := w.must(t, http.StatusOK, "PATCH", routes+"/payments", w.acme, object{"state": "disabled", "endpoint": nil, "key": nil, "version": nil}, "If-Match", made.header.Get("ETag"))
	if got.body["state"] != "disabled" || got.body["endpoint"] != nil || got.body["key"] != nil || got.body["match"] != made.body["match"] {
		t.Errorf("changed: %s", got.raw)
	}
	got = w.must(t, http.StatusOK, "PUT", routes+"/payments", w.acme, object{"match": "true", "channels": []string{"all"}, "endpoint": endpoint})
	if got.body["id"] != made.body["id"] || got.body["state"] != "enabled" || got.body["type"] != nil || got.body["endpoint"] != endpoint {
		t.Errorf("replaced: %s", got.raw)
	}
	w.must(t, http.StatusCreated, "PUT", routes+"/second", w.acme, object{"match": "true", "channels": []string{"all"}})
	if diff := cmp.Diff([]string{"payments", "second"}, w.must(t, http.StatusOK, "GET", routes, w.acme, nil).names(t, "name")); diff != "" {
		t.Error(diff)
	}
	w.refused(t, hub.Conflict, "DELETE", endpoints+"/stripe", w.acme, nil)
	w.must(t, http.StatusNoContent, "DELETE", routes+"/payments", w.acme, nil)
	w.must(t, http.StatusNoContent, "DELETE", endpoints+"/stripe", w.acme, nil)
	w.refused(t, hub.NotFound, "DELETE", routes+"/payments", w.acme, nil)
}

func TestRoutes_Refused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, http.StatusCreated, "POST", routes, w.acme, payments())
	foreign := w.must(t, http.StatusCreated, "POST", "/v1/tenants/rival/endpoints", w.rival, object{"name": "stripe", "provider": "stripe"}).text(t, "id")
	second := func(changes object) object { return payments(object{"name": "second"}, changes) }
	tests := []struct {
		name      string
		body      object
		code      hub.Code
		locations []string
	}{
		{"name taken", payments(), hub.Conflict, nil},
		{"match that does not compile", second(object{"match": "event.type =="}), hub.Invalid, []string{"body.match"}},
		{"match of a number", second(object{"match": "1"}), hub.Invalid, []string{"body.match"}},
		{"match of a field that no event has", second(object{"match": "event.nonsense"}), hub.Invalid, []string{"body.match"}},
		{"no channel", second(object{"channels": []string{}}), hub.Invalid, []string{"body.channels"}},
		{"too many channels", second(object{"channels": strings.Split("abcdefghijk", "")}), hub.Invalid, []string{"body.channels"}},
		{"channel of the hub's", second(object{"channels": []string{"ok", "hub:x"}}), hub.Invalid, []string{"body.channels[1]"}},
		{"braces that do not compile", second(object{"channels": []string{"a:{event.}"}}), hub.Invalid, []string{"body.channels[0]"}},
		{"reserved type", second(object{"type": "hub.ready"}), hub.Invalid, []string{"body.type"}},
		{"data that does not compile", second(object{"data": "{'a': }"}), hub.Invalid, []string{"body.data"}},
		{"long expression", second(object{"data": "'" + strings.Repeat("x", 4096) + "'"}), hub.Invalid, []string{"body.data"}},
		{"unknown endpoint", second(object{"endpoint": "nobody"}), hub.Invalid, []string{"body.endpoint"}},
		{"another tenant's endpoint", second(object{"endpoint": foreign}), hub.Invalid, []string{"body.endpoint"}},
		{"unknown field", second(object{"chanels": []string{"x"}}), hub.Invalid, []string{"body.chanels"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := w.refused(t, test.code, "POST", routes, w.acme, test.body)
			if test.locations == nil {
				return
			}
			if diff := cmp.Diff(test.locations, r.locations()); diff != "" {
				t.Errorf("%s: %s", diff, r.raw)
			}
			if !strings.HasPrefix(r.text(t, "detail"), test.locations[0]+": ") {
				t.Errorf("the detail has no place: %s", r.raw)
			}
			put := w.refused(t, test.code, "PUT", routes+"/second", w.acme, test.body)
			if diff := cmp.Diff(test.locations, put.locations()); diff != "" {
				t.Errorf("put: %s", diff)
			}
		})
	}
	all := []hub.Scope{hub.ConfigWrite, hub.EventsRead, hub.MessagesPublish}
	for i, missing := range all {
		scopes := append(append([]hub.Scope{}, all[:i]...), all[i+1:]...)
		r := w.refused(t, hub.ScopeMissing, "POST", routes, w.key(t, "acme", scopes...), second(nil))
		if !strings.Contains(r.text(t, "detail"), string(missing)) {
			t.Errorf("%s: %s", missing, r.raw)
		}
	}
}

func TestRoutes_Limit(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, http.StatusOK, "PATCH", "/v1/tenants/acme", w.operator, object{"limits": object{"routes": 1}})
	w.must(t, http.StatusCreated, "POST", routes, w.acme, payments())
	if r := w.refused(t, hub.LimitExceeded, "POST", routes, w.acme, payments(object{"name": "two"})); r.body["limit"] != "routes" {
		t.Errorf("%s", r.raw)
	}
}

func TestRoutes_Test(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.must(t, http.StatusCreated, "POST", routes, w.acme, payments(object{"state": "disabled"}))
	const body = `{"id":"evt_1","type":"payment_intent.succeeded","data":{"object":{"customer":"cus_1","amount":1200}}}`
	stored := w.event(t, "acme", body, func(e *hub.Event) { e.Type = "payment_intent.succeeded" })
	route := payments()
	delete(route, "name")
	with := func(changes object) object { return changed(route, changes) }
	pasted := object{"provider": "stripe", "body": body}
	emits := object{"matched": true, "skipped": 0.0, "messages": []any{object{"channel": "customer:cus_1", "type": "payment_success", "data": object{"amount": 1200.0}}}}
	tests := []struct {
		name         string
		route, event any
		want         object
	}{
		{"saved, stored", "payments", stored.ID.String(), emits},
		{"saved, pasted", "payments", pasted, emits},
		{"written out, stored", route, stored.ID.String(), emits},
		{"pasted as JSON", route, object{"type": "payment_intent.succeeded", "body": object{"data": object{"object": object{"customer": "cus_1", "amount": 1200}}}}, emits},
		{"does not match", with(object{"match": "false"}), pasted, object{"matched": false, "skipped": 0.0, "messages": []any{}}},
		{"nothing in the braces", with(object{"channels": []string{"a:{event.body.nobody}"}}), pasted, object{"matched": true, "skipped": 1.0, "messages": []any{}}},
		{
			"headers, key and version",
			object{"name": "any", "match": "true", "channels": []string{"a"}, "data": "event.headers['x-test']", "key": "'k'", "version": "7"},
			object{"type": "t", "headers": object{"X-Test": "1"}, "body": ""},
			object{"matched": true, "skipped": 0.0, "messages": []any{object{"channel": "a", "type": "t", "key": "k", "version": 7.0, "data": "1"}}},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := w.must(t, http.StatusOK, "POST", routes+"/test", w.acme, object{"route": test.route, "event": test.event})
			if diff := cmp.Diff(test.want, r.body); diff != "" {
				t.Error(diff)
			}
		})
	}
	r := w.must(t, http.StatusOK, "POST", routes+"/test", w.acme, object{"route": with(object{"data": "event.body.nobody"}), "event": pasted})
	if r.body["error"] == nil || len(r.body["messages"].([]any)) != 0 {
		t.Errorf("fails: %s", r.raw)
	}
	r = w.refused(t, hub.Invalid, "POST", routes+"/test", w.acme, object{"route": with(object{"match": "=="}), "event": pasted})
	if diff := cmp.Diff([]string{"body.route.match"}, r.locations()); diff != "" {
		t.Error(diff)
	}
	if got := r.text(t, "detail"); got != "body.route.match: 1:1: unexpected '=='" {
		t.Errorf("detail %q", got)
	}
	foreign := w.event(t, "rival", body)
	w.refused(t, hub.NotFound, "POST", routes+"/test", w.acme, object{"route": "payments", "event": foreign.ID.String()})
	w.refused(t, hub.NotFound, "POST", routes+"/test", w.acme, object{"route": "nobody", "event": pasted})
	w.refused(t, hub.Invalid, "POST", routes+"/test", w.acme, object{"route": 7, "event": pasted})
	w.refused(t, hub.ScopeMissing, "POST", routes+"/test", w.key(t, "acme", hub.ConfigRead, hub.ConfigWrite), object{"route": route, "event": pasted})
}

// What is wrong with the route and with the event is told together, and of the form that was meant alone.
func TestRoutes_TestNamesEveryMistake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const required, unknown = "is required", "there is no such member"
	good := object{"match": "true", "channels": []string{"a"}}
	for _, test := range []struct {
		name string
		body any
		want map[string]string
	}{
		{"no body", object{"route": good, "event": object{"type": "t"}}, map[string]string{"body.event.body": required}},
		{"a misspelt member", object{"route": good, "event": object{"body": "", "tpye": "t"}}, map[string]string{"body.event.tpye": unknown}},
		{"no event", object{"route": good}, map[string]string{"body.event": required}},
		{"neither text nor object", object{"route": good, "event": 7}, map[string]string{"body.event": "must be an object"}},
		{"an empty name", object{"route": "", "event": object{"body": ""}}, map[string]string{"body.route": "is too short: its length is at least 1"}},
		{"a member that is nowhere", object{"route": good, "event": object{"body": ""}, "evnt": 1}, map[string]string{"body.evnt": unknown}},
		{
			"the route's form",
			object{"route": object{"match": "true", "channels": []string{}, "chanels": 1}, "event": object{"body": ""}},
			map[string]string{"body.route.channels": "at least 1 is needed", "body.route.chanels": unknown},
		},
		{
			"both",
			object{"route": object{"match": "event.type = 'a'", "channels": []string{"a"}}, "event": object{"type": 7}},
			map[string]string{
				"body.route.match": "1:12: compare with ==", "body.event.body": required, "body.event.type": "must be text",
			},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := w.refused(t, hub.Invalid, "POST", routes+"/test", w.acme, test.body)
			got := map[string]string{}
			for _, e := range r.body["errors"].([]any) {
				e := e.(object)
				got[e["location"].(string)] = e["message"].(string)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestEvents_TrailNamesRoutes(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id, _ := hub.ParseID[hub.RouteID](w.must(t, http.StatusCreated, "POST", routes, w.acme, payments()).text(t, "id"))
	e := w.event(t, "acme", `{}`)
	w.work(t, e, hub.Outcome{State: hub.EventRouted, Routes: []hub.RouteOutcome{{Route: id, Messages: 1}}, WorkedAt: time.Now()}, "a")
	r := w.must(t, http.StatusOK, "GET", events+"/"+e.ID.String()+"/trail", w.acme, nil)
	run := r.body["runs"].([]any)[0].(object)
	if diff := cmp.Diff([]any{object{"route": id.String(), "name": "payments", "messages": 1.0}}, run["routes"]); diff != "" {
		t.Error(diff)
	}
}
