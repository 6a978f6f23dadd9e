package groupcommit_test

import (
	"context"
	"testing"

	"github.com/tributary-hub/tributary/internal/groupcommit"
)

// What the group itself costs a caller: the flush does nothing.
func benchGroup(b *testing.B) *groupcommit.Group[*int, int] {
	b.Helper()
	g := groupcommit.New(groupcommit.Options[*int]{
		Size: func(*int) int { return 1000 },
		Turn: func(item *int) [16]byte { return [16]byte{byte(*item)} },
	}, func(_ context.Context, items []*int) ([]int, error) { return make([]int, len(items)), nil })
	if err := g.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := g.Stop(context.Background()); err != nil {
			b.Error(err)
		}
	})
	b.ReportAllocs()
	return g
}

func BenchmarkDo_OneCaller(b *testing.B) {
	g, item := benchGroup(b), 1
	for b.Loop() {
		if _, err := g.Do(b.Context(), &item); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDo_ManyCallers(b *testing.B) {
	g := benchGroup(b)
	b.SetParallelism(128)
	b.RunParallel(func(pb *testing.PB) {
		for item := 0; pb.Next(); item++ {
			if _, err := g.Do(b.Context(), &item); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
