package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/job"
)

// A Sight is what there is to see of Postgres and of the other nodes.
type Sight struct {
	Clock    time.Time // Postgres's
	Notify   float64   // how full the queue of notifications is, from 0 to 1; full, nothing that notifies commits
	Nodes    int       // that live, by their beats
	Versions int       // of these nodes
}

// Sight asks for it: one row, from a table of a row a node.
func (p *Pipeline) Sight(ctx context.Context) (Sight, error) {
	asked := time.Now()
	rows, _ := p.pool.Query(ctx, `
		SELECT clock_timestamp(), pg_notification_queue_usage(), count(n.id)::int, count(DISTINCT n.version)::int
		  FROM tributary.nodes n WHERE n.beat_at BETWEEN now() - $1::interval AND now() + $1::interval`, NodeSilent)
	sight, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[Sight])
	if err != nil {
		return Sight{}, fmt.Errorf("look at Postgres: %w", failure(err))
	}
	p.clock.saw(sight.Clock, asked)
	return sight, nil
}

// A Backlog is the jobs of events in one state.
type Backlog struct {
	State string
	Jobs  int           // at most BacklogMost
	Age   time.Duration // since the oldest of those was made, however often it was put off; zero where none is
}

// BacklogMost is how far jobs are counted: beyond it there are too many, however many there are.
const BacklogMost = 10_000

// backlogStates are those that say how the working goes. Completed jobs are none of it.
var backlogStates = []string{"available", "running", "retryable", "scheduled", "discarded"}

// BacklogStates are the states that a Backlog is of.
func BacklogStates() []string { return slices.Clone(backlogStates) }

// Backlog counts the jobs of events in each state that is not done. It reads an index by state and queue, and stops at
// BacklogMost.
func (r *River) Backlog(ctx context.Context) ([]Backlog, error) {
	rows, _ := r.pool.Query(ctx, `
		SELECT s.state, c.jobs, coalesce(greatest(clock_timestamp() - c.oldest, '0'), '0')
		  FROM unnest($1::text[]) WITH ORDINALITY AS s(state, ord)
		 CROSS JOIN LATERAL (SELECT count(*)::int AS jobs, min(created_at) AS oldest FROM (
			SELECT j.created_at FROM tributary_river.river_job j WHERE j.state = s.state::tributary_river.river_job_state AND j.queue = $2
			 ORDER BY j.priority, j.scheduled_at, j.id LIMIT $3::int) x) c
		 ORDER BY s.ord`, backlogStates, job.Events, BacklogMost)
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Backlog])
	if err != nil {
		return nil, fmt.Errorf("count jobs: %w", failure(err))
	}
	return found, nil
}
