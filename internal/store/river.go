package store

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributary-hub/tributary/internal/job"
)

// River is the pool that River works with, as its own role, which sees River's tables and nothing of tenants.
type River struct{ pool *pgxpool.Pool }

// OpenRiver connects lazily, past any transaction pooler: River listens.
func OpenRiver(ctx context.Context, url, rolePrefix string, size int32) (*River, error) {
	pool, err := openPool(ctx, url, "tributary river", size, sessionSettings(RolesOf(rolePrefix).River), limits{choreTime}, nil)
	if err != nil {
		return nil, fmt.Errorf("open River's pool: %w", err)
	}
	return &River{pool: pool}, nil
}

// Pool is for River's own client.
func (r *River) Pool() *pgxpool.Pool { return r.pool }

// Ping says whether Postgres answers.
func (r *River) Ping(ctx context.Context) error { return failure(r.pool.Ping(ctx)) }

// Close waits for connections in use and closes the pool.
func (r *River) Close() { r.pool.Close() }

// jobLost is when a job is nobody's although its node lives. A working takes job.EventTimeout at most; who still has
// one after three times that never heard the answer to its fetch.
const jobLost = 3 * job.EventTimeout

// TakeOver makes events' jobs that nobody works available again, with the attempt counted and an error that says why:
// those of nodes that have been silent, those that nobody can be working any more, and always those of mine, an id
// that this process had before it was killed. Behind the gate it is safe: a slow node that finishes after all does no
// harm.
func (r *River) TakeOver(ctx context.Context, mine string) (jobs int64, err error) {
	tag, err := r.pool.Exec(ctx, `
		WITH dead AS (
			SELECT j.id, worker.node, n.id IS NOT NULL AS alive
			  FROM tributary_river.river_job j
			 CROSS JOIN LATERAL (SELECT j.attempted_by[array_upper(j.attempted_by, 1)] AS node) worker
			  LEFT JOIN tributary.nodes n ON n.id = worker.node AND n.beat_at BETWEEN now() - $3::interval AND now() + $3::interval
			 WHERE j.state = 'running' AND j.queue = $1
			   AND (worker.node = $2
			     OR n.id IS NULL AND j.attempted_at NOT BETWEEN now() - $3::interval AND now() + $3::interval -- between: a node before its first beat
			     OR j.attempted_at NOT BETWEEN now() - $4::interval AND now() + $4::interval)
			 ORDER BY j.id LIMIT 1000 FOR UPDATE OF j SKIP LOCKED -- two nodes look at once
		)
		UPDATE tributary_river.river_job j
		   SET state = CASE WHEN attempt >= max_attempts THEN 'discarded' ELSE 'available' END::tributary_river.river_job_state,
		       finalized_at = CASE WHEN attempt >= max_attempts THEN now() END, -- a check ties it to the state
		       scheduled_at = now(),
		       errors = array_append(errors, jsonb_build_object('at', now(), 'attempt', attempt, 'trace', '',
		           'error', 'node ' || dead.node || CASE WHEN alive THEN ' never heard of the job' ELSE ' fell silent' END))
		  FROM dead WHERE j.id = dead.id`, job.Events, mine, NodeSilent, jobLost)
	if err != nil {
		return 0, fmt.Errorf("take over jobs: %w", failure(err))
	}
	return tag.RowsAffected(), nil
}

// A GivenUpJob is a job of an event that River discarded, and why.
type GivenUpJob struct {
	job.RouteEvent
	ID    int64
	At    time.Time
	Error string
}

// GivenUp lists up to 1,000 of the events' jobs that River discarded within that time, but those that were marked as
// recorded, in the order in which they were discarded, from behind after: the last of the page before, or zero.
func (r *River) GivenUp(ctx context.Context, within time.Duration, after GivenUpJob) ([]GivenUpJob, error) {
	rows, _ := r.pool.Query(ctx, `
		SELECT args, id, finalized_at, coalesce(errors[array_upper(errors, 1)]->>'error', '') FROM tributary_river.river_job
		 WHERE state = 'discarded' AND queue = $1 AND NOT metadata ? 'recorded'
		   AND finalized_at > now() - $2::interval AND (finalized_at, id) > ($3, $4)
		 ORDER BY finalized_at, id LIMIT 1000`, job.Events, within, after.At, after.ID)
	jobs, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (GivenUpJob, error) {
		var j GivenUpJob
		err := row.Scan(&j.RouteEvent, &j.ID, &j.At, &j.Error)
		return j, err
	})
	if err != nil {
		return nil, fmt.Errorf("list jobs that were given up: %w", failure(err))
	}
	return jobs, nil
}

// MarkRecorded says of jobs that were given up that their events have an outcome.
func (r *River) MarkRecorded(ctx context.Context, ids []int64) error {
	_, err := r.pool.Exec(ctx, `
		UPDATE tributary_river.river_job SET metadata = metadata || '{"recorded": true}' WHERE id = ANY ($1) AND state = 'discarded'`, ids)
	if err != nil {
		return fmt.Errorf("mark jobs as recorded: %w", failure(err))
	}
	return nil
}
