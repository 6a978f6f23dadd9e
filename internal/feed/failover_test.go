package feed_test

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/frame"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// A history is a server whose log says in each message which server it is.
type history struct {
	*storetest.Cluster
	store *store.Store
	epoch hub.Epoch
}

// split makes two servers of one history, which part after shared messages: the second was a standby and is promoted,
// and the first lives on. Both have the tenant, and so many messages after.
func split(t *testing.T, shared, own int) (tenant hub.TenantID, histories [2]history) {
	t.Helper()
	first := storetest.NewCluster(t)
	tenant = hub.NewID[hub.TenantID]()
	first.Exec(t, `INSERT INTO tributary.tenants (id, slug, name) VALUES ($1, $2, 'feed')`, tenant, "t"+tenant.UUID().String())
	one := first.DB(t).Store
	say(t, one, tenant, "both", shared)
	second := first.Standby(t)
	first.CatchUp(t, second)
	second.Promote(t)
	two := second.DB(t).Store
	for i, h := range []history{{Cluster: first, store: one}, {Cluster: second, store: two}} {
		epoch, err := h.store.Pipeline.Epoch(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		h.epoch = hub.Epoch(epoch)
		say(t, h.store, tenant, epoch, own)
		histories[i] = h
	}
	if histories[0].epoch == histories[1].epoch {
		t.Fatal("a promotion did not change the epoch")
	}
	return tenant, histories
}

// say appends messages that say of which history they are.
func say(t *testing.T, s *store.Store, tenant hub.TenantID, of string, n int) {
	t.Helper()
	unit := hub.Unit{Tenant: tenant}
	data, err := json.Marshal(map[string]string{"of": of})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		unit.Messages = append(unit.Messages, hub.Message{ID: hub.NewID[hub.MessageID](), Channel: "a", Type: "test", Data: data})
	}
	if _, err := s.Pipeline.Append(t.Context(), []hub.Unit{unit}); err != nil {
		t.Fatal(err)
	}
}

// While connections move from one server to another, one at a time, and back, no message of the one's history comes
// with an id of the other's, to those who read from the log and to those who follow it, and every one of them is told.
func TestFailover_OneConnectionAtATime(t *testing.T) {
	t.Parallel()
	const shared = 5
	tenant, histories := split(t, shared, 20)
	gate := storetest.NewGate(t, histories[0].Cluster)
	s := gate.Store(t)
	f := feed.New(feed.Options{
		Log: canary.Logger(t), Metrics: prometheus.NewRegistry(), Store: s.Pipeline, Readers: 8, PageMessages: 3, Poll: 5 * time.Millisecond,
		Epoch: func(ctx context.Context) (hub.Epoch, error) {
			epoch, err := s.Pipeline.Epoch(ctx)
			return hub.Epoch(epoch), err
		},
	})
	s.Pipeline.OnEpoch(func(epoch string) { f.EpochIs(hub.Epoch(epoch)) })
	if err := f.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop(t, f.Stop)

	check := func(f *frame.Frame) (event string, of hub.Epoch) {
		e := parse(t, f)
		cursor, err := hub.ParseCursor(e.LastEventID)
		if err != nil {
			t.Errorf("%s with the id %q: %v", e.Type, e.LastEventID, err)
		}
		var said struct{ Of string }
		_ = json.Unmarshal([]byte(e.Data), &said) // what is not a message says nothing
		if e.Type == "test" && cursor.Position > shared && said.Of != string(cursor.Epoch) {
			t.Errorf("a message of %s came with the id %s", said.Of, e.LastEventID)
		}
		return e.Type, cursor.Epoch
	}
	var readers sync.WaitGroup
	var rounds [2]atomic.Int64 // subscriptions that were read to the head, by the history that they were of
	ctx, cancel := context.WithCancel(t.Context())
	defer readers.Wait()
	defer cancel()
	for range 6 {
		readers.Go(func() {
			for ctx.Err() == nil {
				sub, err := f.Subscribe(ctx, feed.Request{Tenant: tenant, Channels: []hub.ChannelPattern{"a"}, Start: feed.Start{Earliest: true}})
				if err != nil {
					continue
				}
				for live := false; !live && ctx.Err() == nil; {
					select {
					case <-sub.Ready():
					case <-ctx.Done():
						continue
					}
					batch, _ := sub.Next(ctx)
					for _, f := range batch.Frames {
						event, of := check(f)
						if live = event == "hub.live"; live && of == histories[0].epoch {
							rounds[0].Add(1)
						} else if live {
							rounds[1].Add(1)
						}
					}
				}
				sub.Close()
			}
		})
	}
	follower, err := f.Subscribe(ctx, feed.Request{Tenant: tenant, Channels: []hub.ChannelPattern{"a"}})
	if err != nil {
		t.Fatal(err)
	}
	defer follower.Close()
	// follow reads the follower's frames until one of that name and history comes.
	follow := func(name string, of hub.Epoch) {
		t.Helper()
		timeout := time.After(patience)
		for {
			select {
			case <-follower.Ready():
			case <-timeout:
				t.Fatalf("the follower has no %s of %s", name, of)
			}
			batch, err := follower.Next(ctx)
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, f := range batch.Frames {
				event, epoch := check(f)
				found = found || event == name && epoch == of
			}
			if found {
				return
			}
		}
	}
	wait := func(what string, done func() bool) {
		t.Helper()
		look := time.NewTicker(time.Millisecond)
		defer look.Stop()
		timeout := time.After(patience)
		for !done() {
			select {
			case <-look.C:
			case <-timeout:
				t.Fatal("waiting for " + what)
			}
		}
	}

	follow("hub.live", histories[0].epoch)
	wait("several connections", func() bool { return gate.Open() >= 4 && rounds[0].Load() >= 20 })
	for move := range 4 {
		to := (move + 1) % 2
		gate.Lead(histories[to].Cluster)
		for there := rounds[to].Load() + 50; rounds[to].Load() < there; {
			all := rounds[0].Load() + rounds[1].Load()
			gate.Cut()
			say(t, histories[0].store, tenant, string(histories[0].epoch), 2)
			say(t, histories[1].store, tenant, string(histories[1].epoch), 1)
			wait("readers", func() bool { return rounds[0].Load()+rounds[1].Load() >= all+10 })
		}
		follow("hub.reset", histories[to].epoch)
		follow("hub.live", histories[to].epoch)
	}
}

// Where the epoch changes while a subscription begins, its place is asked for anew: nothing that it says has the old
// epoch and a place of the new history.
func TestSubscribe_EpochChangesMeanwhile(t *testing.T) {
	t.Parallel()
	r := start(t, false, func(o *feed.Options) { o.Poll = time.Hour })
	r.log.append(t, "a")
	next := hub.Epoch("0badcafe")
	s := r.subscribeTo(t, feed.Request{Tenant: r.log.tenant, Channels: []hub.ChannelPattern{"a"}, Oldest: func() time.Time {
		if next != "" { // it is asked when the epoch is known and the place is not
			r.EpochIs(next)
			next = ""
		}
		return time.Time{}
	}})
	if from := s.Opening().From; from == nil || from.Epoch != "0badcafe" {
		t.Errorf("it begins at %v", from)
	}
	s.live(t)
	if diff := cmp.Diff([]string{"hub.live"}, s.names()); diff != "" {
		t.Error(diff)
	}
}
