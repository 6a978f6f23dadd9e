package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// TestCrash sends signed webhooks while the hub is killed and started again: what was acknowledged is there, made
// its messages once, and reached a subscriber once, in order.
func TestCrash(t *testing.T) {
	t.Parallel()
	const webhooks, senders, kills = 2000, 16, 6
	h := startHub(t)
	sub := subscribe(t, h, h.token(t, "crash", nil), "demo:stripe")
	sub.ready(t)

	acknowledged := make([]string, webhooks) // the event of each webhook
	var next, done, retries atomic.Int64
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= webhooks {
					return
				}
				event, tries := sendUntilAcknowledged(t.Context(), h, payment(fmt.Sprintf("evt_crash_%d", n), n, "cus_crash"))
				acknowledged[n] = event
				retries.Add(int64(tries - 1))
				done.Add(1)
			}
		})
	}

	starts := make([]time.Time, 0, kills)
	for k := range kills {
		waitUntil(t, func() bool { return done.Load() >= int64((k+1)*webhooks/(kills+1))-int64(rand.IntN(100)) })
		h.kill()
		h.start(t)
		starts = append(starts, time.Now())
	}
	sending.Wait()

	db := h.database(t)
	waitUntil(t, func() bool { return count(t, db, `SELECT count(*) FROM tributary.outcomes`) >= webhooks })
	head := count(t, db, `SELECT position FROM tributary.log_heads h JOIN tributary.tenants t ON t.id = h.tenant_id WHERE t.slug = 'demo'`)
	sub.await(t, 30*time.Second, "every message", func(seen []string, _ map[string]int) bool { return len(seen) >= webhooks })

	stored := count(t, db, `SELECT count(*) FROM tributary.events`)
	missing := 0
	for _, event := range acknowledged {
		if count(t, db, `SELECT count(*) FROM tributary.events WHERE 'evt_' || id = $1`, event) != 1 {
			missing++
		}
	}
	twice := count(t, db, `SELECT count(*) FROM (SELECT FROM tributary.messages GROUP BY event_id, channel HAVING count(*) > 1) d`)
	without := count(t, db, `SELECT count(*) FROM tributary.events e WHERE NOT EXISTS (SELECT FROM tributary.messages m WHERE m.event_id = e.id)`)
	gaps := count(t, db, `SELECT max(position) - count(*) FROM tributary.messages`)
	longest := longestWait(t, db, starts)
	unseen, seenTwice, disorder := compare(t, db, sub.messages())
	t.Logf("webhooks %d, kills %d, retries %d; events %d, acknowledged and missing %d; messages %d, made twice %d, events without %d, gaps %d; subscriber: missing %d, twice %d, out of order %d; longest wait after a start %s",
		webhooks, kills, retries.Load(), stored, missing, head, twice, without, gaps, unseen, seenTwice, disorder, longest)
	if stored != webhooks || missing+twice+without+gaps+unseen+seenTwice+disorder != 0 || head != webhooks {
		t.Error("an acknowledged webhook was lost, doubled or out of order")
	}
	if longest > 10*time.Second {
		t.Errorf("an event waited %s after a start, want at most 10 s", longest)
	}
}

// sendUntilAcknowledged does what a provider does: it sends again after anything but 2xx.
func sendUntilAcknowledged(ctx context.Context, h *hub, body []byte) (event string, tries int) {
	for ctx.Err() == nil {
		tries++
		status, r, err := postStripe(ctx, h, body)
		if err == nil && status == http.StatusOK {
			return r.Event, tries
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond): // a provider waits much longer
		}
	}
	return "", tries
}

// longestWait is the longest time from an event's arrival to its messages, counted from the next start where the
// hub was killed between them.
func longestWait(t *testing.T, db querier, starts []time.Time) time.Duration {
	t.Helper()
	rows, err := db.Query(t.Context(), `
		SELECT e.received_at, m.at FROM tributary.events e JOIN tributary.messages m ON m.event_id = e.id`)
	if err != nil {
		t.Fatal(err)
	}
	var longest time.Duration
	var received, at time.Time
	_, err = pgx.ForEachRow(rows, []any{&received, &at}, func() error {
		from := received
		for _, start := range starts {
			if start.After(received) && start.Before(at) {
				from = start
			}
		}
		longest = max(longest, at.Sub(from))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return longest
}

// compare holds what a subscriber saw against the log.
func compare(t *testing.T, db querier, seen []string) (missing, twice, disorder int) {
	t.Helper()
	rows, err := db.Query(t.Context(), `SELECT convert_from(data, 'UTF8') FROM tributary.messages WHERE channel = 'demo:stripe' ORDER BY position`)
	if err != nil {
		t.Fatal(err)
	}
	logged, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	place := map[string]int{}
	for i, data := range logged {
		place[idOf(t, data)] = i
	}
	got := map[string]int{}
	last := -1
	for _, data := range seen {
		id := idOf(t, data)
		got[id]++
		if place[id] < last {
			disorder++
		}
		last = place[id]
	}
	for id := range place {
		switch {
		case got[id] == 0:
			missing++
		case got[id] > 1:
			twice++
		}
	}
	return missing, twice, disorder
}

func idOf(t *testing.T, data string) string {
	t.Helper()
	var body struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(data), &body); err != nil {
		t.Fatalf("a message that is no JSON: %q", data)
	}
	return body.ID
}
