// Package directory keeps tenants' configuration in memory, ready to use: endpoints with opened secrets, compiled
// routes, issuers, keys, limits. A tenant is loaded whole at its first use and replaced whole when its
// config_version rises; what it answers is never older than the last look, every few seconds. It writes nothing.
package directory

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/singleflight"

	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

// Options of a Directory.
type Options struct {
	Pipeline  *store.Pipeline       // required
	Keeper    *secret.Keeper        // required: opens endpoints' secrets and tokens
	Log       *slog.Logger          // required
	Metrics   prometheus.Registerer // default: counted for nobody
	Limits    hub.Limits            // the operator's, where a tenant sets none; default hub.DefaultLimits
	Retention time.Duration         // how long the hub keeps messages; default 720h
	Interval  time.Duration         // between looks for newer versions; default 5 s
	Now       func() time.Time      // default time.Now
}

// A Directory is safe for use by many goroutines.
type Directory struct {
	o       Options
	events  *expr.Env
	claims  *expr.Env
	loads   singleflight.Group
	misses  *lookups
	metrics metrics

	mu        sync.RWMutex // guards the maps below
	tenants   map[hub.TenantID]*Tenant
	slugs     map[string]*Tenant
	tokens    map[[32]byte]*Endpoint
	keys      map[[32]byte]*Key
	operators map[[32]byte]operatorKey

	look    chan struct{} // holds one: look for newer versions now
	stop    context.CancelFunc
	stopped chan struct{}
}

// New makes a Directory that knows nobody yet; it answers before Start too, but looks for changes only after.
func New(o Options) (*Directory, error) {
	if o.Retention == 0 {
		o.Retention = 720 * time.Hour
	}
	if o.Interval == 0 {
		o.Interval = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	o.Limits = o.Limits.Or(hub.DefaultLimits())
	events, err := expr.NewEvents()
	if err != nil {
		return nil, fmt.Errorf("prepare expressions over events: %w", err)
	}
	claims, err := expr.NewClaims()
	if err != nil {
		return nil, fmt.Errorf("prepare expressions over claims: %w", err)
	}
	d := &Directory{
		o: o, events: events, claims: claims, misses: newLookups(o.Now),
		tenants: map[hub.TenantID]*Tenant{}, slugs: map[string]*Tenant{},
		tokens: map[[32]byte]*Endpoint{}, keys: map[[32]byte]*Key{}, operators: map[[32]byte]operatorKey{},
		look: make(chan struct{}, 1),
	}
	d.metrics = newMetrics(o.Metrics, d.size)
	return d, nil
}

// size is how many tenants are known: a gauge.
func (d *Directory) size() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.tenants)
}

// Events is the environment that routes are compiled in, for whoever checks one before it is saved.
func (d *Directory) Events() *expr.Env { return d.events }

// Claims is the environment that grants are compiled in.
func (d *Directory) Claims() *expr.Env { return d.claims }

// Tenant is the tenant as it was at the last look; hub.NotFound where there is none.
func (d *Directory) Tenant(ctx context.Context, id hub.TenantID) (*Tenant, error) {
	if t := d.known(id); t != nil {
		return t, nil
	}
	return d.load(ctx, id)
}

// TenantAt is the tenant at that config_version or a later one: what was changed before it is seen.
func (d *Directory) TenantAt(ctx context.Context, id hub.TenantID, version int64) (*Tenant, error) {
	if t := d.known(id); t != nil && t.ConfigVersion >= version {
		return t, nil
	}
	return d.load(ctx, id)
}

// TenantByRef is the tenant that a path names by its id or slug.
func (d *Directory) TenantByRef(ctx context.Context, ref string) (*Tenant, error) {
	if hub.LooksLikeID(ref) {
		id, err := hub.ParseID[hub.TenantID](ref)
		if err != nil {
			return nil, hub.Errorf(hub.NotFound, "no such tenant")
		}
		return d.Tenant(ctx, id)
	}
	if hub.ValidateSlug(ref) != nil { // also what Postgres could not even be asked for
		return nil, hub.Errorf(hub.NotFound, "no such tenant")
	}
	d.mu.RLock()
	t := d.slugs[ref]
	d.mu.RUnlock()
	if t != nil {
		return t, nil
	}
	id, err := d.misses.find(ctx, "slug:"+ref, func(ctx context.Context) (hub.TenantID, error) {
		return d.o.Pipeline.TenantBySlug(ctx, ref)
	})
	if err != nil {
		return nil, err
	}
	return d.Tenant(ctx, id)
}

func (d *Directory) known(id hub.TenantID) *Tenant {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.tenants[id]
}

// load reads the tenant anew and puts it in place of what was known. Callers that ask at once share one read. It may
// have begun before the change that somebody came for, so whoever shared one asks once more.
func (d *Directory) load(ctx context.Context, id hub.TenantID) (*Tenant, error) {
	read := func() (any, error) { return d.read(ctx, id) }
	got, err, shared := d.loads.Do(id.String(), read)
	if shared {
		got, err, _ = d.loads.Do(id.String(), read)
	}
	if err != nil {
		return nil, err
	}
	return got.(*Tenant), nil
}

func (d *Directory) read(ctx context.Context, id hub.TenantID) (*Tenant, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second) // the read is others' too
	defer cancel()
	began := time.Now()
	snapshot, err := d.o.Pipeline.Snapshot(ctx, id)
	if hub.CodeOf(err) == hub.NotFound {
		d.put(id, nil)
		return nil, err
	}
	if err != nil {
		d.metrics.wasLoaded(began, err)
		return nil, err
	}
	tenant := d.build(ctx, snapshot)
	d.metrics.wasLoaded(began, nil)
	return d.put(id, tenant), nil
}

// put replaces what is known of a tenant by t, or forgets it where t is nil. An older version never replaces a
// newer one.
func (d *Directory) put(id hub.TenantID, t *Tenant) *Tenant {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := d.tenants[id]
	if old != nil && t != nil && old.ConfigVersion >= t.ConfigVersion {
		return old
	}
	if old != nil {
		d.forgetLocked(old)
	}
	if t != nil {
		d.tenants[id], d.slugs[t.Slug] = t, t
		for _, e := range t.Endpoints {
			d.tokens[e.hash] = e
		}
		for _, k := range t.Keys {
			d.keys[k.hash] = k
		}
	}
	if old != nil {
		close(old.replaced)
	}
	return t
}

func (d *Directory) forgetLocked(t *Tenant) {
	delete(d.tenants, t.ID)
	delete(d.slugs, t.Slug)
	for _, e := range t.Endpoints {
		delete(d.tokens, e.hash)
	}
	for _, k := range t.Keys {
		delete(d.keys, k.hash)
	}
}
