// Package api is the admin API: /v1 and its OpenAPI documents, one file per resource. It owns the wire types, the
// conventions that every operation keeps (who may, form, cursors, tags, idempotency, problems) and what makes a
// change to configuration acceptable. It knows no SQL, and leaves what is served to strangers, webhooks and streams,
// to ingest and stream.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tributary-hub/tributary/internal/auth"
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
)

// Options of the admin API.
type Options struct {
	Store       *store.Store         // required
	Directory   *directory.Directory // required: finds tenants, and is told of changes
	Keys        *auth.Keys           // required: whose a key is
	Verifier    *auth.Verifier       // required: judges a token that an issuer is checked with
	Keeper      *secret.Keeper       // required: seals secrets, tokens, cursors and answers
	Accept      Accept               // required: commits an event, as ingest does
	CheckIssuer CheckIssuer          // required: asks an issuer before it is trusted
	PublicURL   *url.URL             // required: what endpoints' URLs begin with
	Log         *slog.Logger         // required
	Limits      hub.Limits           // the operator's, where a tenant sets none; default hub.DefaultLimits
	Retention   time.Duration        // how long the hub keeps events and messages; default 720h
	Dev         bool                 // lets issuers be plain http, and unasked
	Now         func() time.Time     // default time.Now
}

// Accept commits an event and says whether it is new. The event keeps its id.
type Accept func(ctx context.Context, event hub.Event) (hub.Receipt, error)

// An API is what operations are registered on.
type API struct {
	o    Options
	huma huma.API
}

// New makes the mux that serves /v1 and the documents.
func New(o Options) *http.ServeMux {
	mux := http.NewServeMux()
	a := build(o, mux)
	a.serveDocuments(mux)
	return mux
}

// build registers everything, in the order of the reference.
func build(o Options, mux *http.ServeMux) *API {
	o.Limits = o.Limits.Or(hub.DefaultLimits())
	if o.Retention == 0 {
		o.Retention = 720 * time.Hour
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	a := &API{o: o, huma: newHuma(mux)}
	a.providers()
	a.me()
	a.tenants()
	a.settings()
	a.keys()
	a.endpoints()
	a.secrets()
	a.rejections()
	a.routes()
	a.issuers()
	a.events()
	return a
}

// errUnchanged ends a change that finds nothing to do: nothing is written, and all is well.
var errUnchanged = errors.New("unchanged")

// commit runs fn as an audited change of the caller's tenant, and waits until this node sees it; what fn gives is the
// body of the answer. The tenant is locked first, whatever else fn locks: its changes follow one another, a limit is
// kept, and none waits for another in a ring.
//
// Where the request has an Idempotency-Key, its answer is kept in fn's transaction: a crash or a lost reply leaves
// both or neither.
func commit[O any](ctx context.Context, a *API, c *call, fn func(*store.Change, hub.Tenant) (O, error)) (O, error) {
	return commitNew(ctx, a, c, func(change *store.Change) (O, error) {
		tenant, err := change.LockTenant(ctx)
		if err != nil {
			var none O
			return none, err
		}
		return fn(change, tenant)
	})
}

// commitNew is commit for a tenant that is only being made.
func commitNew[O any](ctx context.Context, a *API, c *call, fn func(*store.Change) (O, error)) (O, error) {
	var out O
	var kept *answer
	err := a.change(ctx, c, func(change *store.Change) (err error) {
		if err := c.claim(ctx, change); err != nil {
			return err
		}
		if out, err = fn(change); err != nil {
			return err
		}
		kept, err = a.keepWith(ctx, c, change, out)
		return err
	})
	if err != nil {
		var none O
		return none, err
	}
	c.kept = kept
	return out, nil
}

// change is commit without an answer.
func (a *API) change(ctx context.Context, c *call, fn func(*store.Change) error) error {
	version, err := a.o.Store.ChangeTenant(ctx, c.principal, c.tenant, fn)
	if errors.Is(err, errUnchanged) {
		return nil
	}
	if err != nil {
		return err
	}
	a.o.Directory.Changed(context.WithoutCancel(ctx), c.tenant, version)
	return nil
}

// read runs fn as the caller's tenant.
func read[T any](ctx context.Context, a *API, c *call, fn func(*store.Tx) (T, error)) (T, error) {
	var v T
	err := a.o.Store.InTenant(ctx, c.tenant, func(tx *store.Tx) (err error) {
		v, err = fn(tx)
		return err
	})
	return v, err
}
