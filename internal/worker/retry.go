package worker

import (
	"math/rand/v2"
	"time"

	"github.com/riverqueue/river/rivertype"
)

// RetryPolicy is when a job that failed is tried again: after 1, 2, 4, … seconds, a quarter more or less. With the
// attempts of an event it is given up after some two minutes: what has failed so long fails for good, and a
// replay can mend it.
type RetryPolicy struct{}

// NextRetry is the time of the next attempt.
func (RetryPolicy) NextRetry(j *rivertype.JobRow) time.Time {
	wait := time.Second << min(max(j.Attempt, 1)-1, 10)
	return time.Now().Add(wait*3/4 + rand.N(wait/2)) //nolint:gosec // it spreads retries, nothing depends on it
}
