package store_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// window lists everything of today.
func window() store.EventFilter {
	return store.EventFilter{
		Low:  hub.FirstID[hub.EventID](time.Now().Add(-time.Hour)),
		High: hub.FirstID[hub.EventID](time.Now().Add(time.Hour)),
	}
}

func events(t *testing.T, db *storetest.DB, owner hub.TenantID, n int) []hub.Event {
	t.Helper()
	all := make([]hub.Event, n)
	for i := range all {
		all[i] = hub.Event{
			Tenant: owner, ID: hub.NewID[hub.EventID](), Endpoint: hub.NewID[hub.EndpointID](), Provider: "stripe", Type: fmt.Sprintf("type.%d", i%2),
			ProviderID: fmt.Sprintf("p%d", i), ReceivedAt: time.Now().UTC().Truncate(time.Microsecond), Verified: true, Secret: hub.NewID[hub.SecretID](),
			Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(`{"n":1}`),
		}
	}
	if _, err := db.Pipeline.InsertEvents(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	return all
}

func work(t *testing.T, db *storetest.DB, owner hub.TenantID, e hub.EventID, o hub.Outcome, channels ...string) {
	t.Helper()
	o.Event = e
	unit := hub.Unit{Tenant: owner, Outcome: o}
	for _, c := range channels {
		unit.Messages = append(unit.Messages, hub.Message{ID: hub.NewID[hub.MessageID](), Channel: c, Type: "t", Data: []byte(`{}`)})
	}
	if _, err := db.Pipeline.Append(t.Context(), []hub.Unit{unit}); err != nil {
		t.Fatal(err)
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id, other := tenant(t, db, "acme"), tenant(t, db, "other")
	all := events(t, db, id, 5)
	events(t, db, other, 2)
	work(t, db, id, all[0].ID, hub.Outcome{State: hub.EventRouted, Routes: []hub.RouteOutcome{{Route: hub.NewID[hub.RouteID](), Messages: 2}}}, "a", "b")
	work(t, db, id, all[1].ID, hub.Outcome{State: hub.EventFailed, Error: "gave up"})
	work(t, db, id, all[2].ID, hub.Outcome{State: hub.EventRouted, Run: hub.NewID[hub.RunID]()}, "a") // a replay is not the first working

	tests := []struct {
		name   string
		change func(*store.EventFilter)
		want   []int
	}{
		{"all, the newest first", func(*store.EventFilter) {}, []int{4, 3, 2, 1, 0}},
		{"pending", func(f *store.EventFilter) { f.State = hub.EventPending }, []int{4, 3, 2}},
		{"routed", func(f *store.EventFilter) { f.State = hub.EventRouted }, []int{0}},
		{"failed", func(f *store.EventFilter) { f.State = hub.EventFailed }, []int{1}},
		{"type", func(f *store.EventFilter) { f.Type = "type.1" }, []int{3, 1}},
		{"provider", func(f *store.EventFilter) { f.Provider = "github" }, nil},
		{"provider id", func(f *store.EventFilter) { f.ProviderID = "p3" }, []int{3}},
		{"endpoint", func(f *store.EventFilter) { f.Endpoint = all[2].Endpoint }, []int{2}},
		{"below an id", func(f *store.EventFilter) { f.High = all[2].ID }, []int{1, 0}},
		{"from an id", func(f *store.EventFilter) { f.Low = all[2].ID }, []int{4, 3, 2}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			f := window()
			test.change(&f)
			page := read(t, db, id, func(ctx context.Context, tx *store.Tx) (store.EventPage, error) { return tx.Events(ctx, f, 10) })
			var got, want []hub.EventID
			for _, e := range page.Events {
				got = append(got, e.ID)
			}
			for _, i := range test.want {
				want = append(want, all[i].ID)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			if !page.Next.IsZero() {
				t.Errorf("next %s", page.Next)
			}
		})
	}
}

func TestEvents_Pages(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := tenant(t, db, "acme")
	all := events(t, db, id, 5)
	f := window()
	var seen []hub.EventID
	for pages := 1; ; pages++ {
		page := read(t, db, id, func(ctx context.Context, tx *store.Tx) (store.EventPage, error) { return tx.Events(ctx, f, 2) })
		for _, e := range page.Events {
			seen = append(seen, e.ID)
		}
		if page.Next.IsZero() {
			if pages != 3 {
				t.Errorf("%d pages", pages)
			}
			break
		}
		f.High = page.Next
	}
	want := []hub.EventID{all[4].ID, all[3].ID, all[2].ID, all[1].ID, all[0].ID}
	if diff := cmp.Diff(want, seen); diff != "" {
		t.Error(diff)
	}
}

func TestEvents_LooksAtSoManyAPage(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := tenant(t, db, "acme")
	wanted := events(t, db, id, 1)[0]
	db.Exec(t, `
		INSERT INTO tributary.events (tenant_id, id, endpoint_id, provider, type, provider_id, received_at, verified, cause, header, body)
		SELECT $1, (left(tributary.first_id(now() + interval '1 minute')::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, $1, 'github', 'push', '', now(), true, '', '', ''
		  FROM generate_series(1, 10500) n`, id)
	f := window()
	f.Provider = "stripe"
	page := read(t, db, id, func(ctx context.Context, tx *store.Tx) (store.EventPage, error) { return tx.Events(ctx, f, 10) })
	if len(page.Events) != 0 || page.Next.IsZero() {
		t.Fatalf("first page: %d events, next %q; want none yet, and a next", len(page.Events), page.Next)
	}
	f.High = page.Next
	page = read(t, db, id, func(ctx context.Context, tx *store.Tx) (store.EventPage, error) { return tx.Events(ctx, f, 10) })
	if len(page.Events) != 1 || page.Events[0].ID != wanted.ID || !page.Next.IsZero() {
		t.Errorf("second page: %+v", page)
	}
}

// An event that comes in while a page is read moves what the page has looked at. Whatever it does, no event is listed
// twice and none is left out.
func TestEvents_WhileOthersComeIn(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id := tenant(t, db, "acme")
	wanted := events(t, db, id, 3)
	db.Exec(t, `
		INSERT INTO tributary.events (tenant_id, id, endpoint_id, provider, type, provider_id, received_at, verified, cause, header, body)
		SELECT $1, (left(tributary.first_id(now() + interval '1 minute')::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, $1, 'github', 'push', '', now(), true, '', '', ''
		  FROM generate_series(1, $2::int) n`, id, store.ScanEvents-2) // the oldest of the three is one too many
	late := hub.FirstID[hub.EventID](time.Now().Add(2 * time.Minute))
	came := false
	traced := tracedStore(t, db, tracer{end: func(data pgx.TraceQueryEndData) {
		if came || data.CommandTag.String() != "SELECT 2" {
			return
		}
		came = true
		db.Exec(t, `
			INSERT INTO tributary.events (tenant_id, id, endpoint_id, provider, type, provider_id, received_at, verified, cause, header, body)
			VALUES ($1, $2, $1, 'github', 'push', '', now(), true, '', '', '')`, id, late)
	}})
	f := window()
	f.Provider = "stripe"
	var seen []hub.EventID
	for range 5 {
		var page store.EventPage
		err := traced.InTenant(t.Context(), id, func(tx *store.Tx) (err error) {
			page, err = tx.Events(t.Context(), f, 10)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Events {
			seen = append(seen, e.ID)
		}
		if page.Next.IsZero() {
			break
		}
		f.High = page.Next
	}
	if !came {
		t.Error("no event came in")
	}
	if diff := cmp.Diff([]hub.EventID{wanted[2].ID, wanted[1].ID, wanted[0].ID}, seen); diff != "" {
		t.Error(diff)
	}
}

func TestEvent_WithItsTrail(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	id, other := tenant(t, db, "acme"), tenant(t, db, "other")
	e := events(t, db, id, 1)[0]
	route := hub.NewID[hub.RouteID]()
	work(t, db, id, e.ID, hub.Outcome{State: hub.EventFailed, Routes: []hub.RouteOutcome{{Route: route, Messages: 1, Skipped: 2, Error: "no"}}}, "a")
	run := hub.NewID[hub.RunID]()
	work(t, db, id, e.ID, hub.Outcome{State: hub.EventRouted, Run: run}, "a", "b")

	got := read(t, db, id, func(ctx context.Context, tx *store.Tx) (hub.Event, error) { return tx.Event(ctx, e.ID, hub.EventID{}) })
	if diff := cmp.Diff(e, got); diff != "" {
		t.Error(diff)
	}
	outcomes := read(t, db, id, func(ctx context.Context, tx *store.Tx) ([]hub.Outcome, error) { return tx.Outcomes(ctx, e.ID) })
	if len(outcomes) != 2 || !outcomes[0].Run.IsZero() || outcomes[1].Run != run ||
		cmp.Diff([]hub.RouteOutcome{{Route: route, Messages: 1, Skipped: 2, Error: "no"}}, outcomes[0].Routes) != "" {
		t.Errorf("outcomes: %+v", outcomes)
	}
	since, until := outcomes[0].WorkedAt, outcomes[1].WorkedAt.Add(time.Hour)
	messages := read(t, db, id, func(ctx context.Context, tx *store.Tx) ([]hub.Logged, error) {
		return tx.EventMessages(ctx, e.ID, since, until, 10)
	})
	if len(messages) != 3 || messages[0].Position != 1 || messages[2].Channel != "b" || messages[2].Run != run || messages[2].Event != e.ID {
		t.Errorf("messages: %+v", messages)
	}

	_, err := tryRead(t, db, id, func(ctx context.Context, tx *store.Tx) (hub.Event, error) {
		return tx.Event(ctx, e.ID, hub.FirstID[hub.EventID](time.Now().Add(time.Minute)))
	})
	wantCode(t, err, hub.NotFound)
	_, err = tryRead(t, db, other, func(ctx context.Context, tx *store.Tx) (hub.Event, error) { return tx.Event(ctx, e.ID, hub.EventID{}) })
	wantCode(t, err, hub.NotFound)
	if o := read(t, db, other, func(ctx context.Context, tx *store.Tx) ([]hub.Outcome, error) { return tx.Outcomes(ctx, e.ID) }); len(o) != 0 {
		t.Errorf("the other tenant sees outcomes: %+v", o)
	}
	if m := read(t, db, other, func(ctx context.Context, tx *store.Tx) ([]hub.Logged, error) {
		return tx.EventMessages(ctx, e.ID, since, until, 10)
	}); len(m) != 0 {
		t.Errorf("the other tenant sees messages: %+v", m)
	}
}
