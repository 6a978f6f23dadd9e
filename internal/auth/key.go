package auth

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
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
	o KeysOptions

	mu   sync.Mutex // guards used
	used map[usedKey]time.Time

	cancel  context.CancelFunc
	stopped chan struct{}
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
	return &Keys{o: o, used: map[usedKey]time.Time{}}
}

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
	k.note(usedKey{p.Tenant, p.Key}, now)
	return p, nil
}

func badKey() error {
	return hub.Errorf(hub.Unauthenticated, "the API key is not a valid one: it is mistyped, unknown, revoked or expired")
}

func (k *Keys) note(key usedKey, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.used[key] = now
}

// Start begins to note uses.
func (k *Keys) Start(ctx context.Context) error {
	ctx, k.cancel = context.WithCancel(context.WithoutCancel(ctx))
	k.stopped = make(chan struct{})
	go func() {
		defer close(k.stopped)
		ticker := time.NewTicker(k.o.Interval)
		defer ticker.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticker.C:
				if err := k.flush(ctx); err != nil && ctx.Err() == nil {
					k.o.Log.WarnContext(ctx, "last uses of keys not noted", "error", err)
				}
			}
		}
	}()
	return nil
}

// Stop notes what is left and ends.
func (k *Keys) Stop(ctx context.Context) error {
	if k.cancel == nil {
		return nil
	}
	k.cancel()
	select {
	case <-k.stopped:
		return k.flush(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// flush writes in the order of ids: two nodes that update the same keys would deadlock otherwise.
func (k *Keys) flush(ctx context.Context) error {
	k.mu.Lock()
	keys := make([]usedKey, 0, len(k.used))
	for key := range k.used {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b usedKey) int { return cmp.Compare(string(a.key[:]), string(b.key[:])) })
	tenants, ids, at := make([]hub.TenantID, len(keys)), make([]hub.KeyID, len(keys)), make([]time.Time, len(keys))
	for i, key := range keys {
		tenants[i], ids[i], at[i] = key.tenant, key.key, k.used[key]
	}
	clear(k.used)
	k.mu.Unlock()
	if len(keys) == 0 {
		return nil
	}
	return k.o.Pipeline.TouchKeys(ctx, tenants, ids, at)
}
