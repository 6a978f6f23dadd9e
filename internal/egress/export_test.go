package egress

import "strconv"

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

// PublicPorts lists the ports that are dialled at a public address.
func PublicPorts() ([]int, error) {
	g, err := newGuard(nil, false)
	if err != nil {
		return nil, err
	}
	var ports []int
	for port := range 1 << 16 {
		if g.public.Safe("tcp4", "8.8.8.8:"+strconv.Itoa(port), nil) == nil {
			ports = append(ports, port)
		}
	}
	return ports, nil
}
