package e2e_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/provider"
)

// A canaryIssuer is an OIDC issuer that the hub trusts.
type canaryIssuer struct {
	URL string
	key *ecdsa.PrivateKey
}

// startIssuer starts one, and has the hub reach it.
func (b *birdcage) startIssuer(t *testing.T) *canaryIssuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &canaryIssuer{key: key}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var answer any = map[string]string{"issuer": i.URL, "jwks_uri": i.URL + "/keys"}
		if r.URL.Path == "/keys" {
			answer = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "k", Algorithm: "ES256", Use: "sig"}}}
		}
		_ = json.NewEncoder(w).Encode(answer)
	}))
	t.Cleanup(server.Close)
	i.URL = server.URL
	roots := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(b.dir, "roots.pem"), roots, 0o600); err != nil {
		t.Fatal(err)
	}
	b.env = append(b.env, "SSL_CERT_FILE="+filepath.Join(b.dir, "roots.pem"), "TRIBUTARY_EGRESS_ALLOW="+strings.TrimPrefix(server.URL, "https://"))
	return i
}

// token is a good one; of a token its signature is the secret part, the rest is in many.
func (i *canaryIssuer) token(t *testing.T, sub string) string {
	t.Helper()
	return i.sign(t, i.key, map[string]any{"sub": sub, "exp": time.Now().Add(time.Hour).Unix()})
}

func (i *canaryIssuer) expired(t *testing.T) string {
	t.Helper()
	return i.sign(t, i.key, map[string]any{"sub": "ann", "exp": time.Now().Add(-time.Hour).Unix()})
}

func (i *canaryIssuer) forged(t *testing.T) string {
	t.Helper()
	return signedBy(t, i.URL, "k", "ann")
}

func (i *canaryIssuer) unsigned(t *testing.T) string {
	t.Helper()
	payload := encodedJSON(t, map[string]any{"iss": i.URL, "aud": "hub", "sub": canary.Text(), "exp": time.Now().Add(time.Hour).Unix()})
	return base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." + base64.RawURLEncoding.EncodeToString([]byte(payload)) + "."
}

// strangerToken is of an issuer whom nobody trusts, or by a key that the issuer does not have.
func strangerToken(t *testing.T, issuer string) string {
	t.Helper()
	return signedBy(t, issuer, canary.Text(), "ann")
}

func signedBy(t *testing.T, issuer, keyID, sub string) string {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	i := &canaryIssuer{URL: issuer, key: key}
	return i.signWith(t, key, keyID, map[string]any{"sub": sub, "exp": time.Now().Add(time.Hour).Unix()})
}

func (i *canaryIssuer) sign(t *testing.T, key *ecdsa.PrivateKey, claims map[string]any) string {
	t.Helper()
	return i.signWith(t, key, "k", claims)
}

func (i *canaryIssuer) signWith(t *testing.T, key *ecdsa.PrivateKey, keyID string, claims map[string]any) string {
	t.Helper()
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", keyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, options)
	if err != nil {
		t.Fatal(err)
	}
	claims["iss"], claims["aud"], claims["iat"], claims["jti"] = i.URL, "hub", time.Now().Unix(), canary.Text()
	token, err := jwt.Signed(signer).Claims(claims).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// stream opens one and reads what comes within a moment.
func (v *visitor) stream(t *testing.T, c documentedCall, path, key string, headers ...string) int {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url+path, nil)
	if err != nil {
		t.Fatalf("%s %s: %v", c.id, path, err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	for name, value := range v.strayHeaders(t) {
		r.Header.Set(name, value)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := v.client.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", c.id, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		raw, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		v.keepAnswer(t, c, res, raw, nil, "")
		return res.StatusCode
	}
	buffer := make([]byte, 8<<10)
	n, _ := res.Body.Read(buffer) // the first frames; the stream has no end
	v.heard("streams", buffer[:n])
	return res.StatusCode
}

// secretOf makes a secret in the form of that provider's, and knows it in the form of text and of bytes.
func (v *visitor) secretOf(t *testing.T, p *provider.Provider) string {
	t.Helper()
	made := p.NewSecret()
	v.secret(t, "the secret of "+p.Name, made)
	bare := made[strings.LastIndexByte(made, '_')+1:]
	for _, decode := range []func(string) ([]byte, error){base64.StdEncoding.DecodeString, hex.DecodeString} {
		if raw, err := decode(bare); err == nil && len(raw) >= 12 {
			v.secret(t, "the key of "+p.Name, string(raw))
		}
	}
	return made
}

// configurations are in how many ways endpoints of a provider are made: as it shows, and the generic one in every form of key.
func configurations(p *provider.Provider) []map[string]string {
	all := []map[string]string{p.Example}
	if p.Name == "generic-hmac" {
		for _, form := range []string{"hex", "base64", "whsec"} {
			config := maps.Clone(p.Example)
			config["key"], config["encoding"], config["hash"] = form, "base64", "sha512"
			all = append(all, config)
		}
	}
	return all
}

// sendWebhooks makes an endpoint of every provider, in every form and mode, and sends: what it should be, with credentials
// wherever it and anybody puts them, and what does not verify.
func (v *visitor) sendWebhooks(t *testing.T, can bool) {
	t.Helper()
	for _, p := range provider.All() {
		for _, config := range configurations(p) {
			configured, err := p.Configure(config)
			if err != nil {
				t.Fatal(err)
			}
			made := v.secretOf(t, configured)
			for _, mode := range []string{"enforce", "monitor"} {
				body := object{"name": v.unique(), "provider": p.Name, "secret": made, "mode": mode}
				if config != nil {
					body["config"] = config
				}
				status, endpoint := v.call(t, v.callNamed("createEndpoint"), "/v1/tenants/acme/endpoints", v.key, encodedJSON(t, body))
				if !can {
					continue
				}
				if status != http.StatusCreated {
					t.Fatalf("an endpoint of %s: %d %v", p.Name, status, endpoint)
				}
				u, err := url.Parse(endpoint["url"].(string))
				if err != nil {
					t.Fatal(err)
				}
				v.sendTo(t, configured, u.Path, made)
			}
		}
	}
}

// sendTo sends what that provider sends, and more, and says how many were accepted.
func (v *visitor) sendTo(t *testing.T, p *provider.Provider, path, secret string) (accepted int) {
	t.Helper()
	content := func() string {
		return `{"id":"` + v.unique() + `","type":"x.y","text":"` + v.mislay(t, "text of an event") + `","data":{"object":{"customer":"c"}}}`
	}
	bodies := []string{content(), `not JSON but ` + v.mislay(t, "a body that is no JSON"), "\x00\xff" + v.mislay(t, "a body that is no text")}
	for _, place := range p.CredentialPaths {
		token := v.secret(t, "a credential of "+p.Name+" at "+place, canary.Text())
		inJSON := func(at string) string { return strings.Replace(content(), "{", `{"`+at+`":"`+token+`",`, 1) }
		switch kind, at, _ := strings.Cut(place, ":"); {
		case kind == "json" && !strings.Contains(at, "."):
			bodies = append(bodies, inJSON(at), strings.Repeat(" ", 2000)+inJSON(at), `{"`+strings.ToUpper(at)+`":"`+token+`"}`, `{"`+at+`":"`+token+``)
		case kind == "form" && !strings.Contains(at, ":"):
			bodies = append(bodies, "command=%2Fx&"+at+"="+token+"&text=y", "%74oken="+token+"&text=y")
		case place == "form:payload:json:token":
			bodies = append(bodies, "payload="+url.QueryEscape(inJSON("token")))
		default:
			t.Fatalf("%s has credentials at %s, and the canary cannot put one there", p.Name, place)
		}
	}
	for _, body := range bodies {
		header, err := p.Sign(secret, []byte(body), time.Now(), provider.SignOptions{Type: "x.y", ID: v.unique()})
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range append(slices.Clone(p.CredentialHeaders), "Authorization", "Cookie", "Proxy-Authorization") {
			if header.Get(name) == "" {
				header.Set(name, "Basic "+v.secret(t, p.Name+": "+name, canary.Text()))
			}
		}
		if v.post(t, path, header, body) == http.StatusOK {
			accepted++
		}
		v.post(t, path+"?secret="+v.secret(t, "a query of a webhook", canary.Text()), header, body+" ") // the signature is of something else
		v.post(t, path, http.Header{"Content-Encoding": {"gzip"}, "Authorization": header["Authorization"]}, body)
	}
	return accepted
}

// post sends a webhook and keeps the answer.
func (v *visitor) post(t *testing.T, path string, header http.Header, body string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, v.url+path, bytes.NewReader([]byte(body)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header.Clone()
	res, err := v.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	v.keepAnswer(t, documentedCall{id: "receiveWebhook"}, res, raw, nil, "")
	return res.StatusCode
}

func (v *visitor) callNamed(id string) documentedCall {
	i := slices.IndexFunc(v.calls, func(c documentedCall) bool { return c.id == id })
	if i < 0 {
		panic(fmt.Sprintf("the document has no %s", id))
	}
	return v.calls[i]
}
