package dev

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/uuid"

	"github.com/tributary-hub/tributary/internal/hub"
)

const (
	issuerPath = "/dev/issuer"
	audience   = "tributary-dev"
)

// The life of a token. A negative one makes a token that has expired, for trying what happens then.
const (
	maxTTL = 30 * 24 * time.Hour
	minTTL = -24 * time.Hour
)

// ownClaims are the issuer's to set.
var ownClaims = []string{"aud", "exp", "iat", "iss", "jti", "sub"}

// issuer is an OIDC issuer for one machine: it gives anybody who asks a token about anybody. Its key outlives
// restarts, so that tokens do.
type issuer struct {
	url    string
	public jose.JSONWebKeySet
	signer jose.Signer
	now    func() time.Time
}

// newIssuerKey makes a P-256 key, as a JWK in JSON.
func newIssuerKey() (string, error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", fmt.Errorf("make the issuer's key: %w", err)
	}
	key := jose.JSONWebKey{Key: private, Algorithm: string(jose.ES256), Use: "sig"}
	thumbprint, err := key.Thumbprint(crypto.SHA256)
	if err != nil {
		return "", fmt.Errorf("name the issuer's key: %w", err)
	}
	key.KeyID = base64.RawURLEncoding.EncodeToString(thumbprint)
	encoded, err := key.MarshalJSON()
	if err != nil {
		return "", fmt.Errorf("encode the issuer's key: %w", err)
	}
	return string(encoded), nil
}

// newIssuer is the issuer of that URL, with a key as newIssuerKey makes it.
func newIssuer(url, encodedKey string) (*issuer, error) {
	var key jose.JSONWebKey
	if err := key.UnmarshalJSON([]byte(encodedKey)); err != nil || key.IsPublic() || !key.Valid() {
		return nil, errors.New("the issuer's key is not a private JWK") // the cause could quote it
	}
	options := (&jose.SignerOptions{}).WithType("JWT")
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, options)
	if err != nil {
		return nil, errors.New("the issuer's key does not sign with ES256")
	}
	return &issuer{
		url:    url,
		public: jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}},
		signer: signer,
		now:    time.Now,
	}, nil
}

// A tokenRequest says what a token is about.
type tokenRequest struct {
	Sub    string                     `json:"sub"`
	Claims map[string]json.RawMessage `json:"claims"`
	TTL    *int64                     `json:"ttl"` // in seconds; default an hour
}

// token signs a token. hub.Invalid where the request asks for what the issuer does not give.
func (i *issuer) token(r tokenRequest) (token string, ttl time.Duration, err error) {
	ttl = time.Hour
	if r.TTL != nil {
		if *r.TTL < int64(minTTL/time.Second) || *r.TTL > int64(maxTTL/time.Second) {
			return "", 0, hub.FieldErrorf("body.ttl", "a token lives for at most %s; a negative ttl, down to %s, makes one that has expired", maxTTL, minTTL)
		}
		ttl = time.Duration(*r.TTL) * time.Second
	}
	if r.Sub == "" || len(r.Sub) > 255 {
		return "", 0, hub.FieldErrorf("body.sub", "a sub has 1 to 255 bytes")
	}
	for _, name := range slices.Sorted(maps.Keys(r.Claims)) {
		if slices.Contains(ownClaims, name) {
			return "", 0, hub.FieldErrorf("body.claims", "the issuer itself sets %q", name)
		}
	}
	now := i.now()
	claims := map[string]any{
		"iss": i.url, "sub": r.Sub, "aud": audience, "jti": uuid.NewString(),
		"iat": min(now.Unix(), now.Add(ttl).Unix()), "exp": now.Add(ttl).Unix(),
	}
	for name, value := range r.Claims {
		claims[name] = value
	}
	token, err = jwt.Signed(i.signer).Claims(claims).Serialize()
	if err != nil {
		return "", 0, fmt.Errorf("sign a token: %w", err)
	}
	return token, ttl, nil
}
