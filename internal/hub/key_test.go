package hub_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/hub"
)

func TestKey_Form(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		random := rapid.StringMatching(`[0-9A-Za-z]{32}`).Draw(t, "random")
		key := hub.FormatKey(random)
		if !hub.IsKey(key) || !strings.HasPrefix(key, "trb_"+random) || len(key) != 42 {
			t.Fatalf("%q is no key", key)
		}
		// CRC-32 finds every change of one character.
		at := rapid.IntRange(4, len(key)-1).Draw(t, "at")
		other := rapid.SampledFrom([]byte("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")).Draw(t, "other")
		if changed := key[:at] + string(other) + key[at+1:]; changed != key && hub.IsKey(changed) {
			t.Fatalf("%q passes for %q", changed, key)
		}
	})
}

func TestIsKey_Refuses(t *testing.T) {
	t.Parallel()
	key := hub.FormatKey(strings.Repeat("a", 32))
	for _, c := range []struct{ name, text string }{
		{"empty", ""},
		{"cut", key[:len(key)-1]},
		{"long", key + "0"},
		{"another prefix", "tri_" + key[4:]},
		{"no prefix", key[4:]},
		{"space", key[:41] + " "},
		{"outside the alphabet", hub.FormatKey(strings.Repeat("-", 32))},
		{"short random", hub.FormatKey("a")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if hub.IsKey(c.text) {
				t.Errorf("%q passes for a key", c.text)
			}
		})
	}
}

func TestKey_ChecksumIsFixed(t *testing.T) {
	t.Parallel()
	// Computed elsewhere: CRC-32 (IEEE) in base62. Keys that people hold depend on it.
	const want = "trb_00000000000000000000000000000000" + "0aSlXz"
	if got := hub.FormatKey(strings.Repeat("0", 32)); got != want {
		t.Errorf("FormatKey gave %s, want %s", got, want)
	}
}

func TestPrincipal(t *testing.T) {
	t.Parallel()
	mine, other := hub.NewID[hub.TenantID](), hub.NewID[hub.TenantID]()
	key := hub.Principal{Kind: hub.PrincipalKey, Tenant: mine, Scopes: []hub.Scope{hub.EventsRead}}
	operator := hub.Principal{Kind: hub.PrincipalOperator, Scopes: []hub.Scope{hub.TenantsRead}}
	system := hub.Principal{Kind: hub.PrincipalSystem}
	nobody := hub.Principal{Kind: hub.PrincipalKey}

	for _, c := range []struct {
		name      string
		got, want bool
	}{
		{"key has its scope", key.May(hub.EventsRead), true},
		{"key has no other", key.May(hub.EventsRaw), false},
		{"operator has only its scopes", operator.May(hub.EventsRead), false},
		{"system has all", system.May(hub.TenantsWrite), true},
		{"key reaches its tenant", key.Reaches(mine), true},
		{"key reaches no other", key.Reaches(other), false},
		{"operator reaches all", operator.Reaches(other), true},
		{"system reaches all", system.Reaches(other), true},
		{"no tenant reaches no tenant", nobody.Reaches(hub.TenantID{}), false},
	} {
		if c.got != c.want {
			t.Errorf("%s: %v", c.name, c.got)
		}
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	all := hub.OperatorScopes()
	if len(all) != len(hub.TenantScopes())+2 {
		t.Errorf("operators have %d scopes", len(all))
	}
	seen := map[hub.Scope]bool{}
	for _, s := range all {
		if seen[s] {
			t.Errorf("scope %s twice", s)
		}
		seen[s] = true
	}
}
