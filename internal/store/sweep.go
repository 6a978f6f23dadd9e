package store

import (
	"context"
	"fmt"
	"time"
)

// sweepBatch bounds one DELETE: its locks are held for a moment only.
const sweepBatch = 5000

// SweepDedup deletes dedup keys that have expired, at most a batch; call it again while it deletes.
func (p *Pipeline) SweepDedup(ctx context.Context) (int64, error) {
	return p.sweep(ctx, `
		DELETE FROM tributary.dedup d USING (
			SELECT tenant_id, endpoint_id, hash FROM tributary.dedup WHERE expires_at < now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED) x
		 WHERE d.tenant_id = x.tenant_id AND d.endpoint_id = x.endpoint_id AND d.hash = x.hash`, sweepBatch)
}

// SweepIdempotency deletes answers that have expired, at most a batch, and forgets the secrets in those whose time
// is over.
func (p *Pipeline) SweepIdempotency(ctx context.Context) (int64, error) {
	_, err := p.sweep(ctx, `UPDATE tributary.idempotency SET answer = NULL WHERE answer IS NOT NULL AND sealed AND secret_until < now()`)
	if err != nil {
		return 0, err
	}
	return p.sweep(ctx, `
		DELETE FROM tributary.idempotency i USING (
			SELECT caller, hash FROM tributary.idempotency WHERE expires_at < now() ORDER BY expires_at LIMIT $1 FOR UPDATE SKIP LOCKED) x
		 WHERE i.caller = x.caller AND i.hash = x.hash`, sweepBatch)
}

// SweepTombstones forgets deleted keys of channels' state once no older write can come any more, at most a batch.
func (p *Pipeline) SweepTombstones(ctx context.Context, age time.Duration) (int64, error) {
	return p.sweep(ctx, `
		DELETE FROM tributary.state s USING (
			SELECT tenant_id, channel, key FROM tributary.state WHERE data IS NULL AND at < now() - $1::interval
			 ORDER BY tenant_id, channel, key LIMIT $2 FOR UPDATE SKIP LOCKED) x
		 WHERE s.tenant_id = x.tenant_id AND s.channel = x.channel AND s.key = x.key`, age, sweepBatch)
}

// The bounds of an endpoint's ring of rejections. One cause may fill at most half of it.
const (
	RingRejections = 100
	RingBytes      = 4 << 20
)

// TrimRejections deletes what is beyond each endpoint's ring: of each cause all but the newest half, then, of what
// that leaves, the oldest above the ring's number and bytes. So a flood of one cause pushes out nothing but itself.
func (p *Pipeline) TrimRejections(ctx context.Context) (int64, error) {
	return p.sweep(ctx, `
		WITH each AS MATERIALIZED (
			SELECT tenant_id, endpoint_id, id, size, row_number() OVER cause > $1 / 2 OR sum(size) OVER cause > $2 / 2 AS beyond
			  FROM (SELECT tenant_id, endpoint_id, cause, id, length(header) + length(body) + coalesce(length(sealed), 0) + coalesce(length(sealed_body), 0) AS size
			          FROM tributary.rejections) r
			WINDOW cause AS (PARTITION BY tenant_id, endpoint_id, cause ORDER BY id DESC)
		), rest AS (
			SELECT tenant_id, id, row_number() OVER ring > $1 OR sum(size) OVER ring > $2 AS beyond
			  FROM each WHERE NOT beyond
			WINDOW ring AS (PARTITION BY tenant_id, endpoint_id ORDER BY id DESC)
		)
		DELETE FROM tributary.rejections r
		 USING (SELECT tenant_id, id FROM each WHERE beyond UNION ALL SELECT tenant_id, id FROM rest WHERE beyond) x
		 WHERE r.tenant_id = x.tenant_id AND r.id = x.id`, RingRejections, RingBytes)
}

func (p *Pipeline) sweep(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := p.pool.Exec(ctx, query, args...)
	if err != nil {
		return 0, fmt.Errorf("sweep: %w", failure(err))
	}
	return tag.RowsAffected(), nil
}
