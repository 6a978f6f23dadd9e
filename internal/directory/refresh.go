package directory

import (
	"cmp"
	"context"
	"fmt"
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
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-d.look:
		}
		err := d.refresh(ctx)
		next := d.o.Interval
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && failed > 0:
			d.o.Log.InfoContext(ctx, "configuration is refreshed again", "failed", failed)
			failed = 0
		case err != nil:
			if failed == 0 {
				d.o.Log.WarnContext(ctx, "configuration not refreshed, trying on", "error", err)
			}
			failed++
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
		d.Look() // it goes on until it succeeds, and says so
	}
}

// refresh looks at every tenant that is known: one that fails keeps what was known of it, and holds up no other's
// revocations. It asks for the epoch first: a restore may have come under the connections that are open, and then all
// is forgotten before versions are compared. Its error is the first of them.
func (d *Directory) refresh(ctx context.Context) error {
	_, failed := within(ctx, d.o.Pipeline.Epoch)
	d.mu.RLock()
	known := make([]hub.TenantID, 0, len(d.tenants))
	for id := range d.tenants {
		known = append(known, id)
	}
	d.mu.RUnlock()
	looked, behind := d.o.Now(), 0
	for some := range slices.Chunk(known, 1000) {
		versions, err := d.versions(ctx, some)
		if err != nil {
			failed = cmp.Or(failed, fmt.Errorf("%d tenants: %w", len(some), err))
			behind += len(some)
			continue
		}
		for _, id := range some {
			t := d.known(id)
			if t == nil || t.ConfigVersion == versions[id] {
				continue
			}
			if _, err := d.load(ctx, id); err != nil && hub.CodeOf(err) != hub.NotFound {
				failed = cmp.Or(failed, fmt.Errorf("tenant %s: %w", id, err))
				behind++
			}
		}
	}
	d.metrics.haveLooked(looked, behind)
	return failed
}

func (d *Directory) versions(ctx context.Context, tenants []hub.TenantID) (map[hub.TenantID]int64, error) {
	return within(ctx, func(ctx context.Context) (map[hub.TenantID]int64, error) {
		return d.o.Pipeline.ConfigVersions(ctx, tenants)
	})
}

// within gives a look a bound of its own: a connection that hangs must not end the looking.
func within[T any](ctx context.Context, look func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	return look(ctx)
}
