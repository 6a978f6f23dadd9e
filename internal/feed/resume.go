package feed

import (
	"context"
	"fmt"
	"time"

	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// A Request says who wants to hear what, from where on.
type Request struct {
	Tenant   hub.TenantID
	Channels []hub.ChannelPattern
	Start    Start
	// Oldest is the first day that the tenant's retention shows, asked at each read, by several goroutines and under
	// the feed's locks: it returns at once. Default: all that is held.
	Oldest func() time.Time
}

// MaxLast bounds Start.Last.
const MaxLast = 100

// A Start is where a subscription begins: the first of these that is set, else now.
type Start struct {
	Cursor   string    // the client's last id, as it came: it is judged, never refused
	Last     int       // with the last so many messages of its channels, at most MaxLast
	Earliest bool      // with the first message that is held
	Since    time.Time // with the first message that is not older
}

// How Last finds its messages where a pattern is among the channels: it looks at so many of the log's last messages;
// where these are not enough, it lists the channels that the patterns cover, and goes by the index of channels; where
// they are more than it lists, it looks back on, page by page.
const (
	lookBackPage = 20_000
	maxListed    = 1_000
	lookBack     = 1_000_000
)

// Subscribe begins a subscription. It asks Postgres where the log stands, and the error is Unavailable where that
// fails. A cursor that cannot be resumed is no error, but a hub.reset to come.
func (f *Feed) Subscribe(ctx context.Context, r Request) (*Subscription, error) {
	if r.Oldest == nil {
		r.Oldest = func() time.Time { return time.Time{} }
	}
	s, err := f.begin(ctx, r)
	for err == nil && s.epochChanged() { // meanwhile: where it was to begin may be a place of another history
		s, err = f.begin(ctx, r)
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe: %w", err)
	}
	if err := f.attach(s); err != nil {
		return nil, err
	}
	s.signal()
	return s, nil
}

func (f *Feed) begin(ctx context.Context, r Request) (*Subscription, error) {
	if err := f.epoch.settle(ctx); err != nil {
		return nil, err
	}
	s := &Subscription{
		feed:    f,
		tenant:  r.Tenant,
		filter:  newFilter(r.Channels),
		oldest:  r.Oldest,
		ready:   make(chan struct{}, 1),
		seam:    seam{epoch: f.epoch.get()},
		oweLive: true,
	}
	place, err := f.place(ctx, r.Tenant, r.Oldest())
	if err != nil {
		return nil, err
	}
	return s, s.begin(ctx, r.Start, place)
}

// place asks where a log stands.
func (f *Feed) place(ctx context.Context, tenant hub.TenantID, oldest time.Time) (place store.Place, err error) {
	err = f.borrow(ctx, func(ctx context.Context) (err error) {
		place, err = f.o.Store.LogPlace(ctx, tenant, oldest)
		return err
	})
	return place, err
}

func (s *Subscription) begin(ctx context.Context, start Start, place store.Place) (err error) {
	switch {
	case start.Cursor != "":
		s.place, s.broken = s.resume(start.Cursor, place)
	case start.Last > 0:
		s.place, err = s.beforeLast(ctx, min(start.Last, MaxLast), place)
	case start.Earliest:
		s.place = place.Floor - 1
	case !start.Since.IsZero():
		err = s.feed.borrow(ctx, func(ctx context.Context) (err error) {
			s.place, err = s.feed.o.Store.PositionBefore(ctx, s.tenant, start.Since, place)
			return err
		})
	default:
		s.place = place.Head
	}
	s.seam.atHead, s.seam.headAt, s.seam.owed = s.place == place.Head, place.At, place.Head
	s.opening.Head = place.Head
	if s.broken == nil {
		s.opening.From = &hub.Cursor{Epoch: s.seam.epoch, Position: s.place}
	}
	return err
}

// resume judges a client's cursor by where the log stands.
func (s *Subscription) resume(requested string, place store.Place) (hub.Position, *broken) {
	cursor, err := hub.ParseCursor(requested)
	switch {
	case err != nil:
		return place.Head, &broken{frame.ResetMalformed, requested, place.Head}
	case cursor.Epoch != s.seam.epoch:
		return place.Head, &broken{frame.ResetEpoch, requested, place.Head}
	case cursor.Position > place.Head:
		return place.Head, &broken{frame.ResetFuture, requested, place.Head}
	case cursor.Position+1 < place.Floor:
		return place.Floor - 1, &broken{frame.ResetRetention, requested, place.Floor - 1}
	}
	return cursor.Position, nil
}

// beforeLast is the place before the last n messages of the subscription's channels.
func (s *Subscription) beforeLast(ctx context.Context, n int, place store.Place) (hub.Position, error) {
	names, prefixes := s.filter.lists()
	switch {
	case s.filter.exact():
		return s.beforeLastOf(ctx, names, n, place)
	case s.filter.all():
		return max(place.Head-hub.Position(n), place.Floor-1), nil
	}
	before, done, err := s.lookBack(ctx, n, place, lookBackPage)
	if err != nil || done {
		return before, err
	}
	for _, prefix := range prefixes {
		listed, err := s.listChannels(ctx, prefix, place)
		if err != nil {
			return 0, err
		}
		if names = append(names, listed...); len(names) > maxListed {
			before, _, err = s.lookBack(ctx, n, place, lookBack)
			return before, err
		}
	}
	return s.beforeLastOf(ctx, names, n, place)
}

// beforeLastOf asks the index of channels.
func (s *Subscription) beforeLastOf(ctx context.Context, names []string, n int, place store.Place) (hub.Position, error) {
	var last []hub.Position
	err := s.inTurn(ctx, func(ctx context.Context) (err error) {
		last, err = s.feed.o.Store.LastPositions(ctx, s.tenant, names, n, place, time.Now())
		return err
	})
	if err != nil || len(last) == 0 {
		return place.Head, err
	}
	return last[len(last)-1] - 1, nil
}

// listChannels lists the channels that begin with prefix: all of them, or more than maxListed.
func (s *Subscription) listChannels(ctx context.Context, prefix string, place store.Place) (names []string, err error) {
	err = s.inTurn(ctx, func(ctx context.Context) (err error) {
		names, err = s.feed.o.Store.ChannelsWith(ctx, s.tenant, prefix, maxListed+1, place, time.Now())
		return err
	})
	return names, err
}

// lookBack looks at so many of the log's last messages, or until it has found n of the subscription's channels; done
// says that there are no more to be found.
func (s *Subscription) lookBack(ctx context.Context, n int, place store.Place, far hub.Position) (before hub.Position, done bool, err error) {
	names, prefixes := s.filter.lists()
	before = place.Head
	oldest := max(place.Floor, place.Head-far+1)
	for through := place.Head; through >= oldest && n > 0; through -= lookBackPage {
		page := store.Place{Head: through, Floor: max(oldest, through-lookBackPage+1)}
		var last []hub.Position
		err := s.inTurn(ctx, func(ctx context.Context) (err error) {
			last, err = s.feed.o.Store.LastMatching(ctx, s.tenant, names, prefixes, n, page, time.Now())
			return err
		})
		if err != nil {
			return 0, false, err
		}
		if len(last) > 0 {
			before = last[len(last)-1] - 1
			n -= len(last)
		}
	}
	return before, n == 0 || oldest == place.Floor, nil
}
