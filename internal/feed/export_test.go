package feed

import "github.com/tributary-hub/tributary/internal/hub"

// Filter says which of the channels the patterns let through, as a subscription that reads for itself finds them,
// and as a tail's index does, with how often.
func Filter(patterns []hub.ChannelPattern, channels []string) (matched []bool, found []int) {
	s := &Subscription{filter: newFilter(patterns)}
	x := newIndex()
	x.add(s)
	for _, channel := range channels {
		n := 0
		x.each(channel, func(*Subscription) { n++ })
		matched, found = append(matched, s.filter.matches(channel)), append(found, n)
	}
	x.remove(s)
	if len(x.names) > 0 || len(x.prefixes) > 0 {
		panic("the index kept something")
	}
	return matched, found
}
