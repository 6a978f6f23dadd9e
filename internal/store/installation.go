package store

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// MarkInstallation marks the database dev or production at its first use and says what it is.
func (p *Pipeline) MarkInstallation(ctx context.Context, kind string) (is string, err error) {
	batch := &pgx.Batch{}
	batch.Queue(`INSERT INTO tributary.installation (kind) VALUES ($1) ON CONFLICT DO NOTHING`, kind)
	batch.Queue(`SELECT kind FROM tributary.installation`).QueryRow(func(row pgx.Row) error { return row.Scan(&is) })
	if err := p.pool.SendBatch(ctx, batch).Close(); err != nil {
		return "", fmt.Errorf("mark the installation: %w", failure(err))
	}
	return is, nil
}

// InstallationKind says what the database is marked as: dev, production, or "" where nobody has marked it.
func (p *Pipeline) InstallationKind(ctx context.Context) (kind string, err error) {
	err = p.pool.QueryRow(ctx, `SELECT coalesce((SELECT kind FROM tributary.installation LIMIT 1), '')`).Scan(&kind)
	if err != nil {
		return "", fmt.Errorf("ask what the database is: %w", failure(err))
	}
	return kind, nil
}
