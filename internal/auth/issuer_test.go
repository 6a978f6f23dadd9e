package auth_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tributary-hub/tributary/internal/auth"
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/egress"
	"github.com/tributary-hub/tributary/internal/hub"
)

const audience = "https://hub.example.com"

// clock is a clock that a test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// issuers is a server with several real issuers, by name, that counts what is fetched.
type issuers struct {
	*httptest.Server
	mu     sync.Mutex
	keys   map[string][]any // by name, what the key set holds
	counts map[string]int   // by path
	down   bool
}

func newIssuers(t testing.TB) *issuers {
	t.Helper()
	s := &issuers{keys: map[string][]any{}, counts: map[string]int{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{name}/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		issuer := s.issuer(r.PathValue("name"))
		s.answer(w, r, map[string]any{"issuer": issuer, "jwks_uri": issuer + "/keys"})
	})
	mux.HandleFunc("GET /{name}/keys", func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		keys := append([]any{}, s.keys[r.PathValue("name")]...)
		s.mu.Unlock()
		s.answer(w, r, map[string]any{"keys": keys})
	})
	s.Server = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func (s *issuers) answer(w http.ResponseWriter, r *http.Request, document any) {
	s.mu.Lock()
	s.counts[r.URL.Path]++
	down := s.down
	s.mu.Unlock()
	if down {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	_ = json.NewEncoder(w).Encode(document) // the client's test fails where it does not arrive
}

func (s *issuers) issuer(name string) string { return s.URL + "/" + name }

func (s *issuers) publish(name string, keys ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[name] = keys
}

func (s *issuers) setDown(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

// fetches counts the fetches of one issuer's documents: of its key set and of its discovery document.
func (s *issuers) fetches(name string) (keys, discovery int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts["/"+name+"/keys"], s.counts["/"+name+"/.well-known/openid-configuration"]
}

// row is a row that trusts the issuer of that name.
func (s *issuers) row(name string) *directory.Issuer {
	return &directory.Issuer{Issuer: hub.Issuer{
		ID:        hub.NewID[hub.IssuerID](),
		Name:      name,
		Issuer:    s.issuer(name),
		Audiences: []string{audience},
		Internal:  true,
	}}
}

func newVerifier(t testing.TB, s *issuers, c *clock) *auth.Verifier {
	t.Helper()
	client, err := egress.NewClient(egress.Options{Allow: []string{s.Listener.Addr().String()}, Dev: true})
	if err != nil {
		t.Fatal(err)
	}
	keys := egress.NewKeys(egress.KeysOptions{Client: client, Now: c.Now})
	t.Cleanup(func() {
		if err := keys.Stop(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return auth.NewVerifier(auth.VerifierOptions{Keys: keys, Now: c.Now})
}

// A signingKey is a private key, as its issuer publishes it.
type signingKey struct {
	id, alg string
	key     crypto.Signer
}

func (k signingKey) public() jose.JSONWebKey {
	return jose.JSONWebKey{Key: k.key.Public(), KeyID: k.id, Algorithm: k.alg, Use: "sig"}
}

// sign makes a token as an issuer's library does.
func (k signingKey) sign(t testing.TB, header, claims map[string]any) string {
	t.Helper()
	options := &jose.SignerOptions{}
	for name, value := range header {
		options.WithHeader(jose.HeaderKey(name), value)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(k.alg), Key: jose.JSONWebKey{Key: k.key, KeyID: k.id}}, options)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	return k.signPayload(t, signer, payload)
}

func (k signingKey) signPayload(t testing.TB, signer jose.Signer, payload []byte) string {
	t.Helper()
	jws, err := signer.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	compact, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return compact
}

// good are claims that pass every rule, changed by pairs of name and value; absent takes a claim away.
func good(s *issuers, c *clock, changes ...any) map[string]any {
	now := c.Now().Unix()
	claims := map[string]any{"iss": s.issuer("a"), "sub": "alice", "aud": audience, "iat": now, "exp": now + 3600}
	for i := 0; i < len(changes); i += 2 {
		name, _ := changes[i].(string)
		if changes[i+1] == absent {
			delete(claims, name)
			continue
		}
		claims[name] = changes[i+1]
	}
	return claims
}

type absence struct{}

var absent any = absence{}

func ecKey(id string) signingKey {
	return signingKey{id, "ES256", must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))}
}

func rsaKey(id, alg string) signingKey { return signingKey{id, alg, sharedRSA()} }

// sharedRSA is made once: it is the one key that takes time to make.
var sharedRSA = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func edKey(id string) signingKey {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return signingKey{id, "EdDSA", must(key, err)}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprint("prepare a test: ", err))
	}
	return v
}

// part encodes one part of a token.
func part(value any) string {
	b, ok := value.([]byte)
	if !ok {
		b = must(json.Marshal(value))
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// raw makes a token by hand, for what no library would sign.
func raw(header, claims any, sign func(input []byte) []byte) string {
	input := part(header) + "." + part(claims)
	return input + "." + part(sign([]byte(input)))
}
