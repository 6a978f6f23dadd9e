package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/stripe/stripe-go/v83/webhook"
)

// A receipt is what the hub answers to a webhook.
type receipt struct {
	Event     string `json:"event"`
	Duplicate bool   `json:"duplicate"`
}

// postStripe posts one webhook, signed by Stripe's own library, and gives the status; the receipt is empty unless 200.
func postStripe(ctx context.Context, h *hub, body []byte) (int, receipt, error) {
	endpoint := h.dev.Endpoints["stripe"]
	res, err := postSigned(ctx, http.DefaultClient, endpoint.URL, endpoint.Secret, body)
	if err != nil {
		return 0, receipt{}, err
	}
	defer res.Body.Close()
	var r receipt
	if res.StatusCode == http.StatusOK {
		err = json.NewDecoder(res.Body).Decode(&r)
	}
	return res.StatusCode, r, err
}

// postSigned posts one webhook, signed now by Stripe's own library.
func postSigned(ctx context.Context, client *http.Client, url, secret string, body []byte) (*http.Response, error) {
	signed := webhook.GenerateTestSignedPayload(&webhook.UnsignedPayload{Payload: body, Secret: secret, Timestamp: time.Now()})
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Stripe-Signature", signed.Header)
	return client.Do(req)
}

// payment is a payment_intent.succeeded event with that id.
func payment(id string, n int, customer string) []byte {
	return fmt.Appendf(nil, `{"id":%q,"object":"event","type":"payment_intent.succeeded","created":%d,`+
		`"data":{"object":{"id":"pi_%s","object":"payment_intent","amount":%d,"customer":%q}}}`, id, time.Now().Unix(), id, n, customer)
}
