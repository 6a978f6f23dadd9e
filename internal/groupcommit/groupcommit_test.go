package groupcommit_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tributary-hub/tributary/internal/groupcommit"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// call is a flush that runs until the test answers it.
type call struct {
	ctx    context.Context
	items  []string
	answer chan<- error // nil: each item's result is the item in upper case
}

// stage is a started group of which the test plays the flush. It lives in a synctest bubble.
type stage struct {
	*groupcommit.Group[string, string]
	t     *testing.T
	calls chan call
	wg    sync.WaitGroup
}

func newStage(t *testing.T, o groupcommit.Options[string]) *stage {
	t.Helper()
	s := &stage{t: t, calls: make(chan call)}
	s.Group = groupcommit.New(o, func(ctx context.Context, items []string) ([]string, error) {
		answer := make(chan error)
		s.calls <- call{ctx: ctx, items: slices.Clone(items), answer: answer}
		if err := <-answer; err != nil {
			return nil, err
		}
		return upper(items), nil
	})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

func upper(items []string) []string {
	outs := make([]string, len(items))
	for i, item := range items {
		outs[i] = strings.ToUpper(item)
	}
	return outs
}

// outcome is what one Do returned; read it after synctest.Wait or s.finish.
type outcome struct {
	out      string
	err      error
	returned bool
}

// do calls Do in the background, and returns when the item is queued, in a flush, or refused.
func (s *stage) do(ctx context.Context, item string) *outcome {
	o := &outcome{}
	s.wg.Go(func() {
		o.out, o.err = s.Do(ctx, item)
		o.returned = true
	})
	synctest.Wait()
	return o
}

// finish answers all flushes to come with nil, stops the group, and waits for all callers.
func (s *stage) finish() [][]string {
	s.t.Helper()
	stopped := make(chan error)
	go func() { stopped <- s.Stop(context.Background()) }()
	var batches [][]string
	for {
		select {
		case c := <-s.calls:
			batches = append(batches, c.items)
			c.answer <- nil
		case err := <-stopped:
			if err != nil {
				s.t.Errorf("stop: %v", err)
			}
			s.wg.Wait()
			return batches
		}
	}
}

func TestDo_EachCallerGetsItsOwnResult(t *testing.T) {
	t.Parallel()
	const callers, each = 50, 200
	g := groupcommit.New(groupcommit.Options[int]{}, func(_ context.Context, items []int) ([]int, error) {
		outs := make([]int, len(items))
		for i, item := range items {
			outs[i] = -item
		}
		return outs, nil
	})
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for caller := range callers {
		wg.Go(func() {
			for i := range each {
				item := caller*each + i
				if out, err := g.Do(t.Context(), item); out != -item || err != nil {
					t.Errorf("Do(%d) = %d, %v", item, out, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if err := g.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestDo_FlushTakesWhatWaits(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, groupcommit.Options[string]{})
		for _, item := range []string{"a", "b", "c", "d", "e"} {
			s.do(t.Context(), item)
		}
		first, second := <-s.calls, <-s.calls // two flushes run at once, one item each: no timer held them back
		got := [][]string{first.items, second.items}
		slices.SortFunc(got, slices.Compare)
		if diff := cmp.Diff([][]string{{"a"}, {"b"}}, got); diff != "" {
			t.Error(diff)
		}
		if n := s.Waiting(); n != 3 {
			t.Errorf("waiting: %d, want 3", n)
		}
		second.answer <- nil
		third := <-s.calls
		if diff := cmp.Diff([]string{"c", "d", "e"}, third.items); diff != "" {
			t.Error(diff)
		}
		first.answer <- nil
		third.answer <- nil
		s.finish()
	})
}

func TestDo_Batches(t *testing.T) {
	t.Parallel()
	length := func(item string) int { return len(item) }
	byFirstLetter := func(item string) [16]byte { return [16]byte{item[0]} }
	for name, c := range map[string]struct {
		options groupcommit.Options[string]
		items   []string
		want    [][]string
	}{
		"bounded by items": {
			groupcommit.Options[string]{MaxItems: 2},
			[]string{"a", "b", "c", "d", "e"},
			[][]string{{"a", "b"}, {"c", "d"}, {"e"}},
		},
		"bounded by bytes": {
			groupcommit.Options[string]{MaxBytes: 5, Size: length},
			[]string{"aaa", "bb", "c", "dddd", "ee"},
			[][]string{{"aaa", "bb"}, {"c", "dddd"}, {"ee"}},
		},
		"one larger than a flush goes alone": {
			groupcommit.Options[string]{MaxBytes: 5, Size: length},
			[]string{"a", "bbbbbbbb", "c"},
			[][]string{{"a"}, {"bbbbbbbb"}, {"c"}},
		},
		"bytes without a size are not bounded": {
			groupcommit.Options[string]{MaxBytes: 1},
			[]string{"aaa", "bbb"},
			[][]string{{"aaa", "bbb"}},
		},
		"one key after the other, in order within each": {
			groupcommit.Options[string]{MaxItems: 4, Turn: byFirstLetter},
			[]string{"a1", "a2", "a3", "a4", "a5", "a6", "b1", "b2", "c1"},
			[][]string{{"a1", "b1", "c1", "a2"}, {"b2", "a3", "a4", "a5"}, {"a6"}},
		},
		"who did not fit comes first next time": {
			groupcommit.Options[string]{MaxBytes: 6, Size: length, Turn: byFirstLetter},
			[]string{"a1", "a2", "bbbbb", "c1"},
			[][]string{{"a1"}, {"bbbbb"}, {"c1", "a2"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c.options.Flushers = 1
				s := newStage(t, c.options)
				s.do(t.Context(), "0") // occupies the flusher while the others queue
				for _, item := range c.items {
					s.do(t.Context(), item)
				}
				if diff := cmp.Diff(append([][]string{{"0"}}, c.want...), s.finish()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

func TestDo_Full(t *testing.T) {
	t.Parallel()
	for name, options := range map[string]groupcommit.Options[string]{
		"items": {Flushers: 1, Queue: 2},
		"bytes": {Flushers: 1, QueueBytes: 4, Size: func(item string) int { return len(item) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newStage(t, options)
				s.do(t.Context(), "a") // soon in a flush, so it does not count
				running := <-s.calls
				leaving, leave := context.WithCancel(t.Context())
				kept := []*outcome{s.do(t.Context(), "b1"), s.do(leaving, "b2")}
				if refused := s.do(t.Context(), "b3"); !errors.Is(refused.err, groupcommit.ErrFull) {
					t.Errorf("third: %v, want ErrFull", refused.err)
				}
				leave() // makes room
				synctest.Wait()
				kept[1] = s.do(t.Context(), "b4")
				running.answer <- nil
				s.finish()
				for i, o := range kept {
					if o.err != nil {
						t.Errorf("kept %d: %v", i, o.err)
					}
				}
			})
		})
	}
}

func TestDo_CallerLeaves(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, groupcommit.Options[string]{Flushers: 1})
		ctx, leave := context.WithCancel(t.Context())
		flushing := s.do(ctx, "flushing")
		running := <-s.calls
		first, waiting, last := s.do(t.Context(), "first"), s.do(ctx, "waiting"), s.do(t.Context(), "last")
		leave()
		synctest.Wait()
		late := s.do(ctx, "late")
		for name, o := range map[string]*outcome{"flushing": flushing, "waiting": waiting, "late": late} {
			if !errors.Is(o.err, context.Canceled) {
				t.Errorf("%s: %v, want canceled", name, o.err)
			}
		}
		if err := running.ctx.Err(); err != nil {
			t.Errorf("the flush heard of it: %v", err)
		}
		running.answer <- nil
		if diff := cmp.Diff([][]string{{"first", "last"}}, s.finish()); diff != "" {
			t.Error(diff)
		}
		if first.out != "FIRST" || last.out != "LAST" {
			t.Errorf("the others: %+v, %+v", *first, *last)
		}
	})
}

// A waiter is used again by later callers. One whose caller left during the flush must not be, or the late
// result would reach a stranger.
func TestDo_LateResultReachesNobody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStage(t, groupcommit.Options[string]{Flushers: 1})
		for range 100 {
			ctx, leave := context.WithCancel(t.Context())
			s.do(ctx, "left")
			running := <-s.calls
			leave()
			synctest.Wait()
			next := s.do(t.Context(), "stayed")
			running.answer <- nil
			running = <-s.calls
			synctest.Wait()
			if next.returned {
				t.Fatalf("the next caller got %q, %v before its flush ended", next.out, next.err)
			}
			running.answer <- nil
			synctest.Wait()
			if want := (outcome{out: "STAYED", returned: true}); *next != want {
				t.Fatalf("%+v, want %+v", *next, want)
			}
		}
		s.finish()
	})
}
