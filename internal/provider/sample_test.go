package provider_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tidwall/gjson"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

func TestSamples(t *testing.T) {
	t.Parallel()
	want := map[string][]string{
		"stripe": {
			"payment_intent.succeeded", "payment_intent.payment_failed", "customer.created", "invoice.paid", "checkout.session.completed",
		},
		"github":            {"push", "pull_request", "issues", "ping"},
		"shopify":           {"orders/create", "products/update", "app/uninstalled"},
		"slack":             {"message", "app_mention"},
		"standard-webhooks": {"user.created", "invoice.paid", "ping"},
		"generic-hmac":      {"order.created", "order.shipped"},
	}
	got := map[string][]string{}
	for _, p := range provider.All() {
		got[p.Name] = provider.Samples(p.Name)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := provider.Samples("nobody"); len(got) != 0 {
		t.Errorf("samples of nobody: %v", got)
	}
}

// TestSample_RoundTrip: each sample, signed as its provider signs, verifies with its type and id, from the catalogue's
// provider and from a configured one.
func TestSample_RoundTrip(t *testing.T) {
	t.Parallel()
	for _, p := range provider.All() {
		for _, typ := range provider.Samples(p.Name) {
			t.Run(p.Name+" "+typ, func(t *testing.T) {
				t.Parallel()
				body, id, err := provider.Sample(p.Name, typ, at)
				if err != nil {
					t.Fatal(err)
				}
				if !json.Valid(body) || bytes.Contains(body, []byte("{{")) {
					t.Fatalf("not an event: %s", body)
				}
				r, secret := signed(t, p.Name, string(body), provider.SignOptions{Type: typ, ID: id})
				configured, err := p.Configure(r.Config)
				if err != nil {
					t.Fatal(err)
				}
				if err := configured.CheckSecret(secret); err != nil {
					t.Errorf("a fresh secret: %v", err)
				}
				for _, verifier := range []*provider.Provider{p, configured} {
					v := verifier.Verify(r)
					if !v.OK || v.Type != typ || v.ProviderID != id || v.Handshake != nil {
						t.Errorf("%s %s, type %q, id %q; want %q, %q", v.Cause, v.Detail, v.Type, v.ProviderID, typ, id)
					}
				}
				if r.Header.Get("Content-Type") == "" || r.Header.Get("User-Agent") == "" {
					t.Errorf("headers: %v", r.Header)
				}
			})
		}
	}
}

func TestSample_Stripe(t *testing.T) {
	t.Parallel()
	body, id, err := provider.Sample("stripe", "", at)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"id": id, "type": "payment_intent.succeeded", "data.object.customer": "cus_Q1w2e3r4t5", "data.object.amount": "2000",
		"created": strconv.FormatInt(at.Unix(), 10),
	} {
		if got := gjson.GetBytes(body, path).String(); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if !bytes.HasPrefix(body, []byte("{\n  \"id\"")) {
		t.Error("not indented as Stripe's are")
	}
}

func TestSample_Unknown(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ provider, typ, want string }{
		{"nobody", "", `no provider "nobody"`},
		{"github", "pus", "push, pull_request"},
	} {
		_, _, err := provider.Sample(tc.provider, tc.typ, at)
		if hub.CodeOf(err) != hub.NotFound || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %s: %v", tc.provider, tc.typ, err)
		}
	}
}

func TestSign_Headers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		provider string
		want     []string
	}{
		{"stripe", []string{"Content-Type", "Stripe-Signature", "User-Agent"}},
		{"github", []string{
			"Content-Type", "User-Agent", "X-Github-Delivery", "X-Github-Event", "X-Github-Hook-Id",
			"X-Github-Hook-Installation-Target-Id", "X-Github-Hook-Installation-Target-Type", "X-Hub-Signature", "X-Hub-Signature-256",
		}},
		{"shopify", []string{
			"Content-Type", "User-Agent", "X-Shopify-Api-Version", "X-Shopify-Event-Id", "X-Shopify-Hmac-Sha256", "X-Shopify-Shop-Domain",
			"X-Shopify-Topic", "X-Shopify-Triggered-At", "X-Shopify-Webhook-Id",
		}},
		{"slack", []string{"Content-Type", "User-Agent", "X-Slack-Request-Timestamp", "X-Slack-Signature"}},
		{"standard-webhooks", []string{"Content-Type", "User-Agent", "Webhook-Id", "Webhook-Signature", "Webhook-Timestamp"}},
	} {
		t.Run(tc.provider, func(t *testing.T) {
			t.Parallel()
			r, _ := signed(t, tc.provider, `{}`, provider.SignOptions{Type: "x"})
			var got []string
			for name := range r.Header {
				got = append(got, name)
			}
			slices.Sort(got)
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSign_Refusals(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, provider, secret string
		options                provider.SignOptions
	}{
		{"no secret", "github", "", provider.SignOptions{}},
		{"an undecodable secret", "standard-webhooks", "not base64!", provider.SignOptions{}},
		{"a type that breaks the header", "github", "s", provider.SignOptions{Type: "a\r\nX-Evil: 1"}},
		{"an id that breaks the header", "github", "s", provider.SignOptions{ID: "a\n"}},
		{"no configuration", "generic-hmac", "s", provider.SignOptions{}},
		{"a signed header that nobody sets", "generic-hmac", "s", provider.SignOptions{
			Config: map[string]string{"header": "X", "signed": "{header:X-Account}{body}"},
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			h, err := get(t, tc.provider).Sign(tc.secret, []byte(`{}`), at, tc.options)
			if hub.CodeOf(err) != hub.Invalid || h != nil {
				t.Errorf("%v, %v", h, err)
			}
		})
	}
}

// TestNewSecret: fresh ones differ, look like the provider's, and sign.
func TestNewSecret(t *testing.T) {
	t.Parallel()
	for _, p := range provider.All() {
		one, other := p.NewSecret(), p.NewSecret()
		if one == other || len(one) < 32 {
			t.Errorf("%s: %d and %d characters, the same: %t", p.Name, len(one), len(other), one == other)
		}
		if e := p.Explain(provider.Request{
			Method: http.MethodPost, Header: http.Header{}, At: at, Secrets: []provider.Secret{active(one)}, Config: p.Example,
		}); len(e) == 0 {
			t.Errorf("%s: nothing to say about an unsigned request", p.Name)
		}
	}
	for _, form := range []string{"utf8", "hex", "base64", "whsec"} {
		p := configured(t, "generic-hmac", map[string]string{"header": "X", "key": form})
		if err := p.CheckSecret(p.NewSecret()); err != nil {
			t.Errorf("a fresh %s secret: %v", form, err)
		}
	}
}
