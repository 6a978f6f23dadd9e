package directory

import (
	"context"
	"slices"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// retryEvery is when a look that failed is tried again.
const retryEvery = time.Second

// Start begins to look for newer versions, every few seconds and whenever Look is called.
func (d *Directory) Start(ctx context.Context) error {
	ctx, d.stop = context.WithCancel(context.WithoutCancel(ctx))
	d.stopped = make(chan struct{})
	go func() {
		defer close(d.stopped)
		d.watch(ctx)
	}()
	return nil
}

// Stop ends the looking.
func (d *Directory) Stop(ctx context.Context) error {
	if d.stop == nil {
		return nil
	}
	d.stop()
	select {
	case <-d.stopped:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *Directory) watch(ctx context.Context) {
	ticker := time.NewTicker(d.o.Interval)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-d.look:
		}
		next := d.o.Interval
		if !d.refresh(ctx) {
			next = min(next, retryEvery)
		}
		ticker.Reset(next)
	}
}

// Look makes the directory look for newer versions now: after signals may have been missed.
func (d *Directory) Look() {
	select {
	case d.look <- struct{}{}:
	default:
	}
}

// Heard is told by a signal that a tenant has another version: where it is known, the directory looks.
func (d *Directory) Heard(tenant hub.TenantID, version int64) {
	if t := d.known(tenant); t != nil && (version == 0 || t.ConfigVersion < version) {
		d.Look()
	}
}

// Changed is told that a tenant has a new version by a change of this node's own. It waits until the tenant is loaded
// where it is known; who is not known is loaded at its first use.
func (d *Directory) Changed(ctx context.Context, tenant hub.TenantID, version int64) {
	t := d.known(tenant)
	if t == nil || version != 0 && t.ConfigVersion >= version {
		return
	}
	if _, err := d.load(ctx, tenant); err != nil && hub.CodeOf(err) != hub.NotFound {
		d.o.Log.WarnContext(ctx, "changed tenant not loaded", "tenant", tenant, "error", err)
		d.Look()
	}
}

// refresh looks at every tenant that is known and says whether it could: one that fails keeps what was known of it,
// and holds up no other's revocations.
func (d *Directory) refresh(ctx context.Context) (complete bool) {
	d.mu.RLock()
	known := make([]hub.TenantID, 0, len(d.tenants))
	for id := range d.tenants {
		known = append(known, id)
	}
	d.mu.RUnlock()
	looked, behind := d.o.Now(), 0
	for some := range slices.Chunk(known, 1000) {
		versions, err := d.versions(ctx, some)
		if err != nil && ctx.Err() == nil {
			d.o.Log.WarnContext(ctx, "configuration not refreshed", "tenants", len(some), "error", err)
		}
		if err != nil {
			behind += len(some)
			continue
		}
		for _, id := range some {
			t := d.known(id)
			if t == nil || t.ConfigVersion == versions[id] {
				continue
			}
			if _, err := d.load(ctx, id); err != nil && hub.CodeOf(err) != hub.NotFound {
				d.o.Log.WarnContext(ctx, "configuration not refreshed", "tenant", id, "error", err)
				behind++
			}
		}
	}
	d.metrics.haveLooked(looked, behind)
	return behind == 0
}

// versions has a bound of its own: a connection that hangs must not end the looking.
func (d *Directory) versions(ctx context.Context, tenants []hub.TenantID) (map[hub.TenantID]int64, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	return d.o.Pipeline.ConfigVersions(ctx, tenants)
}
