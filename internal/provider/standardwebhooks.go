package provider

import (
	"time"

	"github.com/tributary-hub/tributary/internal/signature"
)

// standardWebhooks has those who follow https://www.standardwebhooks.com: id, timestamp and body are signed, and the
// header lists signatures by version.
func standardWebhooks() []Provider {
	return []Provider{
		{
			Name:  "standard-webhooks",
			Title: "Standard Webhooks",
			ID:    []string{"header:Webhook-Id"},
			Type:  []string{"json:type"},
			Setup: "Paste the endpoint's URL where the sender registers webhooks. It shows a signing secret, whsec_ and " +
				"base64 text: paste it as the endpoint's secret.",
			declared: signature.HMAC{
				Carrier: signature.Carrier{
					Layout: signature.KV, Headers: []string{"Webhook-Signature"}, Encoding: signature.Base64,
					Sep: " ", KVSep: ",", SigKeys: []string{"v1"},
				},
				Key:    signature.KeyWhsec,
				Signed: "{header:Webhook-Id}.{ts}.{body}",
				Time: &signature.TimeRule{
					Headers: []string{"Webhook-Timestamp"}, Tolerance: 300 * time.Second, RejectFuture: true,
				},
			},
			sent: []sentHeader{
				{"Content-Type", "application/json"},
				{"User-Agent", "standard-webhooks"},
				{"Webhook-Id", "{id}"},
			},
			secretForm: textForm{prefix: signature.WhsecPrefix, base64: true, length: 32},
			idForm:     textForm{prefix: "msg_", alphabet: letters, length: 27},
		},
	}
}
