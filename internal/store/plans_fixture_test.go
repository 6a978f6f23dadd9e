package store_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// What the tables hold when they are full: of each of the tenants so many events, outcomes and messages, spread over
// the days and over the channels.
const (
	planDays     = 30
	planTenants  = 20
	planRows     = 100_000
	planChannels = 60
)

// A planFixture is the tenants whose tables are read, before they are filled and after.
type planFixture struct {
	tenants  []hub.TenantID
	endpoint hub.Endpoint // of the first tenant
	now      time.Time
	event    func(opts ...storetest.EventOption) hub.Event
}

func newPlanFixture(t *testing.T, db *storetest.DB) *planFixture {
	t.Helper()
	fx := &planFixture{tenants: manyTenants(t, db, planTenants), now: time.Now()}
	fx.endpoint = db.Endpoint(t, fx.tenants[0], "stripe")
	fx.event = func(opts ...storetest.EventOption) hub.Event {
		return db.Event(t, "stripe", slices.Insert(opts, 0, storetest.To(fx.tenants[0], fx.endpoint.ID))...)
	}
	partitions(t, db, planDays+1) // just after midnight the oldest rows are of the day before
	return fx
}

// tails reads on from near the head, as the feed does.
func (fx *planFixture) tails(n int) []store.Tail {
	tails := make([]store.Tail, n)
	for i := range tails {
		tails[i] = store.Tail{Tenant: fx.tenants[i], After: planRows/planTenants - 10, Since: fx.now.Add(-time.Hour)}
	}
	return tails
}

// calls has one for each exported method of the pipeline, which together run all of its statements.
func (fx *planFixture) calls() map[string]func(context.Context, *store.Pipeline) error {
	tenant, now := fx.tenants[0], fx.now
	question := store.Question{Caller: hub.NewID[hub.KeyID](), Hash: hub.HashToken("question"), Request: hub.HashToken("body")}
	node := store.Node{ID: "n", Roles: []string{"worker"}, Version: "test", Keyset: store.Keyset{Keys: []uint32{1}, Primary: 1, Proof: []byte("proof")}}
	return map[string]func(context.Context, *store.Pipeline) error{
		"Append": func(ctx context.Context, p *store.Pipeline) error {
			_, err := p.Append(ctx, benchUnits(fx.tenants, 20, true))
			return err
		},
		"InsertEvents": func(ctx context.Context, p *store.Pipeline) error {
			first := fx.event()
			_, err := p.InsertEvents(ctx, []hub.Event{first, fx.event(storetest.SameDelivery(first)), fx.event()})
			return err
		},
		"LoadEvents": func(ctx context.Context, p *store.Pipeline) error {
			_, err := p.LoadEvents(ctx, []store.EventRef{{Tenant: tenant, Event: fx.event().ID}, {Tenant: tenant, Event: fx.event().ID}})
			return err
		},
		"InsertRejections": func(ctx context.Context, p *store.Pipeline) error {
			return p.InsertRejections(ctx, []store.Rejected{rejected(tenant, fx.endpoint.ID, hub.NoSignature, 10)})
		},
		"ReadTails": func(ctx context.Context, p *store.Pipeline) error {
			_, err := p.ReadTails(ctx, fx.tails(planTenants), plenty, now)
			return err
		},
		"ReadLog": func(ctx context.Context, p *store.Pipeline) error {
			_, all := p.ReadLog(ctx, store.Replay{Tenant: tenant, After: 100, Page: plenty}, now)
			_, some := p.ReadLog(ctx, store.Replay{Tenant: tenant, After: 100, Channels: []string{"c:1", "c:2"}, Page: plenty}, now)
			_, matching := p.ReadLog(ctx, store.Replay{Tenant: tenant, After: 100, Channels: []string{"c:1"}, Prefixes: []string{"d:"}, Look: 1000, Page: plenty}, now)
			return errors.Join(all, some, matching)
		},
		"LogPlace": func(ctx context.Context, p *store.Pipeline) error {
			_, err := p.LogPlace(ctx, tenant, now.AddDate(0, 0, -7))
			return err
		},
		"LogHeads": func(ctx context.Context, p *store.Pipeline) error {
			_, err := p.LogHeads(ctx, fx.tenants)
			return err
		},
		"PositionBefore": func(ctx context.Context, p *store.Pipeline) error {
			_, err := p.PositionBefore(ctx, tenant, now.AddDate(0, 0, -7), store.Place{Head: planRows / planTenants, Floor: 1})
			return err
		},
		"LastPositions": func(ctx context.Context, p *store.Pipeline) error {
			_, err := p.LastPositions(ctx, tenant, []string{"c:1", "c:2"}, 100, store.Place{Head: planRows / planTenants, Floor: 1}, now)
			return err
		},
		"LastMatching": func(ctx context.Context, p *store.Pipeline) error {
			_, err := p.LastMatching(ctx, tenant, []string{"c:1"}, []string{"d:"}, 100, store.Place{Head: 300, Floor: 100}, now)
			return err
		},
		"ChannelsWith": func(ctx context.Context, p *store.Pipeline) error {
			_, err := p.ChannelsWith(ctx, tenant, "c:", 100, store.Place{Head: planRows / planTenants, Floor: 1}, now)
			return err
		},
		"MakePartitions": func(ctx context.Context, p *store.Pipeline) error {
			_, err := p.MakePartitions(ctx, now, now)
			return err
		},
		"DropPartition": func(ctx context.Context, p *store.Pipeline) error {
			_, err := p.DropPartition(ctx, store.Partition{Kind: "events", Day: now.AddDate(0, 0, -300)})
			return err
		},
		"Partitions": func(ctx context.Context, p *store.Pipeline) error {
			_, err := p.Partitions(ctx)
			return err
		},
		"CheckWrites":       func(ctx context.Context, p *store.Pipeline) error { return p.CheckWrites(ctx) },
		"MissingPartitions": func(ctx context.Context, p *store.Pipeline) error { return second(p.MissingPartitions(ctx)) },
		"SweepDedup":        func(ctx context.Context, p *store.Pipeline) error { return second(p.SweepDedup(ctx)) },
		"SweepIdempotency":  func(ctx context.Context, p *store.Pipeline) error { return second(p.SweepIdempotency(ctx)) },
		"SweepTombstones":   func(ctx context.Context, p *store.Pipeline) error { return second(p.SweepTombstones(ctx, time.Hour)) },
		"SweepNodes":        func(ctx context.Context, p *store.Pipeline) error { return second(p.SweepNodes(ctx, time.Hour)) },
		"TrimRejections":    func(ctx context.Context, p *store.Pipeline) error { return second(p.TrimRejections(ctx)) },
		"Beat":              func(ctx context.Context, p *store.Pipeline) error { return second(p.Beat(ctx, node.ID)) },
		"Join":              func(ctx context.Context, p *store.Pipeline) error { return p.Join(ctx, node) },
		"KeysetState":       func(ctx context.Context, p *store.Pipeline) error { return second(p.KeysetState(ctx)) },
		"RemoveNode":        func(ctx context.Context, p *store.Pipeline) error { return p.RemoveNode(ctx, node.ID) },
		"Ping":              func(ctx context.Context, p *store.Pipeline) error { return p.Ping(ctx) },
		"EpochRefused":      func(ctx context.Context, p *store.Pipeline) error { return second(p.EpochRefused(ctx)) },
		"InstallationKind":  func(ctx context.Context, p *store.Pipeline) error { return second(p.InstallationKind(ctx)) },
		"Nodes":             func(ctx context.Context, p *store.Pipeline) error { return second(p.Nodes(ctx)) },
		"Epoch":             func(ctx context.Context, p *store.Pipeline) error { return second(p.Epoch(ctx)) },
		"Sight":             func(ctx context.Context, p *store.Pipeline) error { return second(p.Sight(ctx)) },
		"OnEpoch":           func(context.Context, *store.Pipeline) error { return nil }, // asks nothing
		"ClockSkewed":       func(context.Context, *store.Pipeline) error { return nil }, // likewise
		"Clock":             func(ctx context.Context, p *store.Pipeline) error { return second(p.Clock(ctx)) },
		"MarkInstallation":  func(ctx context.Context, p *store.Pipeline) error { return second(p.MarkInstallation(ctx, "dev")) },
		"MigrationStatus":   func(ctx context.Context, p *store.Pipeline) error { return second(p.MigrationStatus(ctx)) },
		"Snapshot":          func(ctx context.Context, p *store.Pipeline) error { return second(p.Snapshot(ctx, tenant)) },
		"Tenants":           func(ctx context.Context, p *store.Pipeline) error { return second(p.Tenants(ctx, tenant, 10)) },
		"ConfigVersions":    func(ctx context.Context, p *store.Pipeline) error { return second(p.ConfigVersions(ctx, fx.tenants)) },
		"TenantByToken": func(ctx context.Context, p *store.Pipeline) error {
			return second(p.TenantByToken(ctx, hub.HashToken(fx.endpoint.Token)))
		},
		"TenantByKey": func(ctx context.Context, p *store.Pipeline) error {
			return unlessAbsent(second(p.TenantByKey(ctx, hub.HashToken("none"))))
		},
		"TenantBySlug": func(ctx context.Context, p *store.Pipeline) error {
			return second(p.TenantBySlug(ctx, "t"+tenant.UUID().String()))
		},
		"OperatorKey": func(ctx context.Context, p *store.Pipeline) error {
			return unlessAbsent(second(p.OperatorKey(ctx, hub.HashToken("none"))))
		},
		"TouchKeys": func(ctx context.Context, p *store.Pipeline) error {
			return p.TouchKeys(ctx, []hub.TenantID{tenant, {}}, []hub.KeyID{question.Caller, question.Caller}, []time.Time{now, now})
		},
		"Answer": func(ctx context.Context, p *store.Pipeline) error { return second(p.Answer(ctx, question)) },
		"KeepAnswer": func(ctx context.Context, p *store.Pipeline) error {
			return second(p.KeepAnswer(ctx, question, store.Answer{Status: 201}, time.Hour))
		},
		"CountSecretUses": func(ctx context.Context, p *store.Pipeline) error {
			return p.CountSecretUses(ctx, []store.SecretUse{{Tenant: tenant, Secret: hub.NewID[hub.SecretID](), Matches: 1, LastAt: now}})
		},
		"CountRouteFailures": func(ctx context.Context, p *store.Pipeline) error {
			return p.CountRouteFailures(ctx, []store.RouteFailure{{Tenant: tenant, Route: hub.NewID[hub.RouteID](), Count: 1, At: now}})
		},
		"AddUsage": func(ctx context.Context, p *store.Pipeline) error {
			return p.AddUsage(ctx, []store.Usage{{Tenant: tenant, Hour: now.Truncate(time.Hour), Received: 1}})
		},
	}
}

func second[T any](_ T, err error) error { return err }

func unlessAbsent(err error) error {
	if hub.CodeOf(err) == hub.NotFound {
		return nil
	}
	return err
}

// fill writes what has come in over the days, as the owner. Nothing here makes Postgres forget a plan that it keeps.
func (fx *planFixture) fill(t *testing.T, db *storetest.DB) {
	t.Helper()
	db.Exec(t, `
		CREATE TABLE filler AS
		SELECT tenant_id, position, at,
		       (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(hash, 1, 3) || '8' || substr(hash, 4, 15))::uuid AS id
		  FROM unnest($1::uuid[]) AS t(tenant_id), generate_series(1, $2::int) AS position,
		       LATERAL (SELECT now() - interval '5 minutes' - (1 - position::float8 / $2::int) * $3::int * interval '1 day' AS at, md5(tenant_id || '-' || position) AS hash) x`,
		fx.tenants, planRows/planTenants, planDays-1)
	numbers := strings.NewReplacer("$rows", fmt.Sprint(planRows/planTenants), "$channels", fmt.Sprint(planChannels),
		"$tenant", "'"+fx.tenants[0].UUID().String()+"'", "$endpoint", "'"+fx.endpoint.ID.UUID().String()+"'")
	for _, sql := range []string{
		`DELETE FROM tributary.messages`, `DELETE FROM tributary.log_days`, `DELETE FROM tributary.log_heads`, `DELETE FROM tributary.state`,
		`INSERT INTO tributary.events (tenant_id, id, endpoint_id, provider, type, provider_id, received_at, verified, cause, header, body)
		 SELECT tenant_id, id, tenant_id, 'stripe', 'test', 'p_' || id, at, true, '', 'Content-Type: application/json', convert_to(repeat('x', 300), 'UTF8') FROM filler`,
		`INSERT INTO tributary.outcomes (tenant_id, event_id, run, state, error, worked_at)
		 SELECT tenant_id, id, '00000000-0000-0000-0000-000000000000', 'routed', '', at FROM filler`,
		`INSERT INTO tributary.messages (tenant_id, position, at, id, event_id, run, channel, type, data)
		 SELECT tenant_id, position, at, id, id, '00000000-0000-0000-0000-000000000000', 'c:' || position % $channels, 'test', convert_to(repeat('x', 300), 'UTF8') FROM filler`,
		`INSERT INTO tributary.log_days (tenant_id, first_position, day, at)
		 SELECT tenant_id, min(position), (at AT TIME ZONE 'UTC')::date, min(at) FROM filler GROUP BY tenant_id, (at AT TIME ZONE 'UTC')::date`,
		`INSERT INTO tributary.log_heads (tenant_id, position, at, day_start)
		 SELECT tenant_id, $rows, max(f.at), max(first_position) FROM filler f JOIN tributary.log_days d USING (tenant_id) GROUP BY tenant_id`,
		`INSERT INTO tributary.dedup (tenant_id, endpoint_id, hash, event_id, expires_at)
		 SELECT tenant_id, tenant_id, decode(md5(id::text), 'hex'), id, at + interval '7 days' FROM filler`,
		`INSERT INTO tributary.state (tenant_id, channel, key, position, at, type, forget, data)
		 SELECT tenant_id, 'c:' || position % $channels, position::text, position, at, 'test', false, '1' FROM filler WHERE position % 10 = 0`,
		`INSERT INTO tributary.idempotency (caller, hash, request, status, header, expires_at)
		 SELECT tenant_id, sha256(convert_to(id::text, 'UTF8')), sha256(''), 201, '{}', at + interval '1 day' FROM filler WHERE position % 10 = 0`,
		`INSERT INTO tributary.rejections (tenant_id, endpoint_id, id, cause, detail, received_at, header, body, truncated)
		 SELECT tenant_id, $endpoint, gen_random_uuid(), 'no_signature', '', at, '', '', false FROM filler WHERE tenant_id = $tenant AND position % 10 = 0`,
	} {
		db.Exec(t, numbers.Replace(sql))
	}
}

// measure says what the hot statements take on the full tables: the middle one of many.
func (fx *planFixture) measure(t *testing.T, db *storetest.DB) {
	t.Helper()
	ids := storetest.Values[hub.EventID](t, db, `SELECT id FROM tributary.events WHERE tenant_id = $1 ORDER BY id DESC LIMIT 50`, fx.tenants[0])
	refs := make([]store.EventRef, len(ids))
	for i, id := range ids {
		refs[i] = store.EventRef{Tenant: fx.tenants[0], Event: id}
	}
	read := func(n int) func() (int, error) {
		return func() (rows int, err error) {
			reads, err := db.Pipeline.ReadTails(t.Context(), fx.tails(n), plenty, time.Now())
			for _, r := range reads {
				rows += len(r.Messages)
			}
			return rows, err
		}
	}
	add := func(n int) func() (int, error) {
		return func() (int, error) {
			placed, err := db.Pipeline.Append(t.Context(), benchUnits(fx.tenants, n, false))
			return len(placed), err
		}
	}
	for _, m := range []struct {
		name string
		call func() (rows int, err error)
	}{
		{"nothing but the way there and back", func() (int, error) { return 1, db.Pipeline.Ping(t.Context()) }},
		{"feed read of 1 tenant", read(1)},
		{"feed read of 20 tenants", read(20)},
		{"replay of 2 channels, bare cursor", func() (int, error) {
			r, err := db.Pipeline.ReadLog(t.Context(), store.Replay{Tenant: fx.tenants[0], After: 100, Channels: []string{"c:1", "c:2"}, Page: plenty}, time.Now())
			return len(r.Messages), err
		}},
		{"50 events by id", func() (found int, err error) {
			events, err := db.Pipeline.LoadEvents(t.Context(), refs)
			for _, e := range events {
				if e.Found {
					found++
				}
			}
			return found, err
		}},
		{"append of 20 rows", add(20)},
		{"append of 100 rows", add(100)},
	} {
		var times []time.Duration
		rows := 0
		for range 60 {
			start := time.Now()
			n, err := m.call()
			if err != nil {
				t.Fatalf("%s: %v", m.name, err)
			}
			times, rows = append(times, time.Since(start)), n
		}
		slices.Sort(times)
		t.Logf("%s: %d rows of %d, p50 %s, p90 %s", m.name, rows, planRows, times[len(times)/2], times[len(times)*9/10])
		if rows == 0 {
			t.Errorf("%s: no rows", m.name)
		}
	}
}
