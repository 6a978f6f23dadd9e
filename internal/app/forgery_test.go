package app_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
)

const (
	audience = "https://hub.example.com"
	party    = "https://app.example.com"
)

// A forger has the keys of an issuer that a tenant trusts, of one that another tenant trusts, and of nobody.
type forger struct {
	*testing.T
	issuer, foreign, evil string // addresses; the last is an attacker's
	now                   time.Time
	ec, rs, other, none   signer
}

// A forgery is a token that no stream may be opened with.
type forgery struct {
	kind, name, token string
	signed            bool // by the tenant's issuer: its holder is told which rule it breaks
	unknown           bool // names a key that the issuer does not have: until its keys are fetched anew it may be a new one
}

type claims map[string]any

// good are claims that pass every rule, with those changes; a nil takes a claim away.
func (f *forger) good(changes claims) claims {
	now := f.now.Unix()
	out := claims{"iss": f.issuer, "sub": "alice", "aud": audience, "iat": now, "exp": now + 3600, "realm": claims{"tier": "gold"}}
	maps.Copy(out, changes)
	maps.DeleteFunc(out, func(_ string, value any) bool { return value == nil })
	return out
}

// own is a token that the issuer really signed.
func (f *forger) own(header map[string]any, changes claims) string {
	return f.by(f.ec, f.ec.id, header, changes)
}

// by is one that another key signs, under that key id.
func (f *forger) by(key signer, id string, header map[string]any, changes claims) string {
	key.id = id
	return key.sign(f.T, header, f.json(f.good(changes)))
}

func (f *forger) json(value any) []byte {
	raw, err := json.Marshal(value)
	must(f.T, err)
	return raw
}

func (f *forger) part(value any) string { return base64.RawURLEncoding.EncodeToString(f.json(value)) }

// raw is what no library would sign.
func (f *forger) raw(header, claims any, sign func(input []byte) []byte) string {
	input := f.part(header) + "." + f.part(claims)
	return input + "." + base64.RawURLEncoding.EncodeToString(sign([]byte(input)))
}

func unsigned([]byte) []byte { return nil }

func hmacBy(secret []byte) func([]byte) []byte {
	return func(input []byte) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write(input)
		return mac.Sum(nil)
	}
}

// spliced is a token with some of its parts exchanged; "" leaves a part.
func spliced(token string, others ...string) string {
	parts := strings.Split(token, ".")
	for i, other := range others {
		if other != "" {
			parts[i] = other
		}
	}
	return strings.Join(parts, ".")
}

func (f *forger) matrix() []forgery {
	var all []forgery
	for _, kind := range []func() []forgery{f.algorithms, f.keys, f.signatures, f.issuersAndAudiences, f.timesAndUses} {
		all = append(all, kind()...)
	}
	return all
}

func (f *forger) algorithms() []forgery {
	const kind = "algorithm"
	der, err := x509.MarshalPKIXPublicKey(f.rs.key.Public())
	must(f.T, err)
	none := func(alg any) string {
		return f.raw(claims{"alg": alg, "typ": "JWT", "kid": f.ec.id}, f.good(nil), unsigned)
	}
	confused := func(secret []byte) string {
		return f.raw(claims{"alg": "HS256", "typ": "JWT", "kid": f.rs.id}, f.good(nil), hmacBy(secret))
	}
	return []forgery{
		{kind: kind, name: "none", token: none("none")},
		{kind: kind, name: "None", token: none("None")},
		{kind: kind, name: "empty", token: none("")},
		{kind: kind, name: "a list", token: none([]string{"none", "ES256"})},
		{kind: kind, name: "none over a token that the issuer signed", token: spliced(f.own(nil, nil), f.part(claims{"alg": "none", "kid": f.ec.id}))},
		{kind: kind, name: "HS256 by the public key as PEM", token: confused(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))},
		{kind: kind, name: "HS256 by the public key as DER", token: confused(der)},
		{kind: kind, name: "HS256 by the public key as JWK", token: confused(f.json(f.rs.public()))},
		{kind: kind, name: "HS256 by an empty secret", token: confused(nil)},
		{kind: kind, name: "RS256 under the id of a P-256 key", token: f.by(f.rs, f.ec.id, nil, nil)},
		{kind: kind, name: "ES256 under the id of an RSA key", token: f.by(f.ec, f.rs.id, nil, nil)},
		{kind: kind, name: "PS256 by a key for RS256", token: f.by(signer{f.rs.id, "PS256", f.rs.key}, f.rs.id, nil, nil)},
	}
}

func (f *forger) keys() []forgery {
	const kind = "key"
	jwk := f.none.public()
	jwk.KeyID = f.ec.id
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: f.now.AddDate(1, 0, 0)}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, f.none.key.Public(), f.none.key)
	must(f.T, err)
	chain := []string{base64.StdEncoding.EncodeToString(certificate)}
	return []forgery{
		{kind: kind, name: "nobody's, under the issuer's id", token: f.by(f.none, f.ec.id, nil, nil)},
		{kind: kind, name: "nobody's, without an id", token: f.by(f.none, "", nil, nil)},
		{kind: kind, name: "nobody's, under an id of its own", token: f.by(f.none, "evil", nil, nil), unknown: true},
		{kind: kind, name: "nobody's, under an id of its own, and for another application", token: f.by(f.none, "evil", nil, claims{"aud": "x"}), unknown: true},
		{kind: kind, name: "kid is a path", token: f.by(f.none, "../../../../../dev/null", nil, nil), unknown: true},
		{kind: kind, name: "kid is a URL", token: f.by(f.none, f.evil+"/keys.json", nil, nil), unknown: true},
		{kind: kind, name: "kid is SQL", token: f.by(f.none, f.ec.id+"' UNION SELECT 'x", nil, nil), unknown: true},
		{kind: kind, name: "kid is a command", token: f.by(f.none, "$(id)|/bin/true", nil, nil), unknown: true},
		{kind: kind, name: "kid has a NUL behind the issuer's", token: f.by(f.none, f.ec.id+"\x00", nil, nil), unknown: true},
		{kind: kind, name: "kid of 257 bytes", token: f.by(f.none, strings.Repeat("k", 257), nil, nil)},
		{kind: kind, name: "kid is a number", token: f.raw(claims{"alg": "ES256", "kid": 7}, f.good(nil), unsigned)},
		{kind: kind, name: "jku", token: f.by(f.none, f.ec.id, claims{"jku": f.evil + "/keys.json"}, nil)},
		{kind: kind, name: "jku and a kid that is there", token: f.by(f.none, "evil", claims{"jku": f.evil + "/keys.json"}, nil), unknown: true},
		{kind: kind, name: "x5u", token: f.by(f.none, f.ec.id, claims{"x5u": f.evil + "/keys.json"}, nil)},
		{kind: kind, name: "x5c", token: f.by(f.none, f.ec.id, claims{"x5c": chain}, nil)},
		{kind: kind, name: "jwk", token: f.by(f.none, f.ec.id, claims{"jwk": jwk}, nil)},
		{kind: kind, name: "jwk without a kid", token: f.by(f.none, "", claims{"jwk": jwk}, nil)},
	}
}

func (f *forger) signatures() []forgery {
	const kind = "signature"
	token := f.own(nil, nil)
	mallory := strings.Split(f.own(nil, claims{"sub": "mallory"}), ".")
	private, ok := f.ec.key.(*ecdsa.PrivateKey)
	if !ok {
		f.Fatal("not an ECDSA key")
	}
	asn1 := f.raw(claims{"alg": "ES256", "kid": f.ec.id}, f.good(nil), func(input []byte) []byte {
		sum := sha256.Sum256(input)
		signature, err := ecdsa.SignASN1(rand.Reader, private, sum[:])
		must(f.T, err)
		return signature
	})
	stranger := f.raw(claims{"alg": "RS256", "kid": f.rs.id}, f.good(nil), func(input []byte) []byte {
		key, err := rsa.GenerateKey(rand.Reader, 2048)
		must(f.T, err)
		sum := sha256.Sum256(input)
		signature, err := rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
		must(f.T, err)
		return signature
	})
	split := strings.Split(token, ".")
	return []forgery{
		{kind: kind, name: "none", token: split[0] + "." + split[1] + "."},
		{kind: kind, name: "zeros", token: spliced(token, "", "", base64.RawURLEncoding.EncodeToString(make([]byte, 64)))},
		{kind: kind, name: "cut", token: token[:len(token)-4]},
		{kind: kind, name: "in ASN.1", token: asn1},
		{kind: kind, name: "RSA, by nobody", token: stranger},
		{kind: kind, name: "of other claims", token: spliced(token, "", mallory[1])},
		{kind: kind, name: "of another token", token: spliced(token, "", "", mallory[2])},
		{kind: kind, name: "of another header", token: spliced(token, f.part(claims{"alg": "ES256", "kid": f.ec.id, "typ": "at+jwt"}))},
		{kind: kind, name: "in the JSON form", token: string(f.json(claims{"protected": split[0], "payload": split[1], "signature": split[2]}))},
		{kind: kind, name: "of a part more", token: token + ".AAAA"},
		{kind: kind, name: "b64 is false", token: f.raw(claims{"alg": "ES256", "kid": f.ec.id, "b64": false, "crit": []string{"b64"}}, f.good(nil), unsigned)},
	}
}

func (f *forger) issuersAndAudiences() []forgery {
	const kind = "for whom"
	own := func(name string, changes claims) forgery {
		return forgery{kind: kind, name: name, token: f.own(nil, changes), signed: changes["iss"] == nil}
	}
	return []forgery{
		{kind: kind, name: "another tenant's issuer", token: f.by(f.other, f.other.id, nil, claims{"iss": f.foreign})},
		{kind: kind, name: "another tenant's issuer in this one's name", token: f.by(f.other, f.other.id, nil, nil), unknown: true},
		{kind: kind, name: "another tenant's issuer, under this one's kid", token: f.by(f.other, f.ec.id, nil, nil)},
		{kind: kind, name: "an attacker's issuer", token: f.by(f.none, f.none.id, nil, claims{"iss": f.evil})},
		own("iss with a slash more", claims{"iss": f.issuer + "/"}),
		own("iss in capitals", claims{"iss": strings.ToUpper(f.issuer)}),
		own("iss is a list", claims{"iss": []string{f.issuer}}),
		own("aud of another application", claims{"aud": "https://other.example.com"}),
		own("aud of several others", claims{"aud": []string{"https://other.example.com", "x"}}),
		own("aud begins like ours", claims{"aud": audience + ".evil.example"}),
		own("aud is a wildcard", claims{"aud": "*"}),
		own("no aud", claims{"aud": nil}),
		own("our party is its aud", claims{"aud": party}),
		own("azp of another application", claims{"aud": "x", "azp": "https://other.example.com"}),
		own("azp of another, client_id ours", claims{"aud": "x", "azp": "x", "client_id": party}),
		own("client_id is a list", claims{"aud": "x", "client_id": []string{party}}),
		own("a required claim is missing", claims{"realm": nil}),
		own("a required claim says otherwise", claims{"realm": claims{"tier": "silver"}}),
		own("a required claim has another name", claims{"realm": nil, "realm.tier.x": "gold"}),
	}
}

func (f *forger) timesAndUses() []forgery {
	const kind = "time and use"
	in := func(d time.Duration) int64 { return f.now.Add(d).Unix() }
	own := func(name string, header map[string]any, changes claims) forgery {
		return forgery{kind: kind, name: name, token: f.own(header, changes), signed: header == nil}
	}
	logout := claims{"http://schemas.openid.net/event/backchannel-logout": claims{}}
	return []forgery{
		own("expired", nil, claims{"exp": in(-time.Second)}),
		own("no exp", nil, claims{"exp": nil}),
		own("exp is text", nil, claims{"exp": "9999999999"}),
		own("exp in milliseconds", nil, claims{"exp": in(time.Hour) * 1000}),
		own("expired, with another exp in capitals", nil, claims{"exp": in(-time.Hour), "EXP": in(time.Hour)}),
		own("not valid yet", nil, claims{"nbf": in(time.Hour)}),
		own("issued in the future", nil, claims{"iat": in(time.Hour), "exp": in(2 * time.Hour)}),
		own("a logout token", map[string]any{"typ": "logout+jwt"}, claims{"events": logout}),
		own("a logout token without its typ", nil, claims{"events": logout}),
		own("a DPoP proof", map[string]any{"typ": "dpop+jwt"}, nil),
		own("bound to a key that nobody proves", nil, claims{"cnf": claims{"jkt": "x"}}),
		own("no sub", nil, claims{"sub": nil}),
		own("sub is empty", nil, claims{"sub": ""}),
		{kind: kind, name: "encrypted", token: "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA"},
	}
}

// newForger gives the tenant's issuer its keys, and makes what the others have.
func newForger(t *testing.T, d *door, name string) *forger {
	t.Helper()
	f := &forger{
		T: t, issuer: d.issuers.at("https://" + name), foreign: d.issuers.at("https://" + name + "-foreign"), evil: d.issuers.at("https://" + name + "-evil"),
		now: d.clock.read(), ec: ecSigner(t, "ec"), rs: rsaSigner(t, "rs", "RS256"), other: ecSigner(t, "foreign"), none: ecSigner(t, "evil"),
	}
	secret := claims{"kty": "oct", "kid": "oct", "k": "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0", "alg": "HS256"}
	d.issuers.publish(f.issuer, f.ec.public(), f.rs.public(), secret)
	d.issuers.publish(f.foreign, f.other.public())
	d.issuers.publish(f.evil, f.none.public(), jose.JSONWebKey{Key: f.none.key.Public(), KeyID: f.ec.id, Algorithm: "ES256", Use: "sig"})
	return f
}
