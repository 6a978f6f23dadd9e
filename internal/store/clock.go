package store

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"
)

// MaxClockSkew is how far a process's clock may be from Postgres's: far below the 300 s that most providers' signed
// times may be old.
const MaxClockSkew = time.Minute

// A clock is Postgres's, as this process saw it last. It is River's clock for inserts: River dates jobs by the client
// and fetches them by the server, so that one inserted by a machine whose clock is ahead would wait for the difference.
type clock struct {
	began atomic.Pointer[time.Time] // the transaction that inserts
	ahead atomic.Int64              // how far Postgres's was ahead of this machine's, in nanoseconds
}

// Now is this machine's, for what River waits.
func (*clock) Now() time.Time { return time.Now() }

// NowOrNil is what jobs are dated by.
func (c *clock) NowOrNil() *time.Time { return c.began.Load() }

// saw notes what Postgres's clock said between asked and now.
func (c *clock) saw(said, asked time.Time) {
	c.ahead.Store(int64(said.Sub(asked.Add(time.Since(asked) / 2))))
}

// Clock is what Postgres's clock says.
func (p *Pipeline) Clock(ctx context.Context) (time.Time, error) {
	var now time.Time
	asked := time.Now()
	err := p.pool.QueryRow(ctx, `SELECT clock_timestamp()`).Scan(&now)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the time: %w", failure(err))
	}
	p.clock.saw(now, asked)
	return now, nil
}

// ClockSkewed says whether Postgres's clock was more than MaxClockSkew from this machine's when it was last asked, by
// Clock or Sight. Which of the two is wrong cannot be known here.
func (p *Pipeline) ClockSkewed() bool {
	return time.Duration(p.clock.ahead.Load()).Abs() > MaxClockSkew
}
