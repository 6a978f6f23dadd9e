package app_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tributary-hub/tributary/internal/app"
	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// issuers is a server with real issuers, each at an address of its own, that counts what is fetched.
type issuers struct {
	*httptest.Server
	mu      sync.Mutex        // guards what follows
	issuers map[string]string // by path, without the slash that some end with
	keys    map[string][]any  // likewise, what the key set holds
	fetched map[string]int    // by path
}

const (
	discoveryPath = "/.well-known/openid-configuration"
	keysPath      = "/keys.json"
)

func newIssuers(t *testing.T) *issuers {
	t.Helper()
	s := &issuers{issuers: map[string]string{}, keys: map[string][]any{}, fetched: map[string]int{}}
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func (s *issuers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fetched[r.URL.Path]++
	if at, ok := strings.CutSuffix(r.URL.Path, discoveryPath); ok && s.issuers[at] != "" {
		_ = json.NewEncoder(w).Encode(map[string]any{"issuer": s.issuers[at], "jwks_uri": s.URL + at + keysPath}) // whoever asked fails without it
		return
	}
	if at, ok := strings.CutSuffix(r.URL.Path, keysPath); ok && s.issuers[at] != "" {
		_ = json.NewEncoder(w).Encode(map[string]any{"keys": s.keys[at]})
		return
	}
	http.NotFound(w, r)
}

// at is the address here of an issuer that is elsewhere: its host is the first part of the path, the rest as it is.
func (s *issuers) at(issuer string) string {
	return s.URL + "/" + strings.TrimPrefix(issuer, "https://")
}

func (s *issuers) path(issuer string) string {
	return strings.TrimSuffix(strings.TrimPrefix(issuer, s.URL), "/")
}

// publish adds keys to the set of the issuer at that address.
func (s *issuers) publish(issuer string, keys ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.issuers[s.path(issuer)] = issuer
	s.keys[s.path(issuer)] = append(s.keys[s.path(issuer)], keys...)
}

// fetches counts the fetches of each of an issuer's two documents.
func (s *issuers) fetches(issuer string) [2]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return [2]int{s.fetched[s.path(issuer)+discoveryPath], s.fetched[s.path(issuer)+keysPath]}
}

// A signer is a private key of an issuer.
type signer struct {
	id, alg string
	key     crypto.Signer
}

func (k signer) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.key.Public(), KeyID: k.id, Algorithm: k.alg, Use: "sig"}
}

// sign makes a token with these in its header besides, and that payload.
func (k signer) sign(t *testing.T, header map[string]any, payload []byte) string {
	t.Helper()
	options := &jose.SignerOptions{}
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	by, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.alg), Key: jose.JSONWebKey{Key: k.key, KeyID: k.id}}, options)
	must(t, err)
	signed, err := by.Sign(payload)
	must(t, err)
	token, err := signed.CompactSerialize()
	must(t, err)
	return token
}

func rsaSigner(t *testing.T, id, alg string) signer {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	must(t, err)
	return signer{id, alg, key}
}

func ecSigner(t *testing.T, id string) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	return signer{id, "ES256", key}
}

// A door is a whole process whose tenants trust issuers of the test's.
type door struct {
	db       *storetest.DB
	issuers  *issuers
	clock    *clock // of tokens and keys
	url      string
	operator string // its key
}

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time // guarded by mu
}

func (c *clock) read() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newDoor(t *testing.T) *door {
	t.Helper()
	d := &door{db: storetest.New(t), issuers: newIssuers(t), clock: &clock{now: time.Now()}, operator: hub.FormatKey(strings.Repeat("0p", 16))}
	must(t, store.CreateOperatorKey(t.Context(), d.db.OwnerURL, store.HashedKey{
		Key: hub.Key{ID: hub.NewID[hub.KeyID](), Name: "test", Scopes: hub.OperatorScopes()}, Hash: hub.HashToken(d.operator),
	}))
	c := whole(t, d.db)
	c.EgressAllow = []string{d.issuers.Listener.Addr().String()}
	ctx := context.WithoutCancel(t.Context())
	process, err := app.New(ctx, app.Options{Config: c, Log: canary.Logger(t), Version: "test", Dev: true}) // dev: the issuers are plain http
	must(t, err)
	process.ReadClock(d.clock.read)
	must(t, process.Start(ctx))
	t.Cleanup(func() { _ = process.Stop(ctx) })
	d.url = "http://" + process.Addr()
	return d
}

// post sends an operator's request, and gives the answer to one that goes well.
func (d *door) post(t *testing.T, path string, body any) map[string]any {
	t.Helper()
	raw, err := json.Marshal(body)
	must(t, err)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, d.url+path, bytes.NewReader(raw))
	must(t, err)
	r.Header.Set("Authorization", "Bearer "+d.operator)
	r.Header.Set("Content-Type", "application/json")
	response, err := http.DefaultClient.Do(r)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	must(t, err)
	if response.StatusCode >= http.StatusMultipleChoices {
		t.Fatalf("%s: %d %s", path, response.StatusCode, answer)
	}
	var fields map[string]any
	must(t, json.Unmarshal(answer, &fields))
	return fields
}

// trust saves an issuer's row, as an operator who lets the hub ask inside its own network.
func (d *door) trust(t *testing.T, tenant hub.TenantID, row map[string]any) {
	t.Helper()
	row["internal"] = true
	d.post(t, "/v1/tenants/"+tenant.String()+"/issuers", row)
}

// An answer is what a stream says first.
type answer struct {
	status int
	body   map[string]any // of hub.ready, or a problem; without what differs from request to request
}

func (a answer) accepted() bool { return a.status == http.StatusOK }

// ask opens a stream with the token as the credential, and leaves it at once.
func (d *door) ask(ctx context.Context, tenant, token string) (answer, error) {
	ctx, leave := context.WithTimeout(ctx, time.Minute)
	defer leave()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, d.url+"/stream/"+tenant, nil)
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Authorization", "Bearer "+token)
	r.Header.Set("Tributary-Client", "test") // 503 as such, and not as a stream that ends at once
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer func() { _ = response.Body.Close() }()
	out := answer{status: response.StatusCode}
	if !out.accepted() {
		err := json.NewDecoder(response.Body).Decode(&out.body)
		delete(out.body, "request_id")
		return out, err
	}
	for lines := bufio.NewScanner(response.Body); lines.Scan(); {
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok { // hub.ready comes first
			return out, json.Unmarshal([]byte(data), &out.body)
		}
	}
	return out, io.ErrUnexpectedEOF
}
