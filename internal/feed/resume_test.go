package feed_test

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/hub"
)

func TestSubscribe_Starts(t *testing.T) {
	t.Parallel()
	r := start(t, true, func(o *feed.Options) { o.PageMessages = 3 })
	r.log.append(t, "a:1", "b:1", "a:2", "a:1", "c")
	moment := time.Now()
	r.log.append(t, "b:1", "a:1", "c", "a:2", "b:1")

	tests := []struct {
		name     string
		start    feed.Start
		channels []hub.ChannelPattern
		from     hub.Position
		want     []hub.Position // before hub.live
	}{
		{"now", feed.Start{}, []hub.ChannelPattern{"a:1"}, 10, nil},
		{"a cursor", feed.Start{Cursor: r.cursor(t, 3)}, []hub.ChannelPattern{"a:1", "c"}, 3, []hub.Position{4, 5, 7, 8}},
		{"a cursor and a pattern", feed.Start{Cursor: r.cursor(t, 1)}, []hub.ChannelPattern{"a:*"}, 1, []hub.Position{3, 4, 7, 9}},
		{"the cursor before all", feed.Start{Cursor: r.cursor(t, 0)}, []hub.ChannelPattern{"*"}, 0, []hub.Position{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		{"the cursor at the head", feed.Start{Cursor: r.cursor(t, 10)}, []hub.ChannelPattern{"*"}, 10, nil},
		{"a cursor wins over the rest", feed.Start{Cursor: r.cursor(t, 9), Last: 3, Earliest: true}, []hub.ChannelPattern{"b:1"}, 9, []hub.Position{10}},
		{"last", feed.Start{Last: 2}, []hub.ChannelPattern{"a:1", "c"}, 6, []hub.Position{7, 8}},
		{"last of fewer", feed.Start{Last: 100}, []hub.ChannelPattern{"b:1", "x"}, 1, []hub.Position{2, 6, 10}},
		{"last of none", feed.Start{Last: 5}, []hub.ChannelPattern{"x"}, 10, nil},
		{"last of a pattern", feed.Start{Last: 3}, []hub.ChannelPattern{"a:*", "c"}, 6, []hub.Position{7, 8, 9}},
		{"last of a pattern of fewer", feed.Start{Last: 50}, []hub.ChannelPattern{"b:*"}, 1, []hub.Position{2, 6, 10}},
		{"last of a pattern of none", feed.Start{Last: 5}, []hub.ChannelPattern{"x:*"}, 10, nil},
		{"earliest", feed.Start{Earliest: true}, []hub.ChannelPattern{"c"}, 0, []hub.Position{5, 8}},
		{"since", feed.Start{Since: moment}, []hub.ChannelPattern{"a:1", "b:1"}, 5, []hub.Position{6, 7, 10}},
		{"since long ago", feed.Start{Since: moment.AddDate(-1, 0, 0)}, []hub.ChannelPattern{"c"}, 0, []hub.Position{5, 8}},
		{"since a time to come", feed.Start{Since: moment.Add(time.Hour)}, []hub.ChannelPattern{"c"}, 10, nil},
		{"channels twice", feed.Start{Earliest: true}, []hub.ChannelPattern{"b:1", "b:*", "b:1"}, 0, []hub.Position{2, 6, 10}},
		{"no channels", feed.Start{Earliest: true}, nil, 0, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := r.subscribe(t, tt.start, tt.channels...)
			opening := s.Opening()
			if opening.From == nil || opening.From.Position != tt.from || opening.Head != 10 {
				t.Fatalf("opening %+v, want from %d", opening, tt.from)
			}
			s.live(t)
			if diff := cmp.Diff(tt.want, s.got); diff != "" {
				t.Error(diff)
			}
			if s.names()[len(s.events)-1] != "hub.live" {
				t.Error(s.names())
			}
		})
	}

	t.Run("an empty log", func(t *testing.T) {
		t.Parallel()
		empty := newLog(t, r.db)
		sub := r.subscribeTo(t, feed.Request{Tenant: empty.tenant, Channels: []hub.ChannelPattern{"c"}})
		sub.log = empty
		if from := sub.Opening().From; from == nil || from.Position != 0 {
			t.Errorf("from %v", from)
		}
		sub.live(t)
		empty.append(t, "c")
		sub.gets(t, 1)
	})
}

// The last messages of a pattern are found however far back they are, while it covers no more channels than are
// listed; of more, as far as is looked back. The busy ones are found at once, without a list.
func TestSubscribe_LastFarBack(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name        string
		quiet, rows hub.Position
		channels    []hub.ChannelPattern
		last        int
		want        hub.Position // after which it begins
		reads       float64
	}{
		{"few channels", 10, 150_000, []hub.ChannelPattern{"quiet:*"}, 3, 7, 4},
		{"few messages", 10, 30_000, []hub.ChannelPattern{"quiet:*"}, 100, 0, 4},
		{"patterns and names", 10, 30_000, []hub.ChannelPattern{"none:*", "quiet:*", "gone"}, 3, 7, 5},
		{"what two patterns cover", 10, 30_000, []hub.ChannelPattern{"quiet:*", "quiet:9", "quiet:10"}, 3, 7, 4},
		{"none", 10, 30_000, []hub.ChannelPattern{"none:*"}, 3, 30_000, 4},
		{"many channels", 1500, 50_000, []hub.ChannelPattern{"quiet:*"}, 3, 1497, 6},
		{"busy channels", 10, 30_000, []hub.ChannelPattern{"busy:*"}, 3, 29_997, 2},
		{"all channels", 10, 30_000, []hub.ChannelPattern{"*"}, 3, 29_997, 1},
		{"more than there are", 10, 50, []hub.ChannelPattern{"*"}, 100, 0, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := start(t, false, func(o *feed.Options) { o.Timeout = time.Minute })
			r.fillBusy(t, 3, tt.quiet, tt.rows, 1)
			s, err := r.Subscribe(t.Context(), feed.Request{Tenant: r.log.tenant, Channels: tt.channels, Start: feed.Start{Last: tt.last}})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if from := s.Opening().From; from == nil || from.Position != tt.want {
				t.Errorf("begins after %v, want %d", from, tt.want)
			}
			if n := r.metric(t, "read_seconds", "subscriptions"); n != tt.reads {
				t.Errorf("%v reads, want %v", n, tt.reads)
			}
		})
	}
}

func TestSubscribe_Resets(t *testing.T) {
	t.Parallel()
	r := start(t, true, nil)
	r.log.append(t, "a", "b", "a", "b", "a")
	// The first three are of a day that the tenant no longer shows.
	r.db.Exec(t, `UPDATE tributary.log_days SET day = day - 1 WHERE tenant_id = $1`, r.log.tenant)
	r.db.Exec(t, `INSERT INTO tributary.log_days SELECT tenant_id, position, at::date, at FROM tributary.messages WHERE tenant_id = $1 AND position = 4`, r.log.tenant)
	today := time.Now

	tests := []struct {
		name, cursor, reason string
		position             hub.Position
		want                 []hub.Position
	}{
		{"malformed", "not a cursor", "malformed", 5, nil},
		{"malformed number", r.cursor(t, 5) + "x", "malformed", 5, nil},
		{"another epoch", "00000000-3", "epoch", 5, nil},
		{"above the head", r.cursor(t, 6), "future", 5, nil},
		{"below the floor", r.cursor(t, 2), "retention", 3, []hub.Position{5}},
		{"before all", r.cursor(t, 0), "retention", 3, []hub.Position{5}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := r.subscribeTo(t, feed.Request{Tenant: r.log.tenant, Channels: []hub.ChannelPattern{"a"}, Start: feed.Start{Cursor: tt.cursor}, Oldest: today})
			if opening := s.Opening(); opening.From != nil || opening.Head != 5 {
				t.Errorf("opening %+v", opening)
			}
			if cursor, ok := s.Cursor(); ok {
				t.Errorf("claims %s before the reset", cursor)
			}
			s.live(t)
			if s.names()[0] != "hub.reset" {
				t.Error(s.names())
			}
			want := map[string]any{"reason": tt.reason, "requested": tt.cursor, "position": float64(tt.position)}
			if diff := cmp.Diff(want, s.last(t, "hub.reset")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.want, s.got); diff != "" {
				t.Error(diff)
			}
			if n := r.metric(t, "resets_total", tt.reason); n == 0 {
				t.Error("not counted")
			}
		})
	}

	t.Run("the cursor before the floor is good", func(t *testing.T) {
		t.Parallel()
		s := r.subscribeTo(t, feed.Request{Tenant: r.log.tenant, Channels: []hub.ChannelPattern{"*"}, Start: feed.Start{Cursor: r.cursor(t, 3)}, Oldest: today})
		s.live(t)
		if diff := cmp.Diff([]hub.Position{4, 5}, s.got); diff != "" || s.Opening().From == nil {
			t.Error(diff, s.Opening())
		}
	})
	for name, begin := range map[string]feed.Start{"earliest": {Earliest: true}, "since": {Since: time.Unix(0, 0)}} {
		t.Run(name+" is the floor", func(t *testing.T) {
			t.Parallel()
			s := r.subscribeTo(t, feed.Request{Tenant: r.log.tenant, Channels: []hub.ChannelPattern{"*"}, Start: begin, Oldest: today})
			s.live(t)
			if diff := cmp.Diff([]hub.Position{4, 5}, s.got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A pattern looks past what is not its own, further than a page, and its place goes with it.
func TestReplay_LooksPast(t *testing.T) {
	t.Parallel()
	r := start(t, true, func(o *feed.Options) { o.PageMessages = 2 })
	for _, channel := range []string{"a:1", "b", "a:2", "b"} {
		r.log.append(t, slices.Repeat([]string{channel}, 3)...)
		r.log.append(t, slices.Repeat([]string{"c"}, 90)...)
	}
	for _, channels := range [][]hub.ChannelPattern{{"a:*"}, {"a:*", "b"}, {"x:*"}} {
		s := r.subscribe(t, feed.Start{Earliest: true}, channels...)
		s.live(t)
		if want := r.log.of(channels, 0, r.log.head()); !slices.Equal(want, s.got) {
			t.Errorf("%v: got %v, want %v", channels, s.got, want)
		}
	}
	beside := r.subscribe(t, feed.Start{Earliest: true}, "x:*")
	reads := r.metric(t, "read_seconds", "subscriptions")
	beside.live(t)
	if n := r.metric(t, "read_seconds", "subscriptions") - reads; n > 10 {
		t.Errorf("%v reads of 40 messages each for %d", n, r.log.head())
	}
}

// A floor that rises while a subscriber replays resets it; it goes on with what is still there.
func TestReplay_FloorRises(t *testing.T) {
	t.Parallel()
	for _, pattern := range []hub.ChannelPattern{"a:1", "a:*", "*"} {
		t.Run(string(pattern), func(t *testing.T) {
			t.Parallel()
			r := start(t, true, func(o *feed.Options) { o.PageMessages = 2 })
			for range 8 {
				r.log.append(t, "a:1")
			}
			var oldest time.Time
			s := r.subscribeTo(t, feed.Request{
				Tenant: r.log.tenant, Channels: []hub.ChannelPattern{pattern}, Start: feed.Start{Earliest: true},
				Oldest: func() time.Time { return oldest },
			})
			s.pull(t)
			if diff := cmp.Diff([]hub.Position{1, 2}, s.got); diff != "" {
				t.Fatal(diff)
			}
			r.db.Exec(t, `UPDATE tributary.log_days SET day = day - 1 WHERE tenant_id = $1`, r.log.tenant)
			r.db.Exec(t, `INSERT INTO tributary.log_days SELECT tenant_id, position, at::date, at FROM tributary.messages WHERE tenant_id = $1 AND position = 7`, r.log.tenant)
			oldest = time.Now()
			s.live(t)
			want := map[string]any{"reason": "retention", "requested": r.cursor(t, 2), "position": 6.0}
			if diff := cmp.Diff(want, s.last(t, "hub.reset")); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff([]hub.Position{7, 8}, s.got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
