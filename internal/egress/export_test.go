package egress

// For the tests of this package, which stand outside of it.
var ParseJWKS = parseJWKS

// Find is find, for tests.
func Find(keys publicKeys, id, alg string) (found, known bool) {
	key, known := keys.find(id, alg)
	return key != nil, known
}

// SetCount is how many sets are held.
func (k *Keys) SetCount() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.sets)
}
