package api_test

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/api"
	"github.com/tributary-hub/tributary/internal/egress"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
)

const unreachable = "https://down.example.com"

// An asker answers in place of issuers, of which one is down, and remembers who was asked.
type asker struct {
	mu    sync.Mutex // guards what follows
	asked []string
	then  func(n int) // what happens while the nth is asked, counted from 1; nil: nothing
}

func (a *asker) check(_ context.Context, issuer, jwksURI string, internal bool) error {
	a.mu.Lock()
	line := strings.TrimSpace(issuer + " " + jwksURI)
	if internal {
		line += " internal"
	}
	a.asked = append(a.asked, line)
	n, then := len(a.asked), a.then
	a.mu.Unlock()
	if then != nil {
		then(n)
	}
	if issuer == unreachable || jwksURI == unreachable {
		return hub.Errorf(hub.IssuerUnreachable, "nobody there")
	}
	return nil
}

// was says who was asked since it was last asked.
func (a *asker) was() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	asked := a.asked
	a.asked = nil
	return asked
}

func (a *asker) thenDo(then func(n int)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.then = then
}

func newAskedWorld(t *testing.T, options ...func(*api.Options)) (*world, *asker) {
	t.Helper()
	a := &asker{}
	return newWorld(t, append(options, func(o *api.Options) { o.CheckIssuer = a.check })...), a
}

func TestIssuers_AreAskedBeforeTheyAreSaved(t *testing.T) {
	t.Parallel()
	w, a := newAskedWorld(t)
	const one = issuers + "/login"
	put := func(changes ...object) object { return changed(login(changes...), object{"name": "login"}) }
	const home = "https://login.example.com"
	// In this order: each finds what those before it have made.
	steps := []struct {
		name, method, path string
		key                string
		body               any
		status             int
		asked              []string
	}{
		{"not an address", "POST", issuers, w.acme, login(object{"issuer": "http://login.example.com"}), 422, nil},
		{"down", "POST", issuers, w.acme, login(object{"issuer": unreachable}), 422, []string{unreachable}},
		{"created", "POST", issuers, w.acme, login(), 201, []string{home}},
		{"name taken", "POST", issuers, w.acme, login(object{"grants": []any{"x:{sub}"}}), 409, nil},
		{"grants overlap", "POST", issuers, w.acme, login(object{"name": "other"}), 422, nil},
		{"nobody there to change", "PATCH", issuers + "/nobody", w.acme, object{"issuer": unreachable}, 404, nil},
		{"something else", "PATCH", one, w.acme, object{"metadata": object{"a": "b"}}, 200, nil},
		{"the same again", "PUT", one, w.acme, put(), 200, nil},
		{"moved to where nobody answers", "PATCH", one, w.acme, object{"issuer": unreachable}, 422, []string{unreachable}},
		{"put where nobody answers", "PUT", one, w.acme, put(object{"issuer": unreachable}), 422, []string{unreachable}},
		{"moved", "PATCH", one, w.acme, object{"issuer": "https://b.example.com"}, 200, []string{"https://b.example.com"}},
		{"put elsewhere", "PUT", one, w.acme, put(), 200, []string{home}},
		{"created by PUT", "PUT", issuers + "/second", w.acme, login(object{"name": "second", "grants": []any{"y:{sub}"}}), 201, []string{home}},
		{"not created by PUT", "PUT", issuers + "/third", w.acme, login(object{"name": "third", "grants": []any{"z:{sub}"}, "issuer": unreachable}), 422, []string{unreachable}},
		{"keys elsewhere", "PATCH", one, w.operator, object{"jwks_uri": "https://keys.example.com"}, 200, []string{home + " https://keys.example.com"}},
		{"keys nowhere", "PATCH", one, w.operator, object{"jwks_uri": unreachable}, 422, []string{home + " " + unreachable}},
		{"internal", "PATCH", one, w.operator, object{"internal": true}, 200, []string{home + " https://keys.example.com internal"}},
		{"another field of the operator's row", "PATCH", one, w.acme, object{"session_seconds": 60}, 200, nil},
		{"keys at home", "PATCH", one, w.operator, object{"jwks_uri": nil, "internal": nil}, 200, []string{home}},
		{"deleted", "DELETE", one, w.acme, nil, 204, nil},
	}
	for _, s := range steps {
		before := w.audits(t)
		r := w.send(t, s.method, s.path, s.key, s.body)
		if r.status != s.status {
			t.Fatalf("%s: %d %s", s.name, r.status, r.raw)
		}
		if diff := cmp.Diff(s.asked, a.was()); diff != "" {
			t.Errorf("%s: asked: %s", s.name, diff)
		}
		entries := 0
		if s.status < 300 {
			entries = 1
		}
		if n := w.audits(t) - before; n != entries {
			t.Errorf("%s: %d audit entries", s.name, n)
		}
	}
	if r := w.refused(t, hub.IssuerUnreachable, "POST", issuers, w.acme, login(object{"name": "fourth", "issuer": unreachable})); cmp.Diff([]string{"body.issuer"}, r.locations()) != "" {
		t.Errorf("where: %s", r.raw)
	}
	if r := w.refused(t, hub.IssuerUnreachable, "POST", issuers, w.operator, login(object{"name": "fourth", "jwks_uri": unreachable})); cmp.Diff([]string{"body.jwks_uri"}, r.locations()) != "" {
		t.Errorf("where: %s", r.raw)
	}
}

// audits counts the entries.
func (w *world) audits(t *testing.T) int {
	t.Helper()
	return storetest.Value[int](t, w.db, `SELECT count(*) FROM tributary.audit`)
}

func TestIssuers_NobodyIsAskedForWhatIsRefusedAnyway(t *testing.T) {
	t.Parallel()
	w, a := newAskedWorld(t)
	tag := w.must(t, 201, "POST", issuers, w.acme, login()).header.Get("ETag")
	w.must(t, 200, "PATCH", "/v1/tenants/acme", w.operator, object{"limits": object{"issuers": 1}})
	w.must(t, 200, "PATCH", issuers+"/login", w.acme, object{"metadata": object{"a": "b"}})
	a.was()
	w.refused(t, hub.LimitExceeded, "POST", issuers, w.acme, login(object{"name": "two", "grants": []any{"two:x"}}))
	w.refused(t, hub.PreconditionFailed, "PATCH", issuers+"/login", w.acme, object{"issuer": "https://b.example.com"}, "If-Match", tag)
	w.refused(t, hub.ScopeMissing, "PATCH", issuers+"/login", w.key(t, "acme", hub.ConfigWrite), object{"issuer": "https://b.example.com"})
	w.refused(t, hub.NotFound, "POST", issuers, w.rival, login())
	if asked := a.was(); asked != nil {
		t.Errorf("asked: %v", asked)
	}
}

// A stranger's server may take its time: meanwhile nothing of the tenant is locked.
func TestIssuers_OthersGoOnWhileOneIsAsked(t *testing.T) {
	t.Parallel()
	w, a := newAskedWorld(t)
	var during reply
	a.thenDo(func(int) {
		during = w.send(t, "PATCH", "/v1/tenants/acme/settings", w.acme, object{"ticket_seconds": 30})
	})
	w.must(t, 201, "POST", issuers, w.acme, login())
	if during.status != 200 {
		t.Errorf("%d %s", during.status, during.raw)
	}
}

func TestIssuers_MovedWhileTheyAreAsked(t *testing.T) {
	t.Parallel()
	const one, b, keys = issuers + "/login", "https://b.example.com", "https://keys.example.com"
	t.Run("what is saved has answered", func(t *testing.T) {
		t.Parallel()
		w, a := newAskedWorld(t)
		w.must(t, 201, "POST", issuers, w.acme, login())
		a.was()
		a.thenDo(func(n int) {
			if n == 1 {
				w.must(t, 200, "PATCH", one, w.acme, object{"issuer": b})
			}
		})
		r := w.must(t, 200, "PATCH", one, w.operator, object{"jwks_uri": keys})
		if r.body["issuer"] != b || r.body["jwks_uri"] != keys {
			t.Errorf("%s", r.raw)
		}
		if diff := cmp.Diff([]string{"https://login.example.com " + keys, b, b + " " + keys}, a.was()); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("an operator takes it over", func(t *testing.T) {
		t.Parallel()
		w, a := newAskedWorld(t)
		w.must(t, 201, "POST", issuers, w.acme, login())
		a.was()
		a.thenDo(func(n int) {
			if n == 1 {
				w.must(t, 200, "PATCH", one, w.operator, object{"internal": true})
			}
		})
		w.refused(t, hub.ScopeMissing, "PATCH", one, w.acme, object{"issuer": b})
		if r := w.must(t, 200, "GET", one, w.acme, nil); r.body["issuer"] != "https://login.example.com" {
			t.Errorf("%s", r.raw)
		}
	})
	t.Run("for ever", func(t *testing.T) {
		t.Parallel()
		w, a := newAskedWorld(t)
		w.must(t, 201, "POST", issuers, w.acme, login())
		a.was()
		addresses := map[int]string{1: "https://c.example.com", 3: "https://d.example.com"}
		a.thenDo(func(n int) {
			if issuer, ok := addresses[n]; ok {
				w.must(t, 200, "PATCH", one, w.acme, object{"issuer": issuer})
			}
		})
		w.refused(t, hub.Conflict, "PATCH", one, w.operator, object{"jwks_uri": keys})
		if asked := a.was(); len(asked) != 4 {
			t.Errorf("asked: %v", asked)
		}
	})
}

func TestIssuers_UnreachableMayBeSentAgain(t *testing.T) {
	t.Parallel()
	var down atomic.Bool
	w := newWorld(t, func(o *api.Options) {
		o.CheckIssuer = func(context.Context, string, string, bool) error {
			if down.Load() {
				return hub.Errorf(hub.IssuerUnreachable, "nobody there")
			}
			return nil
		}
	})
	down.Store(true)
	w.refused(t, hub.IssuerUnreachable, "POST", issuers, w.acme, login(), "Idempotency-Key", "k")
	down.Store(false)
	first := w.must(t, 201, "POST", issuers, w.acme, login(), "Idempotency-Key", "k")
	again := w.must(t, 201, "POST", issuers, w.acme, login(), "Idempotency-Key", "k")
	if diff := cmp.Diff(string(first.raw), string(again.raw)); diff != "" {
		t.Error(diff)
	}
}

// The real thing: an issuer over TLS, inside the hub's network, by the cache that streams use too.
func TestIssuers_AskedOverTheNetwork(t *testing.T) {
	t.Parallel()
	s := newOIDCServer(t) // of which only the keys are served here
	home := httptest.NewUnstartedServer(nil)
	home.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		issuer, isDocument := strings.CutSuffix(r.URL.Path, "/.well-known/openid-configuration")
		switch {
		case isDocument && issuer != "/none":
			_ = json.NewEncoder(rw).Encode(object{"issuer": home.URL + issuer, "jwks_uri": home.URL + issuer + "/keys"})
		case r.URL.Path == "/good/keys":
			s.Config.Handler.ServeHTTP(rw, httptest.NewRequestWithContext(r.Context(), http.MethodGet, "/keys", nil))
		case r.URL.Path == "/empty/keys":
			_ = json.NewEncoder(rw).Encode(object{"keys": []any{}})
		default:
			http.Error(rw, "s3cr3t-canary", http.StatusTeapot)
		}
	})
	home.StartTLS()
	t.Cleanup(home.Close)
	roots := x509.NewCertPool()
	roots.AddCert(home.Certificate())
	client, err := egress.NewClient(egress.Options{Allow: []string{home.Listener.Addr().String()}, RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	keys := egress.NewKeys(egress.KeysOptions{Client: client})
	t.Cleanup(func() { _ = keys.Stop(context.WithoutCancel(t.Context())) })
	w := newWorld(t, func(o *api.Options) { o.CheckIssuer = keys.Check })

	row := func(path string, changes ...object) object {
		return login(append([]object{{"issuer": home.URL + path, "internal": true}}, changes...)...)
	}
	w.must(t, 201, "POST", issuers, w.operator, row("/good"))
	var answers []string
	for name, ask := range map[string]struct {
		key  string
		body object
	}{
		"no keys":             {w.operator, row("/empty", object{"name": "a", "grants": []any{"a:{sub}"}})},
		"no document":         {w.operator, row("/none", object{"name": "a", "grants": []any{"a:{sub}"}})},
		"keys not there":      {w.operator, row("/good", object{"name": "a", "grants": []any{"a:{sub}"}, "jwks_uri": home.URL + "/none"})},
		"guarded":             {w.operator, row("/good", object{"name": "a", "grants": []any{"a:{sub}"}, "internal": false})},
		"guarded, a tenant's": {w.acme, login(object{"name": "a", "grants": []any{"a:{sub}"}, "issuer": home.URL + "/good"})},
		"no such name":        {w.acme, login(object{"name": "a", "grants": []any{"a:{sub}"}, "issuer": "https://nobody.invalid"})},
	} {
		r := w.refused(t, hub.IssuerUnreachable, "POST", issuers, ask.key, ask.body)
		if r.status != 422 || strings.Contains(string(r.raw), "canary") {
			t.Errorf("%s: %d %s", name, r.status, r.raw)
		}
		_, answer, _ := strings.Cut(r.text(t, "detail"), ": ") // after the field's place, which the request says itself
		answers = append(answers, answer)
	}
	for _, answer := range answers {
		if answer != answers[0] || strings.Contains(answer, "127.0.0.1") || strings.Contains(answer, "418") {
			t.Errorf("answers tell causes apart: %q", answers)
			break
		}
	}
	if got := w.must(t, 200, "GET", issuers, w.acme, nil).names(t, "name"); cmp.Diff([]string{"login"}, got) != "" {
		t.Errorf("saved: %v", got)
	}
}

// Under dev http passes too, and is asked like any other: what is tried there behaves as it will in production.
func TestIssuers_AskedUnderDevToo(t *testing.T) {
	t.Parallel()
	w, a := newAskedWorld(t, func(o *api.Options) { o.Dev = true })
	w.refused(t, hub.IssuerUnreachable, "POST", issuers, w.acme, login(object{"issuer": unreachable}))
	w.must(t, 201, "POST", issuers, w.acme, login(object{"issuer": "http://127.0.0.1:8081"}))
	if diff := cmp.Diff([]string{unreachable, "http://127.0.0.1:8081"}, a.was()); diff != "" {
		t.Error(diff)
	}
}
