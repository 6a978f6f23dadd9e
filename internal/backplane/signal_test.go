package backplane_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/hub"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	a, b := hub.NewID[hub.TenantID](), hub.NewID[hub.TenantID]()
	tests := []struct {
		name, payload string
		want          backplane.Signal // nil: not understood
	}{
		{"all", "*", backplane.Wake{All: true}},
		{"one head", a.UUID().String() + ":7", backplane.Wake{Heads: []backplane.Head{{Tenant: a, Position: 7}}}},
		{"two heads", a.UUID().String() + ":7," + b.UUID().String() + ":1234567890123", backplane.Wake{Heads: []backplane.Head{{Tenant: a, Position: 7}, {Tenant: b, Position: 1234567890123}}}},
		{"epoch", backplane.EpochChanged{}.Encode(), backplane.EpochChanged{}},
		{"changed", backplane.Changed{Tenant: a, Version: 12}.Encode(), backplane.Changed{Tenant: a, Version: 12}},
		{"empty", "", nil},
		{"half a pair", a.UUID().String(), nil},
		{"no number", a.UUID().String() + ":x", nil},
		{"trailing comma", a.UUID().String() + ":7,", nil},
		{"changed without version", "!changed " + a.UUID().String(), nil},
		{"changed without tenant", "!changed x 7", nil},
		{"echo of nobody", "!echo x", nil},
		{"a kind that is to come", "!renew con_1", nil},
		{"somebody else's", `{"table":"users"}`, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := backplane.Decode(tt.payload)
			if (err != nil) != (tt.want == nil) {
				t.Fatalf("error %v", err)
			}
			if tt.want == nil {
				return
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Any login may send anything.
func FuzzDecode(f *testing.F) {
	id := hub.NewID[hub.TenantID]()
	for _, seed := range []string{"*", "", id.UUID().String() + ":7", "!changed " + id.UUID().String() + " 1", "!echo " + id.UUID().String(), ",", ":", strings.Repeat(",", 7999)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, payload string) {
		signal, err := backplane.Decode(payload)
		if (signal == nil) == (err == nil) {
			t.Fatalf("%v, %v", signal, err)
		}
		if out, ok := signal.(backplane.Outgoing); ok {
			if again, err := backplane.Decode(out.Encode()); err != nil || again != signal {
				t.Fatalf("%v became %v, %v", signal, again, err)
			}
		}
	})
}
