package hub_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/hub"
)

func TestCursor_RoundTrip(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		cursor := hub.Cursor{
			Epoch:    hub.Epoch(rapid.StringMatching(`[0-9a-f]{8}`).Draw(t, "epoch")),
			Position: hub.Position(rapid.Int64Min(0).Draw(t, "position")),
		}
		parsed, err := hub.ParseCursor(cursor.String())
		if err != nil || parsed != cursor {
			t.Fatalf("%q was read as %+v, %v", cursor, parsed, err)
		}
	})
}

func TestParseCursor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"zero", "0a1b2c3d-0", true},
		{"largest", "ffffffff-9223372036854775807", true},
		{"too large", "ffffffff-9223372036854775808", false},
		{"negative", "0a1b2c3d--1", false},
		{"plus sign", "0a1b2c3d-+1", false},
		{"leading zero", "0a1b2c3d-01", false},
		{"space", "0a1b2c3d- 1", false},
		{"underscore", "0a1b2c3d-1_000", false},
		{"hex position", "0a1b2c3d-0x1", false},
		{"no position", "0a1b2c3d-", false},
		{"no epoch", "-1", false},
		{"no dash", "0a1b2c3d", false},
		{"upper-case epoch", "0A1B2C3D-1", false},
		{"short epoch", "0a1b2c3-1", false},
		{"long epoch", "0a1b2c3d4-1", false},
		{"epoch not hex", "0a1b2c3g-1", false},
		{"empty", "", false},
		{"more", "0a1b2c3d-1-2", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := hub.ParseCursor(c.text)
			if (err == nil) != c.ok {
				t.Fatalf("ParseCursor(%q) = %+v, %v", c.text, got, err)
			}
			if err != nil && (hub.CodeOf(err) != hub.Malformed || got != hub.Cursor{}) {
				t.Errorf("ParseCursor(%q) = %+v, %v", c.text, got, err)
			}
		})
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("0a1b2c3d-42")
	f.Add("0a1b2c3d--1")
	f.Add("0a1b2c3d-007")
	f.Fuzz(func(t *testing.T, s string) {
		cursor, err := hub.ParseCursor(s)
		if err != nil {
			return
		}
		if cursor.String() != s {
			t.Errorf("%q was read as %q", s, cursor)
		}
		if cursor.Position < 0 {
			t.Errorf("%q has position %d", s, cursor.Position)
		}
	})
}
