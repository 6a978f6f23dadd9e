package provider

import (
	"time"

	"github.com/tributary-hub/tributary/internal/signature"
)

// timeInHeader has the providers whose one header holds timestamp and signatures, labelled, several while a secret
// is rolled.
func timeInHeader() []Provider {
	return []Provider{
		{
			Name:  "stripe",
			Title: "Stripe",
			ID:    []string{"json:id"},
			Type:  []string{"json:type"},
			Setup: "In the Stripe dashboard open Developers, Webhooks and add a destination with the endpoint's URL. Reveal " +
				"its signing secret (whsec_…) and paste it, prefix included, as the endpoint's secret.",
			declared: signature.HMAC{
				Carrier: signature.Carrier{
					Layout: signature.KV, Headers: []string{"Stripe-Signature"},
					Sep: ",", KVSep: "=", TimeKey: "t", SigKeys: []string{"v1"}, Strict: true,
				},
				Signed: "{ts}.{body}",
				// Stripe's libraries check the past only.
				Time: &signature.TimeRule{Tolerance: 300 * time.Second},
			},
			sent: []sentHeader{
				{"Content-Type", "application/json; charset=utf-8"},
				{"User-Agent", "Stripe/1.0 (+https://stripe.com/docs/webhooks)"},
			},
			secretForm:  textForm{prefix: signature.WhsecPrefix, alphabet: letters, length: 32},
			secretLooks: signature.WhsecPrefix,
			idForm:      textForm{prefix: "evt_1", alphabet: letters, length: 23},
		},
	}
}
