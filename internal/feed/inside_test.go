package feed_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/hub"
)

// No subscription joins a tail of another epoch, nor begins one with a place whose epoch is over: it would be live
// for ever and never be reset.
func TestJoin_Epoch(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name                  string
		placed, from, current hub.Epoch
		want                  bool
	}{
		{"begins it", "", "aaaa", "aaaa", true},
		{"would begin it in an epoch that is over", "", "aaaa", "bbbb", false},
		{"joins it", "aaaa", "aaaa", "aaaa", true},
		{"its own epoch is over, the tail's is not", "bbbb", "aaaa", "bbbb", false},
		{"the tail's epoch is over, its own is not", "aaaa", "bbbb", "bbbb", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if joined := feed.Join(tt.placed, tt.from, tt.current); joined != tt.want {
				t.Errorf("joined: %v", joined)
			}
		})
	}
}

// What a tail asked for before it was placed anew may be of another history: it is not handed on under the new epoch.
func TestTake_Late(t *testing.T) {
	t.Parallel()
	if reached := feed.TakeLate("aaaa"); reached != 1 {
		t.Errorf("a read in time took the tail to %d, want 1: the test no longer fits", reached)
	}
	if reached := feed.TakeLate("aaaa", "bbbb"); reached != 0 {
		t.Errorf("a read of an earlier epoch took the tail to %d", reached)
	}
}

// Whoever doubts gets an answer to a question that was asked after the doubt arose, not to one under way.
func TestEpoch_DoubtedMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now, answer := hub.Epoch("aaaa"), make(chan struct{})
		epoch := feed.NewEpoch(func(context.Context) (hub.Epoch, error) {
			seen := now
			<-answer
			return seen, nil
		})
		settle := func(want hub.Epoch) {
			if err := epoch.Settle(t.Context()); err != nil || epoch.Get() != want {
				t.Errorf("epoch %s, %v; want %s", epoch.Get(), err, want)
			}
		}
		var settled sync.WaitGroup
		settled.Go(func() { settle("aaaa") })
		synctest.Wait()
		now = "bbbb"
		epoch.Doubt()
		settled.Go(func() { settle("bbbb") })
		synctest.Wait()
		answer <- struct{}{}
		synctest.Wait()
		close(answer)
		settled.Wait()
	})
}

// A subscription whose read failed may have lost its connection to another Postgres: the epoch is asked again; after
// one that came through it is not.
func TestReaders_FailureDoubtsEpoch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int64
		f := feed.New(feed.Options{
			Log: canary.Logger(t), Metrics: prometheus.NewRegistry(),
			Epoch: func(context.Context) (hub.Epoch, error) {
				asked.Add(1)
				return "aaaa", nil
			},
		})
		if err := f.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		away := errors.New("away")
		for _, tt := range []struct {
			outcome error
			asked   int64
		}{{nil, 1}, {away, 2}, {nil, 2}} {
			if err := f.Borrow(t.Context(), func(context.Context) error { return tt.outcome }); !errors.Is(err, tt.outcome) {
				t.Errorf("error %v, want %v", err, tt.outcome)
			}
			synctest.Wait()
			if n := asked.Load(); n != tt.asked {
				t.Errorf("after a read that ended with %v the epoch was asked for %d times, want %d", tt.outcome, n, tt.asked)
			}
		}
		if err := f.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Many subscriptions that read at once take no more of Postgres than there are readers: the others wait their turn,
// or are told to come back.
func TestReaders(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		f := feed.New(feed.Options{Log: canary.Logger(t), Metrics: prometheus.NewRegistry(), Readers: 2, Timeout: time.Second})
		reading, done := make(chan struct{}, 5), make(chan struct{})
		errs := make(chan error, 5)
		for range 4 {
			go func() {
				errs <- f.Borrow(t.Context(), func(context.Context) error {
					reading <- struct{}{}
					<-done
					return nil
				})
			}()
		}
		synctest.Wait()
		if n := len(reading); n != 2 {
			t.Errorf("%d read at once, want 2", n)
		}
		done <- struct{}{}
		synctest.Wait()
		if n := len(reading); n != 3 {
			t.Errorf("%d have read, want the third in the turn of the first", n)
		}
		<-time.After(time.Second) // nobody is done: the fourth gets no turn
		synctest.Wait()
		close(done)
		var refused int
		for range 4 {
			if err := <-errs; hub.CodeOf(err) == hub.Unavailable {
				refused++
			} else if err != nil {
				t.Error(err)
			}
		}
		if refused != 1 || len(reading) != 3 {
			t.Errorf("%d refused, %d have read; want 1 and 3", refused, len(reading))
		}
	})
}

// However many subscriptions look through whole logs, half of the turns are left to those that read little.
func TestReaders_Scans(t *testing.T) {
	t.Parallel()
	for readers, want := range map[int]int{1: 1, 2: 1, 4: 2, 5: 2} {
		synctest.Test(t, func(t *testing.T) {
			f := feed.New(feed.Options{Log: canary.Logger(t), Metrics: prometheus.NewRegistry(), Readers: readers})
			done := make(chan struct{})
			var scans, reads atomic.Int64
			var all sync.WaitGroup
			begin := func(inTurn func(context.Context, func(context.Context) error) error, count *atomic.Int64) {
				all.Go(func() {
					err := inTurn(t.Context(), func(context.Context) error {
						count.Add(1)
						<-done
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			for range 30 {
				begin(f.Scan, &scans)
			}
			synctest.Wait()
			for range readers - want {
				begin(f.Borrow, &reads)
			}
			synctest.Wait()
			if scans.Load() != int64(want) || reads.Load() != int64(readers-want) {
				t.Errorf("of %d readers %d scan, want %d; %d read at once beside them", readers, scans.Load(), want, reads.Load())
			}
			close(done)
			all.Wait()
		})
	}
}
