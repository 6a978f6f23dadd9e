package feed_test

import (
	"context"
	"errors"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/hub"
)

// A message that is missing from the log is never skipped: it is waited for.
func TestGap_Filled(t *testing.T) {
	t.Parallel()
	r := start(t, false, func(o *feed.Options) { o.Poll = time.Hour })
	tailing := r.subscribe(t, feed.Start{}, "a")
	tailing.live(t)
	r.log.appendWithHole(t, 3, "a", "b", "b", "a")
	replaying := r.subscribe(t, feed.Start{Earliest: true}, "*")
	replaying.gets(t, 2)
	r.Wake(backplane.Wake{All: true})
	tailing.gets(t, 1)
	for _, s := range []*subscriber{tailing, replaying} {
		if cursor, _ := s.Cursor(); cursor.Position > 2 {
			t.Errorf("claims %s", cursor)
		}
	}
	r.log.fill(t, 3)
	r.Wake(backplane.Wake{All: true})
	tailing.gets(t, 4)
	replaying.gets(t, 4)
	if gaps, lost := r.metric(t, "gaps_total", ""), r.metric(t, "lost_total", ""); gaps < 1 || lost != 0 {
		t.Errorf("%v gaps and %v given up, want some and 0", gaps, lost)
	}
}

// A message that seems missing may only lie before the time from which a tail reads: it looks without that bound.
func TestGap_BeforeTheBound(t *testing.T) {
	t.Parallel()
	r := start(t, false, func(o *feed.Options) { o.Poll, o.Patience = 5*time.Millisecond, time.Hour })
	s := r.subscribe(t, feed.Start{}, "a")
	s.live(t)
	r.log.append(t, "a")
	s.gets(t, 1)
	r.log.appendEarlier(t, "a")
	s.gets(t, 2)
	if gaps, replayed := r.metric(t, "gaps_total", ""), r.metric(t, "replayed_total", ""); gaps != 1 || replayed != 0 {
		t.Errorf("%v gaps, %v frames by a read of its own; want 1 and 0: the test no longer fits", gaps, replayed)
	}
}

// One that does not come is given up in the end, and every subscriber is told, also those who cannot know whether it
// was theirs.
func TestGap_GivenUp(t *testing.T) {
	t.Parallel()
	r := start(t, false, func(o *feed.Options) { o.Poll, o.Patience = 5*time.Millisecond, 50*time.Millisecond })
	subscribers := []*subscriber{r.subscribe(t, feed.Start{}, "a"), r.subscribe(t, feed.Start{}, "*"), r.subscribe(t, feed.Start{}, "c")}
	for _, s := range subscribers {
		s.live(t)
	}
	r.log.appendWithHole(t, 3, "a", "b", "b", "a")
	for _, s := range subscribers {
		s.until(t, "hub.reset", func() bool { return len(s.names()) > 1 && s.names()[len(s.events)-1] == "hub.live" })
		data := s.last(t, "hub.reset")
		if data["reason"] != "retention" || data["position"] != 3.0 {
			t.Errorf("reset %v", data)
		}
	}
	if diff := cmp.Diff([]hub.Position{4}, subscribers[0].got); diff != "" {
		t.Error(diff)
	}
	late := r.subscribe(t, feed.Start{Cursor: r.cursor(t, 1)}, "*")
	late.live(t)
	if late.names()[0] != "hub.reset" || late.last(t, "hub.reset")["position"] != 3.0 {
		t.Errorf("a cursor before the gap: %v", late.events)
	}
	r.log.append(t, "a")
	subscribers[0].gets(t, 5)
	late.gets(t, 5)
}

// The index of channels shows no gap: who reads by it goes no further than the tail, which sees one.
func TestGap_BesideTheIndex(t *testing.T) {
	t.Parallel()
	r := start(t, false, func(o *feed.Options) { o.Poll, o.Patience = 5*time.Millisecond, time.Hour })
	first := r.subscribe(t, feed.Start{}, "c")
	first.live(t)
	r.log.appendWithHole(t, 3, "a", "b", "b", "a")
	r.counted(t, "gaps_total", "", 1)
	subscribers := map[*subscriber]hub.Position{
		r.subscribe(t, feed.Start{Earliest: true}, "a"): 1,
		r.subscribe(t, feed.Start{Earliest: true}, "b"): 2,
	}
	for s, before := range subscribers {
		s.gets(t, before)
		for range 3 {
			s.pull(t)
		}
		if cursor, _ := s.Cursor(); cursor.Position != 2 {
			t.Errorf("claims %s", cursor)
		}
	}
	r.log.fill(t, 3)
	for s, before := range subscribers {
		s.gets(t, 5-before)
		if slices.Contains(s.names(), "hub.reset") {
			t.Errorf("frames %v", s.names())
		}
	}
}

// A pattern that replays over a gap tells its subscriber, though no tail has seen it.
func TestGap_InReplay(t *testing.T) {
	t.Parallel()
	for pattern, behind := range map[hub.ChannelPattern][]hub.Position{"*": {4}, "a:*": {4}, "b:*": nil, "x:*": nil} {
		t.Run(string(pattern), func(t *testing.T) {
			t.Parallel()
			r := start(t, false, func(o *feed.Options) { o.Patience = 50 * time.Millisecond })
			r.log.appendWithHole(t, 3, "a:1", "b:1", "b:1", "a:1")
			s := r.subscribe(t, feed.Start{Earliest: true}, pattern)
			s.live(t)
			if data := s.last(t, "hub.reset"); data["reason"] != "retention" || data["position"] != 3.0 {
				t.Errorf("reset %v", data)
			}
			if diff := cmp.Diff(behind, s.got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A pattern that replays to a gap waits before it, and goes on when it is filled.
func TestGap_InReplayFilled(t *testing.T) {
	t.Parallel()
	for _, pattern := range []hub.ChannelPattern{"*", "a:*", "b:*", "x:*"} {
		t.Run(string(pattern), func(t *testing.T) {
			t.Parallel()
			r := start(t, false, func(o *feed.Options) { o.Patience = time.Hour })
			r.log.appendWithHole(t, 3, "a:1", "b:1", "b:1", "a:1")
			s := r.subscribe(t, feed.Start{Earliest: true}, pattern)
			for range 3 {
				s.pull(t)
			}
			if cursor, _ := s.Cursor(); cursor.Position != 2 {
				t.Errorf("claims %s", cursor)
			}
			r.log.fill(t, 3)
			s.live(t)
			if slices.Contains(s.names(), "hub.reset") {
				t.Errorf("frames %v", s.names())
			}
		})
	}
}

func TestEpochChange(t *testing.T) {
	t.Parallel()
	r := start(t, true, func(o *feed.Options) { o.PageMessages = 2 })
	for range 6 {
		r.log.append(t, "a")
	}
	before := r.cursor(t, 6)
	live, replaying := r.subscribe(t, feed.Start{}, "a"), r.subscribe(t, feed.Start{Earliest: true}, "a")
	live.live(t)
	replaying.pull(t)
	place, _ := replaying.Cursor()

	r.db.Exec(t, `UPDATE tributary.epoch SET salt = 'restored'`)
	r.Reconnected()
	for s, requested := range map[*subscriber]string{live: before, replaying: place.String()} {
		s.until(t, "hub.reset", func() bool { return len(s.names()) > 1 && s.names()[len(s.events)-1] == "hub.live" })
		want := map[string]any{"reason": "epoch", "requested": requested, "position": 6.0}
		if diff := cmp.Diff(want, s.last(t, "hub.reset")); diff != "" {
			t.Error(diff)
		}
		if cursor, _ := s.Cursor(); cursor.String() != r.cursor(t, 6) {
			t.Errorf("claims %s", cursor)
		}
	}
	r.log.append(t, "a")
	for _, s := range []*subscriber{live, replaying} {
		s.gets(t, 7)
		if id := s.events[len(s.events)-1].LastEventID; id != r.cursor(t, 7) {
			t.Errorf("sent %s", id)
		}
	}
	if n := r.metric(t, "epoch_changes_total", ""); n != 1 {
		t.Errorf("%v changes counted", n)
	}
}

// What a replaying subscriber asks for next is of its own history, or a reset: whoever finds out first that the epoch
// changed, be it the subscriber itself, nothing more is handed out under the old one.
func TestEpochChange_FoundByReplay(t *testing.T) {
	t.Parallel()
	r := start(t, false, func(o *feed.Options) { o.PageMessages = 2 })
	for range 6 {
		r.log.append(t, "a")
	}
	options := r.options
	options.Metrics = prometheus.NewRegistry()
	r.Feed = feed.New(options) // not started: nobody asks but its subscribers
	for _, filter := range []hub.ChannelPattern{"a", "*"} {
		s := r.subscribe(t, feed.Start{Earliest: true}, filter)
		s.pull(t)
		place, _ := s.Cursor()
		r.db.Exec(t, `UPDATE tributary.epoch SET salt = salt || 'restored'`)
		r.Reconnected()
		s.pull(t)
		want := map[string]any{"reason": "epoch", "requested": place.String(), "position": 6.0}
		if diff := cmp.Diff(want, s.last(t, "hub.reset")); diff != "" {
			t.Error(diff)
		}
	}
}

// A log that ends before what was read from it is another history, whatever the epoch says.
func TestHeadFell(t *testing.T) {
	t.Parallel()
	r := start(t, true, nil)
	r.log.append(t, "a", "b", "a", "b")
	exact, pattern := r.subscribe(t, feed.Start{}, "a"), r.subscribe(t, feed.Start{}, "*")
	exact.live(t)
	pattern.live(t)
	r.log.cut(t, 2)
	r.Reconnected()
	for _, s := range []*subscriber{exact, pattern} {
		s.until(t, "hub.reset", func() bool { return len(s.names()) > 1 && s.names()[len(s.events)-1] == "hub.live" })
		want := map[string]any{"reason": "future", "requested": r.cursor(t, 4), "position": 2.0}
		if diff := cmp.Diff(want, s.last(t, "hub.reset")); diff != "" {
			t.Error(diff)
		}
	}
	r.log.append(t, "a")
	exact.gets(t, 3)
	pattern.gets(t, 3)
}

// hub.live is not said before what the stream's beginning owed has come, not even by a tail that is itself behind it.
func TestJoin_OwedBeforeLive(t *testing.T) {
	t.Parallel()
	r := start(t, false, nil)
	options := r.options
	options.Metrics = prometheus.NewRegistry()
	r.Feed = feed.New(options) // not started: no tail reads
	r.subscribe(t, feed.Start{}, "a").live(t)
	r.log.append(t, "a", "a")
	s := r.subscribe(t, feed.Start{Earliest: true}, "a")
	s.live(t)
	if diff := cmp.Diff([]string{"test", "test", "hub.live"}, s.names()); diff != "" {
		t.Error(diff)
	}
}

// What came between the read that found the head and the moment that the tail began is read without a wake-up.
func TestJoin_LooksAgain(t *testing.T) {
	t.Parallel()
	r := start(t, false, func(o *feed.Options) { o.Poll = time.Hour })
	first := r.subscribe(t, feed.Start{}, "a")
	r.log.append(t, "a")
	first.gets(t, 1)
	if n := r.metric(t, "replayed_total", ""); n != 0 {
		t.Errorf("%v frames by a read of its own: the test no longer fits", n)
	}
}

// Wake-ups may be lost: polls find what they would have told.
func TestPoll(t *testing.T) {
	t.Parallel()
	r := start(t, false, func(o *feed.Options) { o.Poll = 5 * time.Millisecond })
	s := r.subscribe(t, feed.Start{}, "a")
	s.live(t)
	for range 3 {
		r.log.append(t, "b", "a")
		s.gets(t, r.log.head())
	}
}

// While Postgres is away subscribers stay, live and replaying ones; when it is back they get what they missed.
func TestPostgresAway(t *testing.T) {
	t.Parallel()
	r := start(t, false, func(o *feed.Options) { o.Poll, o.PageMessages = 10*time.Millisecond, 2 })
	for range 6 {
		r.log.append(t, "a")
	}
	live, replaying := r.subscribe(t, feed.Start{}, "a"), r.subscribe(t, feed.Start{Earliest: true}, "*")
	live.live(t)
	replaying.pull(t)

	back := r.takeAway(t)
	r.counted(t, "read_failures_total", "", 1)
	for range 3 {
		replaying.pull(t)
	}
	if diff := cmp.Diff([]hub.Position{1, 2}, replaying.got); diff != "" {
		t.Error(diff)
	}
	if _, err := r.Subscribe(t.Context(), feed.Request{Tenant: r.log.tenant}); err == nil {
		t.Error("subscribed without Postgres")
	}
	back()
	r.log.append(t, "a")
	live.gets(t, 7)
	replaying.gets(t, 7)
	for _, s := range []*subscriber{live, replaying} {
		if len(s.names()) != len(s.got)+1 {
			t.Errorf("frames %v, want messages and one hub.live", s.names())
		}
	}
}

// Whoever runs the hub hears that subscribers cannot read, once for each stretch of failures, and when they can again.
func TestPostgresAway_Told(t *testing.T) {
	t.Parallel()
	r := start(t, false, func(o *feed.Options) { o.PageMessages = 1 })
	r.log.append(t, "a", "a", "a", "a")
	var subscribers []*subscriber
	for range 3 {
		subscribers = append(subscribers, r.subscribe(t, feed.Start{Earliest: true}, "a"))
	}
	for stretch := 1; stretch <= 2; stretch++ {
		back := r.takeAway(t)
		for _, s := range subscribers {
			for range 4 {
				s.pull(t)
			}
		}
		if told := r.said.with("cannot be read for its subscribers"); len(told) != stretch {
			t.Errorf("told %d times of %d stretches: %v", len(told), stretch, told)
		}
		back()
		for _, s := range subscribers {
			s.gets(t, hub.Position(stretch))
		}
		if told := r.said.with("can be read again for its subscribers"); len(told) != stretch {
			t.Errorf("told %d times of the end of %d stretches: %v", len(told), stretch, told)
		}
	}
}

// A tenant that is deleted takes its log along, which is no damage: its subscriptions end, and nobody is alarmed.
func TestTenantDeleted(t *testing.T) {
	t.Parallel()
	r := start(t, false, func(o *feed.Options) { o.PageMessages = 2 })
	r.log.append(t, "a", "a", "a", "a")
	live, replaying := r.subscribe(t, feed.Start{}, "a"), r.subscribe(t, feed.Start{Earliest: true}, "a")
	live.live(t)
	replaying.pull(t)
	r.db.Exec(t, `DELETE FROM tributary.tenants WHERE id = $1`, r.log.tenant)
	r.db.Exec(t, `DELETE FROM tributary.log_days WHERE tenant_id = $1`, r.log.tenant)
	if _, err := replaying.Next(t.Context()); err != nil {
		t.Error(err)
	}
	r.Wake(backplane.Wake{All: true})
	for name, s := range map[string]*subscriber{"live": live, "replaying": replaying} {
		if err := s.ended(t); hub.CodeOf(err) != hub.NotFound {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if alarms := append(r.said.with(`"level":"WARN"`), r.said.with(`"level":"ERROR"`)...); len(alarms) > 0 {
		t.Errorf("logged %v", alarms)
	}
}

// A feed starts without Postgres and refuses until it has the epoch.
func TestStart_WithoutEpoch(t *testing.T) {
	t.Parallel()
	var there atomic.Bool
	r := start(t, false, func(o *feed.Options) {
		ask := o.Epoch
		o.Poll = 5 * time.Millisecond
		o.Epoch = func(ctx context.Context) (hub.Epoch, error) {
			if !there.Load() {
				return "", hub.Errorf(hub.Unavailable, "the database does not answer")
			}
			return ask(ctx)
		}
	})
	_, err := r.Subscribe(t.Context(), feed.Request{Tenant: r.log.tenant})
	if hub.CodeOf(err) != hub.Unavailable {
		t.Errorf("error %v", err)
	}
	there.Store(true)
	r.log.append(t, "a")
	s := r.subscribe(t, feed.Start{Earliest: true}, "a")
	s.gets(t, 1)
}

func TestStop(t *testing.T) {
	t.Parallel()
	r := start(t, false, nil)
	s := r.subscribe(t, feed.Start{}, "a")
	s.live(t)
	for range 2 {
		if err := r.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	select {
	case <-s.Ready():
	case <-time.After(patience):
		t.Fatal("a subscription was not told")
	}
	if _, err := s.Next(t.Context()); hub.CodeOf(err) != hub.Unavailable {
		t.Errorf("error %v", err)
	}
	if _, err := r.Subscribe(t.Context(), feed.Request{Tenant: r.log.tenant}); hub.CodeOf(err) != hub.Unavailable {
		t.Errorf("subscribed to a stopped feed: %v", err)
	}
	if err := r.Start(t.Context()); err == nil {
		t.Error("started again")
	}
}

// Tails outlive their last subscriber by a grace, no longer.
func TestGrace(t *testing.T) {
	t.Parallel()
	r := start(t, false, func(o *feed.Options) { o.Poll, o.Grace = 5*time.Millisecond, 20*time.Millisecond })
	a, b := r.subscribe(t, feed.Start{}, "a"), r.subscribe(t, feed.Start{}, "b")
	a.live(t)
	b.live(t)
	a.Close()
	a.Close()
	if tails, subscribers := r.metric(t, "tails", ""), r.metric(t, "subscribers", ""); tails != 1 || subscribers != 1 {
		t.Errorf("%v tails, %v subscribers; want 1 and 1", tails, subscribers)
	}
	b.Close()
	r.counted(t, "tails", "", 0)
	if n := r.metric(t, "subscribers", ""); n != 0 {
		t.Errorf("%v subscribers are left", n)
	}
}

// A subscriber that leaves while it reads costs no connection.
func TestNext_Cancelled(t *testing.T) {
	t.Parallel()
	r := start(t, false, nil)
	r.log.append(t, "a")
	s := r.subscribe(t, feed.Start{Earliest: true}, "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	s.gets(t, 1)
}

// takeAway ends every connection of the hub's login and refuses new ones, until back.
func (r *rig) takeAway(t *testing.T) (back func()) {
	t.Helper()
	u, err := url.Parse(r.db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	database := u.Path[1:]
	u.Path = "/postgres"
	conn, err := pgx.Connect(t.Context(), u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	exec := func(sql string) {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`ALTER DATABASE ` + database + ` WITH ALLOW_CONNECTIONS false`)
	exec(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '` + database + `'`)
	return func() { exec(`ALTER DATABASE ` + database + ` WITH ALLOW_CONNECTIONS true`) }
}
