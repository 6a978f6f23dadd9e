package secret_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	"github.com/tink-crypto/tink-go/v2/mac"
	tink "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
)

// plaintext has a length that leaves spare bits in the last character of its sealed text.
var plaintext = []byte("whsec_canary.")

func newKeeper(t testing.TB) *secret.Keeper {
	t.Helper()
	encoded, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	return open(t, encoded)
}

func open(t testing.TB, encoded secret.String) *secret.Keeper {
	t.Helper()
	k, err := secret.Open(encoded)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// managed is the manager's keyset as text.
func managed(t testing.TB, manager *keyset.Manager) secret.String {
	t.Helper()
	handle, err := manager.Handle()
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := secret.EncodeKeyset(handle)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func parts(texts ...string) [][]byte {
	out := make([][]byte, len(texts))
	for i, text := range texts {
		out[i] = []byte(text)
	}
	return out
}

func TestKeeper_OpensOnlyWhatWasMeant(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	sealed, err := k.Seal(secret.EndpointSecret, plaintext, parts("ten", "ep", "sec")...)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(sealed, plaintext) {
		t.Fatal("the sealed value shows the plaintext")
	}
	opened, err := k.Open(secret.EndpointSecret, sealed, parts("ten", "ep", "sec")...)
	if err != nil || !bytes.Equal(opened, plaintext) {
		t.Fatalf("opened %q, %v", opened, err)
	}

	changed := func(i int) []byte { b := slices.Clone(sealed); b[i] ^= 1; return b }
	refused := map[string]struct {
		keeper  *secret.Keeper
		purpose secret.Purpose
		sealed  []byte
		parts   [][]byte
	}{
		"another purpose":             {k, secret.EndpointToken, sealed, parts("ten", "ep", "sec")},
		"another tenant":              {k, secret.EndpointSecret, sealed, parts("ten2", "ep", "sec")},
		"a part less":                 {k, secret.EndpointSecret, sealed, parts("ten", "ep")},
		"a part more":                 {k, secret.EndpointSecret, sealed, parts("ten", "ep", "sec", "")},
		"the parts joined":            {k, secret.EndpointSecret, sealed, parts("tenepsec")},
		"the parts cut elsewhere":     {k, secret.EndpointSecret, sealed, parts("tene", "p", "sec")},
		"no parts":                    {k, secret.EndpointSecret, sealed, nil},
		"another keyset":              {newKeeper(t), secret.EndpointSecret, sealed, parts("ten", "ep", "sec")},
		"a changed version":           {k, secret.EndpointSecret, changed(0), parts("ten", "ep", "sec")},
		"a changed key id":            {k, secret.EndpointSecret, changed(4), parts("ten", "ep", "sec")},
		"a changed nonce":             {k, secret.EndpointSecret, changed(5), parts("ten", "ep", "sec")},
		"a changed ciphertext":        {k, secret.EndpointSecret, changed(20), parts("ten", "ep", "sec")},
		"a changed tag":               {k, secret.EndpointSecret, changed(len(sealed) - 1), parts("ten", "ep", "sec")},
		"a cut value":                 {k, secret.EndpointSecret, sealed[:len(sealed)-1], parts("ten", "ep", "sec")},
		"a prefix and nothing":        {k, secret.EndpointSecret, sealed[:5], parts("ten", "ep", "sec")},
		"nothing":                     {k, secret.EndpointSecret, nil, parts("ten", "ep", "sec")},
		"the plaintext, never sealed": {k, secret.EndpointSecret, plaintext, parts("ten", "ep", "sec")},
	}
	for name, test := range refused {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			opened, err := test.keeper.Open(test.purpose, test.sealed, test.parts...)
			if err == nil {
				t.Fatalf("opened %q", opened)
			}
			want := "internal: a sealed " + string(test.purpose) + " does not open"
			if hub.CodeOf(err) != hub.Internal || err.Error() != want {
				t.Errorf("error %q, want %q", err, want)
			}
		})
	}
}

func TestKeeper_SealsAnewEachTime(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	one, err1 := k.Seal(secret.Cursor, plaintext)
	two, err2 := k.Seal(secret.Cursor, plaintext)
	if err1 != nil || err2 != nil || bytes.Equal(one, two) {
		t.Errorf("sealed twice alike: %x, %v, %v", one, err1, err2)
	}
	if added := len(one) - len(plaintext); added != 33 {
		t.Errorf("%d bytes added", added)
	}
}

func TestKeeper_Text(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	text, err := k.SealText(secret.Cursor, plaintext, []byte("ten"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(text, "+/=") {
		t.Errorf("not fit for a URL: %s", text)
	}
	opened, err := k.OpenText(secret.Cursor, text, []byte("ten"))
	if err != nil || !bytes.Equal(opened, plaintext) {
		t.Fatalf("opened %q, %v", opened, err)
	}
	for name, other := range map[string]string{
		"padded":         text + "=",
		"a line end":     text[:8] + "\n" + text[8:],
		"another tail":   otherTail(t, text),
		"not base64":     "§" + text,
		"empty":          "",
		"another tenant": sealText(t, k, "ten2"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if opened, err := k.OpenText(secret.Cursor, other, []byte("ten")); hub.CodeOf(err) != hub.Internal {
				t.Errorf("opened %q, %v", opened, err)
			}
		})
	}
}

func sealText(t *testing.T, k *secret.Keeper, tenant string) string {
	t.Helper()
	text, err := k.SealText(secret.Cursor, plaintext, []byte(tenant))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// otherTail changes the bits of the last character that no byte needs: a lenient decoder reads the same bytes.
func otherTail(t *testing.T, text string) string {
	t.Helper()
	want, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	for c := range 128 {
		other := text[:len(text)-1] + string(rune(c))
		got, err := base64.RawURLEncoding.DecodeString(other)
		if err == nil && other != text && bytes.Equal(got, want) {
			return other
		}
	}
	t.Fatal("no other spelling of the same bytes")
	return ""
}

func TestKeeper_RotatedKeyset(t *testing.T) {
	t.Parallel()
	manager := keyset.NewManager()
	add := func() uint32 {
		id, err := manager.Add(aead.AES256GCMKeyTemplate())
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	keeper := func(primary uint32) *secret.Keeper {
		if err := manager.SetPrimary(primary); err != nil {
			t.Fatal(err)
		}
		return open(t, managed(t, manager))
	}

	first := add()
	before := keeper(first)
	second := add()
	added := keeper(first)     // rotate: opens with both, seals with the first
	promoted := keeper(second) // promote: opens with both, seals with the second
	if err := manager.Delete(first); err != nil {
		t.Fatal(err)
	}
	pruned := keeper(second)

	old, err := before.Seal(secret.EndpointSecret, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := promoted.Seal(secret.EndpointSecret, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		keeper             *secret.Keeper
		primary            uint32
		opensOld, opensNew bool
	}{
		"before":   {before, first, true, false},
		"added":    {added, first, true, true},
		"promoted": {promoted, second, true, true},
		"pruned":   {pruned, second, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if test.keeper.Primary() != test.primary {
				t.Errorf("primary key %d, want %d", test.keeper.Primary(), test.primary)
			}
			sealed, err := test.keeper.Seal(secret.EndpointSecret, plaintext)
			if id, ok := test.keeper.KeyID(sealed); err != nil || !ok || id != test.primary {
				t.Errorf("sealed by key %d, %v, %v; want %d", id, ok, err, test.primary)
			}
			_, errOld := test.keeper.Open(secret.EndpointSecret, old)
			_, errNew := test.keeper.Open(secret.EndpointSecret, fresh)
			if opensOld, opensNew := errOld == nil, errNew == nil; opensOld != test.opensOld || opensNew != test.opensNew {
				t.Errorf("opens old %v, new %v; want %v, %v", opensOld, opensNew, test.opensOld, test.opensNew)
			}
		})
	}
	if id, ok := pruned.KeyID(old); !ok || id != first {
		t.Errorf("a value of a dropped key: key %d, %v; want %d", id, ok, first)
	}
}

func TestKeeper_KeyIDOfJunk(t *testing.T) {
	t.Parallel()
	k := newKeeper(t)
	for name, sealed := range map[string][]byte{"nothing": nil, "short": {1, 2, 3, 4}, "another version": {0, 1, 2, 3, 4, 5}} {
		if id, ok := k.KeyID(sealed); ok {
			t.Errorf("%s: key %d", name, id)
		}
	}
}

func TestOpen_RefusesWithoutQuoting(t *testing.T) {
	t.Parallel()
	good, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	json, err := base64.StdEncoding.DecodeString(good.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		keyset secret.String
		want   string
	}{
		"empty":            {secret.String{}, "the keyset is empty"},
		"blank":            {secret.New(" \n"), "the keyset is empty"},
		"not base64":       {secret.New("canary!"), "the keyset is neither base64 nor JSON"},
		"not JSON":         {encode([]byte("canary")), "the keyset is not a cleartext Tink keyset in JSON"},
		"another JSON":     {secret.New(`{"canary":1}`), "the keyset is not a cleartext Tink keyset in JSON"},
		"no keys":          {secret.New(`{"primaryKeyId":1,"key":[]}`), "the keyset is not a cleartext Tink keyset in JSON"},
		"cut":              {encode(json[:len(json)-20]), "the keyset is not a cleartext Tink keyset in JSON"},
		"a cut key":        {encode(bytes.Replace(json, []byte(`"value":"`), []byte(`"value":"canary`), 1)), "the keyset is not a cleartext Tink keyset in JSON"},
		"no prefix":        {template(t, aead.AES256GCMNoPrefixKeyTemplate()), "key \x00 of the keyset does not have the output prefix TINK"},
		"not for AEAD":     {template(t, mac.HMACSHA256Tag256KeyTemplate()), "the keyset holds a key that is not for AEAD"},
		"a disabled first": {secret.New(strings.Replace(string(json), "ENABLED", "DISABLED", 1)), "the keyset is not a cleartext Tink keyset in JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := secret.Open(test.keyset)
			if err == nil {
				t.Fatal("opened")
			}
			before, after, _ := strings.Cut(test.want, "\x00")
			if got := err.Error(); !strings.HasPrefix(got, before) || !strings.HasSuffix(got, after) {
				t.Errorf("error %q, want %q", got, test.want)
			}
			if strings.Contains(err.Error(), "canary") {
				t.Errorf("quoted: %v", err)
			}
		})
	}
}

func encode(json []byte) secret.String { return secret.New(base64.StdEncoding.EncodeToString(json)) }

func template(t *testing.T, template *tink.KeyTemplate) secret.String {
	t.Helper()
	handle, err := keyset.NewHandle(template)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := secret.EncodeKeyset(handle)
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func TestNewKeyset_Form(t *testing.T) {
	t.Parallel()
	encoded, err := secret.NewKeyset()
	if err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(encoded.Reveal(), "\n\" {") {
		t.Errorf("does not fit an environment variable: %q", encoded.Reveal())
	}
	if diff := cmp.Diff("REDACTED", fmt.Sprint(encoded)); diff != "" {
		t.Error(diff)
	}
	json, err := base64.StdEncoding.DecodeString(encoded.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	sealed, err := open(t, encoded).Seal(secret.Check, plaintext)
	if err != nil {
		t.Fatal(err)
	}
	for name, spelling := range map[string]string{"JSON": string(json), "with a line end": encoded.Reveal() + "\n"} {
		if opened, err := open(t, secret.New(spelling)).Open(secret.Check, sealed); err != nil || !bytes.Equal(opened, plaintext) {
			t.Errorf("%s: opened %q, %v", name, opened, err)
		}
	}
}

func TestAssociatedData_Injective(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		list := rapid.SliceOfN(rapid.SliceOfN(rapid.Byte(), 0, 6), 0, 4)
		purposes := rapid.SampledFrom([]secret.Purpose{"", "a", "ab", secret.Cursor, "\x00\x00\x00\x01"})
		p, q := purposes.Draw(t, "p"), purposes.Draw(t, "q")
		a, b := list.Draw(t, "a"), list.Draw(t, "b")
		alike := p == q && slices.EqualFunc(a, b, bytes.Equal)
		if got := bytes.Equal(secret.AssociatedData(p, a), secret.AssociatedData(q, b)); got != alike {
			t.Fatalf("%q %q and %q %q: same bytes %v", p, a, q, b, got)
		}
	})
}

func FuzzOpen(f *testing.F) {
	k := newKeeper(f)
	sealed, err := k.Seal(secret.Signal, plaintext)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed[:20])
	f.Add([]byte{})
	f.Add([]byte("\x01\x00\x00\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if opened, err := k.Open(secret.Signal, b); err == nil {
			t.Errorf("opened %q", opened)
		}
		if opened, err := k.OpenText(secret.Signal, string(b)); err == nil {
			t.Errorf("opened %q", opened)
		}
		k.KeyID(b)
	})
}

func BenchmarkSeal(b *testing.B) {
	for _, size := range []int{64, 1024, 64 << 10} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			k, value, p := newKeeper(b), make([]byte, size), parts("0123456789abcdef", "0123456789abcdef", "0123456789abcdef")
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Seal(secret.EndpointSecret, value, p...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	for _, size := range []int{64, 1024, 64 << 10} {
		b.Run(fmt.Sprintf("%dB", size), func(b *testing.B) {
			k, p := newKeeper(b), parts("0123456789abcdef", "0123456789abcdef", "0123456789abcdef")
			sealed, err := k.Seal(secret.EndpointSecret, make([]byte, size), p...)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := k.Open(secret.EndpointSecret, sealed, p...); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
