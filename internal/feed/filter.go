package feed

import (
	"maps"
	"slices"
	"strings"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A filter is a subscription's channels. No channel matches two of its entries. Where there are no prefixes, the index
// of channels finds its messages; else all are looked at.
type filter struct {
	names    map[string]struct{}
	prefixes map[string]struct{} // of patterns, with their last colon; "" covers every channel
}

func newFilter(patterns []hub.ChannelPattern) filter {
	f := filter{names: map[string]struct{}{}, prefixes: map[string]struct{}{}}
	for _, p := range patterns {
		if prefix, exact := p.Prefix(); exact {
			f.names[prefix] = struct{}{}
		} else {
			f.prefixes[prefix] = struct{}{}
		}
	}
	for name := range f.names {
		if f.matchesPrefix(name) {
			delete(f.names, name)
		}
	}
	for prefix := range f.prefixes {
		if f.matchesPrefix(strings.TrimSuffix(prefix, ":")) && prefix != "" {
			delete(f.prefixes, prefix)
		}
	}
	return f
}

func (f filter) matches(channel string) bool {
	_, named := f.names[channel]
	return named || f.matchesPrefix(channel)
}

func (f filter) matchesPrefix(channel string) bool {
	if len(f.prefixes) == 0 {
		return false
	}
	for prefix := range prefixesOf(channel) {
		if _, ok := f.prefixes[prefix]; ok {
			return true
		}
	}
	return false
}

// exact says that the channels are known by name.
func (f filter) exact() bool { return len(f.prefixes) == 0 }

// all says that every channel matches.
func (f filter) all() bool {
	_, all := f.prefixes[""]
	return all
}

// lists gives the names and the prefixes, in order.
func (f filter) lists() (names, prefixes []string) {
	return slices.Sorted(maps.Keys(f.names)), slices.Sorted(maps.Keys(f.prefixes))
}

// prefixesOf yields what a pattern that covers the channel can begin with, the shortest first.
func prefixesOf(channel string) func(func(string) bool) {
	return func(yield func(string) bool) {
		if !yield("") {
			return
		}
		for i := range len(channel) {
			if channel[i] == ':' && !yield(channel[:i+1]) {
				return
			}
		}
	}
}

// An index finds the subscriptions that a message goes to.
type index struct {
	names    map[string]subscriptions
	prefixes map[string]subscriptions
}

type subscriptions map[*Subscription]struct{}

func newIndex() index {
	return index{names: map[string]subscriptions{}, prefixes: map[string]subscriptions{}}
}

func (x index) add(s *Subscription) {
	put := func(in map[string]subscriptions, key string) {
		if in[key] == nil {
			in[key] = subscriptions{}
		}
		in[key][s] = struct{}{}
	}
	for name := range s.filter.names {
		put(x.names, name)
	}
	for prefix := range s.filter.prefixes {
		put(x.prefixes, prefix)
	}
}

func (x index) remove(s *Subscription) {
	take := func(from map[string]subscriptions, key string) {
		delete(from[key], s)
		if len(from[key]) == 0 {
			delete(from, key)
		}
	}
	for name := range s.filter.names {
		take(x.names, name)
	}
	for prefix := range s.filter.prefixes {
		take(x.prefixes, prefix)
	}
}

// each visits the subscriptions of a channel, each once. visit may remove the one that it gets.
func (x index) each(channel string, visit func(*Subscription)) {
	for s := range x.names[channel] {
		visit(s)
	}
	if len(x.prefixes) == 0 {
		return
	}
	for prefix := range prefixesOf(channel) {
		for s := range x.prefixes[prefix] {
			visit(s)
		}
	}
}
