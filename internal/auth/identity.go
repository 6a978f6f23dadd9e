package auth

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"slices"
	"time"

	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
)

// maxGranted bounds the patterns that all grants of a row give one token.
const maxGranted = 1000

// An Identity is who reads a tenant's messages, what they may read, and until when.
type Identity struct {
	Tenant   hub.TenantID
	Subject  hub.Subject // of an end user; zero for an API key
	Key      hub.KeyID   // of an API key; zero for an end user
	IssuedAt time.Time   // of the credential; zero where it does not say
	Expires  time.Time   // when the credential ends here; zero: never (a key without an end)
	Grants   []hub.ChannelPattern
	Failures []error // of grants that gave nothing since they failed on these claims; *expr.Failure each
}

// Identity says what the token opens at that tenant. Hub.Unauthenticated where it has outlived what the tenant
// allows a credential.
func (c Claims) Identity(ctx context.Context, tenant hub.TenantID, settings hub.Settings, now time.Time) (Identity, error) {
	expires := c.expires(settings, now)
	switch {
	case !now.Before(expires):
		return Identity{}, refused("the token was issued longer ago than this tenant lets a credential live")
	case c.IssuedAt.IsZero() && c.ExpiresAt.After(now.Add(life(settings))): // else its life would begin anew with each connect
		return Identity{}, refused("the token does not say when it was issued (iat), and expires later than this tenant lets a credential live")
	}
	grants, failures, err := c.granted(ctx)
	if err != nil {
		return Identity{}, err
	}
	return Identity{Tenant: tenant, Subject: c.Subject, IssuedAt: c.IssuedAt, Expires: expires, Grants: grants, Failures: failures}, nil
}

// expires is when the credential ends: with the token, or later where the row's session_seconds says so, and never
// later than the tenant's credential_seconds. Both are counted from iat, or from now where the token has none.
func (c Claims) expires(settings hub.Settings, now time.Time) time.Time {
	start := c.IssuedAt
	if start.IsZero() || start.After(now) {
		start = now
	}
	end := c.ExpiresAt
	if c.Issuer.SessionSeconds != nil {
		end = later(end, start.Add(seconds(*c.Issuer.SessionSeconds)))
	}
	if last := start.Add(life(settings)); end.After(last) {
		return last
	}
	return end
}

// life is how long the tenant lets a credential live.
func life(settings hub.Settings) time.Duration {
	if settings.CredentialSeconds <= 0 {
		settings = hub.DefaultSettings()
	}
	return seconds(settings.CredentialSeconds)
}

func seconds(n int) time.Duration { return time.Duration(n) * time.Second }

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// granted evaluates the row's grants. One that fails on these claims gives nothing and takes nothing from the others.
func (c Claims) granted(ctx context.Context) (grants []hub.ChannelPattern, failures []error, err error) {
	claims := expr.ClaimsOf(c.Values)
	seen := map[hub.ChannelPattern]bool{}
	for _, grant := range c.Issuer.Grants {
		patterns, err := grant.Patterns(ctx, claims)
		if err != nil {
			if ctx.Err() != nil {
				return nil, nil, hub.Errorf(hub.Unavailable, "there was no time to evaluate the grants")
			}
			failures = append(failures, err)
			continue
		}
		for _, pattern := range patterns {
			if !seen[pattern] {
				seen[pattern] = true
				grants = append(grants, pattern)
			}
		}
		if len(grants) > maxGranted {
			return nil, nil, hub.Errorf(hub.NoGrants, "the grants give this token more than %d channels", maxGranted)
		}
	}
	return grants, failures, nil
}

// KeyIdentity is an API key that reads messages: with messages:read it reads all of its tenant's channels.
func KeyIdentity(p hub.Principal, tenant hub.TenantID) (Identity, error) {
	if !p.Reaches(tenant) {
		return Identity{}, hub.Errorf(hub.NotFound, "no such tenant")
	}
	if !p.May(hub.MessagesRead) {
		return Identity{}, hub.Errorf(hub.ScopeMissing, "the key lacks the scope %s", hub.MessagesRead)
	}
	id := Identity{Tenant: tenant, Key: p.Key, Grants: []hub.ChannelPattern{hub.AllChannels}}
	if p.Expires != nil {
		id.Expires = *p.Expires
	}
	return id, nil
}

// Channels gives what is to be read: the channels that were asked for, each of which may be a pattern, or all that
// is granted where none was. Hub.NoGrants where that is nothing, hub.ChannelNotGranted with the channel's name where
// one is outside of the grants, hub.Malformed where one is no channel.
func (i Identity) Channels(requested []string) ([]hub.ChannelPattern, error) {
	if len(requested) == 0 {
		if len(i.Grants) == 0 {
			return nil, i.noGrants()
		}
		return i.Grants, nil
	}
	channels := make([]hub.ChannelPattern, 0, len(requested))
	for _, name := range requested {
		channel, err := hub.ParseChannelPattern(name)
		if err != nil {
			return nil, hub.Errorf(hub.Malformed, "channel: %v", err)
		}
		if !slices.ContainsFunc(i.Grants, func(grant hub.ChannelPattern) bool { return grant.Covers(channel) }) {
			return nil, hub.Errorf(hub.ChannelNotGranted, "channel %s is not granted", channel)
		}
		if !slices.Contains(channels, channel) {
			channels = append(channels, channel)
		}
	}
	return channels, nil
}

func (i Identity) noGrants() error {
	if len(i.Failures) > 0 {
		return hub.Errorf(hub.NoGrants, "the token is good and grants no channel; a grant failed: %v", i.Failures[0])
	}
	return hub.Errorf(hub.NoGrants, "the token is good and grants no channel")
}

// Opaque names the identity to its own client, which tells by it whether a new credential is still the same
// somebody's. It is the same for every credential of one subject or key at one tenant.
func (i Identity) Opaque() string {
	text := i.Tenant.String() + "\n" + i.Subject.Issuer.String() + "\n" + i.Key.String() + "\n" + i.Subject.Sub
	sum := sha256.Sum256([]byte(text))
	return base64.RawURLEncoding.EncodeToString(sum[:18])
}
