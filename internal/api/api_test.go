package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/api"
	"github.com/tributary-hub/tributary/internal/auth"
	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/server"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// A world is a hub's admin API over HTTP, with an operator and two tenants, acme and rival, each with a key that may
// everything.
type world struct {
	db       *storetest.DB
	keeper   *secret.Keeper
	url      string
	clock    *clock
	operator string // keys
	acme     string
	rival    string
	ids      map[string]string // tenants' ids by slug
}

// clock can be set forward.
type clock struct {
	mu  sync.Mutex
	off time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.off)
}

func (c *clock) forward(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.off += d
}

func newWorld(t *testing.T, options ...func(*api.Options)) *world {
	t.Helper()
	return newWorldOn(t, storetest.New(t), options...)
}

func newWorldOn(t *testing.T, db *storetest.DB, options ...func(*api.Options)) *world {
	t.Helper()
	w := &world{db: db, clock: &clock{}, ids: map[string]string{}}
	keyset, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	if w.keeper, err = secret.Open(keyset); err != nil {
		t.Fatal(err)
	}
	log := canary.Logger(t)
	dir, err := directory.New(directory.Options{Pipeline: w.db.Pipeline, Keeper: w.keeper, Log: log, Now: w.clock.now})
	if err != nil {
		t.Fatal(err)
	}
	o := api.Options{
		Store: w.db.Store, Directory: dir, Keeper: w.keeper, Log: log, Now: w.clock.now,
		Keys:      auth.NewKeys(auth.KeysOptions{Directory: dir, Pipeline: w.db.Pipeline, Log: log, Now: w.clock.now}),
		PublicURL: &url.URL{Scheme: "https", Host: "hub.example.com"},
		Accept: func(ctx context.Context, e hub.Event) (hub.Receipt, error) {
			receipts, err := w.db.Pipeline.InsertEvents(ctx, []hub.Event{e})
			if err != nil {
				return hub.Receipt{}, err
			}
			return receipts[0], nil
		},
		CheckIssuer: func(context.Context, string, string, bool) error { return nil }, // the far side of the network
	}
	for _, option := range options {
		option(&o)
	}
	s := httptest.NewServer(server.New(server.Options{Name: "public", Listen: "127.0.0.1:0", Mux: api.New(o), Log: log}))
	t.Cleanup(s.Close)
	w.url = s.URL
	w.operator = w.operatorKey(t, hub.OperatorScopes()...)
	w.acme = w.tenant(t, "acme")
	w.rival = w.tenant(t, "rival")
	return w
}

// operatorKey makes an operator's key, as the command line does.
func (w *world) operatorKey(t *testing.T, scopes ...hub.Scope) string {
	t.Helper()
	value := hub.FormatKey(strings.Repeat("A", 24) + strings.ToUpper(hub.NewID[hub.KeyID]().String()[32:]))
	hash := hub.HashToken(value)
	w.db.Exec(t, `INSERT INTO tributary.operator_keys (id, name, hash, scopes) VALUES ($1, 'root', $2, $3)`, hub.NewID[hub.KeyID](), hash[:], scopes)
	return value
}

// tenant makes a tenant and a key of it that may everything.
func (w *world) tenant(t *testing.T, slug string) string {
	t.Helper()
	made := w.must(t, 201, "POST", "/v1/tenants", w.operator, object{"slug": slug, "name": slug})
	w.ids[slug] = made.text(t, "id")
	return w.key(t, slug, hub.TenantScopes()...)
}

func (w *world) key(t *testing.T, slug string, scopes ...hub.Scope) string {
	t.Helper()
	return w.must(t, 201, "POST", "/v1/tenants/"+slug+"/keys", w.operator, object{"name": "test", "scopes": scopes}).text(t, "key")
}

type object = map[string]any

// A reply is what came back.
type reply struct {
	status int
	header http.Header
	raw    []byte
	body   object // nil where it is no JSON object
}

// text is a string of the body.
func (r reply) text(t *testing.T, name string) string {
	t.Helper()
	s, ok := r.body[name].(string)
	if !ok {
		t.Fatalf("no text %q in %s", name, r.raw)
	}
	return s
}

// names lists one member of each item of a list.
func (r reply) names(t *testing.T, member string) []string {
	t.Helper()
	items, ok := r.body["items"].([]any)
	if !ok {
		t.Fatalf("no list: %s", r.raw)
	}
	var all []string
	for _, item := range items {
		s, _ := item.(object)[member].(string)
		all = append(all, s)
	}
	return all
}

// send sends a request. A body that is a string goes as it is; headers are pairs.
func (w *world) send(t *testing.T, method, path, key string, body any, headers ...string) reply {
	t.Helper()
	var in io.Reader
	switch body := body.(type) {
	case nil:
	case string:
		in = strings.NewReader(body)
	default:
		encoded, err := json.Marshal(body)
		if err != nil {
			t.Fatal(err)
		}
		in = bytes.NewReader(encoded)
	}
	r, err := http.NewRequestWithContext(t.Context(), method, w.url+path, in)
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if in != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	defer func() { _ = answer.Body.Close() }()
	out := reply{status: answer.StatusCode, header: answer.Header}
	if out.raw, err = io.ReadAll(answer.Body); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	_ = json.Unmarshal(out.raw, &out.body) // bodies that are no objects have none
	return out
}

// must is send, and wants that status.
func (w *world) must(t *testing.T, status int, method, path, key string, body any, headers ...string) reply {
	t.Helper()
	r := w.send(t, method, path, key, body, headers...)
	if r.status != status {
		t.Fatalf("%s %s: %d, want %d: %s", method, path, r.status, status, r.raw)
	}
	return r
}

// refused is send, and wants a problem of that code.
func (w *world) refused(t *testing.T, code hub.Code, method, path, key string, body any, headers ...string) reply {
	t.Helper()
	r := w.send(t, method, path, key, body, headers...)
	if r.body["code"] != string(code) {
		t.Errorf("%s %s: %d %s, want %s", method, path, r.status, r.raw, code)
	}
	if got := r.header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("%s %s: content type %q", method, path, got)
	}
	return r
}

// yes says that a member of a body is true, no that it is false and not absent.
func yes(v any) bool {
	b, _ := v.(bool)
	return b
}

func no(v any) bool {
	b, ok := v.(bool)
	return ok && !b
}

// changed is a body with some members replaced.
func changed(body object, changes ...object) object {
	out := maps.Clone(body)
	for _, change := range changes {
		maps.Copy(out, change)
	}
	return out
}

// locations are those of a problem's errors.
func (r reply) locations() []string {
	errs, _ := r.body["errors"].([]any)
	var all []string
	for _, e := range errs {
		s, _ := e.(object)["location"].(string)
		all = append(all, s)
	}
	return all
}
