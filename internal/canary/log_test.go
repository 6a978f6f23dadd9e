package canary_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
)

// What the hub itself makes, and what others send it, is seen; ids, hashes and words are not.
func TestSuspects(t *testing.T) {
	t.Parallel()
	keyset, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{
		hub.NewKey(), "endpoint " + hub.RandomText(32), "whsec_x", "shpss_0a1b", "sk_live_1", keyset.Reveal(), "/in/abc", "Bearer abcdef", "basic dXNlcjpwdw==",
		"eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhbm4ifQ.c2ln", "postgres://hub:secret@db/hub", "a C4n4ry", "-----BEGIN PRIVATE KEY-----",
	} {
		if len(canary.Suspects([]byte(`{"msg":"x","error":"`+text+`"}`))) == 0 {
			t.Errorf("%s is not seen", text)
		}
	}
	for _, text := range []string{
		hub.NewID[hub.EventID]().String(), strings.Repeat("0af7", 8), strings.Repeat("0af7", 16), "postgres://db.internal/hub", "such as postgres://user:password@host:5432/database", "route /in/{token}",
		"POST /in/{token}", "aVeryLongNameOfAFunctionInA", "node_2026_11_24T15_36_32_123456",
	} {
		if found := canary.Suspects([]byte(text)); len(found) > 0 {
			t.Errorf("%s: %v", text, found)
		}
	}
}

// A test whose log has a secret fails, whatever its level, and the other handlers have what they want of it.
func TestLogger(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{"trb_" + strings.Repeat("x", 38): true, "nothing": false} {
		watched := &fake{TB: t}
		var other bytes.Buffer
		log := canary.Logger(watched, slog.NewTextHandler(&other, nil))
		log.With("a", 1).WithGroup("g").Debug("deep down", "error", errors.New("about "+text))
		log.Info("seen")
		watched.end()
		if watched.failed != want {
			t.Errorf("%s: failed %v", text, watched.failed)
		}
		if s := other.String(); strings.Contains(s, "deep down") || !strings.Contains(s, "seen") {
			t.Errorf("the other has %s", s)
		}
	}
}

// A fake is a test that is watched instead of failing.
type fake struct {
	testing.TB

	cleanups []func()
	failed   bool
}

func (f *fake) Helper()               {}
func (f *fake) Errorf(string, ...any) { f.failed = true }
func (f *fake) Cleanup(fn func())     { f.cleanups = append(f.cleanups, fn) }

func (f *fake) end() {
	for _, fn := range f.cleanups {
		fn()
	}
}
