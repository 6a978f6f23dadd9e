package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// UnconfinedRoles lists those of the three roles that row-level security would not hold: superusers, those that
// bypass it, and owners of anything.
func (s *Store) UnconfinedRoles(ctx context.Context) ([]string, error) {
	rows, _ := s.Pipeline.pool.Query(ctx, `
		SELECT r.rolname FROM pg_roles r
		 WHERE r.rolname = ANY ($1)
		   AND (r.rolsuper OR r.rolbypassrls
		     OR EXISTS (SELECT FROM pg_shdepend d WHERE d.refclassid = 'pg_authid'::regclass AND d.refobjid = r.oid AND d.deptype = 'o'))
		 ORDER BY r.rolname`, s.roles.all())
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look at the roles: %w", failure(err))
	}
	return names, nil
}
