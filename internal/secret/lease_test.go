package secret_test

import (
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
)

// Whoever says until when it may seal seals until then, and opens for ever; who never does seals at any time.
func TestKeeper_SealUntil(t *testing.T) {
	t.Parallel()
	now := time.Now()
	k := newKeeper(t)
	k.SetNow(func() time.Time { return now })
	sealed, err := k.Seal(secret.Cursor, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	seals := func(want bool, when string) {
		t.Helper()
		_, err := k.Seal(secret.Cursor, plaintext)
		if want && err != nil || !want && hub.CodeOf(err) != hub.Unavailable {
			t.Errorf("%s: sealed, %v; want it to: %v", when, err, want)
		}
		if _, err := k.SealText(secret.Cursor, plaintext); err != nil {
			t.Errorf("%s: what is stored nowhere is not sealed: %v", when, err)
		}
		if opened, err := k.Open(secret.Cursor, sealed); err != nil || string(opened) != string(plaintext) {
			t.Errorf("%s: opened %q, %v", when, opened, err)
		}
	}
	now = now.Add(1000 * time.Hour)
	seals(true, "nobody has said until when")
	k.SealUntil(now.Add(10 * time.Second))
	seals(true, "at first")
	now = now.Add(10*time.Second - 1)
	seals(true, "at the last moment")
	now = now.Add(1)
	seals(false, "when it is over")
	k.SealUntil(now.Add(10 * time.Second))
	seals(true, "when it begins again")
	k.SealUntil(now.Add(-time.Second))
	seals(false, "when it was over before it was said")
}
