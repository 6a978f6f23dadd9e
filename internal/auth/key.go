package auth

import (
	"context"
	"log/slog"
	"time"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/tally"
)

// KeysOptions of Keys.
type KeysOptions struct {
	Directory *directory.Directory // required
	Pipeline  *store.Pipeline      // required: where the last use of a key is noted
	Log       *slog.Logger         // required
	Interval  time.Duration        // between notes of uses; default 30 s
	Now       func() time.Time     // default time.Now
}

// Keys tells whose an API key is, and notes when each was last used.
type Keys struct {
	o    KeysOptions
	used *tally.Tally[usedKey, time.Time]
}

type usedKey struct {
	tenant hub.TenantID // zero for an operator's
	key    hub.KeyID
}

// NewKeys makes Keys; uses are noted between Start and Stop.
func NewKeys(o KeysOptions) *Keys {
	if o.Interval == 0 {
		o.Interval = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Keys{o: o, used: newUsed(o)}
}

// newUsed notes of each key when it was used last.
func newUsed(o KeysOptions) *tally.Tally[usedKey, time.Time] {
	options := tally.Options{
		Interval: o.Interval,
		Failed: func(ctx context.Context, err error) {
			o.Log.WarnContext(ctx, "last uses of keys not noted", "error", err)
		},
	}
	last := func(_, later time.Time) time.Time { return later }
	return tally.New(options, last, func(ctx context.Context, used map[usedKey]time.Time) error {
		tenants, keys, at := make([]hub.TenantID, 0, len(used)), make([]hub.KeyID, 0, len(used)), make([]time.Time, 0, len(used))
		for key, t := range used {
			tenants, keys, at = append(tenants, key.tenant), append(keys, key.key), append(at, t)
		}
		return o.Pipeline.TouchKeys(ctx, tenants, keys, at)
	})
}

// Start begins to note uses.
func (k *Keys) Start(ctx context.Context) error { return k.used.Start(ctx) }

// Stop notes what is left and ends.
func (k *Keys) Stop(ctx context.Context) error { return k.used.Stop(ctx) }

// Authenticate says whose the key of that value is. hub.Unauthenticated where it is malformed, unknown, revoked or
// expired, without saying which; hub.TenantSuspended where its tenant is; hub.Unavailable where nobody can tell.
func (k *Keys) Authenticate(ctx context.Context, value string) (hub.Principal, error) {
	if !hub.IsKey(value) {
		return hub.Principal{}, badKey()
	}
	key, err := k.o.Directory.KeyByHash(ctx, hub.HashToken(value))
	if hub.CodeOf(err) == hub.NotFound {
		return hub.Principal{}, badKey()
	}
	if err != nil {
		return hub.Principal{}, err
	}
	now := k.o.Now()
	if key.ExpiresAt != nil && !now.Before(*key.ExpiresAt) {
		return hub.Principal{}, badKey()
	}
	p := hub.Principal{Kind: hub.PrincipalOperator, Key: key.ID, Name: key.Name, Scopes: key.Scopes, Expires: key.ExpiresAt}
	if key.Tenant != nil {
		p.Kind, p.Tenant = hub.PrincipalKey, key.Tenant.ID
		if key.Tenant.State == hub.Suspended {
			return hub.Principal{}, hub.Errorf(hub.TenantSuspended, "the tenant is suspended")
		}
	}
	k.used.Add(usedKey{p.Tenant, p.Key}, now)
	return p, nil
}

func badKey() error {
	return hub.Errorf(hub.Unauthenticated, "the API key is not a valid one: it is mistyped, unknown, revoked or expired")
}
