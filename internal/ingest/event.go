package ingest

import (
	"bytes"
	"net/http"
	"slices"
	"time"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

// newEvent is the event that a verified request becomes, or one in monitor mode that did not verify: that takes no
// dedup key, so that a stranger cannot occupy a genuine event's.
func newEvent(ep *directory.Endpoint, v provider.Verdict, header http.Header, body []byte, at time.Time) hub.Event {
	e := hub.Event{
		Tenant:     ep.Tenant.ID,
		ID:         hub.NewID[hub.EventID](),
		Endpoint:   ep.ID,
		Provider:   ep.Endpoint.Provider,
		Type:       v.Type,
		ProviderID: v.ProviderID,
		ReceivedAt: at,
		Verified:   v.OK,
		Cause:      v.Cause,
		Secret:     v.Secret,
		Header:     header,
		Dedup:      v.Dedup,
	}
	e.Body, e.Original = splitBody(ep.Provider, body)
	return e
}

// splitBody is the body as it may be shown and, where that is another, the raw one, to be sealed.
func splitBody(p *provider.Provider, body []byte) (shown, original []byte) {
	if len(p.CredentialPaths) == 0 {
		return body, nil
	}
	shown = p.Redact(body)
	if bytes.Equal(shown, body) {
		return body, nil
	}
	return shown, body
}

// credentialHeaders are sealed, wherever a preset says nothing of them: they may be the sender's, or a proxy's.
var credentialHeaders = []string{"Authorization", "Cookie", "Proxy-Authorization"}

// splitHeader parts what carries credentials, the provider's own among them, from what may be shown. Without
// credentials the header itself comes back, uncopied.
func splitHeader(p *provider.Provider, h http.Header) (shown, credentials http.Header) {
	names := credentialHeaders
	if p != nil && len(p.CredentialHeaders) > 0 {
		names = append(slices.Clone(names), p.CredentialHeaders...)
	}
	for _, name := range names {
		name = http.CanonicalHeaderKey(name)
		values, ok := h[name]
		if !ok {
			continue
		}
		if credentials == nil {
			h, credentials = h.Clone(), http.Header{}
		}
		credentials[name] = values
		delete(h, name)
	}
	return h, credentials
}
