package groupcommit_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/groupcommit"
)

var (
	errRefused = errors.New("refused")
	errLost    = errors.New("connection lost")
)

// ledger is the far side of a flush: it remembers what was carried out, and does nothing twice.
type ledger struct {
	mu    sync.Mutex // guards calls, done
	calls []string
	done  map[string]bool
}

func (l *ledger) hear(items []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, strings.Join(items, ","))
}

// commit carries all items out or, with poison among them, none.
func (l *ledger) commit(items []string) ([]string, error) {
	l.hear(items)
	l.mu.Lock()
	defer l.mu.Unlock()
	if slices.Contains(items, "poison") {
		return nil, errRefused
	}
	outs := make([]string, len(items))
	for i, item := range items {
		outs[i] = "done"
		if l.done[item] {
			outs[i] = "duplicate"
		}
		l.done[item] = true
	}
	return outs, nil
}

// Each case flushes one batch of three; what breaks, breaks at that batch.
func TestFlush_Failures(t *testing.T) {
	t.Parallel()
	type flush = func(ctx context.Context, l *ledger, items []string) ([]string, error)
	isBatch := func(items []string) bool { return len(items) > 1 }
	for name, c := range map[string]struct {
		flush flush
		items string
		calls string // each call's items, and the calls, separated by "|"
		want  string // each item's result or error
		again string // the same after each caller tried once more, without what broke
	}{
		"nothing breaks": {
			flush: func(_ context.Context, l *ledger, items []string) ([]string, error) { return l.commit(items) },
			items: "a b c", calls: "a,b,c",
			want: "done done done", again: "duplicate duplicate duplicate",
		},
		"not done: one is poisoned": {
			flush: func(_ context.Context, l *ledger, items []string) ([]string, error) { return l.commit(items) },
			items: "a poison c", calls: "a,poison,c|a|poison|c",
			want: "done refused done", again: "duplicate refused duplicate",
		},
		"not done: connection lost before": {
			flush: func(context.Context, *ledger, []string) ([]string, error) { return nil, errLost },
			items: "a b c", calls: "",
			want: "connection lost|connection lost|connection lost", again: "done done done",
		},
		"done but reported failed": {
			flush: func(_ context.Context, l *ledger, items []string) ([]string, error) {
				outs, err := l.commit(items)
				if isBatch(items) {
					return nil, errRefused
				}
				return outs, err
			},
			items: "a b c", calls: "a,b,c|a|b|c",
			want: "duplicate duplicate duplicate", again: "duplicate duplicate duplicate",
		},
		"done but the connection was lost before the answer": {
			flush: func(_ context.Context, l *ledger, items []string) ([]string, error) {
				_, _ = l.commit(items)
				return nil, errLost
			},
			items: "a b c", calls: "a,b,c",
			want: "connection lost|connection lost|connection lost", again: "duplicate duplicate duplicate",
		},
		"crash between: the connection is lost among the singles": {
			flush: func(_ context.Context, l *ledger, items []string) ([]string, error) {
				if isBatch(items) {
					return nil, errRefused
				}
				if items[0] == "b" {
					_, _ = l.commit(items)
					return nil, errLost
				}
				return l.commit(items)
			},
			items: "a b c", calls: "a|b",
			want: "done|connection lost|connection lost", again: "duplicate duplicate done",
		},
		"panics on one item": {
			flush: func(_ context.Context, l *ledger, items []string) ([]string, error) {
				for _, item := range items {
					if item == "b" {
						panic("bad row: " + item)
					}
				}
				return l.commit(items)
			},
			items: "a b c", calls: "a|c",
			want: "done|flush panicked with a string|done", again: "duplicate done duplicate",
		},
		"panics by the runtime": {
			flush: func(_ context.Context, _ *ledger, items []string) ([]string, error) {
				none := items[:0]
				return nil, errors.New(none[0])
			},
			items: "a", calls: "",
			want: "flush panicked: runtime error: index out of range [0] with length 0", again: "done",
		},
		"out of time: no singles, the next would hang too": {
			flush: func(ctx context.Context, l *ledger, items []string) ([]string, error) {
				l.hear(items)
				<-ctx.Done()
				return nil, ctx.Err()
			},
			items: "a b c", calls: "a,b,c",
			want: "context deadline exceeded|context deadline exceeded|context deadline exceeded", again: "done done done",
		},
		"too few results: nobody can tell whose": {
			flush: func(_ context.Context, l *ledger, items []string) ([]string, error) {
				outs, err := l.commit(items)
				return outs[1:], err
			},
			items: "a b", calls: "a,b",
			want: "flush returned 1 results for 2 items|flush returned 1 results for 2 items", again: "duplicate duplicate",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &ledger{done: map[string]bool{}}
				current := c.flush
				g := groupcommit.New(groupcommit.Options[string]{
					Flushers:     1,
					FlushTimeout: time.Second,
					Alone:        func(err error) bool { return !errors.Is(err, errLost) },
				}, func(ctx context.Context, items []string) ([]string, error) { return current(ctx, l, items) })
				items := strings.Fields(c.items)

				got := doTogether(t, g, items, g.Start) // queued before the start, so that they make one batch
				if diff := cmp.Diff(list(c.want), got); diff != "" {
					t.Errorf("results: %s", diff)
				}
				if diff := cmp.Diff(c.calls, strings.Join(l.calls, "|")); diff != "" {
					t.Errorf("calls: %s", diff)
				}
				current = func(_ context.Context, l *ledger, items []string) ([]string, error) { return l.commit(items) }
				if diff := cmp.Diff(list(c.again), doTogether(t, g, items, nil)); diff != "" {
					t.Errorf("second try: %s", diff)
				}
				if err := g.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func list(s string) []string {
	if strings.Contains(s, "|") || strings.Contains(s, ":") {
		return strings.Split(s, "|")
	}
	return strings.Fields(s)
}

// doTogether calls Do for each item, in order, then the function then, and gives results or error texts.
func doTogether(t *testing.T, g *groupcommit.Group[string, string], items []string, then func(context.Context) error) []string {
	t.Helper()
	results := make([]string, len(items))
	var wg sync.WaitGroup
	for i, item := range items {
		wg.Go(func() {
			out, err := g.Do(t.Context(), item)
			if err != nil {
				out = err.Error()
			}
			results[i] = out
		})
		synctest.Wait()
	}
	if then != nil {
		if err := then(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wg.Wait()
	return results
}

func TestFlush_PanicIsKeptForTheLog(t *testing.T) {
	t.Parallel()
	var told []*groupcommit.PanicError
	g := groupcommit.New(groupcommit.Options[int]{
		Panicked: func(_ context.Context, p *groupcommit.PanicError) { told = append(told, p) },
	}, func(context.Context, []int) ([]int, error) { panic("secret") })
	if err := g.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := g.Do(t.Context(), 1)
	var panicked *groupcommit.PanicError
	if !errors.As(err, &panicked) || panicked.Value != "secret" || !strings.Contains(string(panicked.Stack), "failure_test.go") {
		t.Errorf("%#v, want the value and a stack that names this file", err)
	}
	if len(told) != 1 || told[0] != panicked {
		t.Errorf("told of %v, want it once", told)
	}
	if err := g.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
