package feed

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

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

// Borrow runs a subscription's read.
func (f *Feed) Borrow(ctx context.Context, read func(context.Context) error) error {
	return f.borrow(ctx, read)
}

// Scan runs one that looks at all channels.
func (f *Feed) Scan(ctx context.Context, read func(context.Context) error) error {
	return f.scan(ctx, read)
}

// An Epoch is what a feed knows of the epoch.
type Epoch struct{ *epoch }

// NewEpoch makes one that asks.
func NewEpoch(ask func(context.Context) (hub.Epoch, error)) Epoch {
	return Epoch{newEpoch(ask, time.Minute, func(_, _ hub.Epoch) {})}
}

// Settle, Doubt and Get are what a feed does with it.
func (e Epoch) Settle(ctx context.Context) error { return e.settle(ctx) }
func (e Epoch) Doubt()                           { e.doubt() }
func (e Epoch) Get() hub.Epoch                   { return e.get() }

// Join says whether a subscription whose place is of the epoch from joins a tail, while the feed knows current: a
// tail that another subscription has placed in the epoch placed, or, where that is empty, one without a place.
func Join(placed, from, current hub.Epoch) (joined bool) {
	o := withDefaults(Options{Metrics: prometheus.NewRegistry()})
	t := newTail(hub.NewID[hub.TenantID](), o, newMetrics(o.Metrics))
	known := newEpoch(nil, 0, nil)
	join := func(of hub.Epoch) bool {
		s := &Subscription{feed: &Feed{o: o}, filter: newFilter(nil), ready: make(chan struct{}, 1)}
		_, _, joined := t.join(s, seam{epoch: of, atHead: true}, known)
		return joined
	}
	if placed != "" {
		known.current = placed
		if !join(placed) {
			panic("the first did not join")
		}
	}
	known.current = current
	return join(from)
}

// TakeLate gives a tail, placed at the beginning of a log in the first epoch, a read that it asked for then, after
// it was placed there anew in each of the others. It returns how far the tail got by it.
func TakeLate(first hub.Epoch, others ...hub.Epoch) (reached hub.Position) {
	o := withDefaults(Options{Metrics: prometheus.NewRegistry()})
	t := newTail(hub.NewID[hub.TenantID](), o, newMetrics(o.Metrics))
	known := newEpoch(nil, 0, nil)
	place := func(in hub.Epoch) {
		known.current = in
		s := &Subscription{feed: &Feed{o: o}, filter: newFilter(nil), ready: make(chan struct{}, 1)}
		if _, _, joined := t.join(s, seam{epoch: in, atHead: true}, known); !joined {
			panic("it did not join")
		}
	}
	place(first)
	asked, _ := t.next()
	for _, epoch := range others {
		t.forget()
		place(epoch)
	}
	t.take(asked, store.LogRead{
		Place:    store.Place{Head: 1, Floor: 1},
		Messages: []hub.Logged{{Message: hub.Message{Channel: "a", Type: "test"}, Position: 1}},
		Through:  1,
	})
	return t.reached()
}
