package feed_test

import (
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/feed"
)

// What waits for subscribers, who reads for himself, and what is known to be in a log and was not read yet.
func TestMetrics_Census(t *testing.T) {
	t.Parallel()
	r := start(t, true, func(o *feed.Options) { o.QueueMessages, o.Poll = 4, time.Hour })
	idle, busy := r.subscribe(t, feed.Start{}, "a"), r.subscribe(t, feed.Start{}, "*")
	if n := r.metric(t, "replaying", ""); n != 2 {
		t.Errorf("%v read for themselves before they are live", n)
	}
	idle.live(t)
	busy.live(t)
	r.log.append(t, "a", "a")
	busy.gets(t, r.log.head())
	for name, want := range map[string]float64{
		"waiting": 2, "capacity": 8, "fullest_queue_ratio": .5, "replaying": 0, "behind_messages": 0, "behind_tails": 0, "read_age_seconds": 2,
	} {
		r.counted(t, name, "", want)
		if got := r.metric(t, name, ""); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	idle.gets(t, r.log.head())
	r.counted(t, "waiting", "", 0)

	r.db.Exec(t, `REVOKE SELECT ON tributary.messages FROM tributary_pipeline`)
	r.log.append(t, "a", "b", "a")
	r.counted(t, "behind_messages", "", 3)
	r.counted(t, "behind_tails", "", 1)
	r.db.Exec(t, `GRANT SELECT ON tributary.messages TO tributary_pipeline`)
	busy.gets(t, r.log.head())
	r.counted(t, "behind_messages", "", 0)

	// While nothing can be read, what was heard shows.
	r.db.Exec(t, `REVOKE SELECT ON tributary.messages, tributary.log_heads FROM tributary_pipeline`)
	r.Wake(backplane.Wake{Heads: []backplane.Head{{Tenant: r.log.tenant, Position: r.log.head() + 7}}})
	r.counted(t, "behind_messages", "", 7)
	r.db.Exec(t, `GRANT SELECT ON tributary.messages, tributary.log_heads TO tributary_pipeline`)
	r.counted(t, "behind_messages", "", 0)

	// Whoever may notify may say what he likes: it is believed until the next read.
	r.Wake(backplane.Wake{Heads: []backplane.Head{{Tenant: r.log.tenant, Position: 1 << 40}}})
	r.counted(t, "behind_messages", "", 0)
}
