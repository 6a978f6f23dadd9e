package egress

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// Bounds of a key set. A document may hold more; the rest is left out.
const (
	maxKeys    = 100
	maxKeyID   = 256  // bytes
	minRSABits = 2048 // RFC 7518, 3.3
	maxRSABits = 8192 // the largest that crypto/tls takes; larger ones only cost time
)

// Algorithms lists the signature algorithms that key sets may have: asymmetric ones alone, in JOSE's names.
func Algorithms() []string {
	return []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}
}

// publicKeys are one issuer's keys by id. An issuer may have several of one id, for several algorithms.
type publicKeys map[string][]publicKey

type publicKey struct {
	alg string // "" where the issuer does not say
	key crypto.PublicKey
}

// parseJWKS reads a JSON Web Key Set (RFC 7517). A key that cannot verify a signature of ours is left out: symmetric
// or private, of another use, too weak, or not understood.
func parseJWKS(document []byte) (publicKeys, error) {
	var set struct {
		Keys *[]json.RawMessage `json:"keys"`
	}
	if err := json.Unmarshal(document, &set); err != nil {
		return nil, errors.New("the key set is not JSON")
	}
	if set.Keys == nil {
		return nil, errors.New("the key set has no keys member")
	}
	keys := publicKeys{}
	count := 0
	for _, raw := range *set.Keys {
		id, key, ok := parseJWK(raw)
		if !ok {
			continue
		}
		if count++; count > maxKeys {
			break
		}
		keys[id] = append(keys[id], key)
	}
	return keys, nil
}

func parseJWK(raw json.RawMessage) (id string, key publicKey, ok bool) {
	var facts struct {
		KeyOps []string `json:"key_ops"`
	}
	var jwk jose.JSONWebKey
	if json.Unmarshal(raw, &facts) != nil || json.Unmarshal(raw, &jwk) != nil {
		return "", publicKey{}, false
	}
	switch {
	case !jwk.IsPublic(), !jwk.Valid(), len(jwk.KeyID) > maxKeyID:
		return "", publicKey{}, false
	case jwk.Use != "" && jwk.Use != "sig":
		return "", publicKey{}, false
	case facts.KeyOps != nil && !slices.Contains(facts.KeyOps, "verify"):
		return "", publicKey{}, false
	}
	key = publicKey{alg: jwk.Algorithm, key: jwk.Key}
	if !slices.ContainsFunc(Algorithms(), key.fits) {
		return "", publicKey{}, false
	}
	return jwk.KeyID, key, true
}

// find gives the key of that id for that algorithm. A token without a key id finds the one key that its algorithm
// could mean, and none where there are several. Known says that the set has the id at all.
func (k publicKeys) find(id, alg string) (key crypto.PublicKey, known bool) {
	if id == "" {
		return k.only(alg)
	}
	for _, candidate := range k[id] {
		if candidate.fits(alg) {
			return candidate.key, true
		}
	}
	return nil, len(k[id]) > 0
}

func (k publicKeys) only(alg string) (key crypto.PublicKey, known bool) {
	for _, candidates := range k {
		for _, candidate := range candidates {
			if !candidate.fits(alg) {
				continue
			}
			if key != nil {
				return nil, true
			}
			key = candidate.key
		}
	}
	return key, key != nil
}

// fits says whether the key may verify signatures of that algorithm: by what the issuer says of it and by its kind.
func (k publicKey) fits(alg string) bool {
	if k.alg != "" && k.alg != alg {
		return false
	}
	switch key := k.key.(type) {
	case *rsa.PublicKey:
		bits := key.N.BitLen()
		return (strings.HasPrefix(alg, "RS") || strings.HasPrefix(alg, "PS")) && minRSABits <= bits && bits <= maxRSABits
	case *ecdsa.PublicKey:
		return key.Curve == curveOf(alg)
	case ed25519.PublicKey:
		return alg == "EdDSA"
	default:
		return false
	}
}

// curveOf is the one curve of an ECDSA algorithm (RFC 7518, 3.4); nil for any other algorithm.
func curveOf(alg string) elliptic.Curve {
	switch alg {
	case "ES256":
		return elliptic.P256()
	case "ES384":
		return elliptic.P384()
	case "ES512":
		return elliptic.P521()
	default:
		return nil
	}
}
