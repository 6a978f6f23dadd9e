package secret

import (
	"fmt"

	"github.com/tink-crypto/tink-go/v2/aead"
	"github.com/tink-crypto/tink-go/v2/keyset"
	tink "github.com/tink-crypto/tink-go/v2/proto/tink_go_proto"
)

// A keyset's life, from text to text: Rotate, Promote, Prune. Its keys stand in the order in which they were added.

// Rotate adds a fresh key that opens and does not seal. It refuses where one waits already to be promoted.
func Rotate(encoded String) (String, error) {
	return change(encoded, func(m *keyset.Manager, keys []uint32, primary uint32) error {
		if newest := keys[len(keys)-1]; newest != primary {
			return fmt.Errorf("the keyset has a new key already, %d, which does not seal yet: promote it, or drop it with prune", newest)
		}
		_, err := m.Add(aead.AES256GCMKeyTemplate())
		return err
	})
}

// Promote makes the newest key the one that seals. It refuses where it is that.
func Promote(encoded String) (String, error) {
	return change(encoded, func(m *keyset.Manager, keys []uint32, primary uint32) error {
		newest := keys[len(keys)-1]
		if newest == primary {
			return fmt.Errorf("the newest key of the keyset, %d, seals already: rotate adds a new one", newest)
		}
		return m.SetPrimary(newest)
	})
}

// Prune drops all keys but the one that seals.
func Prune(encoded String) (String, error) {
	handle, err := readKeyset(encoded)
	if err != nil {
		return String{}, err
	}
	manager := keyset.NewManagerFromHandle(handle)
	info := handle.KeysetInfo()
	for _, key := range info.GetKeyInfo() {
		if id := key.GetKeyId(); id != info.GetPrimaryKeyId() {
			if err := manager.Delete(id); err != nil {
				return String{}, fmt.Errorf("drop key %d: %w", id, err)
			}
		}
	}
	return written(manager)
}

// change has fn change a keyset. keys are the ids of those that open; the last is the newest.
func change(encoded String, fn func(m *keyset.Manager, keys []uint32, primary uint32) error) (String, error) {
	handle, err := readKeyset(encoded)
	if err != nil {
		return String{}, err
	}
	manager := keyset.NewManagerFromHandle(handle)
	if err := fn(manager, keyIDs(handle), handle.KeysetInfo().GetPrimaryKeyId()); err != nil {
		return String{}, err
	}
	return written(manager)
}

func written(manager *keyset.Manager) (String, error) {
	handle, err := manager.Handle()
	if err != nil {
		return String{}, fmt.Errorf("change the keyset: %w", err)
	}
	return encodeKeyset(handle)
}

// keyIDs lists the keys that open, in the order of the keyset.
func keyIDs(handle *keyset.Handle) []uint32 {
	var ids []uint32
	for _, key := range handle.KeysetInfo().GetKeyInfo() {
		if key.GetStatus() == tink.KeyStatusType_ENABLED {
			ids = append(ids, key.GetKeyId())
		}
	}
	return ids
}
