package hub_test

import (
	"maps"
	"strconv"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/hub"
)

type validation struct {
	name, text string
	ok         bool
}

func checkAll(t *testing.T, validate func(string) error, cases []validation) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := validate(c.text); (err == nil) != c.ok {
				t.Errorf("%q: %v", c.text, err)
			}
		})
	}
}

func TestValidateSlug(t *testing.T) {
	t.Parallel()
	checkAll(t, hub.ValidateSlug, []validation{
		{"shortest", "a", true},
		{"usual", "acme-2", true},
		{"longest", "a" + strings.Repeat("b", 62), true},
		{"too long", "a" + strings.Repeat("b", 63), false},
		{"empty", "", false},
		{"digit first", "2acme", false},
		{"dash first", "-acme", false},
		{"upper case", "Acme", false},
		{"an id", "ten_0198c0de-0000-7000-8000-000000000001", false},
		{"dot", "acme.com", false},
		{"line feed", "acme\n", false},
		{"two lines", "acme\nevil", false},
		{"not ASCII", "acmé", false},
	})
}

func TestValidateName(t *testing.T) {
	t.Parallel()
	checkAll(t, hub.ValidateName, []validation{
		{"usual", "payments", true},
		{"whole alphabet", "9Az.b_c-d", true},
		{"longest", strings.Repeat("n", 100), true},
		{"too long", strings.Repeat("n", 101), false},
		{"empty", "", false},
		{"dot first", ".well-known", false},
		{"slash", "a/b", false},
		{"space", "a b", false},
		{"line feed", "a\n", false},
		{"id of an endpoint", "ep_1", false},
		{"id of a route", "rt_", false},
		{"id of a kind to come", "gen_x", false},
		{"id prefix inside", "my_key_1", true},
	})
}

func TestLooksLikeID(t *testing.T) {
	t.Parallel()
	if !hub.LooksLikeID("iss_x") || hub.LooksLikeID("issuer") || hub.LooksLikeID("") {
		t.Error("LooksLikeID goes by prefix")
	}
}

func TestValidateType(t *testing.T) {
	t.Parallel()
	checkAll(t, hub.ValidateType, []validation{
		{"usual", "payment_intent.succeeded", true},
		{"punctuation", "orders/paid#1", true},
		{"longest", strings.Repeat("t", 128), true},
		{"too long", strings.Repeat("t", 129), false},
		{"empty", "", false},
		{"space", "a b", false},
		{"line feed", "a\nid: 1", false},
		{"carriage return", "a\rdata:", false},
		{"NUL", "a\x00", false},
		{"DEL", "a\x7f", false},
		{"not ASCII", "ä", false},
		{"open", "open", false},
		{"error", "error", false},
		{"the hub's", "hub.ready", false},
		{"a generation's", "generation.delta", false},
		{"begins like open", "opened", true},
		{"begins like the hub's", "hubs.ready", true},
		{"hub alone", "hub", true},
	})
}

func TestValidateMessageKey(t *testing.T) {
	t.Parallel()
	checkAll(t, hub.ValidateMessageKey, []validation{
		{"usual", "order 17", true},
		{"not ASCII", "ключ", true},
		{"longest", strings.Repeat("k", 200), true},
		{"too long in bytes", strings.Repeat("é", 101), false},
		{"empty", "", false},
		{"NUL", "a\x00b", false},
		{"not UTF-8", "a\xff", false},
	})
}

func TestValidateTitle(t *testing.T) {
	t.Parallel()
	checkAll(t, func(s string) error { return hub.ValidateTitle("body.name", s) }, []validation{
		{"usual", "Acme, Inc. (Köln)", true},
		{"longest in characters", strings.Repeat("ö", 200), true},
		{"too long", strings.Repeat("ö", 201), false},
		{"empty", "", false},
		{"two lines", "a\nb", false},
		{"not UTF-8", "a\xff", false},
		{"DEL", "a\x7f", false},
	})
}

func TestMetadata_Validate(t *testing.T) {
	t.Parallel()
	most := hub.Metadata{}
	for i := range 50 {
		most[strconv.Itoa(i)] = strings.Repeat("ü", 500)
	}
	more := maps.Clone(most)
	more["one too many"] = ""
	for _, c := range []struct {
		name     string
		metadata hub.Metadata
		ok       bool
	}{
		{"none", nil, true},
		{"most", most, true},
		{"too many", more, false},
		{"empty key", hub.Metadata{"": "x"}, false},
		{"longest key", hub.Metadata{strings.Repeat("k", 40): ""}, true},
		{"long key", hub.Metadata{strings.Repeat("k", 41): ""}, false},
		{"long value", hub.Metadata{"k": strings.Repeat("v", 501)}, false},
		{"NUL in a value", hub.Metadata{"k": "\x00"}, false},
		{"NUL in a key", hub.Metadata{"\x00": "v"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if err := c.metadata.Validate(); (err == nil) != c.ok {
				t.Errorf("%v", err)
			}
		})
	}
}
