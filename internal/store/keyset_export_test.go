package store

// SealedColumns lists what Reseal seals anew, by table and column.
func SealedColumns() []string {
	var names []string
	for _, c := range sealedColumns {
		names = append(names, c.name())
	}
	return names
}

// KeysetLock is what those hold who decide which key may seal.
const KeysetLock = int64(keysetLock)
