package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// A Node is one running process.
type Node struct {
	ID      string // of its River client
	Roles   []string
	Version string
	Keyset  Keyset
}

// NodeSilent is how long after its last beat a node counts as ended to the others: they take its jobs, and change the
// keyset without it. So does a beat from later than that ahead: Postgres's clock was set back since, and a node that
// lives has written another.
const NodeSilent = 10 * time.Second

// Beat writes that the node lives, where the others count on it: where it wrote so within half of NodeSilent. A node
// that did not must Join again, since they may have gone on without it. Half, so that none decides by a beat that was
// begun in time and written late that the node is silent, while the node takes it for one in time.
func (p *Pipeline) Beat(ctx context.Context, id string) (counted bool, err error) {
	tag, err := p.pool.Exec(ctx, `
		UPDATE tributary.nodes SET beat_at = now() WHERE id = $1 AND beat_at > now() - $2::interval`, id, NodeSilent/2)
	if err != nil {
		return false, fmt.Errorf("beat: %w", failure(err))
	}
	return tag.RowsAffected() == 1, nil
}

// beat writes a node's row, be there one or not.
func beat(ctx context.Context, db querier, n Node) error {
	_, err := db.Exec(ctx, `
		INSERT INTO tributary.nodes (id, roles, version, key_ids, primary_key_id) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (id) DO UPDATE
		   SET beat_at = now(), roles = EXCLUDED.roles, version = EXCLUDED.version,
		       key_ids = EXCLUDED.key_ids, primary_key_id = EXCLUDED.primary_key_id`,
		n.ID, n.Roles, n.Version, n.Keyset.Keys, n.Keyset.Primary)
	return err
}

// Nodes lists the processes that have written that they live within the last 10 s, in the order in which they began.
func (p *Pipeline) Nodes(ctx context.Context) ([]Node, error) {
	rows, _ := p.pool.Query(ctx, `
		SELECT id, roles, version FROM tributary.nodes WHERE beat_at BETWEEN now() - $1::interval AND now() + $1::interval ORDER BY started_at, id`, NodeSilent)
	nodes, err := pgx.CollectRows(rows, pgx.RowToStructByNameLax[Node])
	if err != nil {
		return nil, fmt.Errorf("list nodes: %w", failure(err))
	}
	return nodes, nil
}

// RemoveNode forgets a node that ended in order.
func (p *Pipeline) RemoveNode(ctx context.Context, id string) error {
	_, err := p.pool.Exec(ctx, `DELETE FROM tributary.nodes WHERE id = $1`, id)
	if err != nil {
		return fmt.Errorf("remove node: %w", failure(err))
	}
	return nil
}

// SweepNodes forgets nodes that have been silent for that long.
func (p *Pipeline) SweepNodes(ctx context.Context, silent time.Duration) (int64, error) {
	return p.sweep(ctx, `DELETE FROM tributary.nodes WHERE beat_at < now() - $1::interval`, silent)
}
