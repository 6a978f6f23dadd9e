package api

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// A Key is an API key, without its value.
type Key struct {
	ID         hub.KeyID    `json:"id" example:"key_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	Name       string       `json:"name" example:"deploy"`
	Scopes     []hub.Scope  `json:"scopes" example:"[\"config:read\"]"`
	ExpiresAt  *time.Time   `json:"expires_at,omitempty"`
	LastUsedAt *time.Time   `json:"last_used_at,omitempty" doc:"To the minute, or so."`
	RevokedAt  *time.Time   `json:"revoked_at,omitempty"`
	Metadata   hub.Metadata `json:"metadata"`
	CreatedAt  time.Time    `json:"created_at"`
}

func (k Key) version() any {
	k.LastUsedAt = nil
	return k
}

// A NewKey is a key with its value, which is shown this once.
type NewKey struct {
	Key
	Value string `json:"key" example:"trb_…" doc:"The value, for Authorization: Bearer. It is not shown again."`
}

func (k NewKey) version() any { return k.Key.version() }

// KeyCreate makes a key.
type KeyCreate struct {
	Name      string       `json:"name" minLength:"1" maxLength:"200" example:"deploy"`
	Scopes    []hub.Scope  `json:"scopes" minItems:"1" maxItems:"20" uniqueItems:"true" enum:"config:read,config:write,events:read,events:raw,events:replay,messages:read,messages:publish,tickets:create,keys:write" example:"[\"config:read\"]" doc:"None that the asking key lacks."`
	ExpiresAt *time.Time   `json:"expires_at,omitempty" doc:"Not after the asking key's own; absent: never."`
	Metadata  hub.Metadata `json:"metadata,omitempty" maxProperties:"50"`
}

func fromKey(k hub.Key) Key {
	return Key{
		ID: k.ID, Name: k.Name, Scopes: orEmpty(k.Scopes), ExpiresAt: utc(k.ExpiresAt), LastUsedAt: utc(k.LastUsedAt),
		RevokedAt: utc(k.RevokedAt), Metadata: orNone(k.Metadata), CreatedAt: k.CreatedAt.UTC(),
	}
}

func utc(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	return new(t.UTC())
}

// KeyPath names a key.
type KeyPath struct {
	TenantPath
	Key string `path:"key" maxLength:"100" example:"key_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05" doc:"The key's id."`
}

// KeyListRequest, KeyCreateRequest are what the operations on all keys take.
type (
	KeyListRequest struct {
		TenantPath
		Page
	}
	KeyCreateRequest struct {
		TenantPath
		Body KeyCreate
	}
)

func (a *API) keys() {
	register(a, operation{
		id: "createKey", method: http.MethodPost, path: "/v1/tenants/{tenant}/keys", tag: "Keys", status: http.StatusCreated,
		summary: "Create a key", about: "Its value comes back this once. A key makes only keys within its own scopes and expiry.",
		scopes: []hub.Scope{hub.KeysWrite}, secret: true,
	}, a.createKey)
	register(a, operation{
		id: "listKeys", method: http.MethodGet, path: "/v1/tenants/{tenant}/keys", tag: "Keys",
		summary: "List the keys", about: "In the order they were made, revoked ones too.", scopes: []hub.Scope{hub.ConfigRead},
	}, a.listKeys)
	register(a, operation{
		id: "getKey", method: http.MethodGet, path: "/v1/tenants/{tenant}/keys/{key}", tag: "Keys",
		summary: "Get a key", about: "Without its value.", scopes: []hub.Scope{hub.ConfigRead},
	}, func(ctx context.Context, c *call, in *KeyPath) (Key, error) {
		k, err := read(ctx, a, c, func(tx *store.Tx) (hub.Key, error) { return keyAt(ctx, in, tx.Key) })
		return fromKey(k), err
	})
	register(a, operation{
		id: "revokeKey", method: http.MethodDelete, path: "/v1/tenants/{tenant}/keys/{key}", tag: "Keys", status: http.StatusNoContent,
		summary: "Revoke a key", about: "It is refused everywhere within 10 seconds, and its streams end.", scopes: []hub.Scope{hub.KeysWrite},
	}, a.revokeKey)
	register(a, operation{
		id: "rotateKey", method: http.MethodPost, path: "/v1/tenants/{tenant}/keys/{key}/rotate", tag: "Keys", status: http.StatusCreated,
		summary: "Rotate a key", about: "Makes another key with the same name, scopes and expiry. Both are good until the old one is revoked.",
		scopes: []hub.Scope{hub.KeysWrite}, secret: true, refuses: []hub.Code{hub.Conflict},
	}, a.rotateKey)
}

func keyAt[T any](ctx context.Context, in *KeyPath, get func(context.Context, hub.KeyID) (T, error)) (T, error) {
	id, err := idOf[hub.KeyID](in.Key, "key")
	if err != nil {
		var none T
		return none, err
	}
	return get(ctx, id)
}

// within refuses a key that could do what the caller cannot, or for longer.
func (c *call) within(k hub.Key) error {
	var beyond []string
	for _, s := range k.Scopes {
		if !c.principal.May(s) {
			beyond = append(beyond, string(s))
		}
	}
	if len(beyond) > 0 {
		return hub.Errorf(hub.ScopeMissing, "the key has scopes that the asking key lacks: %s", strings.Join(beyond, ", "))
	}
	if mine := c.principal.Expires; mine != nil && (k.ExpiresAt == nil || k.ExpiresAt.After(*mine)) {
		return hub.Errorf(hub.ScopeMissing, "the key lives longer than the asking key, which expires at %s", mine.UTC().Format(time.RFC3339))
	}
	return nil
}

func (a *API) createKey(ctx context.Context, c *call, in *KeyCreateRequest) (NewKey, error) {
	k := hub.Key{Name: in.Body.Name, Scopes: in.Body.Scopes, ExpiresAt: in.Body.ExpiresAt, Metadata: in.Body.Metadata}
	var past error
	if k.ExpiresAt != nil && !k.ExpiresAt.After(a.o.Now()) {
		past = hub.FieldErrorf("body.expires_at", "that time is over")
	}
	if err := join(hub.ValidateTitle("body.name", k.Name), k.Metadata.Validate(), past); err != nil {
		return NewKey{}, err
	}
	if err := c.within(k); err != nil {
		return NewKey{}, err
	}
	return commit(ctx, a, c, func(change *store.Change, _ hub.Tenant) (NewKey, error) {
		made, err := makeKey(ctx, change, k)
		if err != nil {
			return NewKey{}, err
		}
		return made, change.Audit(ctx, "key.create", made.ID.String(), map[string]any{"name": k.Name, "scopes": k.Scopes})
	})
}

// makeKey gives k an id and a value.
func makeKey(ctx context.Context, change *store.Change, k hub.Key) (NewKey, error) {
	k.ID = hub.NewID[hub.KeyID]()
	value := hub.NewKey()
	created, err := change.CreateKey(ctx, store.HashedKey{Key: k, Hash: hub.HashToken(value)})
	return NewKey{Key: fromKey(created), Value: value}, err
}

func (a *API) listKeys(ctx context.Context, c *call, in *KeyListRequest) (List[Key], error) {
	after, err := a.after(c, in.Page)
	if err != nil {
		return List[Key]{}, err
	}
	rows, err := read(ctx, a, c, func(tx *store.Tx) ([]hub.Key, error) { return tx.Keys(ctx, hub.KeyID(after), in.Limit+1) })
	if err != nil {
		return List[Key]{}, err
	}
	return list(a, c, in.Page, rows, func(k hub.Key) [16]byte { return k.ID }, fromKey)
}

func (a *API) revokeKey(ctx context.Context, c *call, in *KeyPath) (nothing, error) {
	return commit(ctx, a, c, func(change *store.Change, _ hub.Tenant) (none nothing, err error) {
		k, err := keyAt(ctx, in, change.LockKey)
		if err != nil {
			return none, err
		}
		if err := c.within(k); err != nil {
			return none, err
		}
		if err := c.match(fromKey(k)); err != nil {
			return none, err
		}
		if k.RevokedAt != nil {
			return none, errUnchanged
		}
		if err := change.RevokeKey(ctx, k.ID); err != nil {
			return none, err
		}
		return none, change.Audit(ctx, "key.revoke", k.ID.String(), map[string]any{"name": k.Name})
	})
}

func (a *API) rotateKey(ctx context.Context, c *call, in *KeyPath) (NewKey, error) {
	return commit(ctx, a, c, func(change *store.Change, _ hub.Tenant) (NewKey, error) {
		k, err := keyAt(ctx, in, change.LockKey)
		if err != nil {
			return NewKey{}, err
		}
		if err := c.within(k); err != nil {
			return NewKey{}, err
		}
		if k.RevokedAt != nil || k.ExpiresAt != nil && !k.ExpiresAt.After(a.o.Now()) {
			return NewKey{}, hub.Errorf(hub.Conflict, "the key is revoked or has expired: create another")
		}
		scopes := slices.Clone(k.Scopes)
		made, err := makeKey(ctx, change, hub.Key{Name: k.Name, Scopes: scopes, ExpiresAt: k.ExpiresAt, Metadata: k.Metadata})
		if err != nil {
			return NewKey{}, err
		}
		return made, change.Audit(ctx, "key.rotate", k.ID.String(), map[string]any{"name": k.Name, "new_key": made.ID.String()})
	})
}
