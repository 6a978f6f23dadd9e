package provider_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

// BenchmarkVerify measures a body of 2 KB and one secret, as most webhooks are. Well under 5 µs is expected, most of
// it the HMAC's and the check that the body is JSON.
func BenchmarkVerify(b *testing.B) {
	at := time.Unix(1_760_000_000, 0)
	body := bodyOf(2 << 10)
	b.Run("hmac-alone", func(b *testing.B) { // the floor
		b.SetBytes(int64(len(body)))
		for b.Loop() {
			mac := hmac.New(sha256.New, []byte("a secret"))
			mac.Write(body)
			mac.Sum(nil)
		}
	})
	for _, p := range provider.All() {
		b.Run(p.Name, func(b *testing.B) {
			configured, err := p.Configure(p.Example)
			if err != nil {
				b.Fatal(err)
			}
			secret := p.NewSecret()
			h, err := configured.Sign(secret, body, at, provider.SignOptions{Type: "order.created"})
			if err != nil {
				b.Fatal(err)
			}
			r := provider.Request{
				Method: "POST", Header: h, Body: body, At: at,
				Secrets: []provider.Secret{{ID: hub.NewID[hub.SecretID](), Value: []byte(secret)}},
			}
			b.ReportAllocs()
			b.SetBytes(int64(len(body)))
			for b.Loop() {
				if v := configured.Verify(r); !v.OK {
					b.Fatal(v.Cause)
				}
			}
		})
	}
}

// bodyOf makes an event of about that many bytes, shaped as they usually are: short names, ids, links, some prose.
func bodyOf(size int) []byte {
	var out bytes.Buffer
	out.WriteString(`{"id":"evt_1","event_id":"Ev1","event":{"type":"message"},"type":"order.created","data":{"lines":[`)
	for i := 0; out.Len() < size-200; i++ {
		if i > 0 {
			out.WriteByte(',')
		}
		fmt.Fprintf(&out, `{"line":%d,"sku":"SKU-%04d","title":"Rain jacket, blue, with a hood that can be taken off",`+
			`"link":"https://shop.example.com/products/rain-jacket?variant=%08d","price":{"amount":1999,"currency":"EUR"},"tax":null}`, i, i, i)
	}
	out.WriteString(`]},"livemode":true}`)
	return out.Bytes()
}
