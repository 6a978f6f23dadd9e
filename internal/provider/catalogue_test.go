package provider_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/provider"
)

func TestCatalogue(t *testing.T) {
	t.Parallel()
	var names []string
	for _, p := range provider.All() {
		names = append(names, p.Name)
		if got, ok := provider.Get(p.Name); !ok || got != p {
			t.Errorf("Get(%q) = %v, %t", p.Name, got, ok)
		}
		if p.Title == "" || !strings.HasSuffix(p.Setup, ".") {
			t.Errorf("%s lacks a title or what to paste where", p.Name)
		}
		for _, s := range p.Settings {
			if !strings.HasSuffix(s.About, ".") {
				t.Errorf("%s: setting %s does not say what it is", p.Name, s.Name)
			}
		}
		if _, err := p.Configure(p.Example); err != nil {
			t.Errorf("%s: its own example: %v", p.Name, err)
		}
	}
	want := []string{"generic-hmac", "github", "shopify", "slack", "standard-webhooks", "stripe"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	for _, absent := range []string{"", "Stripe", "strip", "zzz"} {
		if _, ok := provider.Get(absent); ok {
			t.Errorf("Get(%q) found something", absent)
		}
	}
}

// facts are what the API shows of a provider.
type facts struct {
	Scheme, Signed, Encoding, Handshake string
	Headers, ID, Type, Required         []string
	Tolerance                           time.Duration
	Replay                              provider.ReplayProtection
	Coverage                            provider.Coverage
}

func TestFacts(t *testing.T) {
	t.Parallel()
	want := map[string]facts{
		"stripe": {
			Scheme: "hmac-sha256", Signed: "{ts}.{body}", Encoding: "hex", Headers: []string{"Stripe-Signature"},
			ID: []string{"json:id"}, Type: []string{"json:type"}, Tolerance: 300 * time.Second, Replay: "time", Coverage: "whole-body",
		},
		"github": {
			Scheme: "hmac-sha256", Signed: "{body}", Encoding: "hex",
			Headers: []string{"X-Hub-Signature-256", "X-GitHub-Delivery", "X-GitHub-Event"},
			ID:      []string{"header:X-GitHub-Delivery"}, Type: []string{"header:X-GitHub-Event"}, Replay: "none", Coverage: "whole-body",
		},
		"shopify": {
			Scheme: "hmac-sha256", Signed: "{body}", Encoding: "base64",
			Headers: []string{
				"X-Shopify-Hmac-Sha256|Shopify-Hmac-Sha256", "X-Shopify-Webhook-Id|Shopify-Webhook-Id", "X-Shopify-Topic|Shopify-Topic",
			},
			ID:     []string{"header:X-Shopify-Webhook-Id", "header:Shopify-Webhook-Id"},
			Type:   []string{"header:X-Shopify-Topic", "header:Shopify-Topic"},
			Replay: "none", Coverage: "whole-body",
		},
		"slack": {
			Scheme: "hmac-sha256", Signed: "v0:{ts}:{body}", Encoding: "hex", Handshake: "slack-url-verification",
			Headers: []string{"X-Slack-Signature", "X-Slack-Request-Timestamp"},
			ID:      []string{"json:event_id"}, Type: []string{"json:event.type", "json:type"},
			Tolerance: 300 * time.Second, Replay: "time", Coverage: "whole-body",
		},
		"standard-webhooks": {
			Scheme: "hmac-sha256", Signed: "{header:Webhook-Id}.{ts}.{body}", Encoding: "base64",
			Headers: []string{"Webhook-Signature", "Webhook-Timestamp", "Webhook-Id"},
			ID:      []string{"header:Webhook-Id"}, Type: []string{"json:type"},
			Tolerance: 300 * time.Second, Replay: "time", Coverage: "whole-body",
		},
		"generic-hmac": {
			Scheme: "hmac-sha256", Signed: "{body}", Encoding: "hex", Headers: []string{"X-Signature"},
			Required: []string{"header"}, Replay: "none", Coverage: "whole-body",
		},
	}
	got := map[string]facts{}
	for _, p := range provider.All() {
		got[p.Name] = facts{
			p.Scheme, p.Signed, p.Encoding, p.Handshake, p.Headers, p.ID, p.Type, p.RequiredConfig,
			p.Tolerance, p.ReplayProtection, p.Coverage,
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if file := sharedFile(t, "providers.json"); file != "" {
		compareRows(t, file)
	}
}

// compareRows holds the catalogue beside the facts that were collected for it, where they are at hand.
func compareRows(t *testing.T, file string) {
	t.Helper()
	compared := 0
	for _, r := range readJSON[struct{ Presets []row }](t, file).Presets {
		p, ok := provider.Get(r.Preset)
		if !ok {
			continue
		}
		compared++
		same := func(what, ours, theirs string) {
			if !strings.EqualFold(ours, theirs) {
				t.Errorf("%s: %s is %q, the facts say %q", p.Name, what, ours, theirs)
			}
		}
		same("header", p.Headers[0], strings.Join(r.Sig.Header, "|"))
		same("scheme", p.Scheme, r.Kind+"-"+r.Hash)
		same("encoding", p.Encoding, r.Sig.Encoding)
		same("signed", p.Signed, r.Signed)
		same("id", strings.Join(p.ID, " "), strings.Join(r.ID, " "))
		same("type", strings.Join(p.Type, " "), strings.Join(r.Type, " "))
		tolerance := 0
		if r.Time != nil && r.Time.Tolerance != nil {
			tolerance = *r.Time.Tolerance
		}
		if int(p.Tolerance/time.Second) != tolerance {
			t.Errorf("%s: tolerance %s, the facts say %d s", p.Name, p.Tolerance, tolerance)
		}
	}
	if compared != len(provider.All())-1 {
		t.Errorf("%s has %d of our providers, want all but generic-hmac", filepath.Base(file), compared)
	}
}

func TestAll_IsACopy(t *testing.T) {
	t.Parallel()
	all := provider.All()
	slices.Reverse(all)
	if provider.All()[0] == all[0] {
		t.Error("a caller changed the catalogue's order")
	}
}
