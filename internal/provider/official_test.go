package provider_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stripe/stripe-go/v83/webhook"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

// signer is somebody else's code, or published values, that signs a body.
type signer struct {
	name     string
	provider string
	secret   string
	body     []byte
	at       time.Time
	header   http.Header
}

func signers(t *testing.T) []signer {
	t.Helper()
	at := time.Unix(1_760_000_000, 0)
	body := []byte(`{"id":"evt_1","type":"ferry.departed","event_id":"Ev1"}`)

	stripe := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: "whsec_test_secret", Timestamp: at})

	const whsec = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u"
	library, err := standardwebhooks.NewWebhook(whsec)
	if err != nil {
		t.Fatal(err)
	}
	text, err := library.Sign("msg_1", at, body)
	if err != nil {
		t.Fatal(err)
	}

	mac := hmac.New(sha256.New, []byte("shpss_0123"))
	mac.Write(body)

	return []signer{
		{"stripe-go", "stripe", "whsec_test_secret", body, at, header(map[string]string{"Stripe-Signature": stripe.Header})},
		{"standard-webhooks library", "standard-webhooks", whsec, body, at, header(map[string]string{
			"webhook-id": "msg_1", "webhook-timestamp": strconv.FormatInt(at.Unix(), 10), "webhook-signature": text,
		})},
		{"shopify's documented base64 of the HMAC", "shopify", "shpss_0123", body, at, header(map[string]string{
			"X-Shopify-Hmac-Sha256": base64.StdEncoding.EncodeToString(mac.Sum(nil)),
		})},
		// https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries
		{"github's documentation", "github", "It's a Secret to Everybody", []byte("Hello, World!"), at, header(map[string]string{
			"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
		})},
		// https://docs.slack.dev/authentication/verifying-requests-from-slack
		{
			"slack's documentation", "slack", "8f742231b10e8888abcd99yyyzzz85a5",
			[]byte("token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V&" +
				"channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text=&" +
				"response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN&" +
				"trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"),
			time.Unix(1531420618, 0), header(map[string]string{
				"X-Slack-Request-Timestamp": "1531420618",
				"X-Slack-Signature":         "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
			}),
		},
	}
}

// TestOfficialSigners accepts what they sign, refuses every body with one bit changed, cut or grown, and refuses
// another secret.
func TestOfficialSigners(t *testing.T) {
	t.Parallel()
	for _, s := range signers(t) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			p, _ := provider.Get(s.provider)
			verify := func(body []byte, secret string) provider.Verdict {
				return p.Verify(provider.Request{
					Method: "POST", Header: s.header, Body: body, At: s.at,
					Secrets: []provider.Secret{{ID: hub.NewID[hub.SecretID](), Value: []byte(secret)}},
				})
			}
			if v := verify(s.body, s.secret); !v.OK {
				t.Fatalf("refused: %s %s", v.Cause, v.Detail)
			}
			for i := range s.body {
				tampered := bytes.Clone(s.body)
				tampered[i] ^= 1
				if v := verify(tampered, s.secret); v.OK || v.Cause != hub.SignatureMismatch {
					t.Fatalf("byte %d changed: OK %t, cause %s", i, v.OK, v.Cause)
				}
			}
			for name, body := range map[string][]byte{
				"cut": s.body[:len(s.body)-1], "grown": append(bytes.Clone(s.body), '\n'), "empty": {},
			} {
				if v := verify(body, s.secret); v.OK || v.Cause != hub.SignatureMismatch {
					t.Errorf("body %s: OK %t, cause %s", name, v.OK, v.Cause)
				}
			}
			for name, secret := range map[string]string{
				"other": s.secret[:len(s.secret)-2] + "AA", "grown": s.secret + "BBBB", // not AAAA: an HMAC pads its key with zeros itself
			} {
				if v := verify(s.body, secret); v.OK || v.Cause != hub.SignatureMismatch {
					t.Errorf("secret %s: OK %t, cause %s", name, v.OK, v.Cause)
				}
			}
		})
	}
}

// TestOfficialVerifiers lets the libraries verify what Sign makes.
func TestOfficialVerifiers(t *testing.T) {
	t.Parallel()
	now := time.Now()
	body := []byte(`{"id":"evt_1","object":"event","type":"ferry.departed"}`)

	stripe, _ := provider.Get("stripe")
	secret := stripe.NewSecret()
	h, err := stripe.Sign(secret, body, now, provider.SignOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := webhook.ValidatePayload(body, h.Get("Stripe-Signature"), secret); err != nil {
		t.Errorf("stripe-go: %v", err)
	}

	standard, _ := provider.Get("standard-webhooks")
	secret = standard.NewSecret()
	if h, err = standard.Sign(secret, body, now, provider.SignOptions{ID: "msg_1"}); err != nil {
		t.Fatal(err)
	}
	library, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := library.Verify(body, h); err != nil {
		t.Errorf("standard-webhooks: %v", err)
	}
}
