package store_test

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// A log whose messages nearly all are of two channels: statistics then say that any channel has half of them, and the
// next one of it is soon found on the way through all. For a quiet channel that way is the whole log.
const (
	skewDays = 4
	skewRows = 200_000
)

// The way to a channel's messages is the index of channels, whatever the statistics say, and on it no further than
// those that were asked for.
func TestChannelPlans(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	partitions(t, db, skewDays+1)
	tenant := logTenant(t, db)
	reads := channelReads(tenant, 0)
	by := slices.DeleteFunc(pipelineStatements(t), func(s statement) bool { return !comparesChannel.MatchString(s.sql) })
	if len(by) == 0 {
		t.Error("no statement compares channels: the search no longer finds them")
	}
	for _, s := range by {
		if !slices.ContainsFunc(reads, func(r channelRead) bool { return r.sql == s.sql }) {
			t.Errorf("%s: channelReads has no read by this statement:\n%s", s.at, s.sql)
		}
	}

	early := explainer(t, db)
	explainChannels(t, "planned while empty", early, tenant, 0)
	fillSkewed(t, db, tenant)
	explainChannels(t, "full, planned while empty", early, tenant, skewRows)
	explainChannels(t, "full, without statistics", explainer(t, db), tenant, skewRows)
	db.Exec(t, `ANALYZE`)
	explainChannels(t, "full, with statistics", explainer(t, db), tenant, skewRows)
	measureChannels(t, db, tenant)
}

// fillSkewed writes a log of two busy channels and ten that are quiet: each of these has one message, on the first day.
func fillSkewed(t *testing.T, db *storetest.DB, tenant hub.TenantID) {
	t.Helper()
	db.Exec(t, `
		INSERT INTO tributary.messages (tenant_id, position, at, id, channel, type, data)
		SELECT $1, p, now() - interval '5 minutes' - (1 - p::float8 / $2::int) * $3::int * interval '1 day', gen_random_uuid(),
		       CASE WHEN p <= 10 THEN 'quiet:' || p ELSE 'busy:' || p % 2 END, 'test', convert_to(repeat('x', 100), 'UTF8')
		  FROM generate_series(1, $2::int) AS p`, tenant, skewRows, skewDays-1)
	db.Exec(t, `
		INSERT INTO tributary.log_days (tenant_id, first_position, day, at)
		SELECT tenant_id, min(position), (at AT TIME ZONE 'UTC')::date, min(at) FROM tributary.messages WHERE tenant_id = $1 GROUP BY 1, 3`, tenant)
	db.Exec(t, `
		INSERT INTO tributary.log_heads (tenant_id, position, at, day_start)
		SELECT tenant_id, max(position), max(at), $2 FROM tributary.messages WHERE tenant_id = $1 GROUP BY 1`, tenant, skewRows)
}

// A channelRead is one question after channels, and how many pages of Postgres it may look at.
type channelRead struct {
	name     string
	sql      string
	args     []any
	maxPages int
}

func channelReads(tenant hub.TenantID, head hub.Position) []channelRead {
	quiet, busy := quietChannels(), []string{"busy:0", "busy:1"}
	until, oldest := time.Now().Add(24*time.Hour), time.Time{}
	statements := store.LogStatements()
	replay, last, list := statements["replay of channels"].SQL, statements["last positions"].SQL, statements["channels with"].SQL
	return []channelRead{
		{"replay of quiet channels", replay, []any{tenant, 0, oldest, until, 500, 1 << 20, quiet}, 4000},
		{"replay of busy channels near the head", replay, []any{tenant, max(head-20, 0), oldest, until, 500, 1 << 20, busy}, 100},
		{"replay of busy channels in the middle", replay, []any{tenant, head / 2, oldest, until, 20, 1 << 20, busy}, 200},
		{"the last of quiet channels", last, []any{tenant, quiet, 1, head, until, 100}, 4000},
		{"the last of busy channels", last, []any{tenant, busy, 1, head, until, 10}, 200},
		{"the last of busy channels before the middle", last, []any{tenant, busy, 1, head / 2, until, 10}, 200},
		{"a list of quiet channels", list, []any{tenant, "quiet:", 1, "quiet;", until, 100}, 400},
		{"a list of busy channels", list, []any{tenant, "busy:", 1, "busy;", until, 100}, 100},
		{"a list of no channels", list, []any{tenant, "none:", 1, "none;", until, 100}, 50},
	}
}

// logReads are questions that look at the log's messages one by one, and no further than they were told.
func logReads(tenant hub.TenantID, head hub.Position) []channelRead {
	until, oldest := time.Now().Add(24*time.Hour), time.Time{}
	statements := store.LogStatements()
	replay, last := statements["replay of prefixes"].SQL, statements["last matching"].SQL
	some := []string{"quiet:1", "quiet:2", "quiet:3"}
	return []channelRead{
		{"replay of a quiet prefix", replay, []any{tenant, head / 2, oldest, until, 500, 1 << 20, some, []string{"quiet:"}, 5000}, 400},
		{"replay of a busy prefix", replay, []any{tenant, head / 2, oldest, until, 500, 1 << 20, some, []string{"busy:"}, 5000}, 100},
		{"replay of a quiet prefix near the head", replay, []any{tenant, max(head-20, 0), oldest, until, 500, 1 << 20, some, []string{"quiet:"}, 5000}, 60},
		{"the last of a quiet prefix", last, []any{tenant, some, max(head-5000, 1), head, until, 100, []string{"quiet:"}}, 400},
		{"the last of a busy prefix", last, []any{tenant, some, 1, head, until, 100, []string{"busy:"}}, 60},
		{"the last of a quiet prefix before the middle", last, []any{tenant, some, max(head/2-5000, 1), head / 2, until, 100, []string{"quiet:"}}, 400},
	}
}

// quietChannels are ten that have one message, and many that have none.
func quietChannels() []string {
	var names []string
	for i := range 100 {
		names = append(names, fmt.Sprintf("quiet:%d", i+1))
	}
	return names
}

var (
	comparesChannel = regexp.MustCompile(`m\.channel *(=|<|>)|m\.channel, m\.position\) *(=|<|>)`)
	messageScan     = regexp.MustCompile(`Scan.* on messages_.*`)
	byPosition      = regexp.MustCompile(`Index Scan (Backward )?using messages_\d+_pkey on messages_`)
	byChannel       = regexp.MustCompile(`Index (Only )?Scan (Backward )?using messages_\d+_tenant_id_channel_position_idx on messages_`)
	inVain          = regexp.MustCompile(`Scan.* on messages_.*\n(.*Cond: .*\n)?(.*Filter: .*\n)?.*Rows Removed by Filter`)
	pagesTouched    = regexp.MustCompile(`Buffers: shared(?: hit=(\d+))?(?: read=(\d+))?`)
)

func explainChannels(t *testing.T, when string, conn *pgx.Conn, tenant hub.TenantID, head hub.Position) {
	t.Helper()
	explainMessageReads(t, when, conn, channelReads(tenant, head), byChannel, true)
	explainMessageReads(t, when, conn, logReads(tenant, head), byPosition, false)
}

// explainMessageReads sees that all messages are read by one index, and how many pages of Postgres are looked at.
func explainMessageReads(t *testing.T, when string, conn *pgx.Conn, reads []channelRead, index *regexp.Regexp, onlyWanted bool) {
	t.Helper()
	for _, r := range reads {
		plan, err := explain(t.Context(), conn, "ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF", r.sql, r.args)
		if err != nil {
			t.Errorf("%s, %s: %v", when, r.name, err)
			continue
		}
		scans := messageScan.FindAllString(plan, -1)
		if len(scans) == 0 {
			t.Errorf("%s, %s: no messages are read: the test no longer fits the statement\n%s", when, r.name, plan)
		}
		if n := len(index.FindAllString(plan, -1)); n != len(scans) {
			t.Errorf("%s, %s: %d of %d scans of messages are by %s\n%s", when, r.name, n, len(scans), index, plan)
		}
		pages := 0
		for _, n := range pagesTouched.FindStringSubmatch(plan)[1:] { // of the topmost node, which counts all
			m, _ := strconv.Atoi(n)
			pages += m
		}
		if pages > r.maxPages {
			t.Errorf("%s, %s: %d pages are looked at, want at most %d\n%s", when, r.name, pages, r.maxPages, plan)
		}
		if onlyWanted && inVain.MatchString(plan) {
			t.Errorf("%s, %s: messages are looked at in vain\n%s", when, r.name, plan)
		}
	}
}

// measureChannels says what the reads take: the middle one of many.
func measureChannels(t *testing.T, db *storetest.DB, tenant hub.TenantID) {
	t.Helper()
	place := store.Place{Head: skewRows, Floor: 1}
	for name, read := range map[string]func() error{
		"replay of quiet channels": func() error {
			return second(db.Pipeline.ReadLog(t.Context(), store.Replay{Tenant: tenant, Channels: quietChannels(), Page: plenty}, time.Now()))
		},
		"replay of busy channels near the head": func() error {
			return second(db.Pipeline.ReadLog(t.Context(), store.Replay{Tenant: tenant, Channels: []string{"busy:0", "busy:1"}, After: skewRows - 20, Page: plenty}, time.Now()))
		},
		"a page of a quiet prefix": func() error {
			return second(db.Pipeline.ReadLog(t.Context(), store.Replay{Tenant: tenant, Prefixes: []string{"quiet:"}, Look: 10_000, After: 100, Page: plenty}, time.Now()))
		},
		"a list of quiet channels": func() error {
			return second(db.Pipeline.ChannelsWith(t.Context(), tenant, "quiet:", 100, place, time.Now()))
		},
		"the last of quiet channels": func() error {
			return second(db.Pipeline.LastPositions(t.Context(), tenant, quietChannels(), 100, place, time.Now()))
		},
		"the last of busy channels": func() error {
			return second(db.Pipeline.LastPositions(t.Context(), tenant, []string{"busy:0", "busy:1"}, 100, place, time.Now()))
		},
	} {
		var times []time.Duration
		for range 10 {
			start := time.Now()
			if err := read(); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			times = append(times, time.Since(start))
		}
		slices.Sort(times)
		t.Logf("%s: p50 %s", name, times[len(times)/2])
	}
}
