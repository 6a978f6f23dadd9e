package store

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// A Pipeline is the door to what crosses tenants by nature (intake, appender, feed, retention) or has no tenant yet
// (lookups by hash, the directory's refresh, operator keys, nodes). Searching for it lists every statement that
// row-level security does not confine.
type Pipeline struct {
	pool   *pgxpool.Pool
	lookup *pgxpool.Pool // a lane of its own for misses, so that strangers' tokens do not queue before webhooks
	insert *river.Client[pgx.Tx]

	clock   clock
	history history // of all connections of both pools
}

// pipelineSettings make plans independent of a table's age: a day's partition is planned while it is empty.
func pipelineSettings(roles Roles) map[string]string {
	settings := sessionSettings(roles.Pipeline)
	maps.Copy(settings, map[string]string{
		"enable_seqscan":   "off",
		"enable_hashjoin":  "off",
		"enable_mergejoin": "off",
		"jit":              "off",
		"plan_cache_mode":  "force_generic_plan",
	})
	return settings
}

func openPipeline(ctx context.Context, o Options, roles Roles) (*Pipeline, error) {
	var p Pipeline
	var err error
	p.pool, err = openPool(ctx, o.DirectURL, o.Application, orDefault(o.Pipeline, 10), pipelineSettings(roles), limits{choreTime}, &p.history)
	if err != nil {
		return nil, fmt.Errorf("open pipeline pool: %w", err)
	}
	p.lookup, err = openPool(ctx, o.DirectURL, o.Application, 2, pipelineSettings(roles), limits{choreTime}, &p.history)
	if err != nil {
		p.pool.Close()
		return nil, fmt.Errorf("open lookup pool: %w", err)
	}
	p.insert, err = river.NewClient(riverpgxv5.New(p.pool), &river.Config{
		Schema:        RiverSchema,
		Test:          river.TestConfig{Time: &p.clock}, // the only way to date jobs
		FetchCooldown: 2 * time.Millisecond,             // of wake-ups too: by default nine of ten at 100 a second are held back, and a job waits for a poll
	})
	if err != nil {
		p.close()
		return nil, fmt.Errorf("prepare River's inserts: %w", err)
	}
	return &p, nil
}

func (p *Pipeline) close() {
	p.pool.Close()
	p.lookup.Close()
}

// Ping says whether Postgres answers.
func (p *Pipeline) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, acquireTime+pingTime) // a ping is no statement
	defer cancel()
	return failure(p.pool.Ping(ctx))
}
