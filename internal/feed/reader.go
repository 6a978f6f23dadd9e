package feed

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// What one statement asks for at most.
const (
	tailsAtOnce = 100
	headsAtOnce = 1000
)

// The first and the longest wait after a read that failed.
const (
	minBackoff = 50 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// run reads what woke, and looks at every tail now and then, since a wake-up may be lost.
func (f *Feed) run(ctx context.Context) {
	poll := time.NewTimer(0) // the first look learns the epoch
	defer poll.Stop()
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-f.wakeup:
		case <-poll.C:
			poll.Reset(f.o.Poll)
			f.sweep(time.Now())
			f.lookAtAll()
		}
		err := f.readWoken(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil && failed > 0:
			f.o.Log.InfoContext(ctx, "logs can be read again", "failed", failed)
			failed = 0
		case err != nil:
			if failed == 0 {
				f.o.Log.WarnContext(ctx, "logs cannot be read, trying on", "error", err)
			}
			f.epoch.doubt()
			select {
			case <-ctx.Done():
				return
			case <-time.After(backoff(failed)):
			}
			failed++
			f.lookAtAll() // whatever was woken is among them
		}
	}
}

// backoff doubles, and is cut at random by up to a half, so that not everybody comes back at once.
func backoff(failed int) time.Duration {
	d := min(minBackoff<<min(failed, 10), maxBackoff)
	return d/2 + rand.N(d/2) //nolint:gosec // nobody gains by guessing it
}

func (f *Feed) lookAtAll() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lookAll = true
	f.wakeReader()
}

// readWoken reads a page of each tail that woke; one that has more is woken again.
func (f *Feed) readWoken(ctx context.Context) error {
	if err := f.epoch.settle(ctx); err != nil {
		return err
	}
	asks, all := f.asks()
	if all {
		var err error
		if asks, err = f.grown(ctx, asks); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(asks, tailsAtOnce) {
		if err := f.readTails(ctx, part); err != nil {
			return err
		}
	}
	return nil
}

// asks collects those of the tails that woke, or of all of them.
func (f *Feed) asks() (asks []ask, all bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	add := func(t *tail) {
		if next, placed := t.next(); placed {
			asks = append(asks, next)
		}
	}
	all = f.lookAll
	if all {
		for _, t := range f.tails {
			add(t)
		}
	} else {
		for t := range f.woken {
			add(t)
		}
	}
	f.lookAll = false
	clear(f.woken)
	return asks, all
}

// grown leaves the asks of logs that do not end where their tail does. It is a fraction of the cost of reading.
func (f *Feed) grown(ctx context.Context, asks []ask) (grown []ask, err error) {
	for part := range slices.Chunk(asks, headsAtOnce) {
		tenants := make([]hub.TenantID, len(part))
		for i, a := range part {
			tenants[i] = a.from.Tenant
		}
		var heads []hub.Position
		err := f.measure(ctx, "poll", func(ctx context.Context) (err error) {
			heads, err = f.o.Store.LogHeads(ctx, tenants)
			return err
		})
		if err != nil {
			return nil, err
		}
		for i, a := range part {
			a.tail.ends(heads[i])
			if heads[i] != a.from.After {
				grown = append(grown, a)
			}
		}
	}
	return grown, nil
}

func (f *Feed) readTails(ctx context.Context, asks []ask) error {
	tails := make([]store.Tail, len(asks))
	for i, a := range asks {
		tails[i] = a.from
	}
	var reads []store.LogRead
	err := f.measure(ctx, "tails", func(ctx context.Context) (err error) {
		reads, err = f.o.Store.ReadTails(ctx, tails, f.page(), time.Now())
		return err
	})
	if err != nil {
		return err
	}
	for i, a := range asks {
		f.found(ctx, a, reads[i], a.tail.take(a, reads[i]))
	}
	return nil
}

// found says what is to be done about what a tail made of its read.
func (f *Feed) found(ctx context.Context, a ask, read store.LogRead, what finding) {
	switch what {
	case behind:
		f.mark(a.tail)
	case missing:
		f.metrics.gaps.Inc()
		f.o.Log.ErrorContext(ctx, "messages are missing from a log, waiting for them", a.describe(read)...)
	case gaveUp:
		f.metrics.lost.Inc()
		f.o.Log.ErrorContext(ctx, "messages are missing from a log, resetting its subscribers", a.describe(read)...)
	case headFell:
		if deleted, err := f.endDeleted(ctx, a.tail, read.Head); deleted || err != nil {
			return // after an error each subscription asks for itself
		}
		f.o.Log.ErrorContext(ctx, "a log ends before what was read from it, resetting its subscribers", a.describe(read)...)
		f.doubt()
	case upToDate, stillMissing, floorRose, overtaken:
	}
}

// endDeleted ends the subscriptions of a tenant that was deleted: its log went with it, which is no damage.
func (f *Feed) endDeleted(ctx context.Context, t *tail, head hub.Position) (deleted bool, err error) {
	if head > 0 {
		return false, nil
	}
	err = f.measure(ctx, "tenants", func(ctx context.Context) error {
		versions, err := f.o.Store.ConfigVersions(ctx, []hub.TenantID{t.tenant})
		_, there := versions[t.tenant]
		deleted = err == nil && !there
		return err
	})
	if deleted {
		f.o.Log.InfoContext(ctx, "a tenant was deleted, its subscriptions end", "tenant", t.tenant)
		t.end(hub.Errorf(hub.NotFound, "the tenant was deleted"))
	}
	return deleted, err
}

// describe says for the log what was asked for and what came.
func (a ask) describe(read store.LogRead) []any {
	return []any{
		"tenant", a.from.Tenant, "after", a.from.After, "head", read.Head, "floor", read.Floor,
		"through", read.Through, "messages", len(read.Messages),
	}
}

func (f *Feed) page() store.Page {
	return store.Page{Messages: f.o.PageMessages, Bytes: f.o.PageBytes}
}

// measure bounds one question to Postgres, times it and counts its failure.
func (f *Feed) measure(ctx context.Context, who string, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, f.o.Timeout)
	defer cancel()
	start := time.Now()
	err := fn(ctx)
	f.metrics.reads.WithLabelValues(who).Observe(time.Since(start).Seconds())
	if err != nil {
		f.metrics.failures.WithLabelValues(who).Inc()
		return fmt.Errorf("feed: %w", err)
	}
	return nil
}

// borrow does the same for a subscription, which waits its turn: a thousand that come back together must not take
// all connections from those who write. Once begun, a read goes on without its subscriber: to break it off would
// cost the connection.
func (f *Feed) borrow(ctx context.Context, fn func(context.Context) error) error {
	return f.inTurn(ctx, fn, f.slots)
}

// scan is borrow for a read that looks at messages of all channels. Such reads take turns among themselves first, for
// half of the slots: the other half is always there for who reads little.
func (f *Feed) scan(ctx context.Context, fn func(context.Context) error) error {
	return f.inTurn(ctx, fn, f.scans, f.slots)
}

func (f *Feed) inTurn(ctx context.Context, fn func(context.Context) error, turns ...chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	timeout := time.NewTimer(f.o.Timeout)
	defer timeout.Stop()
	for _, turn := range turns {
		select {
		case turn <- struct{}{}:
			defer func() { <-turn }()
		case <-ctx.Done():
			return ctx.Err()
		case <-timeout.C:
			return hub.Errorf(hub.Unavailable, "too many streams begin at once")
		}
	}
	err := f.measure(context.WithoutCancel(ctx), "subscriptions", fn)
	if err != nil {
		f.doubt()
	}
	return err
}
