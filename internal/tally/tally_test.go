package tally_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/tally"
)

var errAway = errors.New("the database is away")

// A book is where counts are written; while it is away, nothing is.
type book struct {
	away    atomic.Bool
	pages   []map[string]string
	failed  int
	writing func(context.Context) // what else a write does
}

func (b *book) write(ctx context.Context, counts map[string]string) error {
	if b.writing != nil {
		b.writing(ctx)
	}
	if b.away.Load() {
		return errAway
	}
	b.pages = append(b.pages, counts)
	return nil
}

// newTally joins what was counted in the order in which it came.
func newTally(b *book) *tally.Tally[string, string] {
	o := tally.Options{Interval: time.Second, Failed: func(context.Context, error) { b.failed++ }}
	return tally.New(o, func(sum, more string) string { return sum + more }, b.write)
}

func TestTally(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		script func(*testing.T, *book, *tally.Tally[string, string])
		want   []map[string]string
		failed int
	}{
		{
			name: "counts of one key are joined and written once",
			script: func(_ *testing.T, _ *book, c *tally.Tally[string, string]) {
				c.Add("a", "1")
				c.Add("b", "2")
				c.Add("a", "3")
				pass(3 * time.Second)
				c.Add("a", "4")
				pass(time.Second)
			},
			want: []map[string]string{{"a": "13", "b": "2"}, {"a": "4"}},
		},
		{
			name: "what could not be written counts in the next, before what came after",
			script: func(_ *testing.T, b *book, c *tally.Tally[string, string]) {
				b.away.Store(true)
				b.writing = func(context.Context) { c.Add("a", "2"); b.writing = nil }
				c.Add("a", "1")
				c.Add("b", "1")
				pass(time.Second)
				c.Add("a", "3")
				c.Add("c", "3")
				pass(time.Second)
				b.away.Store(false)
				pass(time.Second)
			},
			want:   []map[string]string{{"a": "123", "b": "1", "c": "3"}},
			failed: 1,
		},
		{
			name: "each stretch of failures is told of once",
			script: func(_ *testing.T, b *book, c *tally.Tally[string, string]) {
				for range 2 {
					b.away.Store(true)
					c.Add("a", "1")
					pass(10 * time.Second)
					b.away.Store(false)
					pass(time.Second)
				}
			},
			want:   []map[string]string{{"a": "1"}, {"a": "1"}},
			failed: 2,
		},
		{
			name: "what is left is written at the end",
			script: func(t *testing.T, _ *book, c *tally.Tally[string, string]) {
				t.Helper()
				c.Add("a", "1")
				for range 2 {
					if err := c.Stop(t.Context()); err != nil {
						t.Error(err)
					}
				}
			},
			want: []map[string]string{{"a": "1"}},
		},
		{
			name: "a write that has begun is not cut short by the end",
			script: func(t *testing.T, b *book, c *tally.Tally[string, string]) {
				t.Helper()
				begun := make(chan struct{})
				b.writing = func(ctx context.Context) {
					b.writing = nil
					close(begun)
					select {
					case <-ctx.Done():
						b.away.Store(true)
					case <-time.After(2 * time.Second):
					}
				}
				c.Add("a", "1")
				<-begun
				c.Add("a", "2")
				if err := c.Stop(t.Context()); err != nil {
					t.Error(err)
				}
			},
			want: []map[string]string{{"a": "1"}, {"a": "2"}},
		},
		{
			name: "a write that hangs is given up, and tried again",
			script: func(_ *testing.T, b *book, c *tally.Tally[string, string]) {
				b.away.Store(true)
				b.writing = func(ctx context.Context) { <-ctx.Done(); b.writing = nil }
				c.Add("a", "1")
				pass(30 * time.Second)
				b.away.Store(false)
				pass(time.Second)
			},
			want:   []map[string]string{{"a": "1"}},
			failed: 1,
		},
		{
			name: "a last write that fails is told",
			script: func(t *testing.T, b *book, c *tally.Tally[string, string]) {
				t.Helper()
				b.away.Store(true)
				c.Add("a", "1")
				if err := c.Stop(t.Context()); !errors.Is(err, errAway) {
					t.Error(err)
				}
			},
			want: []map[string]string{{"a": "1"}}, // by a second Stop
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				b := &book{}
				c := newTally(b)
				if err := c.Start(t.Context()); err != nil {
					t.Fatal(err)
				}
				tt.script(t, b, c)
				b.away.Store(false)
				if err := c.Stop(t.Context()); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(tt.want, b.pages); diff != "" {
					t.Errorf("written (-want +got):\n%s", diff)
				}
				if b.failed != tt.failed {
					t.Errorf("told of %d failures, want %d", b.failed, tt.failed)
				}
			})
		})
	}
}

// pass lets time go by, and what is due in it happen.
func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func TestTally_NeverStarted(t *testing.T) {
	t.Parallel()
	b := &book{}
	c := newTally(b)
	c.Add("a", "1")
	if err := c.Stop(t.Context()); err != nil || b.pages != nil {
		t.Errorf("%v, %v", err, b.pages)
	}
}
