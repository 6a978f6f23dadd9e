package provider_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	const compact = `{"id":"evt_1","type":"a","url":"https://example.com/?a=1&b=2","list":[1,2]}`
	rewrite := func(f func([]byte) []byte) func(*provider.Request) {
		return func(r *provider.Request) { r.Body = f(r.Body) }
	}
	indent := func(body []byte) []byte {
		var out bytes.Buffer
		if err := json.Indent(&out, body, "", "  "); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	secret := func(change func(string) string) func(*provider.Request) {
		return func(r *provider.Request) { r.Secrets[0].Value = []byte(change(string(r.Secrets[0].Value))) }
	}
	for _, tc := range []struct {
		name, provider string
		change         func(*provider.Request)
		want           string
	}{
		{"good", "stripe", func(*provider.Request) {}, "The signature verifies with secret sec_"},
		{"a line break at the secret's end", "stripe", secret(func(s string) string { return s + "\n" }), "without the white space at its ends"},
		{"quotation marks around the secret", "github", secret(func(s string) string { return `"` + s + `"` }), "without the quotation marks"},
		{"whsec_ left out", "stripe", secret(func(s string) string { return strings.TrimPrefix(s, "whsec_") }), "with whsec_ before it"},
		{"an API key", "stripe", secret(func(string) string { return "sk_live_0123456789" }), "like a Stripe API key"},
		{"a token of a bot", "slack", secret(func(string) string { return "xoxb-1-2-abc" }), "like a Slack bot token"},
		{"an access token", "shopify", secret(func(string) string { return "shpat_0123" }), "like a Shopify access token"},
		{"something else", "stripe", secret(func(string) string { return "hello" }), "does not begin with whsec_"},
		{"another secret", "github", secret(func(string) string { return "hello" }), "the secret is another one"},
		{"a line break behind the body", "github", rewrite(func(b []byte) []byte { return append(bytes.Clone(b), '\n') }), "without the line break at its end"},
		{"indented on the way", "github", rewrite(indent), "as compact JSON: something between GitHub and the hub"},
		{"an empty body", "github", func(r *provider.Request) {
			sign(t, r, "")
		}, "made over nothing"},
		{"written by Python before", "github", func(r *provider.Request) {
			sign(t, r, strings.NewReplacer(`":`, `": `, `,"`, `, "`, `1,2`, `1, 2`).Replace(compact))
		}, "with a blank after commas and colons"},
		{"escaped before", "github", func(r *provider.Request) {
			sign(t, r, strings.ReplaceAll(compact, "/", `\/`))
		}, "with slashes escaped"},
		{"HTML escaped before", "github", func(r *provider.Request) {
			sign(t, r, strings.ReplaceAll(compact, "&", `\u0026`))
		}, "with < > & escaped"},
		{"an old clock", "stripe", func(r *provider.Request) { r.At = at.Add(20 * time.Minute) }, "is 20m0s away from this machine's clock"},
		{"a clock ahead", "slack", func(r *provider.Request) { r.At = at.Add(-20 * time.Minute) }, "Compare both clocks"},
		{"unsigned", "stripe", func(r *provider.Request) { r.Header.Del("Stripe-Signature") }, "Stripe sends the signature in Stripe-Signature"},
		{"somebody else's", "stripe", func(r *provider.Request) {
			r.Header.Set("X-Hub-Signature-256", r.Header.Get("Stripe-Signature"))
			r.Header.Del("Stripe-Signature")
		}, "X-Hub-Signature-256, as GitHub sends it"},
		{"the older signature alone", "github", func(r *provider.Request) { r.Header.Del("X-Hub-Signature-256") }, "X-Hub-Signature is there"},
		{"malformed", "stripe", func(r *provider.Request) { r.Header.Set("Stripe-Signature", "hello") }, "t=<timestamp>,v1=<hex>"},
		{"no secret", "slack", func(r *provider.Request) { r.Secrets = nil }, "copy the signing secret"},
		{"expired", "github", func(r *provider.Request) { r.Secrets[0].ExpiresAt = at.Add(-time.Hour) }, "expired at 2025-10-09T07:53:20Z"},
		{"expired beside another", "github", func(r *provider.Request) {
			r.Secrets[0].ExpiresAt = at.Add(-time.Hour)
			r.Secrets = append(r.Secrets, active("hello"))
		}, "made it, and expired at"},
		{"a candidate", "github", func(r *provider.Request) {
			r.Secrets[0].Candidate = true
			r.Secrets = append(r.Secrets, active("hello"))
		}, "make that one active"},
		{"a secret that cannot be used", "standard-webhooks", secret(func(string) string { return "hello!" }), "not base64"},
		{"a raw secret", "standard-webhooks", func(r *provider.Request) {
			p := configured(t, "generic-hmac", map[string]string{
				"header": "Webhook-Signature", "prefix": "v1,", "encoding": "base64", "id": "header:Webhook-Id",
				"timestamp_header": "Webhook-Timestamp", "signed": "{header:Webhook-Id}.{ts}.{body}",
			})
			h, err := p.Sign("MDEyMzQ1Njc4OWFi", r.Body, at, provider.SignOptions{ID: "msg_1"})
			if err != nil {
				t.Fatal(err)
			}
			r.Header, r.Secrets[0].Value = h, []byte("MDEyMzQ1Njc4OWFi")
		}, "taken as plain text"},
		{"compressed", "github", func(r *provider.Request) {
			r.Header.Set("Content-Encoding", "gzip")
			r.Body = []byte("\x1f\x8b")
		}, "Content-Encoding"},
		{"a registration", "slack", func(r *provider.Request) {
			sign(t, r, `{"type":"url_verification","challenge":"x"}`)
			r.Body = []byte(`{"type":"url_verification","challenge":"x"}`)
		}, "the request is the handshake of Slack"},
		{"a bad configuration", "stripe", func(r *provider.Request) { r.Config = map[string]string{"x": "y"} }, "configuration cannot be used"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, value := signed(t, tc.provider, compact, provider.SignOptions{Type: "a"})
			genuine := r.Header.Clone()
			tc.change(&r)
			sentences := get(t, tc.provider).Explain(r)
			text := strings.Join(sentences, "\n")
			if !strings.Contains(text, tc.want) {
				t.Errorf("%q is not in:\n%s", tc.want, text)
			}
			if strings.Contains(text, "0001-01-01") {
				t.Errorf("a time that nobody set is in:\n%s", text)
			}
			for _, s := range sentences {
				if !strings.HasSuffix(s, ".") {
					t.Errorf("not a sentence: %q", s)
				}
			}
			holdsNothing(t, text, value, genuine, r)
		})
	}
}

// sign gives the request the signature of another body, with its own secret.
func sign(t *testing.T, r *provider.Request, body string) {
	t.Helper()
	name := "github"
	if r.Header.Get("X-Slack-Signature") != "" {
		name = "slack"
	}
	h, err := get(t, name).Sign(string(r.Secrets[0].Value), []byte(body), at, provider.SignOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r.Header = h
}

// holdsNothing looks for secrets and signatures, of which 8 characters would be too many.
func holdsNothing(t *testing.T, text, secret string, genuine http.Header, r provider.Request) {
	t.Helper()
	kept := []string{secret[max(0, len(secret)-8):]}
	for _, s := range r.Secrets {
		if len(s.Value) >= 8 {
			kept = append(kept, string(s.Value[len(s.Value)-8:]))
		}
	}
	for _, name := range []string{"Stripe-Signature", "X-Hub-Signature-256", "X-Shopify-Hmac-Sha256", "X-Slack-Signature", "Webhook-Signature"} {
		for _, h := range []http.Header{genuine, r.Header} {
			if value := h.Get(name); len(value) >= 8 {
				kept = append(kept, value[len(value)-8:])
			}
		}
	}
	for _, k := range kept {
		if strings.Contains(text, k) {
			t.Errorf("%q is in:\n%s", k, text)
		}
	}
}

// TestDetail_HoldsNothing: the sentence that is stored with a rejection holds neither secret nor signature.
func TestDetail_HoldsNothing(t *testing.T) {
	t.Parallel()
	for _, p := range provider.All() {
		r, secret := signed(t, p.Name, `{"type":"x"}`, provider.SignOptions{})
		genuine := r.Header.Clone()
		r.Body = []byte(`{"type":"y"}`)
		v := p.Verify(r)
		if v.Cause != hub.SignatureMismatch || !strings.HasSuffix(v.Detail, ".") {
			t.Errorf("%s: %s %q", p.Name, v.Cause, v.Detail)
		}
		holdsNothing(t, v.Detail+v.Err().Error(), secret, genuine, r)
	}
}
