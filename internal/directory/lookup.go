package directory

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/tributary-hub/tributary/internal/hub"
)

// The bounds of asking Postgres about what is not known here.
const (
	recheckEvery  = time.Second // at most one read a second for one token
	lookupNames   = 64          // names that wait for the two connections; one more is Unavailable
	lookupTimeout = 3 * time.Second
	lookupMemory  = 20_000 // things that are remembered as absent, or as just asked for
)

// EndpointByToken is the endpoint that /in/{token} names; hub.NotFound where there is none.
func (d *Directory) EndpointByToken(ctx context.Context, token string) (*Endpoint, error) {
	hash := hub.HashToken(token)
	if e := d.endpointByHash(hash); e != nil {
		return e, nil
	}
	return settled(d, func() (*Endpoint, error) {
		id, err := d.misses.Load().find(ctx, "token:"+string(hash[:]), func(ctx context.Context) (hub.TenantID, error) {
			return d.o.Pipeline.TenantByToken(ctx, hash)
		})
		if hub.CodeOf(err) == hub.NotFound {
			return nil, hub.Errorf(hub.NotFound, "no such endpoint")
		}
		if err != nil {
			return nil, err
		}
		if _, err := d.load(ctx, id); err != nil {
			return nil, err
		}
		return d.orGone(hash)
	})
}

// settled asks again where all was forgotten meanwhile: what was absent may be there now.
func settled[T any](d *Directory, ask func() (T, error)) (T, error) {
	for {
		history := d.historyNow()
		got, err := ask()
		if hub.CodeOf(err) != hub.NotFound || history == d.historyNow() {
			return got, err
		}
	}
}

func (d *Directory) endpointByHash(hash [32]byte) *Endpoint {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.tokens[hash]
}

// Recheck is asked before a webhook is refused for a reason that another node may just have removed: it looks whether
// what is known is still the newest, at most once a second an endpoint, and answers what is. A read that fails is
// Unavailable: then the refusal may be our fault.
//
// Whoever comes while it looks waits for that look: judged by what was known before, they would be refused for it.
func (d *Directory) Recheck(ctx context.Context, e *Endpoint) (*Endpoint, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return settled(d, func() (*Endpoint, error) {
		misses, name := d.misses.Load(), "recheck:"+string(e.hash[:])
		_, err, _ := misses.flights.Do(name, func() (any, error) {
			if !misses.isDue(name) {
				return nil, nil
			}
			ctx := context.WithoutCancel(ctx) // the look is others' too
			versions, err := d.versions(ctx, []hub.TenantID{e.Tenant.ID})
			if err != nil {
				return nil, err
			}
			if t := d.known(e.Tenant.ID); t == nil || t.ConfigVersion != versions[t.ID] {
				if _, err := d.load(ctx, e.Tenant.ID); err != nil {
					return nil, err
				}
			}
			misses.note(name) // only now: a look that failed is none
			return nil, nil
		})
		if err != nil {
			return nil, err
		}
		return d.orGone(e.hash)
	})
}

func (d *Directory) orGone(hash [32]byte) (*Endpoint, error) {
	if e := d.endpointByHash(hash); e != nil {
		return e, nil
	}
	return nil, hub.Errorf(hub.NotFound, "no such endpoint")
}

// KeyByHash is the API key of that hash, a tenant's or an operator's, neither revoked nor unknown; whether it has
// expired is the caller's to judge by the clock. hub.NotFound where there is none.
func (d *Directory) KeyByHash(ctx context.Context, hash [32]byte) (*Key, error) {
	if key := d.knownKey(hash); key != nil {
		return key, nil
	}
	return settled(d, func() (*Key, error) {
		tenant, err := d.misses.Load().find(ctx, "key:"+string(hash[:]), func(ctx context.Context) (hub.TenantID, error) {
			id, err := d.o.Pipeline.TenantByKey(ctx, hash)
			if hub.CodeOf(err) == hub.NotFound {
				return id, d.loadOperatorKey(ctx, hash)
			}
			return id, err
		})
		if err != nil {
			return nil, err
		}
		if !tenant.IsZero() {
			if _, err := d.load(ctx, tenant); err != nil {
				return nil, err
			}
		}
		if key := d.knownKey(hash); key != nil {
			return key, nil
		}
		return nil, hub.Errorf(hub.NotFound, "no such key")
	})
}

// An operatorKey is believed until the next look would be due: operators have no config_version.
type operatorKey struct {
	*Key
	until time.Time
}

func (d *Directory) knownKey(hash [32]byte) *Key {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if key := d.keys[hash]; key != nil {
		return key
	}
	if key := d.operators[hash]; d.o.Now().Before(key.until) {
		return key.Key
	}
	return nil
}

func (d *Directory) loadOperatorKey(ctx context.Context, hash [32]byte) error {
	history := d.historyNow()
	found, err := d.o.Pipeline.OperatorKey(ctx, hash)
	if err == nil && found.RevokedAt != nil {
		err = hub.Errorf(hub.NotFound, "no such key")
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if history != d.history { // whoever asked asks again
		return hub.Errorf(hub.NotFound, "no such key")
	}
	if err != nil {
		delete(d.operators, hash)
		return err
	}
	d.operators[hash] = operatorKey{Key: &Key{Key: found.Key, hash: hash}, until: d.o.Now().Add(d.o.Interval)}
	return nil
}

// lookups is the lane of questions about what is not known here. What Postgres does not know either is remembered
// as absent for a second, so that a flood for one name is one read a second.
type lookups struct {
	now     func() time.Time
	flights singleflight.Group
	asking  chan struct{} // holds one for each name that is asked for

	mu    sync.Mutex // guards asked
	asked map[string]time.Time
}

func newLookups(now func() time.Time) *lookups {
	return &lookups{now: now, asking: make(chan struct{}, lookupNames), asked: map[string]time.Time{}}
}

// find asks once for all who want the same name at the same time; only distinct names count against the bound.
func (l *lookups) find(ctx context.Context, name string, ask func(context.Context) (hub.TenantID, error)) (hub.TenantID, error) {
	if !l.isDue(name) {
		return hub.TenantID{}, hub.Errorf(hub.NotFound, "not found")
	}
	got, err, _ := l.flights.Do(name, func() (any, error) {
		select {
		case l.asking <- struct{}{}:
			defer func() { <-l.asking }()
		default:
			return nil, &hub.Error{Code: hub.Unavailable, Message: "too many unknown names at once", RetryAfter: time.Second}
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTimeout)
		defer cancel()
		id, err := ask(ctx)
		if hub.CodeOf(err) == hub.NotFound {
			l.note(name)
		}
		return id, err
	})
	if err != nil {
		return hub.TenantID{}, err
	}
	return got.(hub.TenantID), nil
}

// note remembers that name was asked for just now.
func (l *lookups) note(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	if len(l.asked) >= lookupMemory {
		l.pruneLocked(now)
	}
	l.asked[name] = now
}

// isDue says whether nobody has asked for name within the last second.
func (l *lookups) isDue(name string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now().Sub(l.asked[name]) >= recheckEvery
}

// pruneLocked forgets what is over; where all is fresh, everything: that costs reads, never memory.
func (l *lookups) pruneLocked(now time.Time) {
	for name, at := range l.asked {
		if now.Sub(at) >= recheckEvery {
			delete(l.asked, name)
		}
	}
	if len(l.asked) >= lookupMemory {
		clear(l.asked)
	}
}
