package provider

import (
	"net/http"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/signature"
)

// A sentHeader is one that the provider sends. {type}, {id}, {at} (RFC 3339) and {uuid} (a fresh one) are filled in;
// a header that ends up empty is not sent.
type sentHeader struct {
	name, value string
}

// SignOptions say what is sent beside the body.
type SignOptions struct {
	Type   string            // for providers that name it in a header; default none
	ID     string            // for providers that name it in a header; default a fresh one
	Config map[string]string // of the endpoint, unless the provider is configured
}

// Sign gives the headers with which the provider would send the body at that time: signature, timestamp, event id
// and type, content type, user agent. It refuses, as hub.Invalid, a secret that cannot be the provider's.
func (p *Provider) Sign(secret string, body []byte, at time.Time, o SignOptions) (http.Header, error) {
	p, err := p.with(o.Config)
	if err != nil {
		return nil, err
	}
	if err := p.CheckSecret(secret); err != nil {
		return nil, err
	}
	if !isHeaderValue(o.Type) || !isHeaderValue(o.ID) {
		return nil, hub.Errorf(hub.Invalid, "a type or id that stands in a header has no control characters")
	}
	if o.ID == "" {
		o.ID = p.idForm.make()
	}
	fill := strings.NewReplacer(
		"{type}", o.Type, "{id}", o.ID, "{at}", at.UTC().Format(time.RFC3339Nano), "{uuid}", uuid.NewString())
	h := make(http.Header, len(p.sent)+2)
	for _, s := range p.sent {
		if value := fill.Replace(s.value); value != "" {
			h.Set(s.name, value)
		}
	}
	key, err := p.scheme.Declaration().Key.Decode([]byte(secret))
	if err != nil {
		return nil, hub.FieldErrorf("body.secret", "%s", err)
	}
	m := signature.Message{Method: http.MethodPost, Header: h, Body: body}
	if err := p.scheme.Sign(m, key, at); err != nil {
		return nil, hub.Errorf(hub.Invalid, "%w", err)
	}
	for _, s := range p.also {
		if err := s.Sign(m, key, at); err != nil {
			return nil, hub.Errorf(hub.Invalid, "%w", err)
		}
	}
	return h, nil
}

func isHeaderValue(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}
