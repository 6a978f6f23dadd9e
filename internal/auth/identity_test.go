package auth_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/auth"
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
)

func grants(t *testing.T, list ...hub.Grant) []*expr.Grant {
	t.Helper()
	env, err := expr.NewClaims()
	if err != nil {
		t.Fatal(err)
	}
	compiled := make([]*expr.Grant, len(list))
	for i, grant := range list {
		compiled[i], err = env.Grant(fmt.Sprintf("body.grants[%d]", i), grant, "row")
		if err != nil {
			t.Fatal(err)
		}
	}
	return compiled
}

func decoded(t *testing.T, text string) map[string]any {
	t.Helper()
	var claims map[string]any
	if err := json.Unmarshal([]byte(text), &claims); err != nil {
		t.Fatal(err)
	}
	return claims
}

func TestIdentity_Expires(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	never := time.Time{}
	in := now.Add
	for name, test := range map[string]struct {
		issued, expires     time.Time
		session, credential int // 0: not set
		want                time.Time
		refused             bool
	}{
		"with the token":                          {in(-time.Minute), in(time.Hour), 0, 86400, in(time.Hour), false},
		"without iat":                             {never, in(time.Hour), 0, 86400, in(time.Hour), false},
		"a session outlives the token":            {in(-time.Minute), in(time.Minute), 3600, 86400, in(59 * time.Minute), false},
		"a session without iat begins now":        {never, in(time.Minute), 3600, 86400, in(time.Hour), false},
		"a session never shortens the token":      {in(-time.Minute), in(time.Hour), 60, 86400, in(time.Hour), false},
		"the tenant caps a token":                 {in(-time.Minute), in(100 * time.Hour), 0, 3600, in(59 * time.Minute), false},
		"without iat it must end by itself":       {never, in(time.Hour + time.Second), 0, 3600, never, true},
		"without iat, within the tenant's cap":    {never, in(time.Hour), 0, 3600, in(time.Hour), false},
		"the tenant caps a session without iat":   {never, in(time.Minute), 7200, 3600, in(time.Hour), false},
		"the tenant caps a session":               {in(-time.Minute), in(time.Minute), 7200, 3600, in(59 * time.Minute), false},
		"a day where the tenant says nothing":     {in(-time.Hour), in(100 * time.Hour), 0, 0, in(23 * time.Hour), false},
		"an iat ahead of our clock gains nothing": {in(5 * time.Minute), in(100 * time.Hour), 0, 3600, in(time.Hour), false},
		"the tenant's cap is past":                {in(-2 * time.Hour), in(100 * time.Hour), 0, 3600, never, true},
		"the tenant's cap is now":                 {in(-time.Hour), in(100 * time.Hour), 0, 3600, never, true},
		"a session does not lift the cap":         {in(-2 * time.Hour), in(time.Hour), 864000, 3600, never, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claims := auth.Claims{IssuedAt: test.issued, ExpiresAt: test.expires}
			if test.session != 0 {
				claims.Issuer.SessionSeconds = &test.session
			}
			id, err := claims.Identity(t.Context(), hub.NewID[hub.TenantID](), hub.Settings{CredentialSeconds: test.credential}, now)
			if test.refused != (hub.CodeOf(err) == hub.Unauthenticated) {
				t.Fatalf("%v", err)
			}
			if !id.Expires.Equal(test.want) || !test.refused && !id.IssuedAt.Equal(test.issued) {
				t.Errorf("expires %s, issued %s; want %s, %s", id.Expires, id.IssuedAt, test.want, test.issued)
			}
		})
	}
}

func TestIdentity_Grants(t *testing.T) {
	t.Parallel()
	row := grants(t,
		hub.Grant{Pattern: "user:{sub}"},
		hub.Grant{Pattern: "org:{claims.org}:*"},
		hub.Grant{Pattern: "team:{claims.teams}"},
		hub.Grant{Pattern: "admin:*", When: "claims.role == 'admin'"},
		hub.Grant{Pattern: "member:{issuer}:{sub}"},
	)
	for name, test := range map[string]struct {
		claims   string
		want     []hub.ChannelPattern
		failures int
	}{
		"a user":           {`{"sub":"alice"}`, []hub.ChannelPattern{"user:alice", "member:row:alice"}, 0},
		"all of them":      {`{"sub":"alice","org":7,"teams":["x","y","x"],"role":"admin"}`, []hub.ChannelPattern{"user:alice", "org:7:*", "team:x", "team:y", "admin:*", "member:row:alice"}, 0},
		"another role":     {`{"sub":"alice","role":"user"}`, []hub.ChannelPattern{"user:alice", "member:row:alice"}, 0},
		"one that fails":   {`{"sub":"alice","org":{"a":1}}`, []hub.ChannelPattern{"user:alice", "member:row:alice"}, 1},
		"not one segment":  {`{"sub":"a:b"}`, nil, 2},
		"a star":           {`{"sub":"*"}`, nil, 2},
		"nothing":          {`{}`, nil, 0},
		"nothing but null": {`{"sub":null,"teams":[]}`, nil, 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Now()
			tenant := hub.NewID[hub.TenantID]()
			subject := hub.Subject{Issuer: hub.NewID[hub.IssuerID](), Sub: "alice"}
			claims := auth.Claims{Issuer: directory.Issuer{Grants: row}, Subject: subject, ExpiresAt: now.Add(time.Hour), Values: decoded(t, test.claims)}
			id, err := claims.Identity(t.Context(), tenant, hub.DefaultSettings(), now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, id.Grants); diff != "" {
				t.Error(diff)
			}
			if len(id.Failures) != test.failures || id.Tenant != tenant || id.Subject != subject || !id.Key.IsZero() {
				t.Errorf("%d failures %v; tenant %s, subject %v", len(id.Failures), id.Failures, id.Tenant, id.Subject)
			}
			if _, err := id.Channels(nil); test.want == nil && hub.CodeOf(err) != hub.NoGrants {
				t.Errorf("nothing granted: %v", err)
			}
		})
	}
}

func TestIdentity_TooManyChannels(t *testing.T) {
	t.Parallel()
	var list []hub.Grant
	for i := range 4 {
		list = append(list, hub.Grant{Pattern: fmt.Sprintf("g%d:{claims.list}", i)})
	}
	var values []any
	for i := range 300 {
		values = append(values, fmt.Sprint(i))
	}
	claims := auth.Claims{Issuer: directory.Issuer{Grants: grants(t, list...)}, ExpiresAt: time.Now().Add(time.Hour), Values: map[string]any{"list": values}}
	if _, err := claims.Identity(t.Context(), hub.NewID[hub.TenantID](), hub.DefaultSettings(), time.Now()); hub.CodeOf(err) != hub.NoGrants {
		t.Error(err)
	}
}

func TestIdentity_CallerLeaves(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	claims := auth.Claims{
		Issuer:    directory.Issuer{Grants: grants(t, hub.Grant{Pattern: "any:*", When: "claims.list.all(x, claims.list.all(y, x == y))"})},
		ExpiresAt: time.Now().Add(time.Hour),
		Values:    map[string]any{"list": make([]any, 200)},
	}
	id, err := claims.Identity(ctx, hub.NewID[hub.TenantID](), hub.DefaultSettings(), time.Now())
	if hub.CodeOf(err) != hub.Unavailable {
		t.Errorf("%+v, %v", id, err)
	}
}

func TestIdentity_Channels(t *testing.T) {
	t.Parallel()
	user := auth.Identity{Grants: []hub.ChannelPattern{"user:7", "org:7:*"}}
	key := auth.Identity{Grants: []hub.ChannelPattern{hub.AllChannels}}
	none := auth.Identity{}
	for name, test := range map[string]struct {
		id        auth.Identity
		requested []string
		want      []hub.ChannelPattern
		err       string
	}{
		"all that is granted":      {user, nil, []hub.ChannelPattern{"user:7", "org:7:*"}, ""},
		"one":                      {user, []string{"user:7"}, []hub.ChannelPattern{"user:7"}, ""},
		"one of a pattern":         {user, []string{"org:7:a:b"}, []hub.ChannelPattern{"org:7:a:b"}, ""},
		"the pattern":              {user, []string{"org:7:*"}, []hub.ChannelPattern{"org:7:*"}, ""},
		"a narrower pattern":       {user, []string{"org:7:a:*"}, []hub.ChannelPattern{"org:7:a:*"}, ""},
		"twice":                    {user, []string{"user:7", "org:7:a", "user:7"}, []hub.ChannelPattern{"user:7", "org:7:a"}, ""},
		"another user":             {user, []string{"user:7", "user:8"}, nil, "channel_not_granted: channel user:8 is not granted"},
		"a wider pattern":          {user, []string{"user:*"}, nil, "channel_not_granted: channel user:* is not granted"},
		"the pattern's own prefix": {user, []string{"org:7"}, nil, "channel_not_granted: channel org:7 is not granted"},
		"a name that begins alike": {user, []string{"user:77"}, nil, "channel_not_granted: channel user:77 is not granted"},
		"beside the pattern":       {user, []string{"org:70:a"}, nil, "channel_not_granted: channel org:70:a is not granted"},
		"nothing granted":          {none, nil, nil, "no_grants: the token is good and grants no channel"},
		"one, and nothing granted": {none, []string{"user:7"}, nil, "channel_not_granted: channel user:7 is not granted"},
		"all of a key":             {key, nil, []hub.ChannelPattern{hub.AllChannels}, ""},
		"any of a key":             {key, []string{"user:7", "org:*"}, []hub.ChannelPattern{"user:7", "org:*"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.id.Channels(test.requested)
			if diff := cmp.Diff(test.want, got); diff != "" || text(err) != test.err {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
	for _, name := range []string{"", "*", "hub:*", "hub:x", "a b", "a::b", ":a", "a:*:b", "ä", "user:7\n"} {
		for _, id := range []auth.Identity{user, key, none} {
			if got, err := id.Channels([]string{name}); hub.CodeOf(err) != hub.Malformed {
				t.Errorf("%q: %v, %v", name, got, err)
			}
		}
	}
}

func TestIdentity_NoGrantsSaysWhichFailed(t *testing.T) {
	t.Parallel()
	claims := auth.Claims{Issuer: directory.Issuer{Grants: grants(t, hub.Grant{Pattern: "user:{sub}"})}, ExpiresAt: time.Now().Add(time.Hour), Values: map[string]any{"sub": "canary:x"}}
	id, err := claims.Identity(t.Context(), hub.NewID[hub.TenantID](), hub.DefaultSettings(), time.Now())
	if err != nil || len(id.Failures) != 1 {
		t.Fatalf("%+v, %v", id, err)
	}
	_, err = id.Channels(nil)
	want := "no_grants: the token is good and grants no channel; a grant failed: " + id.Failures[0].Error()
	if text(err) != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestKeyIdentity(t *testing.T) {
	t.Parallel()
	tenant, other := hub.NewID[hub.TenantID](), hub.NewID[hub.TenantID]()
	end := time.Now().Add(time.Hour)
	key := hub.NewID[hub.KeyID]()
	principal := func(kind hub.PrincipalKind, tenant hub.TenantID, expires *time.Time, scopes ...hub.Scope) hub.Principal {
		return hub.Principal{Kind: kind, Tenant: tenant, Key: key, Scopes: scopes, Expires: expires}
	}
	for name, test := range map[string]struct {
		principal hub.Principal
		code      hub.Code
		expires   time.Time
	}{
		"a key":             {principal(hub.PrincipalKey, tenant, nil, hub.MessagesRead), "", time.Time{}},
		"a key with an end": {principal(hub.PrincipalKey, tenant, &end, hub.ConfigRead, hub.MessagesRead), "", end},
		"an operator":       {principal(hub.PrincipalOperator, hub.TenantID{}, nil, hub.MessagesRead), "", time.Time{}},
		"without the scope": {principal(hub.PrincipalKey, tenant, nil, hub.MessagesPublish, hub.EventsRaw), hub.ScopeMissing, time.Time{}},
		"another tenant's":  {principal(hub.PrincipalKey, other, nil, hub.MessagesRead), hub.NotFound, time.Time{}},
		"nobody":            {hub.Principal{}, hub.NotFound, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			id, err := auth.KeyIdentity(test.principal, tenant)
			if hub.CodeOf(err) != test.code {
				t.Fatal(err)
			}
			if err != nil {
				return
			}
			want := auth.Identity{Tenant: tenant, Key: key, Expires: test.expires, Grants: []hub.ChannelPattern{hub.AllChannels}}
			if diff := cmp.Diff(want, id); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestIdentity_Opaque(t *testing.T) {
	t.Parallel()
	tenant, issuer, key := hub.NewID[hub.TenantID](), hub.NewID[hub.IssuerID](), hub.NewID[hub.KeyID]()
	alice := auth.Identity{Tenant: tenant, Subject: hub.Subject{Issuer: issuer, Sub: "alice"}}
	again := alice
	again.Expires, again.IssuedAt, again.Grants = time.Now(), time.Now(), []hub.ChannelPattern{"a"}
	if alice.Opaque() != again.Opaque() {
		t.Error("a new credential is another identity")
	}
	seen := map[string]bool{alice.Opaque(): true}
	for _, other := range []auth.Identity{
		{Tenant: tenant, Subject: hub.Subject{Issuer: issuer, Sub: "bob"}},
		{Tenant: tenant, Subject: hub.Subject{Issuer: hub.NewID[hub.IssuerID](), Sub: "alice"}},
		{Tenant: hub.NewID[hub.TenantID](), Subject: hub.Subject{Issuer: issuer, Sub: "alice"}},
		{Tenant: tenant, Key: key},
		{Tenant: tenant},
	} {
		if name := other.Opaque(); seen[name] {
			t.Errorf("%+v is somebody else", other)
		} else {
			seen[name] = true
		}
	}
}
