package store_test

import (
	"cmp"
	"context"
	"maps"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// An asked statement is one that a read of a tenant sent, in the order in which they were sent.
type asked struct {
	sql  string
	args []any
}

// What a read sends to set up its transaction, and not to read.
var settles = regexp.MustCompile(`(?s)^\s*SELECT set_config\('plan_cache_mode'`)

// No read of events, bodies, outcomes or trails goes through a day's events from end to end, nor looks at days that it
// does not ask about: neither while the tables are empty nor once they are full, without statistics and with them.
//
// Each is explained as its transaction has it: as the tenant, with the settings that the read itself makes.
func TestEventPlans(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	fx := newPlanFixture(t, db)
	id := hub.NewID[hub.EventID]()
	reads := eventReads(fx, id)
	recorded := map[string][]asked{}
	for name, read := range reads {
		recorded[name] = recordReads(t, db, fx.tenants[0], read.run)
	}

	early := tenantConn(t, db)
	explainReads(t, "planned while empty", early, fx.tenants[0], reads, recorded)
	fx.fill(t, db)
	explainReads(t, "full, planned while empty", early, fx.tenants[0], reads, recorded)
	explainReads(t, "full, without statistics", tenantConn(t, db), fx.tenants[0], reads, recorded)
	db.Exec(t, `ANALYZE`)
	explainReads(t, "full, with statistics", tenantConn(t, db), fx.tenants[0], reads, recorded)
	measureReads(t, db, fx.tenants[0], reads)
}

// An eventRead is one read, and the most days of one table that a statement of it may look at.
type eventRead struct {
	days int
	run  func(context.Context, *store.Tx) error
}

func eventReads(fx *planFixture, id hub.EventID) map[string]eventRead {
	lowest := func(at time.Time) hub.EventID { return hub.FirstID[hub.EventID](at) }
	list := func(days int, change func(*store.EventFilter)) eventRead {
		return eventRead{days + 2, func(ctx context.Context, tx *store.Tx) error {
			f := store.EventFilter{Low: lowest(fx.now.AddDate(0, 0, -days)), High: lowest(fx.now.Add(time.Hour))}
			change(&f)
			return second(tx.Events(ctx, f, 100))
		}}
	}
	return map[string]eventRead{
		"list of a month":         list(planDays, func(*store.EventFilter) {}),
		"list of two days":        list(2, func(*store.EventFilter) {}),
		"list of a type":          list(planDays, func(f *store.EventFilter) { f.Type = "none" }),
		"list of a state":         list(planDays, func(f *store.EventFilter) { f.State = hub.EventPending }),
		"list of a provider's":    list(planDays, func(f *store.EventFilter) { f.Provider = "none" }),
		"list of an endpoint":     list(planDays, func(f *store.EventFilter) { f.Endpoint = fx.endpoint.ID }),
		"list of a provider's id": list(planDays, func(f *store.EventFilter) { f.ProviderID = "none" }),
		"get": {1, func(ctx context.Context, tx *store.Tx) error {
			if err := unlessAbsent(second(tx.Event(ctx, id, lowest(fx.now.AddDate(0, 0, -7))))); err != nil {
				return err
			}
			return second(tx.Outcomes(ctx, id))
		}},
		"body": {1, func(ctx context.Context, tx *store.Tx) error {
			_, _, err := tx.EventBody(ctx, id, lowest(fx.now.AddDate(0, 0, -7)))
			return unlessAbsent(err)
		}},
		"messages": {3, func(ctx context.Context, tx *store.Tx) error {
			return second(tx.EventMessages(ctx, id, fx.now, fx.now.Add(24*time.Hour), 1000))
		}},
	}
}

// recordReads runs a read and says what it sent after it had entered the tenant.
func recordReads(t *testing.T, db *storetest.DB, tenant hub.TenantID, run func(context.Context, *store.Tx) error) []asked {
	t.Helper()
	var seen []asked
	traced := tracedStore(t, db, tracer{start: func(data pgx.TraceQueryStartData) {
		if begins.MatchString(data.SQL) {
			seen = append(seen, asked{data.SQL, data.Args})
		}
	}})
	if err := traced.InTenant(t.Context(), tenant, func(tx *store.Tx) error { return run(t.Context(), tx) }); err != nil {
		t.Fatal(err)
	}
	return seen
}

// A tracer listens to a store's connections.
type tracer struct {
	start func(pgx.TraceQueryStartData)
	end   func(pgx.TraceQueryEndData)
}

func (tr tracer) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if tr.start != nil {
		tr.start(data)
	}
	return ctx
}

func (tr tracer) TraceQueryEnd(_ context.Context, _ *pgx.Conn, data pgx.TraceQueryEndData) {
	if tr.end != nil {
		tr.end(data)
	}
}

func tracedStore(t *testing.T, db *storetest.DB, tr tracer) *store.Store {
	t.Helper()
	traced, done, err := store.Traced(context.WithoutCancel(t.Context()), db.Store, tr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(done)
	return traced
}

// tenantConn is a connection as the tenant pool has them.
func tenantConn(t *testing.T, db *storetest.DB) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), db.URL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

var (
	anyScan = regexp.MustCompile(`Scan (?:Backward )?(?:using \w+ )?on (\w+?)_\d{8}\b`)
	daySeq  = regexp.MustCompile(`Seq Scan on (\w+)`)
)

// explainReads looks at the plan of each statement of each read.
func explainReads(t *testing.T, when string, conn *pgx.Conn, tenant hub.TenantID, reads map[string]eventRead, recorded map[string][]asked) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(recorded)) {
		explained := 0
		inTenant(t, conn, tenant, func(ctx context.Context) {
			for _, a := range recorded[name] {
				if settles.MatchString(a.sql) {
					if _, err := conn.Exec(ctx, a.sql); err != nil {
						t.Fatal(err)
					}
					continue
				}
				plan, err := explain(ctx, conn, "COSTS OFF", a.sql, a.args)
				if err != nil {
					t.Fatalf("%s: %s: %v\n%s", when, name, err, a.sql)
				}
				explained++
				checkReadPlan(t, when+": "+name, plan, reads[name].days)
			}
		})
		if explained == 0 {
			t.Errorf("%s: %s asked nothing", when, name)
		}
	}
}

func checkReadPlan(t *testing.T, what, plan string, days int) {
	t.Helper()
	if scan := daySeq.FindStringSubmatch(plan); scan != nil {
		t.Errorf("%s: a sequential scan on %s\n%s", what, scan[1], plan)
	}
	seen := map[string]int{}
	for _, scan := range anyScan.FindAllStringSubmatch(plan, -1) {
		seen[scan[1]]++
	}
	if len(seen) == 0 {
		t.Errorf("%s: no scan that this test knows\n%s", what, plan)
	}
	for table, n := range seen {
		if n > days {
			t.Errorf("%s: looks at %d days of %s, not at %d\n%s", what, n, table, days, plan)
		}
	}
}

// inTenant runs fn in a transaction of the tenant's, which is undone.
func inTenant(t *testing.T, conn *pgx.Conn, tenant hub.TenantID, fn func(context.Context)) {
	t.Helper()
	tx, err := conn.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(t.Context())) }()
	_, err = tx.Exec(t.Context(), `SELECT set_config('role', $1, true), set_config('tributary.tenant', $2, true)`, store.RolesOf("").Tenant, tenant.UUID().String())
	if err != nil {
		t.Fatal(err)
	}
	fn(t.Context())
}

// measureReads says what the reads take on full tables: the middle one of some.
func measureReads(t *testing.T, db *storetest.DB, tenant hub.TenantID, reads map[string]eventRead) {
	t.Helper()
	for _, name := range slices.Sorted(maps.Keys(reads)) {
		var times []time.Duration
		for range 20 {
			began := time.Now()
			if err := db.InTenant(t.Context(), tenant, func(tx *store.Tx) error { return reads[name].run(t.Context(), tx) }); err != nil {
				t.Fatal(err)
			}
			times = append(times, time.Since(began))
		}
		slices.SortFunc(times, cmp.Compare)
		t.Logf("%s: p50 %s, p90 %s", name, times[len(times)/2], times[len(times)*9/10])
	}
}
