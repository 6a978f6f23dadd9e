package provider

import (
	"fmt"
	"slices"
	"strings"
)

// catalogue has every provider, sorted by name. A family's file holds the rows of providers that differ in data
// alone.
var catalogue = build(
	bodySigned(),
	timeInHeader(),
	standardWebhooks(),
	[]Provider{slack(), genericHMAC()},
)

// build compiles the rows; a row that does not compile is a mistake in this package, seen by every test of it.
func build(families ...[]Provider) []*Provider {
	var all []*Provider
	for _, p := range slices.Concat(families...) {
		if p.declared.Time != nil && p.apply == nil {
			p.Settings = append(p.Settings, toleranceSetting(p.declared.Time.Tolerance))
		}
		if err := p.finish(); err != nil {
			panic(fmt.Sprintf("provider %s: %v", p.Name, err))
		}
		all = append(all, &p)
	}
	slices.SortFunc(all, func(a, b *Provider) int { return strings.Compare(a.Name, b.Name) })
	return all
}
