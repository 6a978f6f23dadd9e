package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Kinds of partitioned tables, in the order in which a day of them is made and dropped: messages last, since with
// them goes the floor.
var partitionKinds = [PartitionKinds]string{"events", "outcomes", "messages"}

// PartitionKinds is how many tables a day has a partition of.
const PartitionKinds = 3

// errBusy says that a lock was not had in time; the next try may have it.
var errBusy = errors.New("the table is in use, try again later")

// IsBusy says that a partition could not be dropped for a reader or writer that holds it: try again later.
func IsBusy(err error) bool { return errors.Is(err, errBusy) }

// MakePartitions makes the partitions of each day (of UTC) from the one of from through that of until that are
// missing, and says how many those were.
func (p *Pipeline) MakePartitions(ctx context.Context, from, until time.Time) (made int, err error) {
	for day := DayOf(from); !day.After(until); day = day.AddDate(0, 0, 1) {
		for _, kind := range partitionKinds {
			isNew, err := p.partition(ctx, `SELECT tributary.make_partition($1, $2::date)`, kind, day)
			if err != nil {
				return made, err
			}
			if isNew {
				made++
			}
		}
	}
	return made, nil
}

// DropPartition drops the day's partition of one kind, and for messages raises the floor with it. It is IsBusy where
// a reader holds the table.
func (p *Pipeline) DropPartition(ctx context.Context, part Partition) (dropped bool, err error) {
	return p.partition(ctx, `SELECT tributary.drop_partition($1, $2::date)`, part.Kind, part.Day)
}

func (p *Pipeline) partition(ctx context.Context, query, kind string, day time.Time) (did bool, err error) {
	day = DayOf(day)
	err = p.pool.QueryRow(ctx, query, kind, day).Scan(&did)
	if code(err) == "55P03" {
		return false, fmt.Errorf("%s of %s: %w", kind, day.Format(time.DateOnly), errBusy)
	}
	if err != nil {
		return false, fmt.Errorf("partition of %s for %s: %w", kind, day.Format(time.DateOnly), failure(err))
	}
	return did, nil
}

// DayOf is the beginning of the day in UTC, by which partitions are made: a time in another zone may be of another date.
func DayOf(t time.Time) time.Time { return t.UTC().Truncate(24 * time.Hour) }

// A Partition is one day of one table.
type Partition struct {
	Kind string    // events, outcomes or messages
	Day  time.Time // any time of it
}

// Partitions lists what there is, oldest first.
func (p *Pipeline) Partitions(ctx context.Context) ([]Partition, error) {
	rows, _ := p.pool.Query(ctx, `
		SELECT parent.relname, to_date(right(child.relname, 8), 'YYYYMMDD')
		  FROM pg_inherits i JOIN pg_class parent ON parent.oid = i.inhparent JOIN pg_class child ON child.oid = i.inhrelid
		 WHERE parent.relnamespace = 'tributary'::regnamespace AND parent.relname = ANY ($1)
		 ORDER BY 2, array_position($1, parent.relname::text)`, partitionKinds[:])
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[Partition])
	if err != nil {
		return nil, fmt.Errorf("list partitions: %w", failure(err))
	}
	return found, nil
}
