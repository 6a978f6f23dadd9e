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

// UpTo says how many of the first values, of those sizes, are sealed anew in one transaction.
func UpTo(sizes ...int) int {
	var stale []staleValue
	for _, size := range sizes {
		stale = append(stale, staleValue{size: size})
	}
	return upTo(stale)
}
