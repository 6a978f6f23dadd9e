package secret

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/tink"

	"github.com/tributary-hub/tributary/internal/hub"
)

// What Tink puts before every ciphertext: one byte for the version, four for the key's id.
const (
	prefixVersion = 0x01
	prefixLength  = 5
)

// A Keeper seals and opens with one keyset: its primary key seals, all of its enabled keys open. Make it with Open.
type Keeper struct {
	aead    tink.AEAD
	keys    []uint32
	primary uint32
	until   atomic.Pointer[time.Time] // nil: it seals at any time
	now     func() time.Time
}

// Open reads a keyset as NewKeyset writes it. No error quotes any of it.
func Open(encoded String) (*Keeper, error) {
	handle, err := readKeyset(encoded)
	if err != nil {
		return nil, err
	}
	primitive, err := aead.New(handle)
	if err != nil {
		return nil, errors.New("the keyset holds a key that is not for AEAD")
	}
	return &Keeper{aead: primitive, keys: keyIDs(handle), primary: handle.KeysetInfo().GetPrimaryKeyId(), now: time.Now}, nil
}

// SealUntil lets it seal until then and no longer, and open at any time. Whoever never calls it seals at any time. A
// process whose others may retire the key while it is frozen calls it as often as it knows that they have not; t has
// the process's monotonic clock.
func (k *Keeper) SealUntil(t time.Time) { k.until.Store(&t) }

// Seal encrypts plaintext. It opens only with the same purpose and the same parts: whatever else must be so for
// the value to be meant, such as tenant, endpoint and secret id. 33 bytes are added.
// hub.Unavailable when the time that SealUntil gave is over.
func (k *Keeper) Seal(p Purpose, plaintext []byte, parts ...[]byte) ([]byte, error) {
	if until := k.until.Load(); until != nil && !k.now().Before(*until) {
		return nil, hub.Errorf(hub.Unavailable, "the process must be heard of again before it seals a %s", p)
	}
	return k.seal(p, plaintext, parts)
}

func (k *Keeper) seal(p Purpose, plaintext []byte, parts [][]byte) ([]byte, error) {
	sealed, err := k.aead.Encrypt(plaintext, associatedData(p, parts))
	if err != nil {
		return nil, hub.Errorf(hub.Internal, "seal %s failed", p)
	}
	return sealed, nil
}

// Open decrypts what Seal made. Its error is hub.Internal and does not say whether the key, the purpose, the parts
// or the bytes were wrong; where a stranger handed in the value, the caller gives it its own code.
func (k *Keeper) Open(p Purpose, sealed []byte, parts ...[]byte) ([]byte, error) {
	plaintext, err := k.aead.Decrypt(sealed, associatedData(p, parts))
	if err != nil {
		return nil, hub.Errorf(hub.Internal, "a sealed %s does not open", p)
	}
	return plaintext, nil
}

// SealText is Seal for what travels as text, such as the cursor of a list: base64url without padding.
func (k *Keeper) SealText(p Purpose, plaintext []byte, parts ...[]byte) (string, error) {
	sealed, err := k.seal(p, plaintext, parts) // at any time: it is stored nowhere
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(sealed), nil
}

// OpenText opens what SealText made, and no other spelling of it.
func (k *Keeper) OpenText(p Purpose, text string, parts ...[]byte) ([]byte, error) {
	sealed, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || strings.ContainsAny(text, "\r\n") { // the decoder skips line ends
		return nil, hub.Errorf(hub.Internal, "a sealed %s is not base64url", p)
	}
	return k.Open(p, sealed, parts...)
}

// KeyID says which key sealed a value, by its own claim: the value need not open, nor the key be in the set. It is
// false for bytes too short or of another form.
func (k *Keeper) KeyID(sealed []byte) (id uint32, ok bool) {
	if len(sealed) < prefixLength || sealed[0] != prefixVersion {
		return 0, false
	}
	return binary.BigEndian.Uint32(sealed[1:prefixLength]), true
}

// Primary is the id of the key that seals.
func (k *Keeper) Primary() uint32 { return k.primary }

// Keys are the ids of the keys that open, the oldest first.
func (k *Keeper) Keys() []uint32 { return slices.Clone(k.keys) }

// Prefix is what every value begins with that the primary key sealed, and no other.
func (k *Keeper) Prefix() []byte {
	return binary.BigEndian.AppendUint32([]byte{prefixVersion}, k.primary)
}

// associatedData puts each part's length before it, so that no two lists of parts become the same bytes.
func associatedData(p Purpose, parts [][]byte) []byte {
	size := 4 + len(p)
	for _, part := range parts {
		size += 4 + len(part)
	}
	data := make([]byte, 0, size)
	data = binary.BigEndian.AppendUint32(data, uint32(len(p)))
	data = append(data, p...)
	for _, part := range parts {
		data = binary.BigEndian.AppendUint32(data, uint32(len(part)))
		data = append(data, part...)
	}
	return data
}
