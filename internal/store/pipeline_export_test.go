package store

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
)

// Rewired is the pipeline over connections of its own, made as change says.
func Rewired(ctx context.Context, p *Pipeline, change func(*pgxpool.Config)) (*Pipeline, error) {
	config := p.pool.Config()
	change(config)
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	rewired := &Pipeline{pool: pool, lookup: pool}
	rewired.insert, err = river.NewClient(riverpgxv5.New(pool), &river.Config{Schema: RiverSchema, Test: river.TestConfig{Time: &rewired.clock}})
	if err != nil {
		pool.Close()
		return nil, err
	}
	return rewired, nil
}

// Close ends the connections of a rewired pipeline.
func (p *Pipeline) Close() { p.pool.Close() }

// Failure is what the store makes of an error.
func Failure(err error) error { return failure(err) }
