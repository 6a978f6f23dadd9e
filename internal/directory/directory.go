// Package directory keeps tenants' configuration in memory, ready to use: endpoints with opened secrets, compiled
// routes, issuers, keys, limits. A tenant is loaded whole at its first use and replaced whole when its
// config_version rises; what it answers is never older than the last look, every few seconds. It writes nothing.
package directory

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
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
	misses  atomic.Pointer[lookups]
	metrics metrics

	mu        sync.RWMutex // guards the maps below
	tenants   map[hub.TenantID]*Tenant
	slugs     map[string]*Tenant
	tokens    map[[32]byte]*Endpoint
	keys      map[[32]byte]*Key
	operators map[[32]byte]operatorKey
	history   int // counts the times that all was forgotten

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
		o: o, events: events, claims: claims,
		tenants: map[hub.TenantID]*Tenant{}, slugs: map[string]*Tenant{},
		tokens: map[[32]byte]*Endpoint{}, keys: map[[32]byte]*Key{}, operators: map[[32]byte]operatorKey{},
		look: make(chan struct{}, 1),
	}
	d.metrics = newMetrics(o.Metrics, d.size)
	d.misses.Store(newLookups(o.Now))
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
	return settled(d, func() (*Tenant, error) {
		id, err := d.misses.Load().find(ctx, "slug:"+ref, func(ctx context.Context) (hub.TenantID, error) {
			return d.o.Pipeline.TenantBySlug(ctx, ref)
		})
		if err != nil {
			return nil, err
		}
		return d.Tenant(ctx, id)
	})
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
	if shared && hub.CodeOf(err) != hub.Unavailable {
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
	for {
		history, began := d.historyNow(), time.Now()
		snapshot, err := d.o.Pipeline.Snapshot(ctx, id)
		if err != nil && hub.CodeOf(err) != hub.NotFound {
			d.metrics.wasLoaded(began, err)
			return nil, err
		}
		var t *Tenant
		if err == nil {
			t = d.build(ctx, snapshot)
			d.metrics.wasLoaded(began, nil)
		}
		if t, current := d.put(id, t, history); current {
			return t, err
		}
	}
}

func (d *Directory) historyNow() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.history
}

// put replaces what is known of a tenant by t, or forgets it where t is nil. An older version never replaces a
// newer one, unless all was forgotten: versions of two histories do not compare. What was read before that is not
// taken, and current is false.
func (d *Directory) put(id hub.TenantID, t *Tenant, history int) (kept *Tenant, current bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if history != d.history {
		return nil, false
	}
	old := d.tenants[id]
	if old != nil && t != nil && old.ConfigVersion >= t.ConfigVersion {
		return old, true
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
	return t, true
}

// Forget drops all that is known: Postgres has another history now, by a failover or a restore, in which a tenant may
// have an older version, and a name that was unknown may be one. Each tenant is loaded again at its next use, and what
// was being read when it happened is read anew. It returns at once.
func (d *Directory) Forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.history++
	for _, t := range d.tenants {
		close(t.replaced)
	}
	clear(d.tenants)
	clear(d.slugs)
	clear(d.tokens)
	clear(d.keys)
	clear(d.operators)
	d.misses.Store(newLookups(d.o.Now))
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
