package api

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/store"
)

// A WebhookRequest is a webhook as somebody captured it.
type WebhookRequest struct {
	Method     string                  `json:"method,omitempty" enum:"POST,GET" default:"POST"`
	Query      string                  `json:"query,omitempty" maxLength:"4096" doc:"What stood after the ? of the URL."`
	Headers    map[string]HeaderValues `json:"headers" maxProperties:"200" example:"{\"Stripe-Signature\":\"t=…,v1=…\"}"`
	Body       string                  `json:"body,omitempty" doc:"The raw body, as text."`
	BodyBase64 string                  `json:"body_base64,omitempty" doc:"The raw body, where it is no text or must be exact to the byte."`
	ReceivedAt *time.Time              `json:"received_at,omitempty" doc:"When it arrived: signed times are judged by that. Absent: now."`
}

// A WebhookVerdict says what the endpoint would decide about it.
type WebhookVerdict struct {
	OK          bool           `json:"ok"`
	Cause       hub.Cause      `json:"cause,omitempty" example:"signature_mismatch" doc:"Why it does not verify."`
	Explanation []string       `json:"explanation" doc:"The cause first, then whatever could be found out by trying."`
	Secret      hub.SecretID   `json:"secret,omitzero" doc:"Which active secret made the signature."`
	Candidates  []hub.SecretID `json:"candidates" doc:"Which candidates did."`
	SignedAt    *time.Time     `json:"signed_at,omitempty"`
	Type        string         `json:"type,omitempty" example:"payment_intent.succeeded"`
	ProviderID  string         `json:"provider_id,omitempty" example:"evt_1PqR"`
	Handshake   bool           `json:"handshake" doc:"It asks for an answer and would not be stored."`
}

// bodyOf is the raw body of a pasted request.
func bodyOf(text, encoded string) ([]byte, error) {
	if encoded == "" {
		return []byte(text), nil
	}
	if text != "" {
		return nil, hub.FieldErrorf("body.body_base64", "either body or body_base64")
	}
	body, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, hub.FieldErrorf("body.body_base64", "is not base64 (standard, padded)")
	}
	return body, nil
}

// HeaderValues is what a header says: one value, or several.
type HeaderValues []string

// Schema is that of both forms.
func (HeaderValues) Schema(huma.Registry) *huma.Schema {
	return &huma.Schema{OneOf: []*huma.Schema{text(0, 16<<10), {Type: huma.TypeArray, Items: text(0, 16<<10)}}}
}

// UnmarshalJSON reads either form.
func (v *HeaderValues) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		*v = make([]string, 1)
		return json.Unmarshal(data, &(*v)[0])
	}
	return json.Unmarshal(data, (*[]string)(v))
}

// headerOf makes names canonical, as net/http does with what arrives.
func headerOf(pasted map[string]HeaderValues) http.Header {
	h := http.Header{}
	for name, values := range pasted {
		for _, value := range values {
			h.Add(name, value)
		}
	}
	return h
}

// bodyText shows a body: as text where it is that, else in base64.
func bodyText(body []byte) (text, encoded string) {
	if utf8.Valid(body) {
		return string(body), ""
	}
	return "", base64.StdEncoding.EncodeToString(body)
}

func (in WebhookRequest) request(now time.Time) (provider.Request, error) {
	body, err := bodyOf(in.Body, in.BodyBase64)
	if err != nil {
		return provider.Request{}, err
	}
	if _, err := url.ParseQuery(in.Query); err != nil { // no scheme reads it, but what is pasted is to be a request
		return provider.Request{}, hub.FieldErrorf("body.query", "is not a query string")
	}
	r := provider.Request{Method: firstOf(in.Method, http.MethodPost), Header: headerOf(in.Headers), Body: body, At: now}
	if in.ReceivedAt != nil {
		r.At = *in.ReceivedAt
	}
	return r, nil
}

// VerifyRequest asks about a pasted request.
type VerifyRequest struct {
	EndpointPath
	Body WebhookRequest
}

// maxPasted is the most bytes of a body in which a webhook is pasted.
const maxPasted = 4 << 20

func (a *API) verifyRequest(path string) {
	register(a, operation{
		id: "verifyWebhook", method: http.MethodPost, path: path, tag: "Endpoints",
		summary: "Try a captured request", about: "Says whether the endpoint's secrets verify it, and if not, why not. Nothing is stored.",
		scopes: []hub.Scope{hub.ConfigRead}, body: maxPasted, raw: true, again: true,
	}, a.verify)
}

func (a *API) verify(ctx context.Context, c *call, in *VerifyRequest) (WebhookVerdict, error) {
	request, err := in.Body.request(a.o.Now())
	if err != nil {
		return WebhookVerdict{}, err
	}
	ref, err := in.ref()
	if err != nil {
		return WebhookVerdict{}, err
	}
	e, err := read(ctx, a, c, func(tx *store.Tx) (hub.Endpoint, error) {
		e, err := tx.Endpoint(ctx, ref)
		if err != nil {
			return hub.Endpoint{}, err
		}
		request.Secrets, err = a.openSecrets(ctx, c, tx, e.ID)
		return e.Endpoint, err
	})
	if err != nil {
		return WebhookVerdict{}, err
	}
	p, err := providerOf(e)
	if err != nil {
		return WebhookVerdict{}, err
	}
	request.Config = e.Config
	v := p.Verify(request)
	if v.Fault != nil {
		return WebhookVerdict{}, v.Fault
	}
	out := WebhookVerdict{
		OK: v.OK, Cause: v.Cause, Explanation: p.Explain(request), Secret: v.Secret, Candidates: orEmpty(v.Candidates),
		Type: v.Type, ProviderID: v.ProviderID, Handshake: v.Handshake != nil,
	}
	if !v.SignedAt.IsZero() {
		out.SignedAt = utc(&v.SignedAt)
	}
	return out, nil
}

func providerOf(e hub.Endpoint) (*provider.Provider, error) {
	p, ok := provider.Get(e.Provider)
	if !ok {
		return nil, hub.Errorf(hub.Unavailable, "this node does not know the endpoint's provider yet")
	}
	return p, nil
}
