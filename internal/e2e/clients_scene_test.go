package e2e_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/tmaxmax/go-sse"
)

// A clientBench is the hub with the clients that are tried on it.
type clientBench struct {
	hub     *hub
	db      *pgxpool.Pool
	epoch   string
	clients []foreignClient
	cleanup func(func()) // runs what it is given when all cases are done: until then, a client that has closed is watched

	mu     sync.Mutex // guards closed
	closed []*clientRun
}

// readEpoch is what the hub's cursors begin with.
func (b *clientBench) readEpoch(t *testing.T) string {
	t.Helper()
	b.db = b.hub.database(t)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.hub.dev.URL+"/stream/demo", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+b.hub.dev.TenantKey)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	for first, err := range sse.Read(response.Body, nil) {
		epoch, _, ok := strings.Cut(first.LastEventID, "-")
		if err == nil && ok {
			return epoch
		}
		break
	}
	t.Fatal("the hub's first frame has no cursor")
	return ""
}

// keepClosed has a run looked at once more when all cases are done.
func (b *clientBench) keepClosed(r *clientRun, seen, asked int) {
	r.atEnd, r.askedAtEnd = seen, asked
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = append(b.closed, r)
}

// An entry is one of the case's log.
type entry struct {
	typ, data string // data is JSON
	channel   string // default: the case's own
	// raw is data as a publisher may write it, byte by byte. A route writes its own JSON, so that this is put where
	// the message is kept, before anybody reads it.
	raw string
}

// A scene is a case with its tenant.
type scene struct {
	bench      *clientBench
	c          clientCase
	tenant     string
	channel    string
	credential func(n int) string // of the nth connection of each client
	door       string             // the URL of the tenant's endpoint
	logged     func(position int) // hears of each message that is in the log; may be nil
	key        string             // the id of the tenant's, where the case has one
	sent       int
}

const clientSecret = "not-a-secret-of-anybody"

// newScene makes the tenant: an endpoint, and a route that makes of each webhook the message that stands in it.
func (b *clientBench) newScene(t *testing.T, number int, c clientCase) *scene {
	t.Helper()
	s := &scene{bench: b, c: c, tenant: fmt.Sprintf("case-%d", number), channel: "c"}
	above := "" // a value in a template is one segment
	s.credential = func(int) string { return b.hub.dev.OperatorKey }
	if c.demo {
		s.tenant, above = "demo", "demo:"
	} else {
		s.api(t, http.MethodPost, "/v1/tenants", map[string]any{"slug": s.tenant, "name": c.name}, http.StatusCreated)
	}
	if len(c.log)+len(c.live) > 0 {
		base := "/v1/tenants/" + s.tenant
		endpoint := s.api(t, http.MethodPost, base+"/endpoints", map[string]any{
			"name": "case", "provider": "generic-hmac", "secret": clientSecret, "config": map[string]string{"header": "X-Signature", "type": "json:type"},
		}, http.StatusCreated)
		s.door = endpoint["url"].(string)
		s.api(t, http.MethodPost, base+"/routes", map[string]any{
			"name": "case", "endpoint": endpoint["id"], "match": "true", "channels": []string{above + "{event.body.channel}"}, "data": "event.body.data",
		}, http.StatusCreated)
	}
	s.channel = above + s.channel
	if c.prepare != nil {
		c.prepare(t, s)
	}
	return s
}

// api calls the admin API as the operator.
func (s *scene) api(t *testing.T, method, path string, body any, want int) map[string]any {
	t.Helper()
	status, answer := s.bench.hub.apiAs(t, s.bench.hub.dev.OperatorKey, method, path, body)
	if status != want {
		t.Fatalf("%s %s: %d %v, want %d", method, path, status, answer, want)
	}
	return answer
}

// append sends each as a webhook, and the next when it is in the log.
func (s *scene) append(t *testing.T, messages []entry) {
	t.Helper()
	for _, m := range messages {
		s.sent++
		channel := m.channel
		if channel == "" {
			channel = "c"
		}
		typ := ""
		if m.typ != "" {
			typ = fmt.Sprintf(`"type":%q,`, m.typ)
		}
		data := m.data
		if m.raw != "" {
			data = "null"
		}
		s.post(t, fmt.Appendf(nil, `{%s"n":%d,"channel":%q,"data":%s}`, typ, s.sent, channel, data))
		waitUntil(t, func() bool {
			return count(t, s.bench.db, `SELECT coalesce(max(position), 0) FROM tributary.log_heads WHERE tenant_id = (SELECT id FROM tributary.tenants WHERE slug = $1)`, s.tenant) >= s.sent
		})
		if m.raw != "" {
			s.exec(t, `UPDATE tributary.messages SET data = $3 WHERE position = $2 AND tenant_id = (SELECT id FROM tributary.tenants WHERE slug = $1)`, s.tenant, s.sent, []byte(m.raw))
		}
		if s.logged != nil {
			s.logged(s.sent)
		}
	}
}

func (s *scene) post(t *testing.T, body []byte) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.door, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(clientSecret))
	mac.Write(body)
	request.Header.Set("X-Signature", hex.EncodeToString(mac.Sum(nil)))
	request.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusOK {
		t.Fatalf("a webhook was answered by %s", response.Status)
	}
}

func (s *scene) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	tag, err := s.bench.db.Exec(t.Context(), sql, args...)
	if err != nil || tag.RowsAffected() == 0 {
		t.Fatalf("%s: %v, %d rows", sql, err, tag.RowsAffected())
	}
}

// path is the stream that clients open.
func (s *scene) path() string {
	return "/stream/" + s.tenant + "?channel=" + url.QueryEscape(s.channel) + strings.ReplaceAll(s.c.query, "@", s.bench.epoch+"-")
}

// types are those that a page listens for, as a native EventSource hears of no other: all of the hub's own, so that
// none comes unnoticed.
func (s *scene) types() []string {
	seen := map[string]bool{"open": true, "error": true}
	types := []string{}
	for _, name := range []string{"message", "event", "hub.ready", "hub.live", "hub.ping", "hub.reset", "hub.expiring", "hub.bye", "hub.state", "hub.presence"} {
		types, seen[name] = append(types, name), true
	}
	for _, m := range append(s.c.log, s.c.live...) {
		if m.typ != "" && !seen[m.typ] {
			types, seen[m.typ] = append(types, m.typ), true
		}
	}
	return types
}

// shortToken is a token of the development issuer, good for some seconds; none where it does not answer.
func (s *scene) shortToken(seconds int) string {
	body, _ := json.Marshal(map[string]any{"sub": "alice", "ttl": seconds})
	response, err := http.Post(s.bench.hub.dev.Issuer+"/token", "application/json", bytes.NewReader(body))
	if err != nil {
		return ""
	}
	defer response.Body.Close()
	var token struct {
		AccessToken string `json:"access_token"`
	}
	_ = json.NewDecoder(response.Body).Decode(&token)
	return token.AccessToken
}
