package provider_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

func TestConfigure_Refuses(t *testing.T) {
	t.Parallel()
	type config = map[string]string
	for _, tc := range []struct {
		name, provider string
		config         config
		wrong          []string // locations
	}{
		{"nothing to say", "github", nil, nil},
		{"unknown", "github", config{"tolerance": "60"}, []string{"body.config.tolerance"}},
		{"tolerance", "stripe", config{"tolerance": "60"}, nil},
		{"tolerance of a day", "slack", config{"tolerance": "86400"}, nil},
		{"tolerance above a day", "slack", config{"tolerance": "86401"}, []string{"body.config.tolerance"}},
		{"tolerance zero", "stripe", config{"tolerance": "0"}, []string{"body.config.tolerance"}},
		{"tolerance negative", "stripe", config{"tolerance": "-5"}, []string{"body.config.tolerance"}},
		{"tolerance with a sign", "stripe", config{"tolerance": "+5"}, []string{"body.config.tolerance"}},
		{"tolerance huge", "stripe", config{"tolerance": "99999999999999999999"}, []string{"body.config.tolerance"}},
		{"header missing", "generic-hmac", nil, []string{"body.config.header"}},
		{"header alone", "generic-hmac", config{"header": "X-Sig"}, nil},
		{"header empty", "generic-hmac", config{"header": ""}, []string{"body.config.header"}},
		{"header with a blank", "generic-hmac", config{"header": "X Sig"}, []string{"body.config.header"}},
		{"several wrong, and header missing", "generic-hmac", config{"hash": "md5", "encoding": "b64", "key": "pem", "x": "y"}, []string{
			"body.config.encoding", "body.config.hash", "body.config.key", "body.config.x", "body.config.header",
		}},
		{"prefix with a line break", "generic-hmac", config{"header": "X", "prefix": "a\nb"}, []string{"body.config.prefix"}},
		{"signed with an unknown token", "generic-hmac", config{"header": "X", "signed": "{url}{body}"}, []string{"body.config.signed"}},
		{"signed without the body", "generic-hmac", config{"header": "X", "signed": "{header:X-Id}"}, []string{"body.config.signed"}},
		{"signed with an open brace", "generic-hmac", config{"header": "X", "signed": "{body}{"}, []string{"body.config.signed"}},
		{"signed with two bodies", "generic-hmac", config{"header": "X", "signed": "{body}{body}"}, []string{"body.config.signed"}},
		{"signed time without a place", "generic-hmac", config{"header": "X", "signed": "{ts}.{body}"}, []string{"body.config.timestamp_header"}},
		{"a time that is not signed", "generic-hmac", config{"header": "X", "timestamp_header": "X-T"}, []string{"body.config.signed"}},
		{"tolerance without a time", "generic-hmac", config{"header": "X", "tolerance": "60"}, []string{"body.config.tolerance"}},
		{"time", "generic-hmac", config{"header": "X", "timestamp_header": "X-T", "signed": "{ts}.{body}", "tolerance": "60"}, nil},
		{"id in a query of gjson", "generic-hmac", config{"header": "X", "id": "json:a.#(b==1).c"}, []string{"body.config.id"}},
		{"id by a modifier of gjson", "generic-hmac", config{"header": "X", "id": "json:@this|a"}, []string{"body.config.id"}},
		{"id by a wildcard", "generic-hmac", config{"header": "X", "id": "json:a.*"}, []string{"body.config.id"}},
		{"id without a kind", "generic-hmac", config{"header": "X", "id": "id"}, []string{"body.config.id"}},
		{"id empty", "generic-hmac", config{"header": "X", "id": ""}, []string{"body.config.id"}},
		{"type of two parts", "generic-hmac", config{"header": "X", "type": "json:a+json:b"}, []string{"body.config.type"}},
		{"dedup off", "generic-hmac", config{"header": "X", "dedup_seconds": "off"}, nil},
		{"dedup never", "generic-hmac", config{"header": "X", "dedup_seconds": "never"}, []string{"body.config.dedup_seconds"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := get(t, tc.provider).Configure(tc.config)
			var got []string
			if err != nil {
				var invalid *hub.Error
				if !errors.As(err, &invalid) || invalid.Code != hub.Invalid {
					t.Fatalf("not an Invalid: %v", err)
				}
				for _, f := range invalid.Fields {
					got = append(got, f.Location)
				}
			}
			if diff := cmp.Diff(tc.wrong, got); diff != "" {
				t.Errorf("%v: %s", err, diff)
			}
		})
	}
}

// TestConfigure_Facts: an endpoint's configuration changes what holds for it, and nothing for others.
func TestConfigure_Facts(t *testing.T) {
	t.Parallel()
	generic := get(t, "generic-hmac")
	configured, err := generic.Configure(map[string]string{
		"header": "X-Sig", "hash": "sha512", "encoding": "base64", "timestamp_header": "X-T", "signed": "{ts}.{body}",
		"tolerance": "60", "id": "json:id",
	})
	if err != nil {
		t.Fatal(err)
	}
	if configured.Scheme != "hmac-sha512" || configured.Tolerance != time.Minute || configured.ReplayProtection != provider.ReplayTime {
		t.Errorf("configured: %s, %s, %s", configured.Scheme, configured.Tolerance, configured.ReplayProtection)
	}
	if diff := cmp.Diff([]string{"X-Sig", "X-T"}, configured.Headers); diff != "" {
		t.Error(diff)
	}
	if generic.Scheme != "hmac-sha256" || generic.Tolerance != 0 {
		t.Errorf("the catalogue changed: %s, %s", generic.Scheme, generic.Tolerance)
	}
	again, err := configured.Configure(map[string]string{"header": "X-Sig", "id": "json:id"})
	if err != nil {
		t.Fatal(err)
	}
	if again.Tolerance != 0 || again.ReplayProtection != provider.ReplayID {
		t.Errorf("configured again: %s, %s", again.Tolerance, again.ReplayProtection)
	}

	stripe, err := get(t, "stripe").Configure(map[string]string{"tolerance": "60"})
	if err != nil {
		t.Fatal(err)
	}
	if stripe.Tolerance != time.Minute || get(t, "stripe").Tolerance != 5*time.Minute {
		t.Errorf("stripe: %s, in the catalogue %s", stripe.Tolerance, get(t, "stripe").Tolerance)
	}
}

func TestCheckSecret(t *testing.T) {
	t.Parallel()
	hexKeyed, err := get(t, "generic-hmac").Configure(map[string]string{"header": "X", "key": "hex"})
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name     string
		provider *provider.Provider
		secret   string
		ok       bool
	}{
		{"any text", get(t, "github"), "It's a Secret to Everybody", true},
		{"empty", get(t, "github"), "", false},
		{"blank", get(t, "github"), " \n", false},
		{"huge", get(t, "github"), string(make([]byte, 5000)), false},
		{"stripe's, verbatim", get(t, "stripe"), "whsec_not/base64!", true},
		{"decodable", get(t, "standard-webhooks"), "whsec_MDEyMzQ1Njc4OWFiY2RlZg==", true},
		{"decodable without prefix", get(t, "standard-webhooks"), "MDEyMzQ1Njc4OWFiY2RlZg==", true},
		{"not base64", get(t, "standard-webhooks"), "whsec_not base64", false},
		{"the prefix alone", get(t, "standard-webhooks"), "whsec_", false},
		{"a public key", get(t, "standard-webhooks"), "whpk_MDEyMzQ1Njc4OWFiY2RlZg==", false},
		{"hex as configured", hexKeyed, "00ff", true},
		{"odd hex", hexKeyed, "00f", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			err := tc.provider.CheckSecret(tc.secret)
			if tc.ok != (err == nil) || err != nil && hub.CodeOf(err) != hub.Invalid {
				t.Errorf("%v", err)
			}
		})
	}
}
