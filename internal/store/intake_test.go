package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tributary-hub/tributary/internal/groupcommit"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// keyed gives the event the dedup key of that name; "" gives it none.
func keyed(name string, keep time.Duration) storetest.EventOption {
	return func(e *hub.Event) {
		e.Dedup = hub.Dedup{}
		if name != "" {
			hash := hub.HashToken(name)
			e.Dedup = hub.Dedup{Hash: [16]byte(hash[:16]), Keep: keep}
		}
	}
}

// Each case names events by their number and key, "1:a"; a key in capitals has expired by the next batch.
func TestInsertEvents(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tests := []struct {
		name    string
		batches string // "|" between
		want    string // of each event whose it is: its own number, or "=" and the first's
	}{
		{"new ones", "1:a 2:b 3:c", "1 2 3"},
		{"none", "", ""},
		{"a duplicate", "1:a | 2:a", "1 | =1"},
		{"a duplicate in its own batch", "1:a 2:a", "1 =1"},
		{"duplicates on both sides", "1:a 2:b | 3:c 4:a 5:c 6:b 7:a", "1 2 | 3 =1 =3 =2 =1"},
		{"only duplicates", "1:a | 2:a 3:a", "1 | =1 =1"},
		{"without a key nothing is a duplicate", "1: 2: | 3:", "1 2 | 3"},
		{"with and without", "1:a 2: 3:a", "1 2 =1"},
		{"an expired key is taken again", "1:A | 2:A", "1 | 2"},
		{"and held by whoever took it", "1:A | 2:a 3:a | 4:a", "1 | 2 =2 | =2"},
		{"an expired key beside a held one", "1:A 2:b | 3:A 4:b", "1 2 | 3 =2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tenant := db.Tenant(t)
			endpoint := db.Endpoint(t, tenant, "stripe").ID
			numbers := map[hub.EventID]string{}
			var got, inserted []string
			for _, batch := range fields(tt.batches, "|") {
				var events []hub.Event
				for text := range strings.FieldsSeq(batch) {
					number, key, _ := strings.Cut(text, ":")
					e := db.Event(t, "stripe", storetest.To(tenant, endpoint), keyed(strings.ToLower(key), time.Hour))
					if strings.ToLower(key) != key {
						e.Dedup.Keep = -time.Millisecond
					}
					numbers[e.ID] = number
					events = append(events, e)
				}
				receipts, err := db.Pipeline.InsertEvents(t.Context(), events)
				if err != nil {
					t.Fatal(err)
				}
				var answers []string
				for i, r := range receipts {
					switch {
					case !r.Duplicate && r.Event == events[i].ID:
						answers = append(answers, numbers[r.Event])
						inserted = append(inserted, r.Event.UUID().String())
					case r.Duplicate:
						answers = append(answers, "="+numbers[r.Event])
					}
				}
				got = append(got, strings.Join(answers, " "))
			}
			if diff := cmp.Diff(fields(tt.want, "|"), got); diff != "" {
				t.Error(diff)
			}
			slices.Sort(inserted)
			for what, query := range map[string]string{
				"events": `SELECT id::text FROM tributary.events WHERE tenant_id = $1 ORDER BY 1`,
				"jobs":   `SELECT substr(args->>'event', 5) FROM tributary_river.river_job WHERE args->>'tenant' = 'ten_' || $1::uuid ORDER BY 1`,
			} {
				if diff := cmp.Diff(inserted, storetest.Values[string](t, db, query, tenant), cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("%s: %s", what, diff)
				}
			}
		})
	}
}

// An event that comes a second time itself, because its flush was heard of as failed, is no duplicate of another.
func TestInsertEvents_FlushedTwice(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	e := db.Event(t, "stripe")
	for range 2 {
		receipts, err := db.Pipeline.InsertEvents(t.Context(), []hub.Event{e})
		if diff := cmp.Diff([]hub.Receipt{{Event: e.ID}}, receipts); diff != "" || err != nil {
			t.Error(diff, err)
		}
	}
	if diff := cmp.Diff([]string{e.ID.String()}, db.Jobs(t)); diff != "" {
		t.Error(diff)
	}
}

// The same key at another endpoint, or another tenant's, is another key.
func TestInsertEvents_KeysOfEndpoints(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	one, two := db.Tenant(t), db.Tenant(t)
	endpoint := db.Endpoint(t, one, "stripe").ID
	events := []hub.Event{
		db.Event(t, "stripe", storetest.To(one, endpoint), keyed("k", time.Hour)),
		db.Event(t, "stripe", storetest.To(one, db.Endpoint(t, one, "stripe").ID), keyed("k", time.Hour)),
		db.Event(t, "stripe", storetest.To(two, endpoint), keyed("k", time.Hour)),
	}
	receipts, err := db.Pipeline.InsertEvents(t.Context(), events)
	if err != nil {
		t.Fatal(err)
	}
	for i, r := range receipts {
		if r != (hub.Receipt{Event: events[i].ID}) {
			t.Errorf("event %d: %+v", i, r)
		}
	}
}

// Where the wire is cut, and what is so after it: the sender hears of our fault, comes again with the same webhook,
// and there is one event with one key and one job.
func TestInsertEvents_Failures(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name    string
		cut     *cutter
		isThere int // what was committed although the sender was told otherwise
	}{
		{"not done: cut before the events", &cutter{at: "begin"}, 0},
		{"not done: cut between the events and their jobs", &cutter{at: "copy "}, 0},
		{"not done: the answer to the events is lost", &cutter{at: "INSERT INTO tributary.dedup", answers: true}, 0},
		{"not done: cut before the commit", &cutter{at: "commit"}, 0},
		{"done but reported failed: the answer to the commit is lost", &cutter{at: "commit", answers: true}, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			pipeline := rewired(t, db, tt.cut.wire)
			count := func() []int {
				return storetest.Values[int](t, db, `
					SELECT (SELECT count(*) FROM tributary.events) UNION ALL SELECT count(*) FROM tributary.dedup
					UNION ALL SELECT count(*) FROM tributary_river.river_job`)
			}
			first := db.Event(t, "stripe")
			_, err := pipeline.InsertEvents(t.Context(), []hub.Event{first})
			if !store.IsUnavailable(err) || !tt.cut.done.Load() {
				t.Fatalf("first try: %v; want the database not to answer", err)
			}
			if diff := cmp.Diff([]int{tt.isThere, tt.isThere, tt.isThere}, count()); diff != "" {
				t.Errorf("events, keys, jobs after the first try: %s", diff)
			}

			again := db.Event(t, "stripe", storetest.SameDelivery(first))
			want := hub.Receipt{Event: again.ID}
			if tt.isThere == 1 {
				want = hub.Receipt{Event: first.ID, Duplicate: true}
			}
			receipts, err := pipeline.InsertEvents(t.Context(), []hub.Event{again})
			if diff := cmp.Diff([]hub.Receipt{want}, receipts); diff != "" || err != nil {
				t.Error(diff, err)
			}
			if diff := cmp.Diff([]int{1, 1, 1}, count()); diff != "" {
				t.Errorf("events, keys, jobs at the end: %s", diff)
			}
			if diff := cmp.Diff([]string{want.Event.String()}, db.Jobs(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A row that Postgres refuses fails its batch; tried alone, its neighbours are committed.
func TestInsertEvents_Poisoned(t *testing.T) {
	t.Parallel()
	for name, poison := range map[string]func(*hub.Event){
		"a NUL":              func(e *hub.Event) { e.Type = "a\x00b" },
		"not UTF-8":          func(e *hub.Event) { e.ProviderID = "\xff" },
		"a day long gone by": func(e *hub.Event) { e.ID = hub.FirstID[hub.EventID](time.Now().AddDate(-1, 0, 0)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			batch := []hub.Event{db.Event(t, "stripe"), db.Event(t, "stripe"), db.Event(t, "stripe")}
			poison(&batch[1])
			if _, err := db.Pipeline.InsertEvents(t.Context(), batch); err == nil || store.IsUnavailable(err) {
				t.Fatalf("batch: %v; want an error that another try will not mend", err)
			}
			intake := startIntake(t, db.Pipeline, 1)
			var senders sync.WaitGroup
			errs := make([]error, len(batch))
			for i, e := range batch {
				senders.Go(func() { _, errs[i] = intake.Do(t.Context(), e) })
			}
			senders.Wait()
			if errs[0] != nil || errs[1] == nil || errs[2] != nil {
				t.Errorf("errors: %v", errs)
			}
			want := []string{batch[0].ID.String(), batch[2].ID.String()}
			slices.Sort(want)
			if diff := cmp.Diff(want, db.Jobs(t)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// startIntake is a group commit as ingest has it.
func startIntake(t *testing.T, p *store.Pipeline, flushers int) *groupcommit.Group[hub.Event, hub.Receipt] {
	t.Helper()
	intake := groupcommit.New(groupcommit.Options[hub.Event]{
		Flushers: flushers,
		Turn:     func(e hub.Event) [16]byte { return e.Tenant },
		Alone:    func(err error) bool { return !store.IsUnavailable(err) },
	}, p.InsertEvents)
	if err := intake.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := intake.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return intake
}

// Flushers that meet in the same keys, each with them in another order, wait for each other and never for ever.
func TestInsertEvents_OppositeOrders(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	told := map[[16]byte]map[hub.EventID]bool{}
	var mu sync.Mutex // guards told
	for round := range 40 {
		begin := make(chan struct{})
		var flushers sync.WaitGroup
		for flusher := range 4 {
			batch := make([]hub.Event, 30)
			for i := range batch {
				batch[i] = db.Event(t, "stripe", keyed(fmt.Sprintf("%d-%d", round, i), time.Hour))
			}
			switch flusher {
			case 0:
			case 1:
				slices.Reverse(batch)
			default:
				rand.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
			}
			flushers.Go(func() {
				<-begin
				receipts, err := db.Pipeline.InsertEvents(t.Context(), batch)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				for i, r := range receipts {
					if told[batch[i].Dedup.Hash] == nil {
						told[batch[i].Dedup.Hash] = map[hub.EventID]bool{}
					}
					told[batch[i].Dedup.Hash][r.Event] = true
				}
			})
		}
		close(begin)
		flushers.Wait()
	}
	for hash, ids := range told {
		if len(ids) != 1 {
			t.Errorf("key %x was told %d ids", hash, len(ids))
		}
	}
	if n := len(db.Jobs(t)); n != len(told) || n != 40*30 {
		t.Errorf("%d jobs for %d keys", n, len(told))
	}
	if n := storetest.Value[int](t, db, `SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`); n != 0 {
		t.Errorf("%d deadlocks", n)
	}
}

// Senders that come again until they are heard, three flushers, and backends killed all the while: of each webhook one
// event, one key, one job, and every answer names that event.
func TestIntakeStress(t *testing.T) {
	t.Parallel()
	const senders, webhooks, patience = 12, 600, 3 * time.Second
	db := storetest.New(t)
	db.Event(t, "stripe") // makes the tenant and its endpoint, before anything is killed
	intake := startIntake(t, db.Pipeline, 3)
	var mu sync.Mutex // guards told, answers
	told, answers := map[[16]byte]map[hub.EventID]bool{}, 0
	over := make(chan struct{})
	var sending sync.WaitGroup
	for range senders {
		sending.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
				}
				e := db.Event(t, "stripe", keyed(fmt.Sprint(rand.IntN(webhooks)), time.Hour))
				receipt, err := intake.Do(t.Context(), e)
				if err != nil {
					if !store.IsUnavailable(err) {
						t.Error(err)
					}
					continue
				}
				mu.Lock()
				if told[e.Dedup.Hash] == nil {
					told[e.Dedup.Hash] = map[hub.EventID]bool{}
				}
				told[e.Dedup.Hash][receipt.Event] = true
				answers++
				mu.Unlock()
			}
		})
	}
	killed := 0
	kill := time.NewTicker(stressKillEvery)
	defer kill.Stop()
	heard := func() int {
		mu.Lock()
		defer mu.Unlock()
		return answers
	}
	// A busy machine takes longer for the same stress.
	for begun := time.Now(); time.Since(begun) < patience || killed < 8 || heard() < 300; <-kill.C {
		if killed += db.Kill(t, 1); time.Since(begun) > time.Minute {
			t.Fatalf("that was no stress: %d killed, %d answers in a minute", killed, heard())
		}
	}
	close(over)
	sending.Wait()

	twice := 0
	for _, ids := range told {
		if len(ids) != 1 {
			twice++
		}
	}
	counts := storetest.Values[int](t, db, `
		SELECT (SELECT count(*) FROM tributary.events) UNION ALL SELECT count(*) FROM tributary.dedup
		UNION ALL SELECT count(*) FROM tributary_river.river_job UNION ALL SELECT count(DISTINCT args->>'event') FROM tributary_river.river_job`)
	t.Logf("%d answers about %d webhooks, %d backends killed; told two ids: %d; events, keys, jobs, events with a job: %v", answers, len(told), killed, twice, counts)
	if twice != 0 || counts[0] < len(told) || counts[0] != counts[1] || counts[0] != counts[2] || counts[0] != counts[3] {
		t.Error("an event of a webhook is missing, or there are two, or two jobs")
	}
}

// What Postgres compares with its own clock is dated by it, whatever this machine's says: when a job may be fetched,
// and when a dedup key expires.
func TestInsertEvents_DatedByPostgres(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Exec(t, `CREATE SCHEMA wrong;
		CREATE FUNCTION wrong.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$ SELECT pg_catalog.now() - interval '10 minutes' $$;
		GRANT USAGE ON SCHEMA wrong TO PUBLIC; GRANT EXECUTE ON FUNCTION wrong.now() TO PUBLIC;
		DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = wrong, pg_catalog', current_database()); END $$`)
	s, err := store.Open(t.Context(), store.Options{URL: db.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i := range 2 {
		if _, err := s.Pipeline.InsertEvents(t.Context(), []hub.Event{db.Event(t, "stripe", keyed(fmt.Sprint("dated ", i), time.Hour))}); err != nil {
			t.Fatal(err)
		}
	}
	for what, query := range map[string]string{
		"fetched":  `SELECT min(scheduled_at) FROM tributary_river.river_job`,
		"made":     `SELECT min(created_at) FROM tributary_river.river_job`,
		"expires":  `SELECT min(expires_at) - interval '1 hour' FROM tributary.dedup`,
		"latest":   `SELECT max(scheduled_at) FROM tributary_river.river_job`,
		"received": `SELECT min(received_at) - interval '10 minutes' FROM tributary.events`,
	} {
		if ago := time.Since(storetest.Value[time.Time](t, db, query)); ago < 10*time.Minute || ago > 11*time.Minute {
			t.Errorf("%s: %s ago, and by Postgres's clock it is 10 minutes ago", what, ago)
		}
	}
}
