package hub_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/tributary-hub/tributary/internal/hub"
)

func TestID_RoundTrip(t *testing.T) {
	t.Parallel()
	before := time.Now().Add(-time.Millisecond)
	id := hub.NewID[hub.EventID]()
	text := id.String()
	if !strings.HasPrefix(text, "evt_") || len(text) != len("evt_")+36 {
		t.Fatalf("text %q", text)
	}
	parsed, err := hub.ParseID[hub.EventID](text)
	if err != nil || parsed != id {
		t.Fatalf("ParseID(%q) = %v, %v", text, parsed, err)
	}
	if at := id.Time(); at.Before(before) || at.After(time.Now()) {
		t.Errorf("made at %v", at)
	}
	if id.UUID().Version() != 7 {
		t.Errorf("version %d, want 7", id.UUID().Version())
	}
}

func TestID_Text(t *testing.T) {
	t.Parallel()
	type wire struct{ ID hub.RouteID }
	id := hub.NewID[hub.RouteID]()
	for _, c := range []struct {
		name string
		id   hub.RouteID
		want string
	}{
		{"set", id, `{"ID":"` + id.String() + `"}`},
		{"never set", hub.RouteID{}, `{"ID":""}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			text, err := json.Marshal(wire{c.id})
			if err != nil || string(text) != c.want {
				t.Fatalf("%s, %v; want %s", text, err, c.want)
			}
			back := wire{hub.NewID[hub.RouteID]()}
			if err := json.Unmarshal(text, &back); err != nil || back.ID != c.id {
				t.Errorf("read back %v, %v", back.ID, err)
			}
		})
	}
	var into hub.RouteID
	if err := into.UnmarshalText([]byte("rt_")); hub.CodeOf(err) != hub.Invalid {
		t.Errorf("a bad text gave %v", err)
	}
}

func TestParseID_Refuses(t *testing.T) {
	t.Parallel()
	id := hub.NewID[hub.EventID]()
	good := id.String()
	bare := id.UUID().String()
	for _, c := range []struct{ name, text string }{
		{"empty", ""},
		{"bare uuid", bare},
		{"prefix alone", "evt_"},
		{"another kind", "msg_" + bare},
		{"upper-case uuid", "evt_" + strings.ToUpper(bare)},
		{"upper-case prefix", "EVT_" + bare},
		{"braces", "evt_{" + bare + "}"},
		{"urn", "evt_urn:uuid:" + bare},
		{"no dashes", "evt_" + strings.ReplaceAll(bare, "-", "")},
		{"cut", good[:len(good)-1]},
		{"long", good + "0"},
		{"space before", " " + good},
		{"line feed", good[:len(good)-1] + "\n"},
		{"not hex", good[:len(good)-1] + "g"},
		{"never set", "evt_" + uuid.Nil.String()},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got, err := hub.ParseID[hub.EventID](c.text); hub.CodeOf(err) != hub.Invalid || !got.IsZero() {
				t.Errorf("ParseID(%q) = %v, %v", c.text, got, err)
			}
		})
	}
}

func TestID_Order(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 2, 3, 4, 5, 6, 789_000_000, time.UTC)
	first := hub.FirstID[hub.EventID](at)
	if got := first.Time(); !got.Equal(at) {
		t.Errorf("FirstID is of %v, want %v", got, at)
	}
	if later := hub.FirstID[hub.EventID](at.Add(time.Millisecond)); first.String() >= later.String() {
		t.Errorf("%s is not before %s", first, later)
	}
	id := hub.NewID[hub.EventID]()
	if bound := hub.FirstID[hub.EventID](id.Time()); bound.String() > id.String() {
		t.Errorf("FirstID %s is above an id of its time, %s", bound, id)
	}
}

func FuzzParseID(f *testing.F) {
	f.Add("evt_0198c0de-0000-7000-8000-000000000001")
	f.Add("evt_{0198c0de-0000-7000-8000-000000000001}")
	f.Add("ep_0198c0de-0000-7000-8000-000000000001")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := hub.ParseID[hub.EventID](s); err == nil && id.String() != s {
			t.Errorf("%q was read as %q", s, id)
		}
	})
}
