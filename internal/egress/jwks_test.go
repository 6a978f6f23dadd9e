package egress_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math/big"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/tributary-hub/tributary/internal/egress"
)

func document(t testing.TB, keys ...any) []byte {
	t.Helper()
	b, err := json.Marshal(map[string]any{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// with is a key's JSON with members changed.
func with(t *testing.T, key jose.JSONWebKey, changes map[string]any) map[string]any {
	t.Helper()
	b, err := json.Marshal(key)
	if err != nil {
		t.Fatal(err)
	}
	members := map[string]any{}
	if err := json.Unmarshal(b, &members); err != nil {
		t.Fatal(err)
	}
	maps.Copy(members, changes)
	return members
}

func TestParseJWKS_WhichKeysAreTaken(t *testing.T) {
	t.Parallel()
	public := func(key crypto.PublicKey) jose.JSONWebKey { return jose.JSONWebKey{Key: key, KeyID: "k"} }
	ec, rs, ed := public(ecKey().Public()), public(rsaKey().Public()), public(edKey().Public())
	p384 := public(&must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader)).PublicKey)
	p521 := public(&must(ecdsa.GenerateKey(elliptic.P521(), rand.Reader)).PublicKey)
	weak := public(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537})
	vast := public(&rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 8192, 1), E: 65537})
	long := ec
	long.KeyID = strings.Repeat("k", 257)
	set := func(members map[string]any, names ...any) map[string]any {
		for i := 0; i < len(names); i += 2 {
			members[names[i].(string)] = names[i+1]
		}
		return members
	}
	none := map[string]any{}

	for name, test := range map[string]struct {
		key  any
		algs string // that find it
	}{
		"RSA":                        {with(t, rs, none), "RS256 RS384 RS512 PS256 PS384 PS512"},
		"RSA for one algorithm":      {set(with(t, rs, none), "alg", "RS256"), "RS256"},
		"RSA to sign":                {set(with(t, rs, none), "use", "sig", "alg", "PS512"), "PS512"},
		"P-256":                      {with(t, ec, none), "ES256"},
		"P-384":                      {with(t, p384, none), "ES384"},
		"P-521":                      {with(t, p521, none), "ES512"},
		"Ed25519":                    {with(t, ed, none), "EdDSA"},
		"to verify":                  {set(with(t, ec, none), "key_ops", []string{"verify"}), "ES256"},
		"with a member nobody knows": {set(with(t, ec, none), "iat", 7), "ES256"},

		"symmetric":                        {map[string]any{"kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "HS256"}, ""},
		"symmetric, said to be asymmetric": {map[string]any{"kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "RS256"}, ""},
		"RSA for HMAC":                     {set(with(t, rs, none), "alg", "HS256"), ""},
		"RSA for encryption":               {set(with(t, rs, none), "alg", "RSA-OAEP"), ""},
		"RSA for none":                     {set(with(t, rs, none), "alg", "none"), ""},
		"RSA for ECDSA":                    {set(with(t, rs, none), "alg", "ES256"), ""},
		"P-256 for P-384's algorithm":      {set(with(t, ec, none), "alg", "ES384"), ""},
		"P-256 for RSA":                    {set(with(t, ec, none), "alg", "RS256"), ""},
		"an algorithm in lower case":       {set(with(t, ec, none), "alg", "es256"), ""},
		"for encryption":                   {set(with(t, ec, none), "use", "enc"), ""},
		"for another use":                  {set(with(t, ec, none), "use", "tls"), ""},
		"to encrypt":                       {set(with(t, ec, none), "key_ops", []string{"encrypt"}), ""},
		"to do nothing":                    {set(with(t, ec, none), "key_ops", []string{}), ""},
		"private":                          {with(t, jose.JSONWebKey{Key: ecKey(), KeyID: "k"}, none), ""},
		"private RSA":                      {with(t, jose.JSONWebKey{Key: rsaKey(), KeyID: "k"}, none), ""},
		"RSA of 1024 bits":                 {with(t, weak, none), ""},
		"RSA of 8193 bits":                 {with(t, vast, none), ""},
		"a point off its curve":            {set(with(t, ec, none), "x", base64.RawURLEncoding.EncodeToString(make([]byte, 32))), ""},
		"another curve than its point":     {set(with(t, ec, none), "crv", "P-384"), ""},
		"secp256k1":                        {set(with(t, ec, none), "crv", "secp256k1"), ""},
		"a key id of 257 bytes":            {with(t, long, none), ""},
		"a key id that is a number":        {set(with(t, ec, none), "kid", 7), ""},
		"a certificate that is none":       {set(with(t, ec, none), "x5c", []string{"bm9uZQ=="}), ""},
		"no kind":                          {set(with(t, ec, none), "kty", ""), ""},
		"not an object":                    {"key", ""},
		"nothing":                          {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// A key that is left out must not take its neighbour with it.
			neighbour := jose.JSONWebKey{Key: edKey().Public(), KeyID: "neighbour"}
			keys, err := egress.ParseJWKS(document(t, test.key, neighbour))
			if err != nil {
				t.Fatal(err)
			}
			var algs []string
			for _, alg := range egress.Algorithms() {
				if found, known := egress.Find(keys, "k", alg); found {
					algs = append(algs, alg)
				} else if known != (test.algs != "") {
					t.Errorf("%s: known %v", alg, known)
				}
			}
			if got := strings.Join(algs, " "); got != test.algs {
				t.Errorf("found by %q, want %q", got, test.algs)
			}
			if found, _ := egress.Find(keys, "neighbour", "EdDSA"); !found {
				t.Error("its neighbour is gone")
			}
		})
	}
}

func TestParseJWKS_WithoutKeyID(t *testing.T) {
	t.Parallel()
	ec := jose.JSONWebKey{Key: ecKey().Public(), KeyID: "ec"}
	ed := jose.JSONWebKey{Key: edKey().Public()}
	keys, err := egress.ParseJWKS(document(t, ec, ed))
	if err != nil {
		t.Fatal(err)
	}
	for alg, want := range map[string]bool{"ES256": true, "EdDSA": true, "RS256": false} {
		if found, known := egress.Find(keys, "", alg); found != want || known != want {
			t.Errorf("%s: found %v, known %v", alg, found, known)
		}
	}
	other := jose.JSONWebKey{Key: &must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)).PublicKey, KeyID: "other"}
	keys, err = egress.ParseJWKS(document(t, ec, other))
	if err != nil {
		t.Fatal(err)
	}
	if found, known := egress.Find(keys, "", "ES256"); found || !known {
		t.Errorf("two that fit: found %v, known %v", found, known)
	}
}

func TestParseJWKS_OneIDForTwoAlgorithms(t *testing.T) {
	t.Parallel()
	keys, err := egress.ParseJWKS(document(t, jose.JSONWebKey{Key: ecKey().Public(), KeyID: "k"}, jose.JSONWebKey{Key: rsaKey().Public(), KeyID: "k"}))
	if err != nil {
		t.Fatal(err)
	}
	for _, alg := range []string{"ES256", "RS256"} {
		if found, _ := egress.Find(keys, "k", alg); !found {
			t.Errorf("%s finds nothing", alg)
		}
	}
}

func TestParseJWKS_Bounded(t *testing.T) {
	t.Parallel()
	var list []any
	for i := range 150 {
		list = append(list, jose.JSONWebKey{Key: edKey().Public(), KeyID: fmt.Sprint(i)})
	}
	keys, err := egress.ParseJWKS(document(t, list...))
	if err != nil {
		t.Fatal(err)
	}
	if len(keys) != 100 {
		t.Errorf("%d keys", len(keys))
	}
}

func FuzzParseJWKS(f *testing.F) {
	f.Add(document(f, es256("one"), jose.JSONWebKey{Key: edKey().Public()}))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"},{"kty":"EC","crv":"P-256","x":"","y":""}]}`))
	f.Add([]byte(`{"keys":null}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, b []byte) {
		keys, err := egress.ParseJWKS(b)
		if err != nil {
			return
		}
		for id := range keys {
			if _, known := egress.Find(keys, id, "ES256"); !known && id != "" {
				t.Errorf("a key that is not known by its id %q", id)
			}
		}
	})
}
