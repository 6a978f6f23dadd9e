package store_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// message makes a message whose data is the JSON string of text.
func message(channel, text string) hub.Message {
	return hub.Message{ID: hub.NewID[hub.MessageID](), Channel: channel, Type: "test", Data: fmt.Appendf(nil, "%q", text)}
}

// unit makes one caller's unit; its messages say their data in one letter each. The zero event is a publish request.
func unit(tenant hub.TenantID, event hub.EventID, run hub.RunID, letters string) hub.Unit {
	u := hub.Unit{Tenant: tenant, Outcome: hub.Outcome{Event: event, Run: run, State: hub.EventUnmatched}}
	for _, letter := range letters {
		u.Outcome.State = hub.EventRouted
		u.Messages = append(u.Messages, message("c:1", string(letter)))
	}
	return u
}

func appendAll(t testing.TB, db *storetest.DB, units ...hub.Unit) []hub.Placed {
	t.Helper()
	placed, err := db.Pipeline.Append(t.Context(), units)
	if err != nil {
		t.Fatalf("append: %v", err)
	}
	return placed
}

// logOf is a tenant's log as text: the letters of its messages, in the order of positions, which it checks.
func logOf(t testing.TB, db *storetest.DB, tenant hub.TenantID) string {
	t.Helper()
	type row struct {
		Position int64
		Data     []byte
	}
	rows, _ := db.Owner.Query(t.Context(), `SELECT position, data FROM tributary.messages WHERE tenant_id = $1 ORDER BY position`, tenant)
	messages, err := pgx.CollectRows(rows, pgx.RowToStructByPos[row])
	if err != nil {
		t.Fatal(err)
	}
	var log string
	for i, m := range messages {
		if m.Position != int64(i+1) {
			t.Errorf("position %d stands at place %d", m.Position, i+1)
		}
		var text string
		if err := json.Unmarshal(m.Data, &text); err != nil {
			t.Fatal(err)
		}
		log += text
	}
	return log
}

// A working passes the gate once, whatever else is in its flush; a replay is a working of its own; what is published
// has no gate.
func TestAppend_Gate(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tests := []struct {
		name    string
		flushes string // "|" between flushes, blanks between units: event, "." run if it is a replay, ":" letters; p: published
		want    string // of each unit its positions, "-" where it has none, "no" where it did not pass
		log     string
	}{
		{"a working passes", "1:ab", "1-2", "ab"},
		{"and not again", "1:ab | 1:xy", "1-2 | no", "ab"},
		{"nor again beside others", "1:a | 2:bc 1:x 3:d", "1-1 | 2-3 no 4-4", "abcd"},
		{"twice in a flush: the first counts", "1:ab 1:xyz", "1-2 no", "ab"},
		{"three times, the first without messages", "1: 1:x 1:y", "- no no", ""},
		{"a replay passes, once", "1:a | 1.1:b | 1.1:x", "1-1 | 2-2 | no", "ab"},
		{"before the first working too", "1.1:a | 1:b | 1.1:x", "1-1 | 2-2 | no", "ab"},
		{"two replays beside the first working", "1.2:a 1:b 1.1:c 1.2:x", "1-1 2-2 3-3 no", "abc"},
		{"published always passes", "p:a p:a | p:a", "1-1 2-2 | 3-3", "aaa"},
		{"published among workings", "1:a p:b 2: p:cd 1:x p:e", "1-1 2-2 - 3-4 no 5-5", "abcde"},
		{"without messages", "1: 2: p: | 1:x", "- - - | no", ""},
		{"all refused", "1:a 2:b | 2:x 1:y", "1-1 2-2 | no no", "ab"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tenant := db.Tenant(t)
			names := naming{}
			var got []string
			for _, flush := range fields(tt.flushes, "|") {
				var units []hub.Unit
				for _, text := range fields(flush, " ") {
					units = append(units, names.unit(t, tenant, text))
				}
				got = append(got, placesOf(appendAll(t, db, units...)))
			}
			if diff := cmp.Diff(fields(tt.want, "|"), got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(tt.log, logOf(t, db, tenant)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The gate's key has the tenant in it: an id is one event for each of them.
func TestAppend_SameEventOfTwoTenants(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	one, two, event := db.Tenant(t), db.Tenant(t), hub.NewID[hub.EventID]()
	placed := appendAll(t, db, unit(one, event, hub.RunID{}, "a"), unit(two, event, hub.RunID{}, "b"), unit(two, event, hub.RunID{}, "c"))
	if diff := cmp.Diff("1-1 1-1 no", placesOf(placed)); diff != "" {
		t.Error(diff)
	}
	if a, b := logOf(t, db, one), logOf(t, db, two); a != "a" || b != "b" {
		t.Errorf("logs %q and %q", a, b)
	}
}

func TestAppend_Nothing(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	for _, units := range [][]hub.Unit{nil, {}} {
		placed, err := db.Pipeline.Append(t.Context(), units)
		if err != nil || len(placed) != 0 {
			t.Errorf("%+v, %v", placed, err)
		}
	}
}

// What is recorded of a working, and where its messages say they come from.
func TestAppend_Rows(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant, event, run, route := db.Tenant(t), hub.NewID[hub.EventID](), hub.NewID[hub.RunID](), hub.NewID[hub.RouteID]()
	worked := hub.Unit{Tenant: tenant, Outcome: hub.Outcome{
		Event: event, Run: run, State: hub.EventFailed, Error: "no such field: amount",
		Routes: []hub.RouteOutcome{{Route: route, Messages: 1, Skipped: 2, Error: "no such field: amount"}},
	}, Messages: []hub.Message{{
		ID: hub.NewID[hub.MessageID](), Channel: "order:Ä", Type: "paid", Key: "k", Version: hub.Version{Text: new("v1")}, Data: []byte(`{"a":"\u0000"}`),
	}}}
	published := hub.Unit{Tenant: tenant, Messages: []hub.Message{{
		ID: hub.NewID[hub.MessageID](), Channel: "order:2", Type: "sent", Version: hub.Version{Number: new(int64(-7))}, Data: []byte{0, 0xff},
	}}}
	placed := appendAll(t, db, worked, published)
	if !placed[0].At.Equal(placed[1].At) || time.Since(placed[0].At).Abs() > time.Minute {
		t.Errorf("placed at %s and %s", placed[0].At, placed[1].At)
	}

	read, err := db.Pipeline.ReadLog(t.Context(), store.Replay{Tenant: tenant, Page: plenty}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	want := []hub.Logged{
		{Message: worked.Messages[0], Position: 1, At: placed[0].At, Event: event, Run: run},
		{Message: published.Messages[0], Position: 2, At: placed[1].At},
	}
	if diff := cmp.Diff(want, read.Messages); diff != "" {
		t.Error(diff)
	}
	if at := storetest.Value[time.Time](t, db, `SELECT worked_at FROM tributary.outcomes`); time.Since(at).Abs() > time.Minute {
		t.Errorf("worked at %s", at)
	}
	outcomes := storetest.Values[string](t, db, `SELECT concat_ws('|', tenant_id, event_id, run, state, error, routes) FROM tributary.outcomes`)
	wantOutcome := fmt.Sprintf(`%s|%s|%s|failed|no such field: amount|[{"error": "no such field: amount", "route": "%s", "skipped": 2, "messages": 1}]`,
		tenant.UUID(), event.UUID(), run.UUID(), route)
	if diff := cmp.Diff([]string{wantOutcome}, outcomes); diff != "" {
		t.Error(diff)
	}
}

// A poisoned unit fails its flush whole; its neighbours pass when they are tried without it.
func TestAppend_Poisoned(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	good, bad := unit(tenant, hub.NewID[hub.EventID](), hub.RunID{}, "ab"), unit(tenant, hub.NewID[hub.EventID](), hub.RunID{}, "x")
	bad.Messages[0].Channel = "nul\x00byte"
	for _, units := range [][]hub.Unit{{good, bad}, {bad}} {
		if _, err := db.Pipeline.Append(t.Context(), units); err == nil || store.IsUnavailable(err) {
			t.Errorf("append of %d units: %v; want an error that another try will not mend", len(units), err)
		}
	}
	if diff := cmp.Diff("1-2", placesOf(appendAll(t, db, good))); diff != "" {
		t.Error(diff)
	}
}

// 100 tenants in a flush, their units in any order: each tenant's messages are contiguous and in its units' order.
func TestAppend_ManyTenants(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenants := manyTenants(t, db, 100)
	want := make(map[hub.TenantID]string)
	var units []hub.Unit
	for flush := range 3 {
		units = units[:0]
		for i := range 400 {
			tenant := tenants[rand.IntN(len(tenants))]
			letters := string(rune('a'+i%26)) + string(rune('A'+flush))
			want[tenant] += letters
			units = append(units, unit(tenant, hub.NewID[hub.EventID](), hub.RunID{}, letters))
		}
		for i, p := range appendAll(t, db, units...) {
			if !p.Passed || p.Last != p.First+1 || p.At.IsZero() {
				t.Fatalf("unit %d: %+v", i, p)
			}
		}
	}
	for _, tenant := range tenants {
		if diff := cmp.Diff(want[tenant], logOf(t, db, tenant)); diff != "" {
			t.Errorf("tenant %s: %s", tenant, diff)
		}
	}
}

// A tenant that is gone fails its own units alone, and leaves nothing.
func TestAppend_TenantIsGone(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	gone := hub.NewID[hub.TenantID]()
	_, err := db.Pipeline.Append(t.Context(), []hub.Unit{unit(gone, hub.NewID[hub.EventID](), hub.RunID{}, "a")})
	if err == nil || store.IsUnavailable(err) {
		t.Errorf("append: %v", err)
	}
	if n := storetest.Value[int](t, db, `SELECT (SELECT count(*) FROM tributary.messages) + (SELECT count(*) FROM tributary.log_heads)`); n != 0 {
		t.Errorf("%d rows", n)
	}
}

// The first message of a day opens it in log_days, in whichever unit it is; at never goes back, even where the clock
// did.
func TestAppend_Days(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant, other := db.Tenant(t), db.Tenant(t)
	days := func(of hub.TenantID) []string {
		return storetest.Values[string](t, db, `
			SELECT first_position || (CASE day WHEN (now() AT TIME ZONE 'UTC')::date THEN ' today' ELSE ' before' END) ||
			       (CASE WHEN at = (SELECT at FROM tributary.messages m WHERE m.tenant_id = d.tenant_id AND position = first_position) THEN '' ELSE ' at' END)
			  FROM tributary.log_days d WHERE tenant_id = $1 ORDER BY first_position`, of)
	}
	publish := func(of hub.TenantID, letters string) hub.Placed {
		return appendAll(t, db, unit(of, hub.EventID{}, hub.RunID{}, letters))[0]
	}
	publish(tenant, "abc")
	publish(tenant, "d")
	if diff := cmp.Diff([]string{"1 today"}, days(tenant)); diff != "" {
		t.Errorf("on the first day: %s", diff)
	}

	// As if all of it were yesterday's.
	db.Exec(t, `UPDATE tributary.messages SET at = at - interval '1 day' WHERE tenant_id = $1`, tenant)
	db.Exec(t, `UPDATE tributary.log_days SET at = at - interval '1 day', day = day - 1 WHERE tenant_id = $1`, tenant)
	db.Exec(t, `UPDATE tributary.log_heads SET at = at - interval '1 day' WHERE tenant_id = $1`, tenant)
	placed := appendAll(t, db,
		unit(other, hub.EventID{}, hub.RunID{}, "xy"),
		unit(tenant, hub.EventID{}, hub.RunID{}, ""),
		unit(tenant, hub.EventID{}, hub.RunID{}, "ef"),
		unit(tenant, hub.EventID{}, hub.RunID{}, "g"))
	if diff := cmp.Diff("1-2 - 5-6 7-7", placesOf(placed)); diff != "" {
		t.Error(diff)
	}
	publish(tenant, "h")
	if diff := cmp.Diff([]string{"1 before", "5 today"}, days(tenant)); diff != "" {
		t.Errorf("on the second day: %s", diff)
	}
	if diff := cmp.Diff([]string{"1 today"}, days(other)); diff != "" {
		t.Errorf("of the other: %s", diff)
	}

	// As if the clock had been an hour ahead.
	db.Exec(t, `UPDATE tributary.log_heads SET at = at + interval '1 hour' WHERE tenant_id = $1`, other)
	ahead := storetest.Value[time.Time](t, db, `SELECT at FROM tributary.log_heads WHERE tenant_id = $1`, other)
	if at := publish(other, "z").At; !at.Equal(ahead) {
		t.Errorf("at %s after %s", at, ahead)
	}
	if log := logOf(t, db, tenant); log != "abcdefgh" {
		t.Errorf("log %q", log)
	}
}

// One NOTIFY for a flush: the heads that it moved, all of them or *.
func TestAppend_Wake(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	next := listen(t, db)
	for _, tt := range []struct {
		tenants, long int  // a pair is of 36 + 2 bytes, a long one has a position of one digit more; commas between
		all           bool // what is woken has no room in a payload
	}{
		{1, 0, false},
		{100, 100, false},
		{205, 0, false}, // 7994 bytes
		{205, 5, false}, // 7999: the most that Postgres takes
		{205, 6, true},
		{206, 0, true},
		{1000, 0, true},
	} {
		want := backplane.Wake{All: tt.all}
		var units []hub.Unit
		for i, tenant := range manyTenants(t, db, tt.tenants) {
			letters := "ab"
			if i < tt.long {
				letters = "abcdefghij"
			}
			units = append(units, unit(tenant, hub.NewID[hub.EventID](), hub.RunID{}, letters))
			if !tt.all {
				want.Heads = append(want.Heads, backplane.Head{Tenant: tenant, Position: hub.Position(len(letters))})
			}
		}
		appendAll(t, db, units...)
		if diff := cmp.Diff(want, next(), sortHeads()); diff != "" {
			t.Errorf("%d tenants: %s", tt.tenants, diff)
		}
	}
}

// A flush that moves no head wakes nobody.
func TestAppend_WakesOnlyWhatMoved(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenants := manyTenants(t, db, 4)
	next := listen(t, db)
	worked, silent := unit(tenants[0], hub.NewID[hub.EventID](), hub.RunID{}, "a"), unit(tenants[1], hub.NewID[hub.EventID](), hub.RunID{}, "")
	appendAll(t, db, worked)
	appendAll(t, db, worked, silent)
	appendAll(t, db, worked, silent, unit(tenants[2], hub.EventID{}, hub.RunID{}, ""), unit(tenants[3], hub.EventID{}, hub.RunID{}, "xyz"))
	for _, want := range []backplane.Wake{
		{Heads: []backplane.Head{{Tenant: tenants[0], Position: 1}}},
		{Heads: []backplane.Head{{Tenant: tenants[3], Position: 3}}},
	} {
		if diff := cmp.Diff(want, next()); diff != "" {
			t.Error(diff)
		}
	}
}
