package api

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

// A Rejection is a webhook that was refused. What carries credentials in it is left out.
type Rejection struct {
	ID         hub.RejectionID     `json:"id" example:"rej_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	Cause      hub.Cause           `json:"cause" example:"signature_mismatch"`
	Detail     string              `json:"detail" example:"No active secret made this signature over the body as it arrived." doc:"The cause in one sentence."`
	ReceivedAt time.Time           `json:"received_at"`
	Headers    map[string][]string `json:"headers"`
	Body       string              `json:"body,omitempty" doc:"Its first KiB, where that is text."`
	BodyBase64 string              `json:"body_base64,omitempty" doc:"Its first KiB, where that is no text."`
	Truncated  bool                `json:"truncated" doc:"Only its beginning was kept: it cannot be retried."`
	Event      hub.EventID         `json:"event,omitzero" doc:"What a retry made of it."`
}

// shownBytes is how much of a rejected body is shown.
const shownBytes = 1 << 10

func fromRejection(p *provider.Provider) func(store.Rejected) Rejection {
	return func(r store.Rejected) Rejection {
		out := Rejection{
			ID: r.ID, Cause: r.Cause, Detail: r.Detail, ReceivedAt: r.ReceivedAt.UTC(), Headers: store.DecodeHeader(r.Header),
			Truncated: r.Truncated, Event: r.Retried,
		}
		body := r.Body
		if p != nil {
			hide(p, out.Headers)
			body = p.Redact(body)
		}
		out.Body, out.BodyBase64 = bodyText(firstOfText(body, shownBytes))
		return out
	}
}

// hide takes out of a header what the provider puts its secret into.
func hide(p *provider.Provider, header map[string][]string) {
	for _, name := range p.CredentialHeaders {
		delete(header, http.CanonicalHeaderKey(name))
	}
}

// firstOfText is the beginning of a body, cut between characters where it is text.
func firstOfText(body []byte, n int) []byte {
	if len(body) <= n {
		return body
	}
	for back := range 4 { // a character has at most four bytes
		if cut := n - back; body[cut]&0xC0 != 0x80 {
			return body[:cut]
		}
	}
	return body[:n]
}

// A Retried rejection says which event it became.
type Retried struct {
	Event     hub.EventID `json:"event" example:"evt_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	Duplicate bool        `json:"duplicate" doc:"That event was there before, from another delivery or an earlier retry."`
}

// RejectionPath names a rejection.
type RejectionPath struct {
	EndpointPath
	Rejection string `path:"rejection" maxLength:"100" example:"rej_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05" doc:"The rejection's id."`
}

// RejectionListRequest lists an endpoint's rejections.
type RejectionListRequest struct {
	EndpointPath
	Page
}

func (a *API) rejections() {
	const all = "/v1/tenants/{tenant}/endpoints/{endpoint}/rejections"
	register(a, operation{
		id: "listRejections", method: http.MethodGet, path: all, tag: "Rejections",
		summary: "List the rejections", about: "The newest first. A bounded ring keeps them: the oldest are lost.", scopes: []hub.Scope{hub.EventsRead},
	}, a.listRejections)
	register(a, operation{
		id: "retryRejection", method: http.MethodPost, path: all + "/{rejection}/retry", tag: "Rejections",
		summary: "Retry a rejection",
		about:   "Verifies it again, with the secrets as they are now and its time of arrival, and accepts it. Retried twice it is the same event.",
		scopes:  []hub.Scope{hub.EventsReplay}, again: true, refuses: []hub.Code{hub.Conflict},
	}, a.retryRejection)
}

func (a *API) listRejections(ctx context.Context, c *call, in *RejectionListRequest) (List[Rejection], error) {
	before, err := a.after(c, in.Page)
	if err != nil {
		return List[Rejection]{}, err
	}
	ref, err := in.ref()
	if err != nil {
		return List[Rejection]{}, err
	}
	var p *provider.Provider
	rows, err := read(ctx, a, c, func(tx *store.Tx) ([]store.Rejected, error) {
		e, err := tx.Endpoint(ctx, ref)
		if err != nil {
			return nil, err
		}
		p, _ = provider.Get(e.Endpoint.Provider)
		return tx.Rejections(ctx, e.ID, hub.RejectionID(before), in.Limit+1)
	})
	if err != nil {
		return List[Rejection]{}, err
	}
	return list(a, c, in.Page, rows, func(r store.Rejected) [16]byte { return r.ID }, fromRejection(p))
}

// retryRejection is safe to be asked for twice, at once and after a crash in between: the event's id is noted on the
// rejection before the event is committed, and whoever comes later commits that one or finds it there.
func (a *API) retryRejection(ctx context.Context, c *call, in *RejectionPath) (Retried, error) {
	r, e, secrets, err := a.loadRejection(ctx, c, in)
	if err != nil {
		return Retried{}, err
	}
	if !r.Retried.IsZero() {
		there, err := a.hasEvent(ctx, c, r.Retried)
		if err != nil || there {
			return Retried{Event: r.Retried, Duplicate: true}, err
		}
	}
	event, err := a.verifyRejection(c, r, e, secrets)
	if err != nil {
		return Retried{}, err
	}
	err = a.change(ctx, c, func(change *store.Change) (err error) {
		if _, err = change.LockTenant(ctx); err != nil {
			return err
		}
		if event.ID, err = change.RetryRejection(ctx, e.ID, r.ID, event.ID); err != nil {
			return err
		}
		return change.Audit(ctx, "rejection.retry", r.ID.String(), map[string]any{"endpoint": e.ID.String(), "event": event.ID.String()})
	})
	if err != nil {
		return Retried{}, err
	}
	receipt, err := a.o.Accept(ctx, event)
	if err != nil {
		if there, _ := a.hasEvent(ctx, c, event.ID); there { // somebody else retried it at the same moment
			return Retried{Event: event.ID, Duplicate: true}, nil
		}
		return Retried{}, err
	}
	if receipt.Event != event.ID {
		_, err = read(ctx, a, c, func(tx *store.Tx) (nothing, error) {
			return nothing{}, tx.CorrectRejection(ctx, e.ID, r.ID, receipt.Event)
		})
	}
	return Retried(receipt), err
}

func (a *API) loadRejection(ctx context.Context, c *call, in *RejectionPath) (r store.Rejected, e hub.Endpoint, secrets []provider.Secret, err error) {
	ref, err := in.ref()
	if err != nil {
		return r, e, nil, err
	}
	id, err := idOf[hub.RejectionID](in.Rejection, "rejection")
	if err != nil {
		return r, e, nil, err
	}
	r, err = read(ctx, a, c, func(tx *store.Tx) (store.Rejected, error) {
		sealed, err := tx.Endpoint(ctx, ref)
		if err != nil {
			return r, err
		}
		e = sealed.Endpoint
		if secrets, err = a.openSecrets(ctx, c, tx, e.ID); err != nil {
			return r, err
		}
		return tx.Rejection(ctx, e.ID, id)
	})
	return r, e, secrets, err
}

func (a *API) hasEvent(ctx context.Context, c *call, id hub.EventID) (bool, error) {
	if id.Time().Before(a.o.Now().Add(24*time.Hour - a.o.Retention)) {
		return true, nil // its day is gone, or about to be
	}
	_, err := read(ctx, a, c, func(tx *store.Tx) (hub.Event, error) { return tx.Event(ctx, id, hub.EventID{}) })
	if hub.CodeOf(err) == hub.NotFound {
		return false, nil
	}
	return err == nil, err
}

// verifyRejection judges the webhook by the secrets of today and the clock of its arrival, and makes its event.
func (a *API) verifyRejection(c *call, r store.Rejected, e hub.Endpoint, secrets []provider.Secret) (hub.Event, error) {
	if r.Truncated {
		return hub.Event{}, hub.Errorf(hub.Conflict, "only the beginning of its body was kept")
	}
	p, err := providerOf(e)
	if err != nil {
		return hub.Event{}, err
	}
	header, body, err := a.originalOf(c, r)
	if err != nil {
		return hub.Event{}, err
	}
	now := a.o.Now()
	secrets = slices.DeleteFunc(secrets, func(s provider.Secret) bool { return !s.ExpiresAt.IsZero() && !now.Before(s.ExpiresAt) })
	v := p.Verify(provider.Request{Method: http.MethodPost, Header: header, Body: body, Secrets: secrets, Config: e.Config, At: r.ReceivedAt})
	switch {
	case v.Fault != nil:
		return hub.Event{}, v.Fault
	case !v.OK:
		return hub.Event{}, &hub.Error{Code: hub.Conflict, Cause: v.Cause, Message: "it still does not verify. " + v.Detail}
	case v.Handshake != nil:
		return hub.Event{}, hub.Errorf(hub.Conflict, "it is a handshake: there is nothing to accept, the provider asks again")
	}
	id := r.Retried
	if id.IsZero() {
		id = hub.NewID[hub.EventID]()
	}
	event := hub.Event{
		Tenant: c.tenant, ID: id, Endpoint: e.ID, Provider: e.Provider, Type: v.Type, ProviderID: v.ProviderID,
		ReceivedAt: r.ReceivedAt, Verified: true, Secret: v.Secret, Header: header, Body: body, Dedup: v.Dedup,
	}
	if r.SealedBody != nil {
		event.Body, event.Original = p.Redact(body), body
	}
	return event, nil
}

// originalOf is a rejected webhook as it came, credentials included.
func (a *API) originalOf(c *call, r store.Rejected) (http.Header, []byte, error) {
	header, body := store.DecodeHeader(r.Header), r.Body
	if r.Sealed != nil {
		credentials, err := a.o.Keeper.Open(secret.EventHeaders, r.Sealed, c.tenant[:], r.ID[:])
		if err != nil {
			return nil, nil, err
		}
		maps.Copy(header, store.DecodeHeader(credentials))
	}
	if r.SealedBody != nil {
		opened, err := a.o.Keeper.Open(secret.EventBody, r.SealedBody, c.tenant[:], r.ID[:])
		if err != nil {
			return nil, nil, err
		}
		body = opened
	}
	return header, body, nil
}
