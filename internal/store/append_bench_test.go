package store_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// The append's rate with two flushers, 100 tenants and 300 bytes a message: rows/s, and what one flush takes.
func BenchmarkAppend(b *testing.B) {
	for _, size := range []int{20, 100} {
		for _, keyed := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d rows%s", size, map[bool]string{true: ", keyed and versioned"}[keyed]), func(b *testing.B) {
				db := storetest.New(b)
				tenants := manyTenants(b, db, 100)
				flush := func(ctx context.Context) error {
					_, err := db.Pipeline.Append(ctx, benchUnits(tenants, size, keyed))
					return err
				}
				for range 20 { // plans, partitions, head rows
					if err := flush(b.Context()); err != nil {
						b.Fatal(err)
					}
				}
				turns := make(chan struct{})
				var flushers sync.WaitGroup
				for range 2 {
					flushers.Go(func() {
						for range turns {
							if err := flush(context.Background()); err != nil {
								b.Error(err)
							}
						}
					})
				}
				for b.Loop() {
					turns <- struct{}{}
				}
				close(turns)
				flushers.Wait()
				b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "rows/s")
				b.ReportMetric(2*b.Elapsed().Seconds()*1000/float64(b.N), "ms/flush")
			})
		}
	}
}

func benchUnits(tenants []hub.TenantID, n int, keyed bool) []hub.Unit {
	units := make([]hub.Unit, n)
	for i := range units {
		units[i] = unit(tenants[rand.IntN(len(tenants))], hub.NewID[hub.EventID](), hub.RunID{}, "a")
		m := &units[i].Messages[0]
		m.Data = fmt.Appendf(nil, `{"data":%q}`, fmt.Sprintf("%0290d", rand.Int()))
		if keyed {
			m.Key, m.Version.Number = fmt.Sprint(rand.IntN(100)), new(rand.Int64N(1_000_000))
		}
	}
	return units
}
