package store_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// plenty is a page that holds everything.
var plenty = store.Page{Messages: 1000, Bytes: 1 << 20}

func TestReadLog(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := logTenant(t, db)
	for i := range 12 {
		appendTo(t, db, tenant, fmt.Sprintf("c:%d", i%3), strings.Repeat("x", 98))
	}
	tests := []struct {
		name     string
		after    hub.Position
		channels []string
		page     store.Page
		want     []hub.Position
		through  hub.Position
	}{
		{"all", 0, nil, plenty, span(1, 12), 12},
		{"from a cursor", 7, nil, plenty, span(8, 12), 12},
		{"from the head", 12, nil, plenty, nil, 12},
		{"a page of all", 4, nil, store.Page{Messages: 3, Bytes: 1 << 20}, span(5, 7), 7},
		{"the last page, full", 9, nil, store.Page{Messages: 3, Bytes: 1 << 20}, span(10, 12), 12},
		{"cut by bytes", 4, nil, store.Page{Messages: 10, Bytes: 201}, span(5, 7), 7},
		{"cut at the byte", 4, nil, store.Page{Messages: 10, Bytes: 200}, span(5, 6), 6},
		{"one at least", 4, nil, store.Page{Messages: 10, Bytes: 1}, span(5, 5), 5},
		{"one channel", 0, []string{"c:1"}, plenty, []hub.Position{2, 5, 8, 11}, 12},
		{"two channels", 5, []string{"c:0", "c:2"}, plenty, []hub.Position{6, 7, 9, 10, 12}, 12},
		{"a page of two channels", 0, []string{"c:0", "c:2"}, store.Page{Messages: 3, Bytes: 1 << 20}, []hub.Position{1, 3, 4}, 4},
		{"two channels cut by bytes", 0, []string{"c:0", "c:2"}, store.Page{Messages: 10, Bytes: 101}, []hub.Position{1, 3}, 3},
		{"a channel without messages", 3, []string{"c:9"}, plenty, nil, 12},
		{"no channel", 3, []string{}, plenty, nil, 12},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			replay := store.Replay{Tenant: tenant, Channels: tt.channels, After: tt.after, Page: tt.page}
			read, err := db.Pipeline.ReadLog(t.Context(), replay, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, positions(read.Messages)); diff != "" {
				t.Error(diff)
			}
			if read.Through != tt.through || read.Head != 12 || read.Floor != 1 {
				t.Errorf("through %d, head %d, floor %d; want %d, 12, 1", read.Through, read.Head, read.Floor, tt.through)
			}
		})
	}
}

// A read of prefixes looks at every message, and says how far it came and what is missing there.
func TestReadLog_Prefixes(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	whole, holed := logTenant(t, db), logTenant(t, db)
	partitions(t, db, 3)
	for _, tenant := range []hub.TenantID{whole, holed} {
		fill(t, db, tenant, 3, 10) // channels c:0 to c:4 in turn
	}
	db.Exec(t, `UPDATE tributary.messages SET data = convert_to(repeat('x', 100), 'UTF8')`)
	db.Exec(t, `DELETE FROM tributary.messages WHERE tenant_id = $1 AND position IN (1, 11, 12, 30)`, holed)
	tests := []struct {
		name          string
		tenant        hub.TenantID
		after         hub.Position
		names         []string
		prefixes      []string
		look          int
		page          store.Page
		want          []hub.Position
		through, hole hub.Position
	}{
		{"some", whole, 0, []string{}, []string{"c:4"}, 100, plenty, []hub.Position{5, 10, 15, 20, 25, 30}, 30, 0},
		{"every one", whole, 22, nil, []string{"c:"}, 100, plenty, span(23, 30), 30, 0},
		{"names too", whole, 20, []string{"c:0", "c"}, []string{"d:", "c:4"}, 100, plenty, []hub.Position{21, 25, 26, 30}, 30, 0},
		{"none", whole, 3, []string{}, []string{"d:"}, 100, plenty, nil, 30, 0},
		{"none, as far as it looks", whole, 3, []string{}, []string{"d:"}, 9, plenty, nil, 12, 0},
		{"some, as far as it looks", whole, 3, []string{}, []string{"c:4"}, 9, plenty, []hub.Position{5, 10}, 12, 0},
		{"it looks as far as the head", whole, 3, []string{}, []string{"c:4"}, 27, plenty, []hub.Position{5, 10, 15, 20, 25, 30}, 30, 0},
		{"from the head", whole, 30, []string{}, []string{"c:"}, 100, plenty, nil, 30, 0},
		{"from behind the head", whole, 31, []string{}, []string{"c:"}, 100, plenty, nil, 31, 0},
		{"a page", whole, 6, []string{}, []string{"c:4"}, 100, store.Page{Messages: 2, Bytes: 1 << 20}, []hub.Position{10, 15}, 15, 0},
		{"cut by bytes", whole, 6, []string{}, []string{"c:4"}, 100, store.Page{Messages: 10, Bytes: 101}, []hub.Position{10, 15}, 15, 0},
		{"one at least", whole, 6, []string{}, []string{"c:4"}, 100, store.Page{Messages: 10, Bytes: 1}, []hub.Position{10}, 10, 0},
		{"the first is missing", holed, 0, []string{}, []string{"c:4"}, 100, plenty, nil, 0, 1},
		{"others' are missing", holed, 1, []string{}, []string{"c:4"}, 100, plenty, []hub.Position{5, 10}, 10, 12},
		{"all are its own, some are missing", holed, 8, []string{}, []string{"c:"}, 100, plenty, span(9, 10), 10, 12},
		{"behind a page some are missing", holed, 1, []string{}, []string{"c:4"}, 100, store.Page{Messages: 1, Bytes: 1 << 20}, []hub.Position{5}, 5, 0},
		{"as far as it looks nothing is missing", holed, 1, []string{}, []string{"c:4"}, 9, plenty, []hub.Position{5, 10}, 10, 0},
		{"in the middle of what is missing", holed, 11, []string{}, []string{"d:"}, 100, plenty, nil, 11, 12},
		{"the head is missing", holed, 12, []string{}, []string{"d:"}, 100, plenty, nil, 29, 0},
		{"nothing but the head, and that is missing", holed, 29, []string{}, []string{"d:"}, 100, plenty, nil, 29, 30},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			replay := store.Replay{Tenant: tt.tenant, Channels: tt.names, Prefixes: tt.prefixes, Look: tt.look, After: tt.after, Page: tt.page}
			read, err := db.Pipeline.ReadLog(t.Context(), replay, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, positions(read.Messages)); diff != "" {
				t.Error(diff)
			}
			if read.Through != tt.through || read.Hole != tt.hole || read.Head != 30 || read.Floor != 1 {
				t.Errorf("through %d, hole %d, head %d, floor %d; want %d, %d, 30, 1", read.Through, read.Hole, read.Head, read.Floor, tt.through, tt.hole)
			}
			for _, m := range read.Messages {
				if len(m.Data) != 100 {
					t.Errorf("message %d has data %q", m.Position, m.Data)
				}
			}
		})
	}
}

func TestReadTails(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	full, empty, fresh := logTenant(t, db), logTenant(t, db), logTenant(t, db)
	partitions(t, db, 10)
	fill(t, db, full, 10, 3)
	appendTo(t, db, fresh, "c:1", "1")
	now := time.Now()
	page := store.Page{Messages: 5, Bytes: 1 << 20}

	t.Run("each from its own place", func(t *testing.T) {
		t.Parallel()
		reads, err := db.Pipeline.ReadTails(t.Context(), []store.Tail{
			{Tenant: full, After: 28, Since: now.AddDate(0, 0, -2)},
			{Tenant: empty, Since: now},
			{Tenant: full, After: 20, Since: now.AddDate(0, 0, -9)},
			{Tenant: fresh, Since: now.AddDate(0, 0, -1)},
			{Tenant: full, After: 30, Since: now},
		}, page, now)
		if err != nil {
			t.Fatal(err)
		}
		type answer struct {
			Positions            []hub.Position
			Head, Floor, Through hub.Position
		}
		var got []answer
		for _, r := range reads {
			got = append(got, answer{positions(r.Messages), r.Head, r.Floor, r.Through})
		}
		want := []answer{
			{span(29, 30), 30, 1, 30},
			{nil, 0, 1, 0},
			{span(21, 25), 30, 1, 25},
			{span(1, 1), 1, 1, 1},
			{nil, 30, 1, 30},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})

	t.Run("the head's time bounds the next read", func(t *testing.T) {
		t.Parallel()
		read, err := db.Pipeline.ReadTails(t.Context(), []store.Tail{{Tenant: fresh, After: 1, Since: now}, {Tenant: empty, Since: now}}, page, now)
		if err != nil {
			t.Fatal(err)
		}
		at := storetest.Value[time.Time](t, db, `SELECT at FROM tributary.messages WHERE tenant_id = $1`, fresh)
		if !read[0].At.Equal(at) {
			t.Errorf("head at %s, its message %s", read[0].At, at)
		}
		if age := now.Sub(read[1].At); age < 20*time.Hour || age > 28*time.Hour {
			t.Errorf("an empty log's head is of %s ago", age)
		}
	})

	t.Run("the floor is that of the days that are shown", func(t *testing.T) {
		t.Parallel()
		oldest := now.AddDate(0, 0, -2)
		reads, err := db.Pipeline.ReadTails(t.Context(), []store.Tail{{Tenant: full, After: 30, Since: now, Oldest: oldest}, {Tenant: fresh, Oldest: now.AddDate(0, 0, 1)}}, page, now)
		if err != nil {
			t.Fatal(err)
		}
		if reads[0].Floor != 22 || reads[1].Floor != 2 {
			t.Errorf("floors %d and %d, want 22 and 2", reads[0].Floor, reads[1].Floor)
		}
		place, err := db.Pipeline.LogPlace(t.Context(), full, oldest)
		if err != nil || place != reads[0].Place {
			t.Errorf("place %+v, %v; the read says %+v", place, err, reads[0].Place)
		}
		heads, err := db.Pipeline.LogHeads(t.Context(), []hub.TenantID{fresh, empty, full})
		if diff := cmp.Diff([]hub.Position{1, 0, 30}, heads); diff != "" || err != nil {
			t.Error(diff, err)
		}
	})
}

// A dropped day raises the floor, and a read that began below it says so.
func TestReadLog_DroppedDay(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := logTenant(t, db)
	partitions(t, db, 5)
	fill(t, db, tenant, 5, 4)
	day := time.Now().AddDate(0, 0, -4)
	if dropped, err := db.Pipeline.DropPartition(t.Context(), store.Partition{Kind: "messages", Day: day}); err != nil || !dropped {
		t.Fatal(dropped, err)
	}
	for _, channels := range [][]string{nil, {"c:0", "c:1", "c:2", "c:3", "c:4"}} {
		for after, want := range map[hub.Position][]hub.Position{4: span(5, 20), 15: span(16, 20)} {
			read, err := db.Pipeline.ReadLog(t.Context(), store.Replay{Tenant: tenant, Channels: channels, After: after, Page: plenty}, time.Now())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, positions(read.Messages)); diff != "" || read.Floor != 5 || read.Through != 20 {
				t.Errorf("floor %d, through %d, %s", read.Floor, read.Through, diff)
			}
		}
		read, err := db.Pipeline.ReadLog(t.Context(), store.Replay{Tenant: tenant, Channels: channels, After: 3, Page: plenty}, time.Now())
		if err != nil || read.Floor != 5 {
			t.Errorf("below the floor: floor %d, %v", read.Floor, err)
		}
	}
}

func TestPositionBefore(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant, empty := logTenant(t, db), logTenant(t, db)
	partitions(t, db, 7)
	fill(t, db, tenant, 7, 40)
	ats := storetest.Values[time.Time](t, db, `SELECT at FROM tributary.messages WHERE tenant_id = $1 ORDER BY position`, tenant)
	head := hub.Position(len(ats))
	first, last := ats[0], ats[len(ats)-1]

	rapid.Check(t, func(r *rapid.T) {
		at := first.Add(-time.Hour).Add(time.Duration(rapid.Int64Range(0, int64(last.Sub(first)+2*time.Hour)).Draw(r, "offset")))
		if rapid.Bool().Draw(r, "exact") {
			at = rapid.SampledFrom(ats).Draw(r, "at")
		}
		at = at.Truncate(time.Microsecond)
		place := store.Place{Head: head, Floor: hub.Position(rapid.Int64Range(1, int64(head)+1).Draw(r, "floor"))}
		want := hub.Position(slices.IndexFunc(ats, func(a time.Time) bool { return !a.Before(at) }))
		if want < 0 {
			want = head
		}
		want = max(want, place.Floor-1)
		got, err := db.Pipeline.PositionBefore(t.Context(), tenant, at, place)
		if err != nil || got != want {
			r.Fatalf("%d, %v; want %d", got, err, want)
		}
	})
	got, err := db.Pipeline.PositionBefore(t.Context(), empty, first, store.Place{Head: 0, Floor: 1})
	if got != 0 || err != nil {
		t.Errorf("in an empty log: %d, %v", got, err)
	}
}

func TestLastPositions(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := logTenant(t, db)
	partitions(t, db, 4)
	fill(t, db, tenant, 4, 10) // channels c:0 to c:4 in turn
	tests := []struct {
		name     string
		channels []string
		n        int
		place    store.Place
		want     []hub.Position
	}{
		{"one channel", []string{"c:0"}, 2, store.Place{Head: 40, Floor: 1}, []hub.Position{36, 31}},
		{"two channels", []string{"c:0", "c:1"}, 3, store.Place{Head: 40, Floor: 1}, []hub.Position{37, 36, 32}},
		{"as the head was", []string{"c:0"}, 2, store.Place{Head: 33, Floor: 1}, []hub.Position{31, 26}},
		{"only what is shown", []string{"c:0"}, 5, store.Place{Head: 40, Floor: 31}, []hub.Position{36, 31}},
		{"none", []string{"c:9"}, 5, store.Place{Head: 40, Floor: 1}, []hub.Position{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := db.Pipeline.LastPositions(t.Context(), tenant, tt.channels, tt.n, tt.place, time.Now())
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Error(diff, err)
			}
		})
	}

	for _, tt := range []struct {
		name               string
		channels, prefixes []string
		n                  int
		place              store.Place
		want               []hub.Position
	}{
		{"of a prefix", nil, []string{"c:"}, 3, store.Place{Head: 39, Floor: 1}, []hub.Position{39, 38, 37}},
		{"of a name and a prefix", []string{"c:0"}, []string{"c:4", "d:"}, 3, store.Place{Head: 40, Floor: 1}, []hub.Position{40, 36, 35}},
		{"of a prefix as far as it may look", []string{}, []string{"c:4"}, 3, store.Place{Head: 39, Floor: 30}, []hub.Position{35, 30}},
		{"of a prefix of none", []string{}, []string{"d:"}, 3, store.Place{Head: 40, Floor: 1}, []hub.Position{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := db.Pipeline.LastMatching(t.Context(), tenant, tt.channels, tt.prefixes, tt.n, tt.place, time.Now())
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Error(diff, err)
			}
		})
	}
}

func TestChannelsWith(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := logTenant(t, db)
	partitions(t, db, 3)
	fill(t, db, tenant, 3, 5) // channels c:0 to c:4 in turn
	fill(t, db, logTenant(t, db), 3, 50)
	db.Exec(t, `UPDATE tributary.messages SET channel = (ARRAY['a', 'c', 'c:~:1', 'c;1', 'cc:1', 'c:0:x'])[position] WHERE tenant_id = $1 AND position <= 6`, tenant)
	for _, tt := range []struct {
		name, prefix string
		n            int
		floor        hub.Position
		want         []string
	}{
		{"of several days", "c:", 10, 1, []string{"c:0", "c:0:x", "c:1", "c:2", "c:3", "c:4", "c:~:1"}},
		{"only what is shown", "c:", 10, 11, []string{"c:0", "c:1", "c:2", "c:3", "c:4"}},
		{"no more than that", "c:", 3, 1, []string{"c:0", "c:0:x", "c:1"}},
		{"of one", "cc:", 10, 1, []string{"cc:1"}},
		{"none", "d:", 10, 1, []string{}},
		{"a name is not below itself", "a:", 10, 1, []string{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := db.Pipeline.ChannelsWith(t.Context(), tenant, tt.prefix, tt.n, store.Place{Head: 15, Floor: tt.floor}, time.Now())
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Error(diff, err)
			}
		})
	}
}

// No statement that reads the log may fall back to a sequential scan, neither on tables that were empty when they
// were planned, nor on full ones, and none may open the partitions that its bounds exclude.
func TestLogPlans(t *testing.T) {
	t.Parallel()
	for _, full := range []bool{false, true} {
		t.Run(map[bool]string{false: "empty", true: "full"}[full], func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			tenant, head := logTenant(t, db), 0
			partitions(t, db, 30)
			if full {
				fill(t, db, tenant, 30, 1000)
				fill(t, db, logTenant(t, db), 30, 1000)
				db.Exec(t, `ANALYZE`)
				head = 30_000
			}
			config, err := pgx.ParseConfig(db.URL)
			if err != nil {
				t.Fatal(err)
			}
			maps.Copy(config.RuntimeParams, store.PipelineSettings())
			for name, s := range store.LogStatements() {
				t.Run(name, func(t *testing.T) {
					conn, err := pgx.ConnectConfig(t.Context(), config)
					if err != nil {
						t.Fatal(err)
					}
					defer conn.Close(t.Context())
					args := strings.NewReplacer("$tenant", "'"+tenant.UUID().String()+"'::uuid", "$head", fmt.Sprint(head)).Replace(s.Args)
					if _, err := conn.Exec(t.Context(), `PREPARE s (`+s.Types+`) AS `+s.SQL); err != nil {
						t.Fatal(err)
					}
					rows, _ := conn.Query(t.Context(), `EXPLAIN (ANALYZE, BUFFERS) EXECUTE s (`+args+`)`, pgx.QueryExecModeSimpleProtocol)
					plan, err := pgx.CollectRows(rows, pgx.RowTo[string])
					if err != nil {
						t.Fatal(err)
					}
					text := strings.Join(plan, "\n")
					if days := strings.Count(text, "on messages_") - strings.Count(text, "(never executed)"); days > s.Days {
						t.Errorf("%d days of messages read, want at most %d:\n%s", days, s.Days, text)
					}
					if strings.Contains(text, "Seq Scan") {
						t.Errorf("a sequential scan:\n%s", text)
					}
					if !strings.Contains(text, "Index") {
						t.Error("no index: the test no longer fits the statement")
					}
				})
			}
		})
	}
}

// logTenant makes a tenant that owns nothing but its log.
func logTenant(t testing.TB, db *storetest.DB) hub.TenantID {
	t.Helper()
	id := hub.NewID[hub.TenantID]()
	db.Exec(t, `INSERT INTO tributary.tenants (id, slug, name) VALUES ($1, $2, 'log')`, id, "t"+uuid.NewString())
	return id
}

func appendTo(t *testing.T, db *storetest.DB, tenant hub.TenantID, channel, data string) {
	t.Helper()
	_, err := db.Pipeline.Append(t.Context(), []hub.Unit{{Tenant: tenant, Messages: []hub.Message{
		{ID: hub.NewID[hub.MessageID](), Channel: channel, Type: "test", Data: []byte(`"` + data + `"`)},
	}}})
	if err != nil {
		t.Fatal(err)
	}
}

// partitions makes those of the last days, today's included.
func partitions(t testing.TB, db *storetest.DB, days int) {
	t.Helper()
	now := time.Now()
	if _, err := db.Pipeline.MakePartitions(t.Context(), now.AddDate(0, 0, 1-days), now); err != nil {
		t.Fatal(err)
	}
}

// fill writes a log of so many days, today the last, each with so many messages, spread over its first minutes and
// over the channels c:0 to c:4.
func fill(t testing.TB, db *storetest.DB, tenant hub.TenantID, days, perDay int) {
	t.Helper()
	db.Exec(t, `
		INSERT INTO tributary.messages (tenant_id, position, at, id, channel, type, data)
		SELECT $1, day * $3::int + i + 1, date_trunc('day', now(), 'UTC') + (day - $2::int + 1) * interval '1 day' + i * interval '0.7 seconds',
		       gen_random_uuid(), 'c:' || (day * $3 + i) % 5, 'test', convert_to('{"n":' || i || '}', 'UTF8')
		  FROM generate_series(0, $2 - 1) AS day, generate_series(0, $3 - 1) AS i`, tenant, days, perDay)
	db.Exec(t, `
		INSERT INTO tributary.log_days (tenant_id, first_position, day, at)
		SELECT tenant_id, min(position), (at AT TIME ZONE 'UTC')::date, min(at) FROM tributary.messages WHERE tenant_id = $1 GROUP BY 1, 3`, tenant)
	db.Exec(t, `
		INSERT INTO tributary.log_heads (tenant_id, position, at, day_start)
		SELECT tenant_id, max(position), max(at), $2::int * $3::int - $3 + 1 FROM tributary.messages WHERE tenant_id = $1 GROUP BY 1`, tenant, days, perDay)
}

func positions(messages []hub.Logged) []hub.Position {
	var p []hub.Position
	for _, m := range messages {
		p = append(p, m.Position)
	}
	return p
}

func span(from, through hub.Position) []hub.Position {
	var p []hub.Position
	for ; from <= through; from++ {
		p = append(p, from)
	}
	return p
}

// What the feed asks all day: its tails with nothing new, or a page of it, and the heads of all its tenants.
func BenchmarkReadTails(b *testing.B) {
	db := storetest.New(b)
	now := time.Now()
	partitions(b, db, 30)
	tails, tenants := make([]store.Tail, 1000), make([]hub.TenantID, 1000)
	for i := range tails {
		tenants[i] = logTenant(b, db)
		fill(b, db, tenants[i], 30, 20)
		tails[i] = store.Tail{Tenant: tenants[i], After: 600, Since: now.Add(-time.Minute)}
	}
	db.Exec(b, `ANALYZE`)
	for _, behind := range []hub.Position{0, 10} {
		for _, n := range []int{1, 20, 100} {
			b.Run(fmt.Sprintf("tails=%d/new=%d", n, behind), func(b *testing.B) {
				ask := slices.Clone(tails[:n])
				for i := range ask {
					ask[i].After -= behind
					if behind > 0 {
						ask[i].Since = now.Truncate(24 * time.Hour)
					}
				}
				for b.Loop() {
					reads, err := db.Pipeline.ReadTails(b.Context(), ask, plenty, now)
					if err != nil || len(reads[n-1].Messages) != int(behind) {
						b.Fatal(err, len(reads[n-1].Messages))
					}
				}
			})
		}
	}
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprintf("heads=%d", n), func(b *testing.B) {
			for b.Loop() {
				if _, err := db.Pipeline.LogHeads(b.Context(), tenants[:n]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("replay of 2 channels", func(b *testing.B) {
		for b.Loop() {
			replay := store.Replay{Tenant: tenants[0], Channels: []string{"c:1", "c:2"}, After: 200, Page: plenty}
			if read, err := db.Pipeline.ReadLog(b.Context(), replay, now); err != nil || len(read.Messages) != 160 {
				b.Fatal(err, len(read.Messages))
			}
		}
	})
}
