package api_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
)

const events = "/v1/tenants/acme/events"

// event stores an event of a tenant as ingest would.
func (w *world) event(t *testing.T, slug, body string, changes ...func(*hub.Event)) hub.Event {
	t.Helper()
	tenant, err := hub.ParseID[hub.TenantID](w.ids[slug])
	if err != nil {
		t.Fatal(err)
	}
	e := hub.Event{
		Tenant: tenant, ID: hub.NewID[hub.EventID](), Endpoint: hub.NewID[hub.EndpointID](), Provider: "stripe", Type: "charge.refunded", ProviderID: "evt_1",
		ReceivedAt: time.Now().UTC().Truncate(time.Millisecond), Verified: true, Secret: hub.NewID[hub.SecretID](),
		Header: http.Header{"Content-Type": {"application/json"}, "X-Many": {"a", "b"}}, Body: []byte(body),
	}
	for _, change := range changes {
		change(&e)
	}
	if _, err := w.db.Pipeline.InsertEvents(t.Context(), []hub.Event{e}); err != nil {
		t.Fatal(err)
	}
	return e
}

// work records what became of an event.
func (w *world) work(t *testing.T, e hub.Event, o hub.Outcome, channels ...string) {
	t.Helper()
	o.Event = e.ID
	unit := hub.Unit{Tenant: e.Tenant, Outcome: o}
	for _, c := range channels {
		unit.Messages = append(unit.Messages, hub.Message{ID: hub.NewID[hub.MessageID](), Channel: c, Type: "t", Data: []byte(`{}`)})
	}
	if _, err := w.db.Pipeline.Append(t.Context(), []hub.Unit{unit}); err != nil {
		t.Fatal(err)
	}
}

func TestEvents_List(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	endpoint := w.stripe(t)
	ep, _ := hub.ParseID[hub.EndpointID](endpoint)
	a := w.event(t, "acme", `{}`, func(e *hub.Event) { e.Endpoint = ep })
	b := w.event(t, "acme", `{}`, func(e *hub.Event) { e.Provider, e.Type, e.ProviderID = "github", "push", "gh" })
	c := w.event(t, "acme", `{}`, func(e *hub.Event) { e.Verified, e.Cause, e.Secret = false, hub.SignatureMismatch, hub.SecretID{} })
	w.event(t, "rival", `{}`)
	w.work(t, a, hub.Outcome{State: hub.EventRouted}, "x")
	w.work(t, b, hub.Outcome{State: hub.EventFailed, Error: "gave up"})

	id := func(events ...hub.Event) []string {
		var all []string
		for _, e := range events {
			all = append(all, e.ID.String())
		}
		return all
	}
	tests := []struct {
		query string
		want  []string
	}{
		{"", id(c, b, a)},
		{"state=pending", id(c)},
		{"state=routed", id(a)},
		{"state=failed", id(b)},
		{"state=unmatched", nil},
		{"provider=github", id(b)},
		{"type=push", id(b)},
		{"provider_id=gh", id(b)},
		{"endpoint=stripe", id(a)},
		{"endpoint=" + endpoint, id(a)},
		{"type=charge.refunded&endpoint=stripe&provider=stripe&state=routed", id(a)},
		{"after=" + c.ID.String() + "&before=" + a.ID.String(), nil},
		{"endpoint=" + b.Endpoint.String(), id(b)}, // gone, or never there: its events stay
		{"after=" + a.ID.String(), id(c, b)},
		{"before=" + c.ID.String(), id(b, a)},
		{"after=" + a.ID.String() + "&before=" + c.ID.String(), id(b)},
		{"before=" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), nil},
		{"after=" + time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), id(c, b, a)},
		{"after=2000-01-01T00:00:00Z", id(c, b, a)},
	}
	for _, test := range tests {
		r := w.must(t, http.StatusOK, "GET", events+"?"+test.query, w.acme, nil)
		if diff := cmp.Diff(test.want, r.names(t, "id")); diff != "" {
			t.Errorf("%s: %s", test.query, diff)
		}
	}
	items := w.must(t, http.StatusOK, "GET", events, w.acme, nil).body["items"].([]any)
	want := object{
		"id": b.ID.String(), "endpoint": b.Endpoint.String(), "provider": "github", "type": "push", "provider_id": "gh", "state": "failed", "error": "gave up",
		"received_at": b.ReceivedAt.Format(time.RFC3339Nano), "verified": true, "secret": b.Secret.String(),
	}
	if diff := cmp.Diff(want, items[1]); diff != "" {
		t.Error(diff)
	}
	if name := items[2].(object)["endpoint_name"]; name != "stripe" {
		t.Errorf("endpoint_name %v", name)
	}
	if name := w.must(t, http.StatusOK, "GET", events+"/"+a.ID.String(), w.acme, nil).body["endpoint_name"]; name != "stripe" {
		t.Errorf("endpoint_name of one %v", name)
	}
	if first := items[0].(object); !no(first["verified"]) || first["cause"] != "signature_mismatch" || first["secret"] != nil {
		t.Errorf("unverified: %v", first)
	}
	var seen []string
	for cursor := ""; ; {
		r := w.must(t, http.StatusOK, "GET", events+"?limit=1"+cursor, w.acme, nil)
		seen = append(seen, r.names(t, "id")...)
		next, more := r.body["next_cursor"].(string)
		if !more {
			break
		}
		cursor = "&cursor=" + next
	}
	if diff := cmp.Diff(id(c, b, a), seen); diff != "" {
		t.Error(diff)
	}
	for query, code := range map[string]hub.Code{
		"after=yesterday": hub.Invalid, "before=evt_x": hub.Invalid, "state=lost": hub.Invalid, "endpoint=nobody": hub.NotFound, "endpoint=ep_x": hub.NotFound,
		"sort=asc": hub.UnknownParameter, "cursor=x": hub.Malformed,
		"type=%zz": hub.Malformed, "type=a;state=failed": hub.Malformed, // else the filter would be dropped, and everything listed
		"type=%00": hub.Malformed, "provider=%ff": hub.Malformed, "provider_id=a%00": hub.Malformed, "endpoint=%00": hub.Malformed, "endpoint=%20": hub.NotFound,
	} {
		w.refused(t, code, "GET", events+"?"+query, w.acme, nil)
	}
	w.refused(t, hub.ScopeMissing, "GET", events, w.key(t, "acme", hub.ConfigRead), nil)
}

func TestEvents_Get(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tests := []struct {
		name, contentType, body string
		want                    any
	}{
		{"json", "application/json", `{"a":[1,2.50],"b":null}`, object{"a": []any{1.0, 2.5}, "b": nil}},
		{"json that says text", "text/plain", `{"a":1}`, object{"a": 1.0}},
		{"form", "application/x-www-form-urlencoded", `a=1&a=2&b=x+y`, object{"a": []any{"1", "2"}, "b": []any{"x y"}}},
		{"text", "text/plain", `hello <b>`, "hello <b>"},
		{"bytes", "application/octet-stream", "\xff\xfe", nil},
		{"nothing", "", "", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			e := w.event(t, "acme", test.body, func(e *hub.Event) { e.Header.Set("Content-Type", test.contentType) })
			r := w.must(t, http.StatusOK, "GET", events+"/"+e.ID.String(), w.acme, nil)
			if diff := cmp.Diff(test.want, r.body["body"]); diff != "" {
				t.Error(diff)
			}
			if r.body["body_size"] != float64(len(test.body)) || cmp.Diff([]any{"a", "b"}, r.body["headers"].(object)["X-Many"]) != "" || r.body["state"] != "pending" {
				t.Errorf("%s", r.raw)
			}
			raw := w.must(t, http.StatusOK, "GET", events+"/"+e.ID.String()+"/body", w.acme, nil)
			if string(raw.raw) != test.body {
				t.Errorf("raw body %q", raw.raw)
			}
		})
	}
	e := w.event(t, "acme", `<script>alert(1)</script>`)
	h := w.must(t, http.StatusOK, "GET", events+"/"+e.ID.String()+"/body", w.acme, nil).header
	want := map[string]string{
		"Content-Type": "application/octet-stream", "X-Content-Type-Options": "nosniff", "Content-Security-Policy": "sandbox; default-src 'none'",
		"Content-Disposition": fmt.Sprintf(`attachment; filename="%s.bin"`, e.ID), "Cache-Control": "no-store",
	}
	for name, value := range want {
		if h.Get(name) != value {
			t.Errorf("%s: %q", name, h.Get(name))
		}
	}
	w.refused(t, hub.ScopeMissing, "GET", events+"/"+e.ID.String()+"/body", w.key(t, "acme", hub.EventsRead), nil)
	w.refused(t, hub.ScopeMissing, "GET", events+"/"+e.ID.String(), w.key(t, "acme", hub.EventsRaw), nil)
	for _, path := range []string{"", "/body", "/trail"} {
		w.refused(t, hub.NotFound, "GET", events+"/"+hub.NewID[hub.EventID]().String()+path, w.acme, nil)
		w.refused(t, hub.NotFound, "GET", events+"/evt_x"+path, w.acme, nil)
	}
}

func TestEvents_CredentialsAreSeenInTheRawBodyAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const canary = "s3cr3t-canary"
	e := w.event(t, "acme", `{"a":1}`, func(e *hub.Event) {
		sealed, err := w.keeper.Seal(secret.EventBody, []byte(`{"a":1,"token":"`+canary+`"}`), e.Tenant[:], e.ID[:])
		if err != nil {
			t.Fatal(err)
		}
		e.SealedBody = sealed
	})
	one := events + "/" + e.ID.String()
	for _, path := range []string{one, one + "/trail", events} {
		if r := w.must(t, http.StatusOK, "GET", path, w.acme, nil); strings.Contains(string(r.raw), canary) {
			t.Errorf("%s: %s", path, r.raw)
		}
	}
	if r := w.must(t, http.StatusOK, "GET", one+"/body", w.acme, nil); !strings.Contains(string(r.raw), canary) {
		t.Errorf("raw body: %s", r.raw)
	}
}

func TestEvents_Trail(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.event(t, "acme", `{}`)
	path := events + "/" + e.ID.String() + "/trail"
	r := w.must(t, http.StatusOK, "GET", path, w.acme, nil)
	if r.body["state"] != "pending" || len(r.body["runs"].([]any)) != 0 || !yes(r.body["committed"]) || r.body["secret"] != e.Secret.String() {
		t.Errorf("pending: %s", r.raw)
	}
	gone := hub.NewID[hub.RouteID]()
	w.work(t, e, hub.Outcome{State: hub.EventFailed, Routes: []hub.RouteOutcome{{Route: gone, Messages: 1, Skipped: 1, Error: "no such key"}}}, "a")
	replay := hub.NewID[hub.RunID]()
	w.work(t, e, hub.Outcome{State: hub.EventRouted, Run: replay}, "a", "b")
	r = w.must(t, http.StatusOK, "GET", path, w.acme, nil)
	runs := r.body["runs"].([]any)
	if r.body["state"] != "failed" || len(runs) != 2 {
		t.Fatalf("worked: %s", r.raw)
	}
	first, second := runs[0].(object), runs[1].(object)
	if diff := cmp.Diff([]any{object{"route": gone.String(), "messages": 1.0, "skipped": 1.0, "error": "no such key"}}, first["routes"]); diff != "" {
		t.Error(diff)
	}
	message := first["messages"].([]any)[0].(object)
	if message["channel"] != "a" || message["position"] != 1.0 || first["replay"] != nil {
		t.Errorf("first run: %v", first)
	}
	// A replay that was begun before another and worked after it.
	w.db.Exec(t, `DELETE FROM tributary.outcomes WHERE run = '00000000-0000-0000-0000-000000000000'`)
	w.db.Exec(t, `INSERT INTO tributary.outcomes (tenant_id, event_id, run, state, error, worked_at) VALUES ($1, $2, $3, 'routed', '', now() + interval '1 hour')`,
		e.Tenant, e.ID, hub.RunID{1})
	passed := w.must(t, http.StatusOK, "GET", path, w.acme, nil).body
	if runs := passed["runs"].([]any); passed["state"] != "pending" || len(runs) != 2 || len(runs[1].(object)["messages"].([]any)) != 2 {
		t.Errorf("passed by another replay: %v", passed)
	}
	if second["replay"] != replay.String() || len(second["messages"].([]any)) != 2 || second["messages"].([]any)[1].(object)["position"] != 3.0 {
		t.Errorf("second run: %v", second)
	}
}

func TestEvents_BelowTheTenantsFloor(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.event(t, "acme", `{}`)
	w.must(t, http.StatusOK, "PATCH", "/v1/tenants/acme", w.operator, object{"retention_days": 1})
	w.must(t, http.StatusOK, "GET", events+"/"+e.ID.String(), w.acme, nil)
	w.clock.forward(72 * time.Hour)
	for _, path := range []string{"", "/body", "/trail"} {
		w.refused(t, hub.NotFound, "GET", events+"/"+e.ID.String()+path, w.acme, nil)
	}
	if got := w.must(t, http.StatusOK, "GET", events, w.acme, nil).names(t, "id"); len(got) != 0 {
		t.Errorf("list: %v", got)
	}
}
