package secret

import "time"

// For the tests of this package, which stand outside of it.
var (
	EncodeKeyset   = encodeKeyset
	AssociatedData = associatedData
)

// SetNow gives a Keeper another clock.
func (k *Keeper) SetNow(now func() time.Time) { k.now = now }
