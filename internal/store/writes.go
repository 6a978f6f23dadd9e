package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// commitTime is how long CheckWrites waits for its commit: a standby that must confirm it and is away never does.
const commitTime = 5 * time.Second

// CheckWrites commits something that is written to the log of the server alone, and leaves no trace in any table.
func (p *Pipeline) CheckWrites(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, commitTime)
	defer cancel()
	var readOnly bool
	err := p.pool.QueryRow(ctx, `
		SELECT current_setting('transaction_read_only')::boolean, pg_logical_emit_message(true, 'tributary', 'is this committed?')`).Scan(&readOnly, nil)
	switch {
	case readOnly: // which that function does not mind
		return errors.New("the server takes no writes: transaction_read_only is on")
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("a commit takes more than %s: a standby of synchronous_standby_names may be away, or the disk may hang", commitTime)
	case err != nil:
		return fmt.Errorf("try a commit: %w", failure(err))
	}
	return nil
}

// MissingPartitions names the tables that have no partition for today, so that nothing can be written to them.
func (p *Pipeline) MissingPartitions(ctx context.Context) (kinds []string, err error) {
	rows, _ := p.pool.Query(ctx, `
		SELECT kind FROM unnest($1::text[]) WITH ORDINALITY AS k(kind, ord)
		 WHERE to_regclass(format('tributary.%I', kind || '_' || to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD'))) IS NULL ORDER BY ord`, partitionKinds[:])
	kinds, err = pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("look for today's partitions: %w", failure(err))
	}
	return kinds, nil
}
