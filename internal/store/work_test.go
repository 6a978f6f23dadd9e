package store_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// What comes out is what went in, byte for byte, in the order asked, with the tenant's version as it is now.
func TestLoadEvents(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	one, two := db.Tenant(t), db.Tenant(t)
	endpoint := db.Endpoint(t, one, "stripe").ID // raises the tenant's version once more
	plain := db.Event(t, "stripe", storetest.To(one, endpoint))
	strange := hub.Event{
		Tenant: two, ID: hub.NewID[hub.EventID](), Endpoint: hub.NewID[hub.EndpointID](), Provider: "generic-hmac",
		ReceivedAt: time.Now().UTC().Truncate(time.Microsecond), Cause: hub.SignatureMismatch,
		Header: http.Header{"X-Twice": {"a: b", "", " c "}, "Content-Type": {"text/\xff"}},
		Sealed: []byte{0, 1, 255}, Body: []byte("\x00\xff{not json"),
	}
	yesterday := db.Event(t, "stripe", storetest.To(one, endpoint))
	yesterday.ID = hub.FirstID[hub.EventID](time.Now().AddDate(0, 0, -1))
	empty := db.Event(t, "stripe", storetest.To(one, endpoint))
	empty.Body, empty.Header, empty.Type, empty.ProviderID = nil, nil, "", ""
	if _, err := db.Pipeline.InsertEvents(t.Context(), []hub.Event{plain, strange, yesterday, empty}); err != nil {
		t.Fatal(err)
	}

	refs := []store.EventRef{
		{Tenant: two, Event: strange.ID},
		{Tenant: one, Event: hub.NewID[hub.EventID]()},
		{Tenant: one, Event: yesterday.ID},
		{Tenant: one, Event: strange.ID}, // another tenant's
		{Tenant: one, Event: plain.ID},
		{Tenant: one, Event: plain.ID},
		{Tenant: hub.NewID[hub.TenantID](), Event: plain.ID},
		{Tenant: one, Event: empty.ID},
	}
	got, err := db.Pipeline.LoadEvents(t.Context(), refs)
	if err != nil {
		t.Fatal(err)
	}
	want := []store.WorkEvent{
		{Event: strange, ConfigVersion: 2, Found: true},
		{},
		{Event: yesterday, ConfigVersion: 3, Found: true},
		{},
		{Event: plain, ConfigVersion: 3, Found: true},
		{Event: plain, ConfigVersion: 3, Found: true},
		{},
		{Event: empty, ConfigVersion: 3, Found: true},
	}
	if diff := cmp.Diff(want, got, cmpopts.IgnoreTypes(hub.Dedup{}), cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if none, err := db.Pipeline.LoadEvents(t.Context(), nil); err != nil || len(none) != 0 {
		t.Errorf("nothing asked: %+v, %v", none, err)
	}
}

// Headers in wire form: names repeated, values empty or not UTF-8, colons and blanks in them.
func TestHeader_ThereAndBack(t *testing.T) {
	t.Parallel()
	names := rapid.Map(rapid.StringMatching(`[A-Za-z0-9-]{1,12}`), http.CanonicalHeaderKey)
	values := rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 12), func(b []byte) string {
		return strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(string(b)) // net/http refuses these
	})
	headers := rapid.MapOfN(names, rapid.SliceOfN(values, 1, 3), 0, 5)
	rapid.Check(t, func(r *rapid.T) {
		want := http.Header(headers.Draw(r, "header"))
		wire := store.EncodeHeader(want)
		if diff := cmp.Diff(want, store.DecodeHeader(wire)); diff != "" {
			r.Errorf("%q: %s", wire, diff)
		}
	})
}
