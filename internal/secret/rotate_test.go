package secret_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"

	"github.com/tributary-hub/tributary/internal/secret"
)

type step struct {
	name   string
	change func(secret.String) (secret.String, error)
}

var (
	rotate  = step{"rotate", secret.Rotate}
	promote = step{"promote", secret.Promote}
	prune   = step{"prune", secret.Prune}
)

// after is what becomes of a fresh keyset.
func after(t *testing.T, steps ...step) secret.String {
	t.Helper()
	encoded, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range steps {
		if encoded, err = s.change(encoded); err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
	}
	return encoded
}

// Each step gives the keys that it promises, seals with the one that it promises, and opens what those that stay have
// sealed.
func TestKeysetLife(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		before  []step
		step    step
		keys    []int // of the keyset before, by place; -1: a new one
		primary int   // likewise
	}{
		"rotate adds one that does not seal":   {nil, rotate, []int{0, -1}, 0},
		"promote makes it seal":                {[]step{rotate}, promote, []int{0, 1}, 1},
		"prune drops the old one":              {[]step{rotate, promote}, prune, []int{1}, 1},
		"prune takes a rotation back":          {[]step{rotate}, prune, []int{0}, 0},
		"prune of one key changes nothing":     {nil, prune, []int{0}, 0},
		"a second rotation, the first pruned":  {[]step{rotate, promote, prune}, rotate, []int{0, -1}, 0},
		"a second rotation, none pruned":       {[]step{rotate, promote}, rotate, []int{0, 1, -1}, 1},
		"the second promotion takes the third": {[]step{rotate, promote, rotate}, promote, []int{0, 1, 2}, 2},
		"prune of three":                       {[]step{rotate, promote, rotate, promote}, prune, []int{2}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			encoded := after(t, test.before...)
			before := open(t, encoded)
			changed, err := test.step.change(encoded)
			if err != nil {
				t.Fatal(err)
			}
			k := open(t, changed)
			place := func(id uint32) int { return slices.Index(before.Keys(), id) }
			var keys []int
			for _, id := range k.Keys() {
				keys = append(keys, place(id))
			}
			if diff := cmp.Diff(test.keys, keys); diff != "" || place(k.Primary()) != test.primary {
				t.Errorf("the key in place %d seals, want %d; keys (-want +got):\n%s", place(k.Primary()), test.primary, diff)
			}
			sealed, err := before.Seal(secret.Cursor, plaintext)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := k.Open(secret.Cursor, sealed); (err == nil) != slices.Contains(k.Keys(), before.Primary()) {
				t.Errorf("what was sealed before: %v", err)
			}
		})
	}
}

func TestKeysetLife_Refusals(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		encoded secret.String
		step    step
		want    string
	}{
		"rotate twice":            {after(t, rotate), rotate, "has a new key already"},
		"promote a fresh one":     {after(t), promote, "seals already"},
		"promote twice":           {after(t, rotate, promote), promote, "seals already"},
		"rotate of nothing":       {secret.New(""), rotate, "the keyset is empty"},
		"promote of nonsense":     {secret.New("whsec_canary!"), promote, "neither base64 nor JSON"},
		"prune of other nonsense": {secret.New("{whsec_canary}"), prune, "not a cleartext Tink keyset"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			changed, err := test.step.change(test.encoded)
			if err == nil || !strings.Contains(err.Error(), test.want) || !changed.IsZero() {
				t.Errorf("%v; want it refused: %q", err, test.want)
			}
			if err != nil && strings.Contains(err.Error(), "canary") {
				t.Errorf("it quotes what it was given: %v", err)
			}
		})
	}
}

// A key that was disabled does not open, does not count as the newest, and goes with a prune.
func TestKeysetLife_DisabledKey(t *testing.T) {
	t.Parallel()
	manager := keyset.NewManager()
	first, err := manager.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	disabled, err := manager.Add(aead.AES256GCMKeyTemplate())
	if err != nil {
		t.Fatal(err)
	}
	if err := manager.SetPrimary(first); err != nil {
		t.Fatal(err)
	}
	if err := manager.Disable(disabled); err != nil {
		t.Fatal(err)
	}
	encoded := managed(t, manager)
	if diff := cmp.Diff([]uint32{first}, open(t, encoded).Keys()); diff != "" {
		t.Error(diff)
	}
	if _, err := secret.Promote(encoded); err == nil {
		t.Error("a disabled key was promoted")
	}
	pruned, err := secret.Prune(encoded)
	if err != nil {
		t.Fatal(err)
	}
	if fresh, err := secret.Prune(after(t)); err != nil || len(pruned.Reveal()) > len(fresh.Reveal())+8 {
		t.Errorf("a disabled key is still there: %d characters, one key has %d; %v", len(pruned.Reveal()), len(fresh.Reveal()), err)
	}
}

// What a value begins with says which key sealed it, and the prefix is that of the primary's.
func TestKeeper_Prefix(t *testing.T) {
	t.Parallel()
	first := after(t, rotate)
	promoted, err := secret.Promote(first)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []*secret.Keeper{open(t, first), open(t, promoted)} {
		sealed, err := k.Seal(secret.Cursor, plaintext)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(k.Prefix(), sealed[:5]) || slices.Equal(open(t, after(t)).Prefix(), sealed[:5]) {
			t.Errorf("prefix %x of a value that begins %x", k.Prefix(), sealed[:5])
		}
	}
}
