package secret

// For the tests of this package, which stand outside of it.
var (
	EncodeKeyset   = encodeKeyset
	AssociatedData = associatedData
)
