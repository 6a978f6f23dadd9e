package store

import "context"

// RoleOf is the role that a change's statements run as, "" where Postgres does not say.
func RoleOf(ctx context.Context, c *Change) (role string) {
	_ = c.tx.QueryRow(ctx, `SELECT current_user`).Scan(&role)
	return role
}
