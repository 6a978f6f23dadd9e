package egress_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tributary-hub/tributary/internal/egress"
)

// issuers is a server with as many OIDC issuers as are asked for, one for each first segment of a path. It counts
// fetches of documents by path.
type issuers struct {
	*remote
	mu        sync.Mutex
	counts    map[string]int
	documents map[string]any                                              // by path; others are derived
	intercept func(w http.ResponseWriter, r *http.Request) (handled bool) // nil: none
}

func newIssuers(t testing.TB) *issuers {
	t.Helper()
	s := &issuers{counts: map[string]int{}, documents: map[string]any{}}
	s.remote = newRemote(t, false, s.serve)
	return s
}

func (s *issuers) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.counts[r.URL.Path]++
	intercept, document := s.intercept, s.documents[r.URL.Path]
	s.mu.Unlock()
	if intercept != nil && intercept(w, r) {
		return
	}
	if issuer, ok := strings.CutSuffix(r.URL.Path, "/.well-known/openid-configuration"); ok && document == nil {
		document = map[string]any{"issuer": s.URL + issuer, "jwks_uri": s.URL + issuer + "/keys"}
	}
	if document == nil {
		http.NotFound(w, r)
		return
	}
	_ = json.NewEncoder(w).Encode(document)
}

func (s *issuers) issuer(name string) string { return s.URL + "/" + name }

// publish sets what an issuer's key set holds.
func (s *issuers) publish(name string, keys ...jose.JSONWebKey) {
	s.set("/"+name+"/keys", jose.JSONWebKeySet{Keys: append([]jose.JSONWebKey{}, keys...)})
}

func (s *issuers) set(path string, document any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.documents[path] = document
}

func (s *issuers) interceptWith(f func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.intercept = f
}

// down makes the whole server fail, or work again.
func (s *issuers) down(down bool) {
	s.interceptWith(func(w http.ResponseWriter, _ *http.Request) bool {
		if down {
			w.WriteHeader(http.StatusBadGateway)
		}
		return down
	})
}

// fetches counts the fetches of an issuer's key set.
func (s *issuers) fetches(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts["/"+name+"/keys"]
}

func (s *issuers) discoveries(name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts["/"+name+"/.well-known/openid-configuration"]
}

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

// newKeys makes a cache whose internal calls reach the server.
func newKeys(t testing.TB, s *issuers, o egress.KeysOptions) (*egress.Keys, *clock) {
	t.Helper()
	c := newClock()
	o.Now = c.Now
	o.Client = newClient(t, egress.Options{Allow: []string{"127.0.0.1:" + s.port}, Dev: true})
	keys := egress.NewKeys(o)
	t.Cleanup(func() {
		if err := keys.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return keys, c
}

var ecKey = sync.OnceValue(func() crypto.Signer { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })

var rsaKey = sync.OnceValue(func() crypto.Signer { return must(rsa.GenerateKey(rand.Reader, 2048)) })

var edKey = sync.OnceValue(func() crypto.Signer {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	return must(key, err)
})

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprint("make a test's key: ", err))
	}
	return v
}

// es256 is a published key of that id.
func es256(id string) jose.JSONWebKey {
	return jose.JSONWebKey{Key: ecKey().Public(), KeyID: id, Algorithm: "ES256", Use: "sig"}
}
