package provider_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

// A delivery is what a provider sends: the body, what stands in headers, and when.
type delivery struct {
	body   string
	typ    string
	id     string
	signed time.Time
}

// dedupOf signs a delivery with the provider's own secret and gives the key that the verified event takes.
func dedupOf(t interface {
	Fatalf(string, ...any)
}, p *provider.Provider, d delivery,
) hub.Dedup {
	const secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZmdoaWprbG1u"
	h, err := p.Sign(secret, []byte(d.body), d.signed, provider.SignOptions{Type: d.typ, ID: d.id})
	if err != nil {
		t.Fatalf("sign: %v", err)
	}
	v := p.Verify(provider.Request{
		Method: http.MethodPost, Header: h, Body: []byte(d.body), At: d.signed, Secrets: []provider.Secret{active(secret)},
	})
	if !v.OK {
		t.Fatalf("verify: %s %s", v.Cause, v.Detail)
	}
	return v.Dedup
}

func configured(t *testing.T, name string, config map[string]string) *provider.Provider {
	t.Helper()
	p, err := get(t, name).Configure(config)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestDedup_GenuineEvents: two different genuine events never are one, and one event delivered twice is one. What makes
// an event genuine and different is the provider's word: its id where it has one, else what it says.
func TestDedup_GenuineEvents(t *testing.T) {
	t.Parallel()
	text := rapid.StringMatching(`[a-z0-9_.:+-]{1,12}`)
	// inBody writes the members of one JSON object; ids differ, the rest is free and often the same.
	inBody := func(t *rapid.T, members map[string]string) string {
		body, err := json.Marshal(members)
		if err != nil {
			t.Fatal(err)
		}
		return string(body)
	}
	for _, tc := range []struct {
		name string
		p    *provider.Provider
		// pair draws two genuine events that differ in as little as the provider allows.
		pair func(t *rapid.T) (one, other delivery)
	}{
		{"stripe: the id in the body", get(t, "stripe"), func(t *rapid.T) (one, other delivery) {
			ids := rapid.SliceOfNDistinct(text, 2, 2, rapid.ID[string]).Draw(t, "ids")
			typ := text.Draw(t, "type")
			one.body = inBody(t, map[string]string{"id": ids[0], "type": typ})
			other.body = inBody(t, map[string]string{"id": ids[1], "type": typ})
			return one, other
		}},
		{"stripe: ids that a lenient reader folds into one", get(t, "stripe"), func(t *rapid.T) (one, other delivery) {
			ids := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{
				`"\ud800X"`, `"\ud801X"`, `"\ufffdX"`, `"\udfffX"`, `"7"`, `7`, `7.0`, `"7.0"`,
			}), 2, 2, rapid.ID[string]).Draw(t, "ids")
			one.body, other.body = `{"id":`+ids[0]+`,"type":"x"}`, `{"id":`+ids[1]+`,"type":"x"}`
			return one, other
		}},
		{"slack: the id in the body", get(t, "slack"), func(t *rapid.T) (one, other delivery) {
			ids := rapid.SliceOfNDistinct(text, 2, 2, rapid.ID[string]).Draw(t, "ids")
			one.body = inBody(t, map[string]string{"event_id": ids[0], "type": "x"})
			other.body = inBody(t, map[string]string{"event_id": ids[1], "type": "x"})
			return one, other
		}},
		{"slack: forms without an id", get(t, "slack"), func(t *rapid.T) (one, other delivery) {
			bodies := rapid.SliceOfNDistinct(text, 2, 2, rapid.ID[string]).Draw(t, "bodies")
			one.body, other.body = "command="+bodies[0], "command="+bodies[1]
			return one, other
		}},
		{"standard-webhooks: the id in a signed header, the same body", get(t, "standard-webhooks"), func(t *rapid.T) (one, other delivery) {
			ids := rapid.SliceOfNDistinct(text, 2, 2, rapid.ID[string]).Draw(t, "ids")
			body := inBody(t, map[string]string{"type": text.Draw(t, "type")})
			return delivery{body: body, id: ids[0]}, delivery{body: body, id: ids[1]}
		}},
		{"github: the id in a header, the same body", get(t, "github"), func(t *rapid.T) (one, other delivery) {
			ids := rapid.SliceOfNDistinct(text, 2, 2, rapid.ID[string]).Draw(t, "ids")
			body := inBody(t, map[string]string{"zen": text.Draw(t, "zen")})
			return delivery{body: body, id: ids[0], typ: "ping"}, delivery{body: body, id: ids[1], typ: "ping"}
		}},
		{"github: the same id, put by somebody on another body", get(t, "github"), func(t *rapid.T) (one, other delivery) {
			bodies := rapid.SliceOfNDistinct(text, 2, 2, rapid.ID[string]).Draw(t, "bodies")
			id := text.Draw(t, "id")
			return delivery{body: bodies[0], id: id, typ: "push"}, delivery{body: bodies[1], id: id, typ: "push"}
		}},
		{"shopify: the id in a header, the same body", get(t, "shopify"), func(t *rapid.T) (one, other delivery) {
			ids := rapid.SliceOfNDistinct(text, 2, 2, rapid.ID[string]).Draw(t, "ids")
			return delivery{body: "{}", id: ids[0], typ: "a/b"}, delivery{body: "{}", id: ids[1], typ: "a/b"}
		}},
		{
			"generic: id and body meet at another place", configured(t, "generic-hmac", map[string]string{"header": "X-Sig", "id": "header:X-Id"}),
			func(t *rapid.T) (one, other delivery) {
				whole := text.Draw(t, "whole") + text.Draw(t, "more")
				cuts := rapid.SliceOfNDistinct(rapid.IntRange(1, len(whole)-1), 0, 2, rapid.ID[int]).Draw(t, "cuts")
				if len(cuts) < 2 {
					t.Skip()
				}
				return delivery{id: whole[:cuts[0]], body: whole[cuts[0]:]}, delivery{id: whole[:cuts[1]], body: whole[cuts[1]:]}
			},
		},
		{
			"generic: an id of parts that meet at another place",
			configured(t, "generic-hmac", map[string]string{"header": "X-Sig", "id": "json:a+json:b"}),
			func(t *rapid.T) (one, other delivery) {
				whole := text.Draw(t, "whole") + text.Draw(t, "more")
				if len(whole) < 3 {
					t.Skip()
				}
				one.body = inBody(t, map[string]string{"a": whole[:1], "b": whole[1:]})
				other.body = inBody(t, map[string]string{"a": whole[:2], "b": whole[2:]})
				return one, other
			},
		},
		{
			"generic: an id of parts of which one differs",
			configured(t, "generic-hmac", map[string]string{"header": "X-Sig", "id": "json:a+json:b+json:c"}),
			func(t *rapid.T) (one, other delivery) {
				ids := rapid.SliceOfNDistinct(text, 2, 2, rapid.ID[string]).Draw(t, "ids")
				members := map[string]string{"a": text.Draw(t, "a"), "b": text.Draw(t, "b"), "c": text.Draw(t, "c")}
				differs := rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "differs")
				members[differs] = ids[0]
				one.body = inBody(t, members)
				members[differs] = ids[1]
				other.body = inBody(t, members)
				return one, other
			},
		},
		{
			"generic: no id, another type", configured(t, "generic-hmac", map[string]string{"header": "X-Sig", "type": "header:X-Type"}),
			func(t *rapid.T) (one, other delivery) {
				types := rapid.SliceOfNDistinct(text, 2, 2, rapid.ID[string]).Draw(t, "types")
				return delivery{body: "{}", typ: types[0]}, delivery{body: "{}", typ: types[1]}
			},
		},
		{
			"generic: no id, another body", configured(t, "generic-hmac", map[string]string{"header": "X-Sig"}),
			func(t *rapid.T) (one, other delivery) {
				bodies := rapid.SliceOfNDistinct(text, 2, 2, rapid.ID[string]).Draw(t, "bodies")
				return delivery{body: bodies[0]}, delivery{body: bodies[1]}
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			rapid.Check(t, func(t *rapid.T) {
				one, other := tc.pair(t)
				one.signed, other.signed = at, at
				first, second := dedupOf(t, tc.p, one), dedupOf(t, tc.p, other)
				if first.Hash == second.Hash {
					t.Fatalf("two events have one key: %+v, %+v", one, other)
				}
				// A retry has its own timestamp, and so its own signature.
				one.signed = at.Add(time.Duration(rapid.IntRange(0, 1000).Draw(t, "later")) * time.Second)
				if again := dedupOf(t, tc.p, one); again != first {
					t.Fatalf("a retry has another key: %+v", one)
				}
			})
		})
	}
}

// TestDedup_Samples: all samples of all providers, several of each, are different events.
func TestDedup_Samples(t *testing.T) {
	t.Parallel()
	for _, p := range provider.All() {
		c := configured(t, p.Name, p.Example)
		seen := map[[16]byte]string{}
		for _, typ := range provider.Samples(p.Name) {
			for n := range 20 {
				body, id, err := provider.Sample(p.Name, typ, at)
				if err != nil {
					t.Fatal(err)
				}
				d := dedupOf(t, c, delivery{string(body), typ, id, at})
				name := typ + " " + strconv.Itoa(n)
				if other, taken := seen[d.Hash]; taken {
					t.Errorf("%s: %s is taken for %s", p.Name, name, other)
				}
				seen[d.Hash] = name
				if d.Keep != 7*24*time.Hour {
					t.Errorf("%s: %s is remembered for %s", p.Name, name, d.Keep)
				}
			}
		}
	}
}

func TestDedup_Keep(t *testing.T) {
	t.Parallel()
	type config = map[string]string
	for _, tc := range []struct {
		name, provider string
		config         config
		d              delivery
		want           time.Duration
	}{
		{"an id", "stripe", nil, delivery{body: `{"id":"evt_1"}`}, 7 * 24 * time.Hour},
		{"no id", "stripe", nil, delivery{body: `{}`}, 5 * time.Minute},
		{"a form", "slack", nil, delivery{body: `payload=%7B%7D`}, 5 * time.Minute},
		{"an id beside the body", "github", nil, delivery{body: `{}`, id: "x"}, 7 * 24 * time.Hour},
		{"an id, as configured", "generic-hmac", config{"header": "X", "id": "json:id", "dedup_seconds": "60"}, delivery{body: `{"id":1}`}, time.Minute},
		{"no id, as configured", "generic-hmac", config{"header": "X", "dedup_seconds": "3600"}, delivery{body: `{}`}, time.Hour},
		{"off", "generic-hmac", config{"header": "X", "id": "json:id", "dedup_seconds": "off"}, delivery{body: `{"id":1}`}, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			tc.d.signed = at
			d := dedupOf(t, configured(t, tc.provider, tc.config), tc.d)
			if d.Keep != tc.want || (d.Hash == [16]byte{}) != (tc.want == 0) {
				t.Errorf("kept %s with hash %x, want %s", d.Keep, d.Hash, tc.want)
			}
		})
	}
}

// TestDedup_SignedIDAlone: Stripe's retries differ in how many deliveries are pending, and are the same event.
func TestDedup_SignedIDAlone(t *testing.T) {
	t.Parallel()
	first := dedupOf(t, get(t, "stripe"), delivery{body: `{"id":"evt_1","pending_webhooks":2}`, signed: at})
	again := dedupOf(t, get(t, "stripe"), delivery{body: `{"id":"evt_1","pending_webhooks":1}`, signed: at})
	if first != again {
		t.Error("a retry is another event")
	}
}

// TestDedup_Kinds: an event that has an id is never taken for one that has none.
func TestDedup_Kinds(t *testing.T) {
	t.Parallel()
	p := configured(t, "generic-hmac", map[string]string{"header": "X-Sig", "id": "json:id", "type": "header:X-Type"})
	withID := dedupOf(t, p, delivery{body: `{"id":"x"}`, signed: at})
	without := dedupOf(t, p, delivery{typ: "x", signed: at})
	if withID.Hash == without.Hash {
		t.Error("the id of one is the type of the other")
	}
}

// TestDedup_ConfiguredAgain: nothing of an earlier configuration stays.
func TestDedup_ConfiguredAgain(t *testing.T) {
	t.Parallel()
	for _, before := range []string{"60", "off"} {
		p, err := configured(t, "generic-hmac", map[string]string{"header": "X", "dedup_seconds": before}).Configure(map[string]string{"header": "X"})
		if err != nil {
			t.Fatal(err)
		}
		if d := dedupOf(t, p, delivery{body: `{}`, signed: at}); d.Keep != 5*time.Minute {
			t.Errorf("after %s: kept %s", before, d.Keep)
		}
	}
}

// TestDedup_MissingHeader: without the header that names the delivery, the content does.
func TestDedup_MissingHeader(t *testing.T) {
	t.Parallel()
	r, _ := signed(t, "github", `{}`, provider.SignOptions{Type: "ping"})
	r.Header.Del("X-GitHub-Delivery")
	v := get(t, "github").Verify(r)
	if !v.OK || v.Dedup.Keep != 5*time.Minute {
		t.Errorf("OK %t, kept %s (%v)", v.OK, v.Dedup.Keep, slices.Sorted(maps.Keys(r.Header)))
	}
}
