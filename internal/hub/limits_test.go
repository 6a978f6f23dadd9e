package hub_test

import (
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
)

func TestLimits_Or(t *testing.T) {
	t.Parallel()
	mine := hub.Limits{BodyBytes: new(5), Connections: new(0)}
	got := mine.Or(hub.DefaultLimits())

	want := hub.DefaultLimits()
	want.BodyBytes, want.Connections = new(5), new(0)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if mine.Routes != nil {
		t.Error("Or changed its receiver")
	}
}

func TestLimits_FieldsNameEach(t *testing.T) {
	t.Parallel()
	var l hub.Limits
	fields := l.Fields()
	seen := map[string]bool{}
	for i, f := range fields {
		if seen[f.Name] {
			t.Errorf("limit %s twice", f.Name)
		}
		seen[f.Name] = true
		*f.Value = new(i + 1)
	}
	// Every field of the struct was set by one name, and to its own value.
	values := map[int]bool{}
	for _, f := range l.Fields() {
		values[**f.Value] = true
	}
	if len(values) != len(fields) {
		t.Errorf("%d names set %d values", len(fields), len(values))
	}
	if n := reflect.TypeFor[hub.Limits]().NumField(); n != len(fields) {
		t.Errorf("%d of %d limits have a name", len(fields), n)
	}
}
