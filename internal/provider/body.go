package provider

import "github.com/tributary-hub/tributary/internal/signature"

// bodySigned has the providers that sign the raw body, and nothing else, in one header. What they send beside it,
// ids and types included, is not signed.
func bodySigned() []Provider {
	return []Provider{
		{
			Name:  "github",
			Title: "GitHub",
			ID:    []string{"header:X-GitHub-Delivery"},
			Type:  []string{"header:X-GitHub-Event"},
			Setup: "In the repository's, organisation's or app's settings open Webhooks and add a webhook. Paste the " +
				"endpoint's URL as payload URL, choose content type application/json, and paste the endpoint's secret as secret.",
			UserSetsSecret: true,
			declared: signature.HMAC{
				Carrier: signature.Carrier{Headers: []string{"X-Hub-Signature-256"}, Prefix: "sha256="},
			},
			alsoSent: []signature.HMAC{{
				Carrier: signature.Carrier{Headers: []string{"X-Hub-Signature"}, Prefix: "sha1="},
				Hash:    signature.SHA1,
			}},
			sent: []sentHeader{
				{"Content-Type", "application/json"},
				{"User-Agent", "GitHub-Hookshot/f0a1b2c"},
				{"X-GitHub-Event", "{type}"},
				{"X-GitHub-Delivery", "{id}"},
				{"X-GitHub-Hook-ID", "480123456"},
				{"X-GitHub-Hook-Installation-Target-ID", "790123456"},
				{"X-GitHub-Hook-Installation-Target-Type", "repository"},
			},
			secretForm: textForm{alphabet: hexDigits, length: 40},
			idForm:     textForm{uuid: true},
		},
		{
			Name:  "shopify",
			Title: "Shopify",
			ID:    []string{"header:X-Shopify-Webhook-Id", "header:Shopify-Webhook-Id"},
			Type:  []string{"header:X-Shopify-Topic", "header:Shopify-Topic"},
			Setup: "Subscribe to topics with the endpoint's URL as address: in the app's configuration, by the Admin API, or " +
				"in the shop's settings under Notifications, Webhooks. The secret is the app's client secret, or the one " +
				"that the Webhooks page shows for webhooks made there.",
			declared: signature.HMAC{
				Carrier: signature.Carrier{
					Headers:  []string{"X-Shopify-Hmac-Sha256", "Shopify-Hmac-Sha256"},
					Encoding: signature.Base64,
				},
			},
			sent: []sentHeader{
				{"Content-Type", "application/json"},
				{"User-Agent", "Shopify-Captain-Hook"},
				{"X-Shopify-Topic", "{type}"},
				{"X-Shopify-Webhook-Id", "{id}"},
				{"X-Shopify-Event-Id", "{uuid}"},
				{"X-Shopify-Shop-Domain", "example.myshopify.com"},
				{"X-Shopify-API-Version", "2025-07"},
				{"X-Shopify-Triggered-At", "{at}"},
			},
			secretForm: textForm{prefix: "shpss_", alphabet: hexDigits, length: 32},
			idForm:     textForm{uuid: true},
		},
	}
}
