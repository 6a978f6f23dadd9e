package provider_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

// at is when the tests' requests arrive.
var at = time.Unix(1_760_000_000, 0).UTC()

// signed makes a request as that provider sends it, with one active secret, and gives the secret.
func signed(t *testing.T, name string, body string, o provider.SignOptions) (provider.Request, string) {
	t.Helper()
	p := get(t, name)
	if o.Config == nil {
		o.Config = p.Example
	}
	configured, err := p.Configure(o.Config)
	if err != nil {
		t.Fatal(err)
	}
	secret := configured.NewSecret()
	h, err := configured.Sign(secret, []byte(body), at, o)
	if err != nil {
		t.Fatal(err)
	}
	return provider.Request{
		Method: http.MethodPost, Header: h, Body: []byte(body), At: at, Config: o.Config,
		Secrets: []provider.Secret{active(secret)},
	}, secret
}

func get(t *testing.T, name string) *provider.Provider {
	t.Helper()
	p, ok := provider.Get(name)
	if !ok {
		t.Fatalf("no provider %s", name)
	}
	return p
}

func active(value string) provider.Secret {
	return provider.Secret{ID: hub.NewID[hub.SecretID](), Value: []byte(value)}
}

func candidate(value string) provider.Secret {
	s := active(value)
	s.Candidate = true
	return s
}

func expiring(value string, when time.Time) provider.Secret {
	s := active(value)
	s.ExpiresAt = when
	return s
}

func TestVerify_Secrets(t *testing.T) {
	t.Parallel()
	r, secret := signed(t, "github", `{"zen":"x"}`, provider.SignOptions{Type: "ping"})
	good, twin, other := active(secret), active(secret), active("another")
	hopeful, hopeless := candidate(secret), candidate("another")
	late, gone := expiring(secret, at.Add(time.Nanosecond)), expiring(secret, at)

	for _, tc := range []struct {
		name       string
		secrets    []provider.Secret
		want       hub.SecretID
		candidates []hub.SecretID
		cause      hub.Cause
	}{
		{"one", []provider.Secret{good}, good.ID, nil, ""},
		{"the second of two active", []provider.Secret{other, good}, good.ID, nil, ""},
		{"the first of two active", []provider.Secret{good, other}, good.ID, nil, ""},
		{"two that match: the first", []provider.Secret{good, twin}, good.ID, nil, ""},
		{"none matches", []provider.Secret{other}, hub.SecretID{}, nil, hub.SignatureMismatch},
		{"a candidate beside a match", []provider.Secret{hopeful, good, hopeless}, good.ID, []hub.SecretID{hopeful.ID}, ""},
		{"a candidate behind a match", []provider.Secret{good, hopeful}, good.ID, []hub.SecretID{hopeful.ID}, ""},
		{"a candidate never accepts", []provider.Secret{other, hopeful}, hub.SecretID{}, []hub.SecretID{hopeful.ID}, hub.SignatureMismatch},
		{"candidates alone are no active secret", []provider.Secret{hopeful}, hub.SecretID{}, []hub.SecretID{hopeful.ID}, hub.NoActiveSecret},
		{"not yet expired", []provider.Secret{late}, late.ID, nil, ""},
		{"expired in this moment", []provider.Secret{gone}, hub.SecretID{}, nil, hub.NoActiveSecret},
		{"expired beside an active one", []provider.Secret{gone, other}, hub.SecretID{}, nil, hub.SignatureMismatch},
		{"none at all", nil, hub.SecretID{}, nil, hub.NoActiveSecret},
		{"an empty one is none", []provider.Secret{active("")}, hub.SecretID{}, nil, hub.NoActiveSecret},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r := r
			r.Secrets = tc.secrets
			v := get(t, "github").Verify(r)
			if v.OK != (tc.cause == "") || v.Cause != tc.cause || v.Secret != tc.want {
				t.Errorf("OK %t, cause %q, secret %s; want cause %q, secret %s", v.OK, v.Cause, v.Secret, tc.cause, tc.want)
			}
			if diff := cmp.Diff(tc.candidates, v.Candidates); diff != "" {
				t.Error(diff)
			}
			if v.OK != (v.Dedup != hub.Dedup{}) {
				t.Errorf("OK is %t and the dedup key %x", v.OK, v.Dedup.Hash)
			}
		})
	}
}

// TestVerify_UndecodableSecret: what CheckSecret would not have let in can make no signature, an empty key least.
func TestVerify_UndecodableSecret(t *testing.T) {
	t.Parallel()
	r, _ := signed(t, "standard-webhooks", `{"type":"x"}`, provider.SignOptions{})
	for _, value := range []string{"whsec_", "whsec_!!", "", "%"} {
		r.Secrets = []provider.Secret{active(value)}
		if v := get(t, "standard-webhooks").Verify(r); v.OK || v.Cause != hub.NoActiveSecret {
			t.Errorf("%q: OK %t, cause %s", value, v.OK, v.Cause)
		}
	}
}

func TestVerify_Headers(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, provider string
		change         func(http.Header)
		cause          hub.Cause
	}{
		{"a second line of the header holds the match", "github", func(h http.Header) {
			h["X-Hub-Signature-256"] = append([]string{"sha256=" + strings.Repeat("0", 64)}, h["X-Hub-Signature-256"]...)
		}, ""},
		{"a broken line beside the match", "github", func(h http.Header) {
			h["X-Hub-Signature-256"] = append([]string{"sha256=zz"}, h["X-Hub-Signature-256"]...)
		}, ""},
		{"lines of labelled parts are joined", "stripe", func(h http.Header) {
			stamp, signature, _ := strings.Cut(h.Get("Stripe-Signature"), ",")
			h["Stripe-Signature"] = []string{stamp, "v1=" + strings.Repeat("0", 64), signature}
		}, ""},
		{"blanks after commas", "stripe", func(h http.Header) {
			h.Set("Stripe-Signature", strings.ReplaceAll(h.Get("Stripe-Signature"), ",", ", "))
		}, ""},
		{"a signature under an unknown label", "stripe", func(h http.Header) {
			h.Set("Stripe-Signature", strings.Replace(h.Get("Stripe-Signature"), "v1=", "v2=", 1))
		}, hub.UnknownSchemeVersion},
		{"a good signature under an unknown label beside a bad one", "stripe", func(h http.Header) {
			h.Set("Stripe-Signature", strings.Replace(h.Get("Stripe-Signature"), "v1=", "v0=", 1)+",v1="+strings.Repeat("0", 64))
		}, hub.SignatureMismatch},
		{"the legacy header alone", "github", func(h http.Header) { h.Del("X-Hub-Signature-256") }, hub.NoSignature},
		{"the legacy hash in the new header", "github", func(h http.Header) {
			h.Set("X-Hub-Signature-256", h.Get("X-Hub-Signature"))
		}, hub.UnknownSchemeVersion},
		{"the other spelling first, empty", "shopify", func(h http.Header) {
			h["Shopify-Hmac-Sha256"] = h["X-Shopify-Hmac-Sha256"]
			h["X-Shopify-Hmac-Sha256"] = []string{""}
		}, ""},
		{"both spellings: the first present counts", "shopify", func(h http.Header) {
			h["Shopify-Hmac-Sha256"] = h["X-Shopify-Hmac-Sha256"]
			h["X-Shopify-Hmac-Sha256"] = []string{strings.Repeat("A", 43) + "="}
		}, hub.SignatureMismatch},
		{"an empty id is absent", "standard-webhooks", func(h http.Header) { h.Set("Webhook-Id", "") }, hub.MalformedSignature},
		{"line breaks inside base64", "shopify", func(h http.Header) {
			s := h.Get("X-Shopify-Hmac-Sha256")
			h["X-Shopify-Hmac-Sha256"] = []string{s[:20] + "\n" + s[20:]}
		}, hub.MalformedSignature},
		{"a timestamp of too many digits", "slack", func(h http.Header) {
			h.Set("X-Slack-Request-Timestamp", strings.Repeat("9", 30))
		}, hub.MalformedSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, _ := signed(t, tc.provider, `{"type":"x","id":"1","event_id":"1"}`, provider.SignOptions{})
			tc.change(r.Header)
			if v := get(t, tc.provider).Verify(r); v.OK != (tc.cause == "") || v.Cause != tc.cause {
				t.Errorf("OK %t, cause %q (%s), want %q", v.OK, v.Cause, v.Detail, tc.cause)
			}
		})
	}
}

func TestVerify_Tolerance(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, provider string
		tolerance      string
		away           time.Duration // of the arrival from the signed time
		cause          hub.Cause
	}{
		{"as old as tolerated", "stripe", "", 300 * time.Second, ""},
		{"the rest of that second", "stripe", "", 300*time.Second + 999*time.Millisecond, ""},
		{"older", "stripe", "", 301 * time.Second, hub.TimestampTooOld},
		{"stripe does not check the future", "stripe", "", -time.Hour, ""},
		{"as far ahead as tolerated", "slack", "", -300 * time.Second, ""},
		{"further ahead", "slack", "", -301 * time.Second, hub.TimestampInFuture},
		{"an endpoint's own, longer", "stripe", "3600", 3600 * time.Second, ""},
		{"an endpoint's own, shorter", "standard-webhooks", "10", 11 * time.Second, hub.TimestampTooOld},
		{"an endpoint's own, ahead", "standard-webhooks", "10", -11 * time.Second, hub.TimestampInFuture},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			config := map[string]string{}
			if tc.tolerance != "" {
				config["tolerance"] = tc.tolerance
			}
			r, _ := signed(t, tc.provider, `{"type":"x","id":"1"}`, provider.SignOptions{Config: config})
			r.At = at.Add(tc.away)
			v := get(t, tc.provider).Verify(r)
			if v.Cause != tc.cause || !v.SignedAt.Equal(at) {
				t.Errorf("cause %q (%s), signed at %s; want %q and %s", v.Cause, v.Detail, v.SignedAt, tc.cause, at)
			}
			if !v.OK && !v.Secret.IsZero() {
				t.Error("a refusal names a secret as used")
			}
		})
	}
}

// TestVerify_UnsignedTime: a time is believed only when a secret made the signature over it.
func TestVerify_UnsignedTime(t *testing.T) {
	t.Parallel()
	r, _ := signed(t, "slack", `{"type":"x"}`, provider.SignOptions{})
	r.Header.Set("X-Slack-Request-Timestamp", "1")
	v := get(t, "slack").Verify(r)
	if v.Cause != hub.SignatureMismatch || !v.SignedAt.IsZero() {
		t.Errorf("cause %s, signed at %s", v.Cause, v.SignedAt)
	}
}

func TestVerdict_Err(t *testing.T) {
	t.Parallel()
	r, _ := signed(t, "github", `{}`, provider.SignOptions{})
	if err := get(t, "github").Verify(r).Err(); err != nil {
		t.Errorf("accepted: %v", err)
	}
	r.Header.Del("X-Hub-Signature-256")
	var refusal *hub.Error
	if err := get(t, "github").Verify(r).Err(); !errors.As(err, &refusal) ||
		refusal.Code != hub.SignatureInvalid || refusal.Cause != hub.NoSignature || refusal.Message == "" {
		t.Errorf("refused: %#v", refusal)
	}
	// A configuration that should never have been stored is our fault, not the sender's.
	v := get(t, "generic-hmac").Verify(r)
	if v.OK || hub.CodeOf(v.Err()) != hub.Unavailable {
		t.Errorf("without configuration: OK %t, %v", v.OK, v.Err())
	}
}

func TestVerify_TypeAndID(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat(`{"a":`, 70) + "1" + strings.Repeat("}", 70)
	for _, tc := range []struct {
		name, provider, body string
		options              provider.SignOptions
		typ, id              string
	}{
		{"json", "stripe", `{"id":"evt_1","type":"a.b"}`, provider.SignOptions{}, "a.b", "evt_1"},
		{"numbers as written", "stripe", `{"id":12345678901234567890,"type":1.50}`, provider.SignOptions{}, "1.50", "12345678901234567890"},
		{"neither string nor number", "stripe", `{"id":{"id":"x"},"type":null}`, provider.SignOptions{}, "", ""},
		{"nested names are others", "stripe", `{"data":{"id":"x","type":"y"}}`, provider.SignOptions{}, "", ""},
		{"of two the first", "stripe", `{"id":"a","id":"b","type":"c","type":"d"}`, provider.SignOptions{}, "c", "a"},
		{"not JSON", "stripe", `id=1&type=2`, provider.SignOptions{}, "", ""},
		{"JSON with something behind", "stripe", `{"id":"a","type":"b"} {"id":"c"}`, provider.SignOptions{}, "", ""},
		{"cut JSON", "stripe", `{"id":"a","type":"b"`, provider.SignOptions{}, "", ""},
		{"too deep", "stripe", `{"id":"a","type":"b","x":` + deep + `}`, provider.SignOptions{}, "", ""},
		{"deep inside a string is not deep", "stripe", `{"id":"a","x":"` + strings.Repeat(`[{\"`, 70) + `","type":"b"}`, provider.SignOptions{}, "b", "a"},
		{"many braces are not deep", "stripe", `{"id":"a","x":[` + strings.Repeat(`{"y":[1]},`, 70) + `0],"type":"b"}`, provider.SignOptions{}, "b", "a"},
		{"NUL cannot be stored", "stripe", `{"id":"a\u0000","type":"b\n"}`, provider.SignOptions{}, "", ""},
		{"too long", "stripe", `{"id":"` + strings.Repeat("a", 256) + `","type":"b"}`, provider.SignOptions{}, "b", ""},
		{"empty body", "stripe", ``, provider.SignOptions{}, "", ""},
		{"headers", "github", `{"id":"x","type":"y"}`, provider.SignOptions{Type: "push", ID: "d-1"}, "push", "d-1"},
		{"the inner type", "slack", `{"type":"event_callback","event":{"type":"message"},"event_id":"Ev1"}`, provider.SignOptions{}, "message", "Ev1"},
		{"the outer type", "slack", `{"type":"app_rate_limited"}`, provider.SignOptions{}, "app_rate_limited", ""},
		{"a form", "slack", `token=t&command=%2Fgo`, provider.SignOptions{}, "", ""},
		{"a signed header", "standard-webhooks", `{"type":"x"}`, provider.SignOptions{ID: "msg_1"}, "x", "msg_1"},
		{"as configured, joined", "generic-hmac", `{"a":{"b":"1"},"k":"z"}`, provider.SignOptions{ID: "h", Config: map[string]string{
			"header": "X-Sig", "id": "json:a.b+header:X-Id", "type": "json:k",
		}}, "z", "1+h"},
		{"as configured, one part missing", "generic-hmac", `{"k":"z"}`, provider.SignOptions{ID: "h", Config: map[string]string{
			"header": "X-Sig", "id": "json:a.b+header:X-Id", "type": "json:k",
		}}, "z", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			r, _ := signed(t, tc.provider, tc.body, tc.options)
			v := get(t, tc.provider).Verify(r)
			if !v.OK || v.Type != tc.typ || v.ProviderID != tc.id {
				t.Errorf("OK %t, type %q, id %q; want %q, %q", v.OK, v.Type, v.ProviderID, tc.typ, tc.id)
			}
			// In monitor mode a refused event is stored too, and is to be found by its type.
			r.Body = append([]byte(tc.body), ' ')
			if v := get(t, tc.provider).Verify(r); v.OK || v.Type != tc.typ || v.ProviderID != tc.id {
				t.Errorf("refused: OK %t, type %q, id %q", v.OK, v.Type, v.ProviderID)
			}
		})
	}
}
