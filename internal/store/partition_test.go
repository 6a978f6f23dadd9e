package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// partitionNames are those that the pipeline lists, as kind and days from today.
func partitionNames(t *testing.T, db *storetest.DB) []string {
	t.Helper()
	found, err := db.Pipeline.Partitions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	names := make([]string, len(found))
	for i, p := range found {
		names[i] = fmt.Sprintf("%s %+d", p.Kind, int(p.Day.Sub(time.Now().UTC().Truncate(24*time.Hour)).Hours())/24)
	}
	return names
}

func TestMakePartitions(t *testing.T) {
	t.Parallel()
	db := storetest.New(t) // has those from yesterday until tomorrow
	now := time.Now().UTC()
	noon := now.Truncate(24 * time.Hour).Add(12 * time.Hour)
	late := time.Date(noon.Year(), noon.Month(), noon.Day(), 23, 30, 0, 0, time.FixedZone("", -5*60*60)) // of tomorrow in UTC
	for _, tt := range []struct {
		name        string
		from, until time.Time
		made        int
	}{
		{"those that are there", noon.AddDate(0, 0, -1), noon.AddDate(0, 0, 1), 0},
		{"the days ahead", noon, noon.AddDate(0, 0, 3), 6},
		{"again", noon, noon.AddDate(0, 0, 3), 0},
		{"the last day counts, however early in it", noon, noon.AddDate(0, 0, 4).Add(-11 * time.Hour), 3},
		{"days are those of UTC", late.AddDate(0, 0, 4), late.AddDate(0, 0, 4), 3},
		{"none", noon.AddDate(0, 0, 8), noon.AddDate(0, 0, 7), 0},
		{"one long ago", noon.AddDate(0, 0, -399), noon.AddDate(0, 0, -399), 3},
	} {
		if made, err := db.Pipeline.MakePartitions(t.Context(), tt.from, tt.until); made != tt.made || err != nil {
			t.Errorf("%s: made %d, %v; want %d", tt.name, made, err, tt.made)
		}
	}
	var want []string
	for _, day := range []int{-399, -1, 0, 1, 2, 3, 4, 5} {
		for _, kind := range []string{"events", "outcomes", "messages"} {
			want = append(want, fmt.Sprintf("%s %+d", kind, day))
		}
	}
	if diff := cmp.Diff(want, partitionNames(t, db)); diff != "" {
		t.Error(diff)
	}
}

// A new partition is confined as its parent is: row-level security on, nobody's to reach directly, and its bounds are
// those of the day in UTC, whatever the zone of whoever asked.
func TestMakePartitions_Confined(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	day := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 20)
	for _, kind := range []string{"events", "outcomes", "messages"} {
		db.Exec(t, `SELECT set_config('timezone', 'Pacific/Auckland', true), tributary.make_partition($1, $2)`, kind, day)
		name := kind + "_" + day.Format("20060102")
		type facts struct {
			RLS, Granted        bool
			Indexes, OfItsOwner int
		}
		var got facts
		err := db.Owner.QueryRow(t.Context(), `
			SELECT c.relrowsecurity, EXISTS (SELECT FROM aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) WHERE grantee <> c.relowner),
			       (SELECT count(*) FROM pg_index WHERE indrelid = c.oid) - (SELECT count(*) FROM pg_index WHERE indrelid = ('tributary.' || $2)::regclass),
			       (SELECT count(*) FROM pg_class parent WHERE parent.oid = ('tributary.' || $2)::regclass AND parent.relowner = c.relowner)
			  FROM pg_class c WHERE c.oid = ('tributary.' || $1)::regclass`, name, kind).Scan(&got.RLS, &got.Granted, &got.Indexes, &got.OfItsOwner)
		if diff := cmp.Diff(facts{RLS: true, OfItsOwner: 1}, got); diff != "" || err != nil {
			t.Errorf("%s: %s %v", kind, diff, err)
		}
		low, high := "'"+day.Format("2006-01-02")+" 00:00:00+00'", "'"+day.AddDate(0, 0, 1).Format("2006-01-02")+" 00:00:00+00'"
		if kind != "messages" {
			low, high = "'"+hub.FirstID[hub.EventID](day).UUID().String()+"'", "'"+hub.FirstID[hub.EventID](day.AddDate(0, 0, 1)).UUID().String()+"'"
		}
		bounds := storetest.Value[string](t, db, `
			SELECT pg_get_expr(relpartbound, oid) FROM set_config('timezone', 'UTC', true), pg_class WHERE oid = ('tributary.' || $1)::regclass`, name)
		if want := "FOR VALUES FROM (" + low + ") TO (" + high + ")"; bounds != want {
			t.Errorf("%s: %s, want %s", kind, bounds, want)
		}
	}
}

// What the owner's two functions refuse, and what is no fault.
func TestPartitions_Refused(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	days := func(n int) time.Time { return time.Now().UTC().AddDate(0, 0, n) }
	for name, call := range map[string]func(context.Context) (bool, error){
		"drop today's":     func(ctx context.Context) (bool, error) { return drop(ctx, db, "events", days(0)) },
		"drop yesterday's": func(ctx context.Context) (bool, error) { return drop(ctx, db, "messages", days(-1)) },
		"drop tomorrow's":  func(ctx context.Context) (bool, error) { return drop(ctx, db, "outcomes", days(1)) },
		"drop a table":     func(ctx context.Context) (bool, error) { return drop(ctx, db, "tenants", days(-9)) },
		"drop by a trick": func(ctx context.Context) (bool, error) {
			return drop(ctx, db, `x"; DROP TABLE tributary.epoch; --`, days(-9))
		},
		"make far ahead":     func(ctx context.Context) (bool, error) { return makeDay(ctx, db, days(32)) },
		"make long gone":     func(ctx context.Context) (bool, error) { return makeDay(ctx, db, days(-401)) },
		"make of the year 1": func(ctx context.Context) (bool, error) { return makeDay(ctx, db, time.Time{}) },
	} {
		did, err := call(t.Context())
		pgErr, ok := errors.AsType[*pgconn.PgError](err)
		if did || !ok || pgErr.Code != "22023" || store.IsBusy(err) || store.IsUnavailable(err) {
			t.Errorf("%s: %t, %v; want it refused", name, did, err)
		}
	}
	for _, day := range []time.Time{days(-2), days(-500), {}} {
		if did, err := drop(t.Context(), db, "events", day); did || err != nil {
			t.Errorf("dropped of %s, where there was none: %t, %v", day, did, err)
		}
	}
	for _, null := range []string{
		`SELECT tributary.make_partition(NULL, current_date)`, `SELECT tributary.make_partition('events', NULL)`,
		`SELECT tributary.drop_partition(NULL, current_date - 9)`, `SELECT tributary.drop_partition('events', NULL)`, `SELECT tributary.drop_partition('events', 'infinity')`,
	} {
		if _, err := db.Owner.Exec(t.Context(), null); err == nil {
			t.Errorf("%s passed", null)
		}
	}
	if n := len(partitionNames(t, db)); n != 9 {
		t.Errorf("%d partitions, want 9", n)
	}
}

func drop(ctx context.Context, db *storetest.DB, kind string, day time.Time) (bool, error) {
	return db.Pipeline.DropPartition(ctx, store.Partition{Kind: kind, Day: day})
}

func makeDay(ctx context.Context, db *storetest.DB, day time.Time) (bool, error) {
	made, err := db.Pipeline.MakePartitions(ctx, day, day)
	return made > 0, err
}

// With a day of messages goes its place in log_days, and whatever is older; other kinds leave the floor alone.
func TestDropPartition(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	one, two := db.Tenant(t), db.Tenant(t)
	partitions(t, db, 5)
	fill(t, db, one, 5, 10)
	fill(t, db, two, 3, 10)
	floors := func() (floors [2]hub.Position) {
		t.Helper()
		for i, tenant := range []hub.TenantID{one, two} {
			place, err := db.Pipeline.LogPlace(t.Context(), tenant, time.Time{})
			if err != nil {
				t.Fatal(err)
			}
			floors[i] = place.Floor
		}
		return floors
	}
	for _, tt := range []struct {
		kind   string
		day    int
		floors [2]hub.Position
	}{
		{"events", -4, [2]hub.Position{1, 1}},
		{"outcomes", -4, [2]hub.Position{1, 1}},
		{"messages", -3, [2]hub.Position{21, 1}}, // the day before is not dropped yet, and not shown any more
		{"messages", -4, [2]hub.Position{21, 1}},
		{"messages", -2, [2]hub.Position{31, 11}},
	} {
		day := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, tt.day).In(time.FixedZone("", -5*60*60)) // there it is the day before
		if dropped, err := drop(t.Context(), db, tt.kind, day); !dropped || err != nil {
			t.Errorf("%s %d: %t, %v", tt.kind, tt.day, dropped, err)
		}
		if got := floors(); got != tt.floors {
			t.Errorf("%s %d: floors %v, want %v", tt.kind, tt.day, got, tt.floors)
		}
		if dropped, err := drop(t.Context(), db, tt.kind, day); dropped || err != nil {
			t.Errorf("%s %d again: %t, %v", tt.kind, tt.day, dropped, err)
		}
	}
	if n := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.messages`); n != 20+20 {
		t.Errorf("%d messages are left", n)
	}
}

// A reader makes a drop busy, which holds up others for its lock timeout at most; making needs to wait for nobody.
func TestPartitions_BesideAReader(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	partitions(t, db, 5)
	fill(t, db, tenant, 5, 10)
	reader, err := db.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = reader.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := reader.Exec(t.Context(), `SELECT FROM tributary.messages`); err != nil {
		t.Fatal(err)
	}

	start := time.Now()
	if dropped, err := drop(t.Context(), db, "messages", start.AddDate(0, 0, -4)); dropped || !store.IsBusy(err) {
		t.Errorf("dropped beside a reader: %t, %v", dropped, err)
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("it waited %s for the reader", took)
	}
	if place, err := db.Pipeline.LogPlace(t.Context(), tenant, time.Time{}); place.Floor != 1 || err != nil {
		t.Errorf("floor %d, %v: raised although nothing was dropped", place.Floor, err)
	}
	if made, err := db.Pipeline.MakePartitions(t.Context(), start.AddDate(0, 0, 7), start.AddDate(0, 0, 7)); made != 3 || err != nil {
		t.Errorf("made %d beside a reader, %v", made, err)
	}
	appendAll(t, db, unit(tenant, hub.EventID{}, hub.RunID{}, "a"))

	if err := reader.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if dropped, err := drop(t.Context(), db, "messages", start.AddDate(0, 0, -4)); !dropped || err != nil {
		t.Errorf("dropped without the reader: %t, %v", dropped, err)
	}
}

// Days are dropped while replays read them and messages are appended: a replay is whole, or says by its floor that
// something is gone.
func TestDropPartition_UnderLoad(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	const days, perDay = 40, 25
	tenant := db.Tenant(t)
	partitions(t, db, days)
	fill(t, db, tenant, days, perDay)

	var replays, raised, broken, appended atomic.Int64
	done, tick := make(chan struct{}), make(chan struct{}) // a tick is a replay that was read
	var load sync.WaitGroup
	for reader := range 3 {
		load.Go(func() {
			for after, n := hub.Position(0), 0; ; n++ {
				var channels []string
				if reader > 0 {
					channels = []string{"c:0", fmt.Sprintf("c:%d", reader)}
				}
				read, err := db.Pipeline.ReadLog(t.Context(), store.Replay{Tenant: tenant, Channels: channels, After: after, Page: plenty}, time.Now())
				if err != nil {
					t.Error(err)
					return
				}
				replays.Add(1)
				switch {
				case read.Floor > after+1:
					raised.Add(1)
				case !slices.Equal(positions(read.Messages), wanted(after, read.Through, channels)):
					broken.Add(1)
				}
				after = read.Floor - 1 + hub.Position(n%3*perDay/2) // the day that goes next, or a little later
				select {
				case <-done:
					return
				case tick <- struct{}{}:
				default:
				}
			}
		})
	}
	load.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			if _, err := db.Pipeline.Append(t.Context(), []hub.Unit{{Tenant: tenant, Messages: []hub.Message{message("c:0", "x"), message("c:1", "x"), message("c:2", "x"), message("c:3", "x"), message("c:4", "x")}}}); err != nil {
				t.Error(err)
				return
			}
			appended.Add(1)
		}
	})

	busy := 0
	for day := days - 1; day >= 2; day-- {
		for range 2 {
			<-tick
		}
		for {
			_, err := drop(t.Context(), db, "messages", time.Now().AddDate(0, 0, -day))
			if err == nil {
				break
			}
			if !store.IsBusy(err) {
				t.Fatal(err)
			}
			busy++
		}
	}
	close(done)
	load.Wait()
	t.Logf("%d drops (busy %d times) beside %d replays and %d appends: told a higher floor %d, neither whole nor told %d",
		days-2, busy, replays.Load(), appended.Load(), raised.Load(), broken.Load())
	if broken.Load() != 0 {
		t.Error("a replay was neither whole nor told a higher floor")
	}
	if raised.Load() == 0 || raised.Load() == replays.Load() || appended.Load() == 0 {
		t.Error("drops and replays did not meet")
	}
}

// wanted are the positions after a cursor that are of the channels, which take turns in fill and in what is appended.
func wanted(after, through hub.Position, channels []string) []hub.Position {
	var all []hub.Position
	for p := after + 1; p <= through; p++ {
		if channels == nil || slices.Contains(channels, fmt.Sprintf("c:%d", (p-1)%5)) {
			all = append(all, p)
		}
	}
	return all
}

// A day without a partition takes nothing in, and says so as a fault of ours.
func TestPartitions_RunOut(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Exec(t, `DO $$ DECLARE name text; BEGIN
		FOR name IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'tributary.messages'::regclass LOOP EXECUTE 'DROP TABLE ' || name; END LOOP; END $$`)
	tenant := db.Tenant(t)
	_, err := db.Pipeline.Append(t.Context(), []hub.Unit{unit(tenant, hub.EventID{}, hub.RunID{}, "a")})
	if hub.CodeOf(err) != hub.Internal || !strings.Contains(err.Error(), "no partition") {
		t.Errorf("append: %v", err)
	}
	if n := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.log_heads`); n != 0 {
		t.Error("a position was taken for nothing")
	}
}
