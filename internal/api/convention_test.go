package api_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
)

func TestAuthentication(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tests := []struct{ name, header string }{
		{"none", ""},
		{"another scheme", "Basic " + w.acme},
		{"no scheme", w.acme},
		{"not a key", "Bearer hello"},
		{"mistyped", "Bearer " + w.acme[:len(w.acme)-1] + "!"},
		{"unknown", "Bearer " + hub.FormatKey(strings.Repeat("0", 32))},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := w.refused(t, hub.Unauthenticated, "GET", "/v1/me", "", nil, "Authorization", test.header)
			if r.status != 401 || r.header.Get("WWW-Authenticate") != "Bearer" {
				t.Errorf("%d, %v", r.status, r.header)
			}
			if strings.Contains(string(r.raw), w.acme) {
				t.Errorf("the key comes back: %s", r.raw)
			}
		})
	}
	me := w.must(t, 200, "GET", "/v1/me", w.acme, nil)
	if me.body["kind"] != "key" || me.body["tenant"].(object)["slug"] != "acme" {
		t.Errorf("me: %s", me.raw)
	}
	if me := w.must(t, 200, "GET", "/v1/me", w.operator, nil); me.body["kind"] != "operator" || me.body["tenant"] != nil {
		t.Errorf("me: %s", me.raw)
	}
	w.must(t, 200, "PATCH", "/v1/tenants/acme", w.operator, object{"state": "suspended"})
	w.refused(t, hub.TenantSuspended, "GET", "/v1/me", w.acme, nil)
}

// TestOrderOfChecks sends requests with several things wrong: the earlier check answers.
func TestOrderOfChecks(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	reader := w.key(t, "acme", hub.ConfigRead)
	bad, unknown := object{"nonsense": 1}, "/keys/"+hub.NewID[hub.KeyID]().String()
	tests := []struct {
		name         string
		code         hub.Code
		method, path string
		key          string
		body         any
	}{
		{"401 before the tenant", hub.Unauthenticated, "POST", "/v1/tenants/nobody/keys?x=1", "", bad},
		{"tenant before scope", hub.NotFound, "POST", "/v1/tenants/rival/keys?x=1", reader, bad},
		{"unknown tenant before scope", hub.NotFound, "POST", "/v1/tenants/nobody/keys?x=1", reader, bad},
		{"scope before form", hub.ScopeMissing, "POST", "/v1/tenants/acme/keys?x=1", reader, bad},
		{"scope before unreadable body", hub.ScopeMissing, "POST", "/v1/tenants/acme/keys", reader, "{"},
		{"unreadable body", hub.Malformed, "POST", "/v1/tenants/acme/keys?x=1", w.acme, "{"},
		{"unknown parameter before fields", hub.UnknownParameter, "POST", "/v1/tenants/acme/keys?x=1", w.acme, bad},
		{"fields", hub.Invalid, "POST", "/v1/tenants/acme/keys", w.acme, bad},
		{"unknown parameter before the object", hub.UnknownParameter, "DELETE", "/v1/tenants/acme" + unknown + "?x=1", w.acme, nil},
		{"the object", hub.NotFound, "DELETE", "/v1/tenants/acme" + unknown, w.acme, nil},
		{"a patch's expression before the route", hub.Invalid, "PATCH", "/v1/tenants/acme/routes/nobody", w.acme, object{"match": "=="}},
		{"a patch's version before the route", hub.NotFound, "PATCH", "/v1/tenants/acme/routes/nobody", w.acme, object{"version": "1"}},
		{"a patch's grant before the issuer", hub.Invalid, "PATCH", "/v1/tenants/acme/issuers/nobody", w.acme, object{"grants": []any{"{sub}"}}},
		{"the issuer", hub.NotFound, "PATCH", "/v1/tenants/acme/issuers/nobody", w.acme, object{"audiences": nil}},
		{"form of a patch before the object", hub.Invalid, "PATCH", "/v1/tenants/acme/settings", w.acme, object{"same_site": "no"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w.refused(t, test.code, test.method, test.path, test.key, test.body)
		})
	}
}

func TestForm(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const canary = "s3cr3t-canary"
	path := "/v1/tenants/acme/keys"
	tests := []struct {
		name      string
		code      hub.Code
		status    int
		body      any
		headers   []string
		locations []string
	}{
		{"no body", hub.Malformed, 400, nil, nil, nil},
		{"not JSON", hub.Malformed, 400, `{"name":"` + canary, nil, nil},
		{"two values", hub.Malformed, 400, `{} {}`, nil, nil},
		{"a list", hub.Invalid, 422, `["` + canary + `"]`, nil, []string{"body"}},
		{"unknown field", hub.Invalid, 422, object{"name": "x", "scopes": []string{"config:read"}, "nonsense": canary}, nil, []string{"body.nonsense"}},
		{"field in another case", hub.Invalid, 422, object{"Name": canary, "scopes": []string{"config:read"}}, nil, []string{"body.name", "body.Name"}},
		{"wrong type", hub.Invalid, 422, object{"name": 7, "scopes": []string{"config:read"}}, nil, []string{"body.name"}},
		{"not of the list", hub.Invalid, 422, object{"name": "x", "scopes": []string{canary}}, nil, []string{"body.scopes[0]"}},
		{"not a time", hub.Invalid, 422, object{"name": "x", "scopes": []string{"config:read"}, "expires_at": canary}, nil, []string{"body.expires_at"}},
		{"a form", hub.UnsupportedMedia, 415, `name=x`, []string{"Content-Type", "application/x-www-form-urlencoded"}, nil},
		{"compressed", hub.CompressedBody, 415, "\x1f\x8b" + canary, []string{"Content-Encoding", "gzip"}, nil},
		{"too large", hub.TooLarge, 413, `"` + strings.Repeat("x", 300<<10) + `"`, nil, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := w.refused(t, test.code, "POST", path, w.acme, test.body, test.headers...)
			if r.status != test.status {
				t.Errorf("status %d", r.status)
			}
			if diff := cmp.Diff(test.locations, r.locations()); diff != "" {
				t.Error(diff)
			}
			if strings.Contains(string(r.raw), canary) || strings.Contains(string(r.raw), "Go ") {
				t.Errorf("what was sent comes back: %s", r.raw)
			}
			if !strings.HasPrefix(r.body["request_id"].(string), "req_") || r.header.Get("X-Request-Id") != r.body["request_id"] {
				t.Errorf("request id: %v, %v", r.body["request_id"], r.header)
			}
			if r.body["type"] != "/docs/problems#"+string(test.code) {
				t.Errorf("type %v", r.body["type"])
			}
		})
	}
	r := w.refused(t, hub.UnknownParameter, "GET", path+"?limt=3", w.acme, nil)
	if diff := cmp.Diff([]string{"query.limt"}, r.locations()); diff != "" || r.status != 400 {
		t.Errorf("%d %s", r.status, diff)
	}
	for _, query := range []string{"limit=0", "limit=101", "limit=x"} {
		r := w.refused(t, hub.Invalid, "GET", path+"?"+query, w.acme, nil)
		if diff := cmp.Diff([]string{"query.limit"}, r.locations()); diff != "" {
			t.Errorf("%s: %s", query, diff)
		}
	}
	w.must(t, 201, "POST", path, w.acme, `{"name":"x","scopes":["config:read"]}`, "Content-Type", "application/json; charset=utf-8")
	w.must(t, 201, "POST", path, w.acme, `{"name":"x","scopes":["config:read"]}`, "Content-Type", "")
	w.must(t, 201, "POST", path, w.acme, `{"name":"x","scopes":["config:read"]}`, "Content-Encoding", "identity")
	w.must(t, 200, "PATCH", "/v1/tenants/acme/settings", w.acme, `{}`, "Content-Type", "application/merge-patch+json")
	w.refused(t, hub.UnsupportedMedia, "POST", path, w.acme, `{}`, "Content-Type", "application/merge-patch+json")
	w.refused(t, hub.NotFound, "GET", "/v1/nonsense", w.acme, nil)
	if r := w.refused(t, hub.MethodNotAllowed, "PUT", path, w.acme, nil); r.header.Get("Allow") == "" {
		t.Error("405 without Allow")
	}
	if r := w.must(t, 200, "GET", "/v1/me", w.acme, nil, "X-Request-Id", "mine.1"); r.header.Get("X-Request-Id") != "mine.1" {
		t.Errorf("request id: %v", r.header)
	}
}

// TestForm_Bodiless sends a body to every operation that takes none: it is refused as an unknown field is elsewhere,
// and nothing is done. An empty object is as good as no body.
func TestForm_Bodiless(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := w.furnish(t, "acme")
	before := w.contents(t)
	var bodiless []documented
	for _, op := range operations(t, w.served(t)) {
		if !strings.HasPrefix(op.path, "/v1/") || op.body["requestBody"] != nil {
			continue
		}
		op.path = strings.NewReplacer("{tenant}", "acme", "{provider}", "stripe").Replace(op.path)
		for name, id := range own.ids {
			op.path = strings.ReplaceAll(op.path, "{"+name+"}", id)
		}
		if strings.Contains(op.path, "{") {
			t.Errorf("%s: furnish has nothing for it", op)
		}
		for _, status := range []string{"413", "415", "422"} {
			if op.body["responses"].(object)[status] == nil {
				t.Errorf("%s: %s is not documented", op, status)
			}
		}
		bodiless = append(bodiless, op)
	}
	for _, op := range bodiless {
		for _, test := range []struct {
			body, location string
			code           hub.Code
		}{
			{`{"x":"y"}`, "body.x", hub.Invalid},
			{strings.Repeat(`{"x":`, 9000) + "1" + strings.Repeat("}", 9000), "body.x", hub.Invalid},
			{`[]`, "body", hub.Invalid},
			{`"str"`, "body", hub.Invalid},
			{`null`, "body", hub.Invalid},
			{`{`, "", hub.Malformed},
		} {
			r := w.refused(t, test.code, op.method, op.path, w.operator, test.body)
			if got := strings.Join(r.locations(), " "); got != test.location {
				t.Errorf("%s with %.10s: location %q", op, test.body, got)
			}
		}
		w.refused(t, hub.UnknownParameter, op.method, op.path+"?nonsense=1", w.operator, `{"x":"y"}`)
	}
	if len(bodiless) < 30 {
		t.Errorf("walked %d operations", len(bodiless))
	}
	if diff := cmp.Diff(before, w.contents(t)); diff != "" {
		t.Errorf("something changed: %s", diff)
	}
	slices.SortStableFunc(bodiless, func(a, b documented) int { return strings.Compare(b.method, a.method) }) // DELETE comes last
	for _, op := range bodiless {
		for _, body := range []any{`{}`, nil} {
			r := w.send(t, op.method, op.path, w.operator, body)
			if r.status == 400 || r.status == 415 || slices.ContainsFunc(r.locations(), func(at string) bool { return strings.HasPrefix(at, "body") }) {
				t.Errorf("%s with %v: %d %s", op, body, r.status, r.raw)
			}
		}
	}
}

// TestForm_Bounded sends what is wrong in thousands of places, and in one with a very long name.
func TestForm_Bounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	endpoint := w.furnish(t, "acme").ids["endpoint"]
	many := object{}
	for i := range 20_000 {
		many[fmt.Sprintf("x%d", i)] = 1
	}
	for _, path := range []string{"/v1/tenants/acme/keys", "/v1/tenants/acme/endpoints/" + endpoint + "/rotate-url"} {
		r := w.refused(t, hub.Invalid, "POST", path, w.acme, many)
		if detail := r.text(t, "detail"); len(r.locations()) != 20 || !strings.Contains(detail, " more than the 20 errors listed)") {
			t.Errorf("%s: %d errors, %s", path, len(r.locations()), detail)
		}
		long := w.refused(t, hub.Invalid, "POST", path, w.acme, object{strings.Repeat("x", 200_000): 1})
		for _, r := range []reply{r, long} {
			if len(r.raw) > 10_000 {
				t.Errorf("%s: a problem of %d bytes", path, len(r.raw))
			}
		}
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var want []string
	for i := range 5 {
		name := fmt.Sprintf("key %d", i)
		w.must(t, 201, "POST", "/v1/tenants/rival/keys", w.rival, object{"name": name, "scopes": []string{"config:read"}})
		want = append(want, name)
	}
	want = append([]string{"test"}, want...)
	var got []string
	path := "/v1/tenants/rival/keys?limit=2"
	var cursor string
	for pages := 1; ; pages++ {
		r := w.must(t, 200, "GET", path+cursor, w.rival, nil)
		got = append(got, r.names(t, "name")...)
		next, more := r.body["next_cursor"].(string)
		if !more {
			if pages != 3 || r.body["next_cursor"] != nil {
				t.Errorf("%d pages, last %s", pages, r.raw)
			}
			break
		}
		cursor = "&cursor=" + next
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	w.refused(t, hub.Malformed, "GET", path+"&cursor=nonsense", w.rival, nil)
	w.refused(t, hub.Malformed, "GET", "/v1/tenants/acme/keys?limit=2"+cursor, w.acme, nil) // another tenant's
	w.refused(t, hub.Malformed, "GET", "/v1/tenants?limit=2"+cursor, w.operator, nil)       // another list's
}

func TestETag(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := "/v1/tenants/acme/settings"
	first := w.must(t, 200, "GET", path, w.acme, nil).header.Get("ETag")
	if first == "" || first == w.must(t, 200, "GET", "/v1/tenants/rival/settings", w.rival, nil).header.Get("ETag") {
		t.Errorf("tag %q: none, or another tenant's", first)
	}
	second := w.must(t, 200, "PATCH", path, w.acme, object{"ticket_seconds": 30}, "If-Match", first).header.Get("ETag")
	if second == first {
		t.Error("the tag stays")
	}
	if got := w.must(t, 200, "GET", path, w.acme, nil).header.Get("ETag"); got != second {
		t.Errorf("tag %q after a change that answered %q", got, second)
	}
	r := w.refused(t, hub.PreconditionFailed, "PATCH", path, w.acme, object{"ticket_seconds": 40}, "If-Match", first)
	if r.status != 412 {
		t.Errorf("status %d", r.status)
	}
	if got := w.must(t, 200, "GET", path, w.acme, nil).body["ticket_seconds"]; got != 30.0 {
		t.Errorf("ticket_seconds %v", got)
	}
	w.must(t, 200, "PATCH", path, w.acme, object{"ticket_seconds": 50}, "If-Match", `"x", `+second)
	w.must(t, 200, "PATCH", path, w.acme, object{"ticket_seconds": 60}, "If-Match", "*")
}

func TestETag_OfTwoWritersOneWins(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := "/v1/tenants/acme/settings"
	tag := w.must(t, 200, "GET", path, w.acme, nil).header.Get("ETag")
	var group sync.WaitGroup
	statuses := make([]int, 6)
	for i := range statuses {
		group.Go(func() {
			statuses[i] = w.send(t, "PATCH", path, w.acme, object{"ticket_seconds": 100 + i}, "If-Match", tag).status
		})
	}
	group.Wait()
	won := 0
	for _, status := range statuses {
		switch status {
		case 200:
			won++
		case 412:
		default:
			t.Errorf("status %d", status)
		}
	}
	if won != 1 {
		t.Errorf("%d writers won: %v", won, statuses)
	}
}
