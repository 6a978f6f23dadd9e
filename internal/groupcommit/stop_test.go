package groupcommit_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/groupcommit"
)

func TestStop_DrainsWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, groupcommit.Options[string]{Flushers: 1, MaxItems: 2})
		callers := []*outcome{}
		for _, item := range []string{"a", "b", "c", "d"} {
			callers = append(callers, s.do(t.Context(), item))
		}
		stopped := make(chan error, 1)
		go func() { stopped <- s.Stop(t.Context()) }()
		synctest.Wait()
		if refused := s.do(t.Context(), "late"); !errors.Is(refused.err, groupcommit.ErrStopped) {
			t.Errorf("late: %v, want ErrStopped", refused.err)
		}
		if len(stopped) != 0 {
			t.Error("stop returned while callers waited")
		}
		if diff := cmp.Diff([][]string{{"a"}, {"b", "c"}, {"d"}}, s.finish()); diff != "" { // the second Stop
			t.Error(diff)
		}
		for i, want := range []string{"A", "B", "C", "D"} {
			if callers[i].out != want || callers[i].err != nil {
				t.Errorf("%s: %+v", want, *callers[i])
			}
		}
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
}

func TestStop_OutOfTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, groupcommit.Options[string]{Flushers: 1})
		flushing := s.do(t.Context(), "flushing")
		running := <-s.calls
		waiting := s.do(t.Context(), "waiting")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.Stop(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("stop: %v, want canceled", err)
		}
		synctest.Wait()
		if !errors.Is(waiting.err, groupcommit.ErrStopped) {
			t.Errorf("waiting: %v, want ErrStopped", waiting.err)
		}
		if cause := context.Cause(running.ctx); !errors.Is(cause, groupcommit.ErrStopped) {
			t.Errorf("the flush's context: %v, want ErrStopped", cause)
		}
		running.answer <- running.ctx.Err()
		s.finish()
		if !errors.Is(flushing.err, context.Canceled) {
			t.Errorf("flushing: %v, want its flush's error", flushing.err)
		}
		if err := s.Stop(ctx); err != nil {
			t.Errorf("stop after the end: %v", err)
		}
	})
}

func TestStop_NeverStarted(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		g := groupcommit.New(groupcommit.Options[string]{}, func(_ context.Context, items []string) ([]string, error) {
			return items, nil
		})
		waiting := make(chan error, 1)
		go func() {
			_, err := g.Do(t.Context(), "a")
			waiting <- err
		}()
		synctest.Wait()
		for range 2 {
			if err := g.Stop(t.Context()); err != nil {
				t.Error(err)
			}
		}
		if err := <-waiting; !errors.Is(err, groupcommit.ErrStopped) {
			t.Errorf("who waited: %v, want ErrStopped", err)
		}
		if err := g.Start(t.Context()); !errors.Is(err, groupcommit.ErrStopped) {
			t.Errorf("start: %v, want ErrStopped", err)
		}
	})
}

func TestStart_Twice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, groupcommit.Options[string]{})
		if err := s.Start(t.Context()); err == nil {
			t.Error("no error")
		}
		s.finish()
	})
}

// Start's context ends with the call that wires the process; its values are for the flushes.
func TestStart_ContextGivesValuesOnly(t *testing.T) {
	t.Parallel()
	type key struct{}
	g := groupcommit.New(groupcommit.Options[string]{}, func(ctx context.Context, _ []string) ([]string, error) {
		value, _ := ctx.Value(key{}).(string)
		return []string{value}, ctx.Err()
	})
	ctx, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "carried"))
	if err := g.Start(ctx); err != nil {
		t.Fatal(err)
	}
	cancel()
	if out, err := g.Do(t.Context(), "a"); out != "carried" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
