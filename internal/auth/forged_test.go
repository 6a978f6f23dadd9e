package auth_test

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
	"fmt"
	"math/big"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
)

// What a forged token must be answered. Each is a whole sentence, so that a token is refused for its own fault and
// not by luck for another.
const (
	wantAlg       = "the token is not signed with an asymmetric algorithm that we take"
	wantForm      = "the token is not three parts of base64url between dots"
	wantHeader    = "the token's header is not one of a signed JWT"
	wantExtension = "the token's header has an extension that we do not take"
	wantTyp       = "the token's typ is neither JWT nor at+jwt"
	wantLong      = "the token is longer than 16 KiB"
	wantObject    = "the token's claims are not a JSON object"
	wantUTF8      = "the token's claims are not UTF-8"
	wantIss       = "the token's iss is none of the tenant's issuers"
	wantSig       = "the token's signature is not its issuer's"
	wantKeyAlg    = "the token's algorithm is not that of its key"
	wantKeyIDLong = "the token's key id is too long"
	wantUnsigned  = "the token is not signed by an issuer that the tenant trusts; issuers/check of the admin API tells the tenant more"
	wantNoKey     = "the issuer's keys cannot be fetched at the moment" // its id may be of a key that we do not know yet
	wantAud       = "neither the token's aud nor its azp (or, without one, its client_id) is one of the issuer's row"
	wantAudForm   = "the token's aud is not a string or a list of strings"
	wantExpired   = "the token has expired"
	wantNoExp     = "the token has no exp"
	wantEvent     = "the token is a security event, such as a logout token"
	wantBound     = "the token is bound to a key (cnf), which nobody proves here"
	wantNoSub     = "the token has no sub"
	wantRequired  = "the token lacks a claim that the issuer's row requires, or its value: realm.tier"
)

// forger has an issuer's keys, another issuer's, and an attacker's own.
type forger struct {
	*testing.T
	s          *issuers
	c          *clock
	ec, rs     signingKey // of issuer a, the tenant's
	foreign    signingKey // of issuer b, another tenant's
	encryption signingKey // published by issuer a for another use
	attacker   signingKey // nobody's
}

func newForger(t *testing.T) *forger {
	t.Helper()
	f := &forger{
		T: t, s: newIssuers(t), c: newClock(),
		ec: ecKey("ec"), rs: rsaKey("rs", "RS256"), foreign: ecKey("foreign"), encryption: ecKey("enc"), attacker: ecKey("attacker"),
	}
	sealing := f.encryption.public()
	sealing.Use = "enc"
	f.s.publish("a", f.ec.public(), f.rs.public(), sealing, map[string]any{"kty": "oct", "kid": "oct", "k": part([]byte("shared-secret-shared-secret-1234")), "alg": "HS256"})
	f.s.publish("b", f.foreign.public())
	return f
}

func (f *forger) claims(changes ...any) map[string]any { return good(f.s, f.c, changes...) }

// own is a token that issuer a really signed.
func (f *forger) own(header map[string]any, changes ...any) string {
	return f.ec.sign(f.T, header, f.claims(changes...))
}

// by is the issuer's good token as the attacker signs it, under that key id.
func (f *forger) by(key signingKey, id string, header map[string]any, changes ...any) string {
	key.id = id
	return key.sign(f.T, header, f.claims(changes...))
}

func (f *forger) ownPayload(payload string) string {
	signer := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: f.ec.key, KeyID: f.ec.id}}, nil))
	return f.ec.signPayload(f.T, signer, []byte(payload))
}

func hmacBy(secret []byte) func([]byte) []byte {
	return func(input []byte) []byte {
		mac := hmac.New(sha256.New, secret)
		mac.Write(input)
		return mac.Sum(nil)
	}
}

func noSignature([]byte) []byte { return nil }

// parts takes a token apart and puts it together again with other parts; "" leaves a part.
func parts(token, header, claims, signature string) string {
	p := strings.Split(token, ".")
	for i, other := range []string{header, claims, signature} {
		if other != "" {
			p[i] = other
		}
	}
	return strings.Join(p, ".")
}

type forgery struct {
	name  string
	token string
	want  string
}

func (f *forger) algorithms() []forgery {
	none := func(alg string) string {
		return raw(map[string]any{"alg": alg, "typ": "JWT", "kid": "ec"}, f.claims(), noSignature)
	}
	confused := func(secret []byte, id string) string {
		return raw(map[string]any{"alg": "HS256", "typ": "JWT", "kid": id}, f.claims(), hmacBy(secret))
	}
	der := must(x509.MarshalPKIXPublicKey(f.rs.key.Public()))
	jwk := must(json.Marshal(f.rs.public()))
	signedButNone := parts(f.own(nil), part(map[string]any{"alg": "none", "kid": "ec"}), "", "")
	return []forgery{
		{"alg none", none("none"), wantAlg},
		{"alg None", none("None"), wantAlg},
		{"alg nOnE", none("nOnE"), wantAlg},
		{"alg empty", none(""), wantAlg},
		{"no alg", raw(map[string]any{"typ": "JWT", "kid": "ec"}, f.claims(), noSignature), wantAlg},
		{"alg none over a signed token", signedButNone, wantAlg},
		{"alg es256 in lower case", none("es256"), wantAlg},
		{"alg as a list", raw(map[string]any{"alg": []string{"ES256"}, "kid": "ec"}, f.claims(), noSignature), wantAlg},
		{"HS256 by the public key in PEM", confused(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), "rs"), wantAlg},
		{"HS256 by the public key in DER", confused(der, "rs"), wantAlg},
		{"HS256 by the public key as JWK", confused(jwk, "rs"), wantAlg},
		{"HS256 by nothing", confused(nil, "ec"), wantAlg},
		{"HS256 by the symmetric key that the issuer publishes", confused([]byte("shared-secret-shared-secret-1234"), "oct"), wantAlg},
		{"RS256 by the id of a P-256 key", f.by(rsaKey("ec", "RS256"), "ec", nil), wantKeyAlg},
		{"PS256 by a key for RS256", f.by(rsaKey("rs", "PS256"), "rs", nil), wantKeyAlg},
		{"ES256 by the id of an RSA key", f.by(f.ec, "rs", nil), wantKeyAlg},
		{"a key for encryption", f.encryption.sign(f.T, nil, f.claims()), wantNoKey},
		{"a JWE", "eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..AAAAAAAAAAAAAAAA.AAAA.AAAAAAAAAAAAAAAAAAAAAA", wantForm},
	}
}

func (f *forger) keys() []forgery {
	jwk := f.attacker.public()
	jwk.KeyID = f.ec.id
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: f.c.Now().AddDate(10, 0, 0)}
	certificate := must(x509.CreateCertificate(rand.Reader, template, template, f.attacker.key.Public(), f.attacker.key))
	chain := []string{base64.StdEncoding.EncodeToString(certificate)}
	return []forgery{
		{"the attacker's key under the issuer's id", f.by(f.attacker, "ec", nil), wantSig},
		{"the attacker's key under its own id", f.by(f.attacker, "attacker", nil), wantNoKey},
		{"no key id", f.by(f.attacker, "", nil), wantSig},
		{"a key id that is a path", f.by(f.attacker, "../../../../dev/null", nil), wantNoKey},
		{"a key id that is a URL", f.by(f.attacker, f.s.issuer("evil")+"/keys", nil), wantNoKey},
		{"a key id that is SQL", f.by(f.attacker, "ec' OR '1'='1", nil), wantNoKey},
		{"a key id with a NUL", f.by(f.attacker, "ec\x00", nil), wantNoKey},
		{"a key id in other case", f.by(f.ec, "EC", nil), wantNoKey},
		{"a key id of 257 bytes", f.by(f.attacker, strings.Repeat("k", 257), nil), wantKeyIDLong},
		{"a key id that is a number", raw(map[string]any{"alg": "ES256", "kid": 7}, f.claims(), noSignature), wantHeader},
		{"an embedded jwk", f.by(f.attacker, "ec", map[string]any{"jwk": jwk}), wantSig},
		{"an embedded jwk without a key id", f.by(f.attacker, "", map[string]any{"jwk": jwk}), wantSig},
		{"an embedded private jwk", raw(map[string]any{"alg": "ES256", "jwk": jose.JSONWebKey{Key: f.attacker.key}}, f.claims(), noSignature), wantHeader},
		{"a jku", f.by(f.attacker, "ec", map[string]any{"jku": f.s.issuer("evil") + "/keys"}), wantSig},
		{"an x5u", f.by(f.attacker, "ec", map[string]any{"x5u": f.s.issuer("evil") + "/keys"}), wantSig},
		{"an x5c", f.by(f.attacker, "ec", map[string]any{"x5c": chain}), wantSig},
		{"the other key of the set", parts(f.own(nil), part(map[string]any{"alg": "RS256", "kid": "rs"}), "", ""), wantSig},
	}
}

func (f *forger) signatures() []forgery {
	token := f.own(nil)
	other := strings.Split(f.own(nil, "sub", "mallory"), ".")
	ec, ok := f.ec.key.(*ecdsa.PrivateKey)
	if !ok {
		f.Fatal("not an ECDSA key")
	}
	header := map[string]any{"alg": "ES256", "kid": "ec"}
	asn1 := raw(header, f.claims(), func(input []byte) []byte {
		sum := sha256.Sum256(input)
		return must(ecdsa.SignASN1(rand.Reader, ec, sum[:]))
	})
	rsaOfOthers := raw(map[string]any{"alg": "RS256", "kid": "rs"}, f.claims(), func(input []byte) []byte {
		sum := sha256.Sum256(input)
		return must(rsa.SignPKCS1v15(rand.Reader, must(rsa.GenerateKey(rand.Reader, 2048)), crypto.SHA256, sum[:]))
	})
	order := ec.Params().N.FillBytes(make([]byte, 32))
	return []forgery{
		{"claims of another token", parts(token, "", other[1], ""), wantSig},
		{"signature of another token", parts(token, "", "", other[2]), wantSig},
		{"another header", parts(token, part(map[string]any{"alg": "ES256", "kid": "ec", "typ": "at+jwt"}), "", ""), wantSig},
		{"no signature", strings.Join(strings.Split(token, ".")[:2], ".") + ".", wantSig},
		{"a cut signature", token[:len(token)-4], wantSig},
		{"a longer signature", token + "AAAA", wantSig},
		{"a signature of zeros", parts(token, "", "", part(make([]byte, 64))), wantSig},
		{"a signature of the curve's order", parts(token, "", "", part(append(order, order...))), wantSig},
		{"a signature in ASN.1", asn1, wantSig},
		{"an RSA signature by nobody's key", rsaOfOthers, wantSig},
	}
}

func (f *forger) forms() []forgery {
	token := f.own(nil)
	padded := strings.Split(token, ".")
	flattened := fmt.Sprintf(`{"protected":%q,"payload":%q,"signature":%q}`, padded[0], padded[1], padded[2])
	list := []forgery{
		{"oversized", f.own(nil, "more", strings.Repeat("x", 16<<10)), wantLong},
		{"oversized junk", strings.Repeat("A", 1<<20), wantLong},
		{"the JSON form", flattened, wantForm},
		{"padding", padded[0] + "=." + padded[1] + "." + padded[2], wantForm},
		{"a line end inside", token[:20] + "\n" + token[20:], wantForm},
		{"a space behind", token + " ", wantForm},
		{"four parts", token + ".AAAA", wantForm},
		{"two parts", padded[0] + "." + padded[1], wantForm},
		{"Bearer before it", "Bearer " + token, wantForm},
		{"standard base64", strings.Replace(token, ".", ".+/", 1), wantForm},
		{"an empty header", "." + padded[1] + "." + padded[2], wantAlg},
		{"a header that is a list", part([]any{}) + "." + padded[1] + "." + padded[2], wantHeader},
		{"a header with a name twice", part([]byte(`{"alg":"none","alg":"ES256","kid":"ec"}`)) + "." + padded[1] + "." + padded[2], wantHeader},
		{"crit", f.own(map[string]any{"crit": []string{"exp"}, "exp": 1}), wantExtension},
		{"b64 false", raw(map[string]any{"alg": "ES256", "kid": "ec", "b64": false, "crit": []string{"b64"}}, f.claims(), noSignature), wantExtension},
		{"claims that are a list", f.ownPayload(`[{"sub":"alice"}]`), wantObject},
		{"claims that are null", f.ownPayload(`null`), wantObject},
		{"claims that are nothing", f.ownPayload(``), wantObject},
		{"claims twice", f.ownPayload(`{}{}`), wantObject},
		{"claims that are no UTF-8", f.ownPayload("{\"sub\":\"\xff\"}"), wantUTF8},
		{"claims nested 10,000 deep", f.ownPayload(strings.Repeat("[", 11_000)), wantObject},
	}
	for _, junk := range []string{"", ".", "..", "...", "a", "a.b", "a.b.c", "null", "{}", "undefined", "trb_00000000000000000000000000000000000000", "\x00.\x00.\x00", "é.é.é"} {
		want := wantForm
		switch junk {
		case "..":
			want = wantAlg
		case "a.b.c":
			want = wantHeader
		}
		list = append(list, forgery{"junk " + junk, junk, want})
	}
	return list
}

func (f *forger) confusions() []forgery {
	typed := func(typ any) string { return f.own(map[string]any{"typ": typ}) }
	event := map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}}
	seconds := func(d time.Duration) int64 { return f.c.Now().Add(d).Unix() }
	a := f.s.issuer("a")
	list := []forgery{
		{"another tenant's issuer", f.foreign.sign(f.T, nil, f.claims("iss", f.s.issuer("b"))), wantIss},
		{"another tenant's issuer in our name", f.foreign.sign(f.T, nil, f.claims()), wantNoKey},
		{"another tenant's issuer by our key id", f.by(f.foreign, "ec", nil), wantSig},
		{"an issuer that nobody trusts", f.by(f.attacker, "ec", nil, "iss", f.s.issuer("evil")), wantIss},
		{"iss with a slash", f.own(nil, "iss", a+"/"), wantIss},
		{"iss in capitals", f.own(nil, "iss", strings.ToUpper(a)), wantIss},
		{"iss with a path behind", f.own(nil, "iss", a+"/evil"), wantIss},
		{"iss as a list", f.own(nil, "iss", []string{a}), wantIss},
		{"no iss", f.own(nil, "iss", absent), wantIss},
		{"iss empty", f.own(nil, "iss", ""), wantIss},
		{"iss under another name", f.own(nil, "iss", absent, "Iss", a), wantIss},

		{"another audience", f.own(nil, "aud", "https://other.example.com"), wantAud},
		{"other audiences", f.own(nil, "aud", []string{"https://other.example.com", "x"}), wantAud},
		{"no audience", f.own(nil, "aud", absent), wantAud},
		{"the audience's beginning", f.own(nil, "aud", strings.TrimSuffix(audience, ".com")), wantAud},
		{"more than the audience", f.own(nil, "aud", audience+".evil.com"), wantAud},
		{"the audience in capitals", f.own(nil, "aud", strings.ToUpper(audience)), wantAud},
		{"a wildcard", f.own(nil, "aud", "*"), wantAud},
		{"an empty audience", f.own(nil, "aud", ""), wantAud},
		{"an empty list of audiences", f.own(nil, "aud", []string{}), wantAud},
		{"an audience that is an object", f.own(nil, "aud", map[string]any{audience: true}), wantAudForm},
		{"audiences with a number", f.own(nil, "aud", []any{audience + ".evil.com", 7}), wantAudForm},
		{"the audience as azp", f.own(nil, "aud", "x", "azp", audience), wantAud},
		{"the party as aud", f.own(nil, "aud", "https://app.example.com"), wantAud},
		{"azp as a list", f.own(nil, "aud", "x", "azp", []string{"https://app.example.com"}), wantAud},
		{"the audience as client_id", f.own(nil, "aud", "x", "client_id", audience), wantAud},
		{"client_id as a list", f.own(nil, "aud", "x", "client_id", []string{"https://app.example.com"}), wantAud},
		{"the party as client_id beside another azp", f.own(nil, "aud", "x", "azp", "x", "client_id", "https://app.example.com"), wantAud},
		{"the party as client_id beside an azp that is none", f.own(nil, "aud", "x", "azp", nil, "client_id", "https://app.example.com"), wantAud},

		{"expired", f.own(nil, "exp", seconds(-time.Second)), wantExpired},
		{"expires now", f.own(nil, "exp", seconds(0)), wantExpired},
		{"expired, and again in capitals", f.own(nil, "exp", seconds(-time.Hour), "EXP", seconds(time.Hour)), wantExpired},
		{"no exp", f.own(nil, "exp", absent), wantNoExp},
		{"exp under another name", f.own(nil, "exp", absent, "Exp", seconds(time.Hour)), wantNoExp},
		{"exp null", f.own(nil, "exp", nil), "the token's exp is not a number"},
		{"exp as text", f.own(nil, "exp", fmt.Sprint(seconds(time.Hour))), "the token's exp is not a number"},
		{"exp below zero", f.own(nil, "exp", -1), "the token's exp is not a time in seconds"},
		{"exp in milliseconds", f.own(nil, "exp", seconds(time.Hour)*1000), "the token's exp is not a time in seconds"},
		{"exp beyond all numbers", f.ownPayload(fmt.Sprintf(`{"iss":%q,"sub":"alice","aud":%q,"exp":1e999}`, a, audience)), "the token's exp is not a time in seconds"},
		{"not valid yet", f.own(nil, "nbf", seconds(5*time.Minute+time.Second)), "the token is not valid yet (nbf)"},
		{"nbf as text", f.own(nil, "nbf", "0"), "the token's nbf is not a number"},
		{"issued in the future", f.own(nil, "iat", seconds(5*time.Minute+time.Second)), "the token was issued in the future (iat)"},
		{"iat as text", f.own(nil, "iat", "0"), "the token's iat is not a number"},

		{"a logout token", f.own(map[string]any{"typ": "logout+jwt"}, "events", event), wantTyp},
		{"a logout token without its typ", f.own(nil, "events", event), wantEvent},
		{"an empty events", f.own(nil, "events", nil), wantEvent},
		{"bound to a certificate", f.own(nil, "cnf", map[string]any{"x5t#S256": "x"}), wantBound},
		{"bound to a DPoP key", f.own(map[string]any{"typ": "at+jwt"}, "cnf", map[string]any{"jkt": "x"}), wantBound},
		{"a DPoP proof", typed("dpop+jwt"), wantTyp},
		{"a security event", typed("secevent+jwt"), wantTyp},
		{"a request object", typed("oauth-authz-req+jwt"), wantTyp},
		{"an entity statement", typed("entity-statement+jwt"), wantTyp},
		{"typ empty", typed(""), wantTyp},
		{"typ a number", typed(7), wantTyp},

		{"no sub", f.own(nil, "sub", absent), wantNoSub},
		{"sub empty", f.own(nil, "sub", ""), wantNoSub},
		{"sub a number", f.own(nil, "sub", 7), wantNoSub},
		{"sub of 256 bytes", f.own(nil, "sub", strings.Repeat("s", 256)), "the token's sub is longer than 255 bytes"},
		{"sub with a NUL", f.own(nil, "sub", "alice\x00"), "the token's sub has characters that no name has"},
		{"sub with a line end", f.own(nil, "sub", "alice\n"), "the token's sub has characters that no name has"},
		{"sub with half a character", f.ownPayload(fmt.Sprintf(`{"iss":%q,"sub":"alice\ud800","aud":%q,"exp":%d}`, a, audience, seconds(time.Hour))), "the token's sub has characters that no name has"},
	}
	for name, realm := range map[string]any{
		"missing": absent, "another value": map[string]any{"tier": "silver"}, "another kind": map[string]any{"tier": []string{"gold"}},
		"not nested": "gold", "null": map[string]any{"tier": nil}, "nested deeper": map[string]any{"tier": map[string]any{"tier": "gold"}},
	} {
		list = append(list, forgery{"required claim " + name, f.own(nil, "aud", "strict", "realm", realm), wantRequired})
	}
	return list
}

func TestVerify_Forged(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	row := f.s.row("a")
	row.AuthorizedParties = []string{"https://app.example.com"}
	strict := f.s.row("a")
	strict.Audiences = []string{"strict"}
	strict.RequiredClaims = map[string]any{"realm.tier": "gold"}
	plain, demanding := []*directory.Issuer{row}, []*directory.Issuer{strict}
	v := newVerifier(t, f.s, f.c)

	// First of all the good one, so that it is seen that the others are refused for what they are. Its fetch is the
	// only one: the clock stands still.
	if _, err := v.Verify(t.Context(), f.own(nil), plain); err != nil {
		t.Fatalf("the good token: %v", err)
	}
	if _, err := v.Verify(t.Context(), f.own(nil, "aud", "strict", "realm", map[string]any{"tier": "gold"}), demanding); err != nil {
		t.Fatalf("the good token with its claim: %v", err)
	}
	f.c.advance(time.Second)

	matrix := map[string][]forgery{
		"algorithms": f.algorithms(), "keys": f.keys(), "signatures": f.signatures(), "forms": f.forms(), "confusions": f.confusions(),
	}
	count := 0
	var accepted atomic.Int64
	t.Cleanup(func() { // once all of them have been judged
		keys, discovery := f.s.fetches("a")
		t.Logf("%d forged or confused tokens: %d accepted, %d fetches of the key set", count, accepted.Load(), keys)
		if keys != 1 || discovery != 1 {
			t.Errorf("%d fetches of the key set and %d of the discovery document, want 1 each", keys, discovery)
		}
		for _, name := range []string{"b", "evil"} {
			if keys, discovery := f.s.fetches(name); keys+discovery != 0 {
				t.Errorf("%d fetches at issuer %s, which the tenant does not trust", keys+discovery, name)
			}
		}
	})
	for group, forgeries := range matrix {
		for _, forged := range forgeries {
			count++
			t.Run(group+"/"+forged.name, func(t *testing.T) {
				t.Parallel()
				rows := plain
				if forged.want == wantRequired {
					rows = demanding
				}
				claims, err := v.Explain(t.Context(), forged.token, rows)
				if err == nil {
					accepted.Add(1)
					t.Fatalf("accepted: %v", claims.Values)
				}
				if _, told := v.Verify(t.Context(), forged.token, rows); told == nil || told.Error() != err.Error() && told.Error() != "unauthenticated: "+wantUnsigned {
					t.Errorf("a stranger is told %v", told)
				}
				want := hub.Errorf(hub.Unauthenticated, "%s", forged.want)
				if forged.want == wantNoKey {
					want.Code = hub.KeyUnavailable
				}
				if err.Error() != want.Error() {
					t.Errorf("%v\nwant %v", err, want)
				}
			})
		}
	}
}

func TestVerify_JunkSpendsNoFetches(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	rows := []*directory.Issuer{f.s.row("a")}
	v := newVerifier(t, f.s, f.c)
	for round := 1; round <= 2; round++ {
		for i := range 500 {
			token := f.by(f.attacker, fmt.Sprint("junk-", round, "-", i), nil, "sub", fmt.Sprint(i))
			if _, err := v.Verify(t.Context(), token, rows); hub.CodeOf(err) != hub.Unauthenticated && hub.CodeOf(err) != hub.KeyUnavailable {
				t.Fatalf("junk %d: %v", i, err)
			}
		}
		if keys, discovery := f.s.fetches("a"); keys != round || discovery != round {
			t.Errorf("after %d rounds: %d fetches of the key set, %d of the discovery document", round, keys, discovery)
		}
		if _, err := v.Verify(t.Context(), f.own(nil), rows); err != nil {
			t.Errorf("the good token: %v", err)
		}
		f.c.advance(30 * time.Second)
	}
}

// Without a signature nobody learns by guessing which issuers, audiences and claims a tenant wants, nor whether there
// is such a tenant.
func TestVerify_TellsStrangersNothing(t *testing.T) {
	t.Parallel()
	f := newForger(t)
	row := f.s.row("a")
	row.RequiredClaims = map[string]any{"realm.tier": "gold"}
	v := newVerifier(t, f.s, f.c)
	gold := map[string]any{"tier": "gold"}
	if _, err := v.Verify(t.Context(), f.own(nil, "realm", gold), []*directory.Issuer{row}); err != nil {
		t.Fatal(err)
	}
	for name, changes := range map[string][]any{
		"all as it should be": {"realm", gold}, "another audience": {"aud", "x"}, "without the claim": {}, "expired": {"exp", f.c.Now().Unix() - 1},
		"no sub": {"sub", absent}, "another issuer": {"iss", "https://accounts.example.com"}, "a logout token": {"events", map[string]any{}},
	} {
		signed := f.own(nil, changes...)
		unsigned := signed[:strings.LastIndexByte(signed, '.')+1] + strings.Repeat("A", 86)
		// Nor by naming a key that the issuer does not have: whatever else the token says, that may be a new one.
		_, err := v.Verify(t.Context(), f.by(f.attacker, "unknown", nil, append([]any{"realm", absent}, changes...)...), []*directory.Issuer{row})
		if known := name != "another issuer"; known != (hub.CodeOf(err) == hub.KeyUnavailable) || !known && text(err) != "unauthenticated: "+wantUnsigned {
			t.Errorf("%s, by a key that is not known: %v", name, err)
		}
		for which, rows := range map[string][]*directory.Issuer{"the tenant": {row}, "no tenant": nil} {
			if _, err := v.Verify(t.Context(), unsigned, rows); err == nil || err.Error() != "unauthenticated: "+wantUnsigned {
				t.Errorf("%s, %s: %v", name, which, err)
			}
		}
	}
}
