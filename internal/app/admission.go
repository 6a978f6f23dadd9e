package app

import (
	"context"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tributary-hub/tributary/internal/auth"
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/stream"
)

// An entry admits requests to streams. It joins what auth knows of credentials with what the directory knows of
// tenants.
type entry struct {
	tenants *directory.Directory
	keys    *auth.Keys
	tokens  *auth.Verifier
	now     func() time.Time
}

// A credential is asked for an identity at its tenant, at the connect and again whenever the tenant changes.
type credential func(ctx context.Context, t *directory.Tenant) (auth.Identity, error)

// admit says what the request's credential may read at the tenant. An API key and a user's token come in the same
// header, and their forms cannot be confused.
func (e *entry) admit(ctx context.Context, ref string, r *http.Request, channels []string) (stream.Admission, error) {
	bearer, err := auth.Bearer(r.Header)
	if err != nil {
		return stream.Admission{}, err
	}
	if bearer == "" {
		return stream.Admission{}, hub.Errorf(hub.Unauthenticated, "a stream needs a bearer token, or an API key with messages:read")
	}
	identify, err := e.credential(ctx, ref, bearer)
	if err != nil {
		return stream.Admission{}, err
	}
	t, identity, err := e.look(ctx, ref, identify)
	if err != nil {
		return stream.Admission{}, err
	}
	admitted, err := identity.Channels(channels)
	if err != nil {
		return stream.Admission{}, err
	}
	var now atomic.Pointer[directory.Tenant] // the tenant as it was last looked at
	now.Store(t)
	return stream.Admission{
		Tenant:      t.ID,
		Identity:    identity.Opaque(),
		Key:         identity.Key,
		Channels:    admitted,
		MaxChannels: *t.Limits.ChannelsPerConnection,
		Expires:     identity.Expires,
		Oldest:      func() time.Time { return now.Load().Oldest(e.now()) },
		Changed:     t.Replaced(),
		Recheck: func(ctx context.Context) (<-chan struct{}, error) {
			t, identity, err := e.look(ctx, t.ID.String(), identify)
			if err != nil {
				return nil, err
			}
			if err := stillGranted(identity, admitted); err != nil {
				return nil, err
			}
			now.Store(t)
			return t.Replaced(), nil
		},
	}, nil
}

// stillGranted refuses where a channel that the stream was admitted to, asked for or not, is outside of what is
// granted now.
func stillGranted(identity auth.Identity, admitted []hub.ChannelPattern) error {
	for _, channel := range admitted {
		if !slices.ContainsFunc(identity.Grants, func(grant hub.ChannelPattern) bool { return grant.Covers(channel) }) {
			return hub.Errorf(hub.ChannelNotGranted, "channel %s is no longer granted", channel)
		}
	}
	return nil
}

// look asks who the credential is by the configuration as it is now. What state the tenant is in is told to those
// alone whose credential is good there.
func (e *entry) look(ctx context.Context, ref string, identify credential) (*directory.Tenant, auth.Identity, error) {
	t, err := e.tenant(ctx, ref)
	if err != nil {
		return nil, auth.Identity{}, err
	}
	identity, err := identify(ctx, t)
	if err != nil {
		return nil, auth.Identity{}, err
	}
	switch {
	case t.ID.IsZero():
		return nil, auth.Identity{}, hub.Errorf(hub.NotFound, "no such tenant")
	case t.State == hub.Suspended:
		return nil, auth.Identity{}, hub.Errorf(hub.TenantSuspended, "the tenant is suspended")
	}
	return t, identity, nil
}

// tenant is the one that ref names, or where there is none, one that has no issuers and no keys: to a credential that
// is not good there, a tenant that is and one that is not look the same.
func (e *entry) tenant(ctx context.Context, ref string) (*directory.Tenant, error) {
	t, err := e.tenants.TenantByRef(ctx, ref)
	if hub.CodeOf(err) == hub.NotFound {
		return &directory.Tenant{}, nil
	}
	return t, err
}

// credential reads the bearer once: a key is asked for at each look, a token is verified now and only its claims are
// judged again.
func (e *entry) credential(ctx context.Context, ref, bearer string) (credential, error) {
	if hub.IsKey(bearer) {
		return func(ctx context.Context, t *directory.Tenant) (auth.Identity, error) {
			principal, err := e.keys.Authenticate(ctx, bearer)
			if err != nil {
				return auth.Identity{}, err
			}
			return auth.KeyIdentity(principal, t.ID)
		}, nil
	}
	t, err := e.tenant(ctx, ref)
	if err != nil {
		return nil, err
	}
	claims, err := e.tokens.Verify(ctx, bearer, t.Issuers)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, t *directory.Tenant) (auth.Identity, error) {
		again, err := claims.Again(t.Issuers)
		if err != nil {
			return auth.Identity{}, err
		}
		return again.Identity(ctx, t.ID, t.Settings, e.now())
	}, nil
}
