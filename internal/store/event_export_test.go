package store

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
)

// Traced is the store with a tenant pool of its own, which the tracer listens to.
func Traced(ctx context.Context, s *Store, tracer pgx.QueryTracer) (traced *Store, done func(), err error) {
	config := s.tenant.Config()
	config.ConnConfig.Tracer = tracer
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, nil, err
	}
	return &Store{Pipeline: s.Pipeline, tenant: pool, roles: s.roles}, pool.Close, nil
}

// ScanEvents is how many events one page looks at.
const ScanEvents = scanEvents
