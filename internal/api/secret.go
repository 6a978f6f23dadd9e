package api

import (
	"context"
	"crypto/subtle"
	"net/http"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

// A Secret is one signing secret of an endpoint, without its value.
type Secret struct {
	ID         hub.SecretID    `json:"id" example:"sec_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	State      hub.SecretState `json:"state" enum:"active,candidate" doc:"A candidate is tried only to count its matches: it never accepts a webhook."`
	ExpiresAt  *time.Time      `json:"expires_at,omitempty"`
	LastUsedAt *time.Time      `json:"last_used_at,omitempty" doc:"When a webhook last verified with it: shows when an old one is idle."`
	Matches    int64           `json:"matches" doc:"Webhooks that verified with it; counted every few seconds."`
	CreatedAt  time.Time       `json:"created_at"`
	UpdatedAt  time.Time       `json:"updated_at"`
}

func (s Secret) version() any {
	s.LastUsedAt, s.Matches = nil, 0
	return s
}

// A NewSecret is a secret with the value that the hub made, which is shown this once.
type NewSecret struct {
	Secret
	Value string `json:"secret,omitempty" example:"whsec_…" doc:"The value that the hub made. It is not shown again."`
}

func (s NewSecret) version() any { return s.Secret.version() }

// SecretCreate adds a secret.
type SecretCreate struct {
	Secret string `json:"secret,omitempty" maxLength:"4096" example:"whsec_…" writeOnly:"true" doc:"The value. Absent: the hub makes one, where it is yours to choose."`
	SecretInput
}

// SecretInput is what of a secret can be changed.
type SecretInput struct {
	State     string     `json:"state,omitempty" enum:"active,candidate" default:"active"`
	ExpiresAt *time.Time `json:"expires_at,omitempty" doc:"It verifies before that moment, not at it."`
}

func fromSecret(s hub.Secret) Secret {
	return Secret{
		ID: s.ID, State: s.State, ExpiresAt: utc(s.ExpiresAt), LastUsedAt: utc(s.LastUsedAt), Matches: s.Matches,
		CreatedAt: s.CreatedAt.UTC(), UpdatedAt: s.UpdatedAt.UTC(),
	}
}

// apply checks the input and puts it into s. A secret that never verified anything is none, and the zero time would
// stand for one that never expires.
func (in SecretInput) apply(s *hub.Secret) error {
	s.State, s.ExpiresAt = hub.SecretState(firstOf(in.State, string(hub.SecretActive))), in.ExpiresAt
	if s.ExpiresAt != nil && s.ExpiresAt.Unix() < 0 {
		return hub.FieldErrorf("body.expires_at", "is before 1970")
	}
	return nil
}

// maxSecrets bounds the secrets of one endpoint: each is tried on each webhook.
const maxSecrets = 20

// SecretPath names a secret.
type SecretPath struct {
	EndpointPath
	Secret string `path:"secret" maxLength:"100" example:"sec_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05" doc:"The secret's id."`
}

// The requests of secrets.
type (
	SecretListRequest struct {
		EndpointPath
		Page
	}
	SecretCreateRequest struct {
		EndpointPath
		Body SecretCreate
	}
	SecretPatchRequest struct {
		SecretPath
		Body patch[SecretInput]
	}
)

func (a *API) secrets() {
	const all = "/v1/tenants/{tenant}/endpoints/{endpoint}/secrets"
	const one = all + "/{secret}"
	register(a, operation{
		id: "addSecret", method: http.MethodPost, path: all, tag: "Secrets", status: http.StatusCreated,
		summary: "Add a secret", about: "Beside those that are there: several are active while one is rotated out.",
		scopes: []hub.Scope{hub.ConfigWrite}, secret: true, refuses: []hub.Code{hub.Conflict},
	}, a.createSecret)
	register(a, operation{
		id: "listSecrets", method: http.MethodGet, path: all, tag: "Secrets",
		summary: "List the secrets", about: "Never their values.", scopes: []hub.Scope{hub.ConfigRead},
	}, a.listSecrets)
	register(a, operation{
		id: "getSecret", method: http.MethodGet, path: one, tag: "Secrets",
		summary: "Get a secret", about: "Never its value.", scopes: []hub.Scope{hub.ConfigRead},
	}, a.getSecret)
	register(a, operation{
		id: "updateSecret", method: http.MethodPatch, path: one, tag: "Secrets",
		summary: "Change a secret", about: "Its state and its expiry.", scopes: []hub.Scope{hub.ConfigWrite},
	}, a.updateSecret)
	register(a, operation{
		id: "deleteSecret", method: http.MethodDelete, path: one, tag: "Secrets", status: http.StatusNoContent,
		summary: "Delete a secret", about: "Webhooks signed with it are refused from then on.", scopes: []hub.Scope{hub.ConfigWrite},
	}, a.deleteSecret)
}

// addSecret seals a value as a new secret of s's endpoint.
func (a *API) addSecret(ctx context.Context, c *call, change *store.Change, s hub.Secret, value string) (hub.Secret, error) {
	s.ID = hub.NewID[hub.SecretID]()
	sealed, err := a.o.Keeper.Seal(secret.EndpointSecret, []byte(value), c.tenant[:], s.Endpoint[:], s.ID[:])
	if err != nil {
		return s, err
	}
	n, err := change.CountSecrets(ctx, s.Endpoint)
	if err != nil {
		return s, err
	}
	if n >= maxSecrets {
		return s, hub.Errorf(hub.Conflict, "an endpoint has at most %d secrets: delete one first", maxSecrets)
	}
	return change.CreateSecret(ctx, store.SealedSecret{Secret: s, Sealed: sealed})
}

// ensureSecret adds a value unless the endpoint has an active secret of it.
func (a *API) ensureSecret(ctx context.Context, c *call, change *store.Change, endpoint hub.EndpointID, value string) error {
	opened, err := a.openSecrets(ctx, c, &change.Tx, endpoint)
	if err != nil {
		return err
	}
	for _, s := range opened {
		if !s.Candidate && s.ExpiresAt.IsZero() && subtle.ConstantTimeCompare(s.Value, []byte(value)) == 1 {
			return nil
		}
	}
	_, err = a.addSecret(ctx, c, change, hub.Secret{Endpoint: endpoint, State: hub.SecretActive}, value)
	return err
}

// openSecrets opens an endpoint's secrets as they are now in Postgres. One that does not open is a fault of ours.
func (a *API) openSecrets(ctx context.Context, c *call, tx *store.Tx, endpoint hub.EndpointID) ([]provider.Secret, error) {
	sealed, err := tx.Secrets(ctx, endpoint, hub.SecretID{}, maxSecrets)
	if err != nil {
		return nil, err
	}
	opened := make([]provider.Secret, 0, len(sealed))
	for _, s := range sealed {
		value, err := a.o.Keeper.Open(secret.EndpointSecret, s.Sealed, c.tenant[:], endpoint[:], s.ID[:])
		if err != nil {
			return nil, err
		}
		one := provider.Secret{ID: s.ID, Value: value, Candidate: s.State == hub.SecretCandidate}
		if s.ExpiresAt != nil {
			one.ExpiresAt = *s.ExpiresAt
		}
		opened = append(opened, one)
	}
	return opened, nil
}

func (a *API) createSecret(ctx context.Context, c *call, in *SecretCreateRequest) (NewSecret, error) {
	var s hub.Secret
	if err := in.Body.apply(&s); err != nil {
		return NewSecret{}, err
	}
	ref, err := in.ref()
	if err != nil {
		return NewSecret{}, err
	}
	return commit(ctx, a, c, func(change *store.Change, _ hub.Tenant) (NewSecret, error) {
		e, err := change.LockEndpoint(ctx, ref)
		if err != nil {
			return NewSecret{}, err
		}
		value, err := secretValue(e.Endpoint, in.Body.Secret)
		if err != nil {
			return NewSecret{}, err
		}
		s.Endpoint = e.ID
		if s, err = a.addSecret(ctx, c, change, s, value); err != nil {
			return NewSecret{}, err
		}
		made := NewSecret{Secret: fromSecret(s)}
		if in.Body.Secret == "" {
			made.Value = value
		}
		return made, change.Audit(ctx, "secret.create", s.ID.String(), map[string]any{"endpoint": e.ID.String(), "state": s.State})
	})
}

// secretValue is the value given, if the endpoint's provider can have it, or one made where none was given.
func secretValue(e hub.Endpoint, given string) (string, error) {
	p, err := providerOf(e)
	if err != nil {
		return "", err
	}
	configured, err := p.Configure(e.Config)
	if err != nil {
		return "", err
	}
	if given != "" {
		return given, configured.CheckSecret(given)
	}
	if !p.UserSetsSecret {
		return "", hub.FieldErrorf("body.secret", "%s shows the secret: paste it here", p.Title)
	}
	return configured.NewSecret(), nil
}

func (a *API) listSecrets(ctx context.Context, c *call, in *SecretListRequest) (List[Secret], error) {
	after, err := a.after(c, in.Page)
	if err != nil {
		return List[Secret]{}, err
	}
	ref, err := in.ref()
	if err != nil {
		return List[Secret]{}, err
	}
	rows, err := read(ctx, a, c, func(tx *store.Tx) ([]store.SealedSecret, error) {
		e, err := tx.Endpoint(ctx, ref)
		if err != nil {
			return nil, err
		}
		return tx.Secrets(ctx, e.ID, hub.SecretID(after), in.Limit+1)
	})
	if err != nil {
		return List[Secret]{}, err
	}
	return list(a, c, in.Page, rows, func(s store.SealedSecret) [16]byte { return s.ID }, func(s store.SealedSecret) Secret { return fromSecret(s.Secret) })
}

func (a *API) getSecret(ctx context.Context, c *call, in *SecretPath) (Secret, error) {
	ref, err := in.ref()
	if err != nil {
		return Secret{}, err
	}
	id, err := idOf[hub.SecretID](in.Secret, "secret")
	if err != nil {
		return Secret{}, err
	}
	s, err := read(ctx, a, c, func(tx *store.Tx) (store.SealedSecret, error) {
		e, err := tx.Endpoint(ctx, ref)
		if err != nil {
			return store.SealedSecret{}, err
		}
		return tx.Secret(ctx, e.ID, id)
	})
	return fromSecret(s.Secret), err
}

// changeSecret locks the secret of the path, checks If-Match and runs fn.
func (a *API) changeSecret(ctx context.Context, c *call, in SecretPath, fn func(*store.Change, hub.Secret) (hub.Secret, error)) (Secret, error) {
	ref, err := in.ref()
	if err != nil {
		return Secret{}, err
	}
	id, err := idOf[hub.SecretID](in.Secret, "secret")
	if err != nil {
		return Secret{}, err
	}
	return commit(ctx, a, c, func(change *store.Change, _ hub.Tenant) (Secret, error) {
		e, err := change.LockEndpoint(ctx, ref)
		if err != nil {
			return Secret{}, err
		}
		s, err := change.LockSecret(ctx, e.ID, id)
		if err != nil {
			return Secret{}, err
		}
		if err := c.match(fromSecret(s.Secret)); err != nil {
			return Secret{}, err
		}
		changed, err := fn(change, s.Secret)
		return fromSecret(changed), err
	})
}

func (a *API) updateSecret(ctx context.Context, c *call, in *SecretPatchRequest) (Secret, error) {
	probe, err := patched(a, SecretInput{}, in.Body) // the form first, whether there is such a secret or not
	if err != nil {
		return Secret{}, err
	}
	if err := probe.apply(&hub.Secret{}); err != nil {
		return Secret{}, err
	}
	return a.changeSecret(ctx, c, in.SecretPath, func(change *store.Change, s hub.Secret) (hub.Secret, error) {
		input, err := patched(a, SecretInput{State: string(s.State), ExpiresAt: s.ExpiresAt}, in.Body)
		if err != nil {
			return s, err
		}
		if err := input.apply(&s); err != nil {
			return s, err
		}
		if s, err = change.UpdateSecret(ctx, s); err != nil {
			return s, err
		}
		return s, change.Audit(ctx, "secret.update", s.ID.String(), in.Body.fields())
	})
}

func (a *API) deleteSecret(ctx context.Context, c *call, in *SecretPath) (nothing, error) {
	_, err := a.changeSecret(ctx, c, *in, func(change *store.Change, s hub.Secret) (hub.Secret, error) {
		if err := change.DeleteSecret(ctx, s.Endpoint, s.ID); err != nil {
			return s, err
		}
		return s, change.Audit(ctx, "secret.delete", s.ID.String(), map[string]any{"endpoint": s.Endpoint.String()})
	})
	return nothing{}, err
}
