package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// Each intake wakes the worker, also when the one before it was a moment ago: River holds wake-ups back for its fetch
// cooldown, 100 ms unless it is told, and then a job waits for the next poll.
func TestInsertEvents_WakesEachTime(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	conn, err := pgx.Connect(t.Context(), db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(t.Context(), `LISTEN "tributary_river.river_insert"`); err != nil {
		t.Fatal(err)
	}
	const intakes = 5
	const apart = 20 * time.Millisecond // many times the cooldown that is meant, a fraction of the default
	for range intakes {
		<-time.After(apart)
		if _, err := db.Pipeline.InsertEvents(t.Context(), []hub.Event{db.Event(t, "stripe")}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for n := range intakes {
		if _, err := conn.WaitForNotification(ctx); err != nil {
			t.Fatalf("%d of %d intakes woke the worker: %v", n, intakes, err)
		}
	}
}
