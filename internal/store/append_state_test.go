package store_test

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"pgregory.net/rapid"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// A kept is what a channel keeps of a key.
type kept struct {
	Position hub.Position
	Type     string
	Version  hub.Version
	Data     string // "" for a tombstone
}

// supersedes is the rule of versions, said once more: an integer is older than any string, a write without a version
// always wins, and an equal one never does.
func supersedes(next, held hub.Version) bool {
	switch {
	case next.IsZero() || held.IsZero():
		return true
	case next.Text != nil && held.Text != nil:
		return strings.Compare(*next.Text, *held.Text) > 0
	case next.Number != nil && held.Number != nil:
		return cmp.Compare(*next.Number, *held.Number) > 0
	}
	return next.Text != nil
}

// foldState is the state that a log of messages makes, in the order of their positions.
func foldState(state map[string]kept, messages []hub.Logged) {
	for _, m := range messages {
		if m.Key == "" {
			continue
		}
		place := m.Channel + " " + m.Key
		if held, ok := state[place]; ok && !supersedes(m.Version, held.Version) {
			continue
		}
		data := string(m.Data)
		if data == "null" {
			data = ""
		}
		state[place] = kept{Position: m.Position, Type: m.Type, Version: m.Version, Data: data}
	}
}

// stateOf reads what is kept, by channel and key.
func stateOf(t testing.TB, db *storetest.DB, tenant hub.TenantID) map[string]kept {
	t.Helper()
	rows, _ := db.Owner.Query(t.Context(), `
		SELECT channel || ' ' || key, position, type, version_number, version_text, coalesce(convert_from(data, 'UTF8'), '')
		  FROM tributary.state WHERE tenant_id = $1`, tenant)
	state := map[string]kept{}
	var place string
	var k kept
	_, err := pgx.ForEachRow(rows, []any{&place, &k.Position, &k.Type, &k.Version.Number, &k.Version.Text, &k.Data}, func() error {
		state[place] = k
		k.Version = hub.Version{}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return state
}

// write reads one keyed message: version (an integer, a string in quotes, or "-" for none), ">", data.
func write(t testing.TB, text string) hub.Message {
	t.Helper()
	version, data, ok := strings.Cut(text, ">")
	if !ok {
		t.Fatalf("write %q", text)
	}
	m := message("c:1", data)
	m.Key = "k"
	if data == "null" {
		m.Data = []byte("null")
	}
	switch {
	case version == "-":
	case strings.HasPrefix(version, `'`):
		m.Version.Text = new(strings.Trim(version, `'`))
	default:
		var n int64
		if _, err := fmt.Sscan(version, &n); err != nil {
			t.Fatalf("write %q: %v", text, err)
		}
		m.Version.Number = &n
	}
	return m
}

// Each case is run twice: every write in a flush of its own, and all in one. What is kept is the same.
func TestAppend_State(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tests := []struct {
		name   string
		writes string
		want   string // version, ">", data; "" for a tombstone
		at     int    // whose write it is
	}{
		{"the first write", "1>a", "1>a", 1},
		{"without versions the last wins", "->a ->b ->c", "->c", 3},
		{"a newer integer", "1>a 2>b", "2>b", 2},
		{"an older integer", "2>b 1>a", "2>b", 1},
		{"an equal integer: the first stays", "2>a 2>b", "2>a", 1},
		{"integers by value", "9>a 10>b", "10>b", 2},
		{"negative integers", "-5>a -6>b", "-5>a", 1},
		{"a newer string", "'a'>a 'b'>b", "'b'>b", 2},
		{"an older string", "'b'>b 'a'>a", "'b'>b", 1},
		{"an equal string: the first stays", "'b'>a 'b'>b", "'b'>a", 1},
		{"strings byte by byte: digits", "'10'>a '9'>b", "'9'>b", 2},
		{"strings byte by byte: case", "'a'>a 'B'>b", "'a'>a", 1},
		{"strings byte by byte: accents", "'z'>a 'ä'>b", "'ä'>b", 2},
		{"a prefix is older", "'ab'>a 'a'>b", "'ab'>a", 1},
		{"the empty string is a version", "1>a ''>b", "''>b", 2},
		{"a string after an integer", "9223372036854775807>a '0'>b", "'0'>b", 2},
		{"an integer after a string", "'0'>a 9223372036854775807>b", "'0'>a", 1},
		{"a plain write forgets the version", "5>a ->b 1>c", "1>c", 3},
		{"a plain write wins over a string", "'z'>a ->b", "->b", 2},
		{"after a plain write the highest", "9>a ->b 1>c 3>d 2>e", "3>d", 4},
		{"the last plain write counts", "->a 9>b ->c", "->c", 3},
		{"a tombstone", "1>a 2>null", "2>", 2},
		{"a late older write does not bring it back", "1>a 3>null 2>b", "3>", 2},
		{"a newer one does", "3>null 4>b", "4>b", 2},
		{"a tombstone that is late", "3>a 2>null", "3>a", 1},
		{"deleted without a version", "3>a ->null", "->", 2},
		{"and written again by any version", "3>a ->null 1>b", "1>b", 3},
	}
	for _, tt := range tests {
		for _, together := range []bool{false, true} {
			t.Run(tt.name+map[bool]string{false: ", each alone", true: ", together"}[together], func(t *testing.T) {
				t.Parallel()
				tenant := db.Tenant(t)
				var flush []hub.Unit
				for _, text := range fields(tt.writes, " ") {
					flush = append(flush, hub.Unit{Tenant: tenant, Messages: []hub.Message{write(t, text)}})
				}
				if together {
					appendAll(t, db, flush...)
				} else {
					for _, u := range flush {
						appendAll(t, db, u)
					}
				}
				want := write(t, tt.want)
				data := string(want.Data)
				if strings.HasSuffix(tt.want, ">") {
					data = ""
				}
				wantState := map[string]kept{"c:1 k": {Position: hub.Position(tt.at), Type: "test", Version: want.Version, Data: data}}
				if diff := gocmp.Diff(wantState, stateOf(t, db, tenant)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

// Keys and channels do not meet, and messages without a key keep nothing.
func TestAppend_StateByKey(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	one, two := db.Tenant(t), db.Tenant(t)
	keyed := func(channel, key, data string) hub.Message {
		m := message(channel, data)
		m.Key = key
		return m
	}
	appendAll(t, db,
		hub.Unit{Tenant: one, Messages: []hub.Message{keyed("a", "k", "1"), keyed("a", "K", "2"), keyed("b", "k", "3"), keyed("a", "", "4")}},
		hub.Unit{Tenant: two, Messages: []hub.Message{keyed("a", "k", "5")}})
	want := map[string]kept{"a k": {1, "test", hub.Version{}, `"1"`}, "a K": {2, "test", hub.Version{}, `"2"`}, "b k": {3, "test", hub.Version{}, `"3"`}}
	if diff := gocmp.Diff(want, stateOf(t, db, one)); diff != "" {
		t.Error(diff)
	}
	if diff := gocmp.Diff(map[string]kept{"a k": {1, "test", hub.Version{}, `"5"`}}, stateOf(t, db, two)); diff != "" {
		t.Error(diff)
	}
}

// A working that does not pass writes no state either.
func TestAppend_StateBehindTheGate(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant, event := db.Tenant(t), hub.NewID[hub.EventID]()
	for _, data := range []string{"first", "second"} {
		u := unit(tenant, event, hub.RunID{}, "")
		u.Messages = []hub.Message{write(t, "->"+data)}
		appendAll(t, db, u)
	}
	if got := stateOf(t, db, tenant)["c:1 k"]; got.Data != `"first"` {
		t.Errorf("kept %+v", got)
	}
}

// Whatever is written in whatever batches: state is the fold of the log.
func TestAppend_StateIsTheFoldOfTheLog(t *testing.T) {
	t.Parallel()
	checkFold(t, storetest.New(t))
}

// In a database that sorts as people do, versions are compared byte by byte all the same.
func TestAppend_StateInAnyCollation(t *testing.T) {
	t.Parallel()
	checkFold(t, storetest.New(t, storetest.ICU("en")))
}

func checkFold(t *testing.T, db *storetest.DB) {
	t.Helper()
	versions := rapid.OneOf(
		rapid.Just(hub.Version{}),
		rapid.Map(rapid.Int64Range(-2, 5), func(n int64) hub.Version { return hub.Version{Number: &n} }),
		rapid.Map(rapid.SampledFrom([]string{"", "1", "10", "2", "a", "B", "b", "Ä", "z", "_"}), func(s string) hub.Version { return hub.Version{Text: &s} }),
	)
	rapid.Check(t, func(r *rapid.T) {
		tenant := hub.NewID[hub.TenantID]()
		db.Exec(t, `INSERT INTO tributary.tenants (id, slug, name) VALUES ($1, $2, 'folded')`, tenant, "t"+tenant.UUID().String())
		for range rapid.IntRange(1, 3).Draw(r, "flushes") {
			var flush []hub.Unit
			for range rapid.IntRange(1, 12).Draw(r, "writes") {
				m := message(rapid.SampledFrom([]string{"c:1", "c:2"}).Draw(r, "channel"), "x")
				m.Key = rapid.SampledFrom([]string{"k", "l", ""}).Draw(r, "key")
				m.Version = versions.Draw(r, "version")
				m.Data = []byte(rapid.SampledFrom([]string{"1", "2", "null"}).Draw(r, "data"))
				flush = append(flush, hub.Unit{Tenant: tenant, Messages: []hub.Message{m}})
			}
			appendAll(t, db, flush...)
		}
		read, err := db.Pipeline.ReadLog(t.Context(), replayOf(tenant), time.Now())
		if err != nil {
			r.Fatal(err)
		}
		want := map[string]kept{}
		foldState(want, read.Messages)
		if diff := gocmp.Diff(want, stateOf(t, db, tenant)); diff != "" {
			r.Fatal(diff)
		}
	})
}
