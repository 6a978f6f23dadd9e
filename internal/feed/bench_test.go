package feed_test

import (
	"context"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/hub"
)

// One message to a thousand subscribers on this node: CPU of this process per frame handed out, the append and the
// wake-up included.
func BenchmarkFanOut(b *testing.B) {
	for name, channels := range map[string][]string{"one by one": {"a"}, "ten at once": {"a", "a", "a", "a", "a", "a", "a", "a", "a", "a"}} {
		b.Run(name, func(b *testing.B) {
			const subscribers = 1000
			r := start(b, true, nil)
			ctx, cancel := context.WithCancel(b.Context())
			var readers sync.WaitGroup
			var got atomic.Int64
			arrived := make(chan struct{}, 1)
			live := make(chan struct{}, subscribers)
			var due atomic.Int64
			for range subscribers {
				s := r.subscribe(b, feed.Start{}, "a")
				readers.Go(func() {
					for {
						select {
						case <-s.Ready():
						case <-ctx.Done():
							return
						}
						batch, err := s.Next(ctx)
						if err != nil {
							return
						}
						messages := 0
						for _, f := range batch.Frames {
							if f.IsMessage() {
								messages++
								_ = f.SSE()
							} else {
								live <- struct{}{}
							}
						}
						if n := got.Add(int64(messages)); messages > 0 && n == due.Load() {
							arrived <- struct{}{}
						}
					}
				})
			}
			for range subscribers {
				<-live
			}
			before := cpu()
			for b.Loop() {
				due.Add(int64(subscribers * len(channels)))
				r.log.append(b, channels...)
				<-arrived
			}
			frames := float64(b.N * subscribers * len(channels))
			b.ReportMetric(float64(cpu()-before)/frames, "cpu-ns/frame")
			cancel()
			readers.Wait()
		})
	}
}

// cpu is what this process has used.
func cpu() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// A long log of two busy channels, over several days, replayed from its beginning by patterns: by one that begins
// with few of its messages, alone and thirty at once, and how long one quiet channel takes meanwhile.
func BenchmarkReplay(b *testing.B) {
	r := start(b, true, nil)
	r.fillBusy(b, 4, 10, 150_000, 600)
	fromEarliest := func(pattern hub.ChannelPattern) {
		s, err := r.Subscribe(b.Context(), feed.Request{Tenant: r.log.tenant, Channels: []hub.ChannelPattern{pattern}, Start: feed.Start{Earliest: true}})
		if err != nil {
			b.Error(err)
			return
		}
		defer s.Close()
		for cursor, live := s.Cursor(); live && cursor.Position < 150_000; cursor, live = s.Cursor() {
			<-s.Ready()
			if _, err := s.Next(b.Context()); err != nil {
				b.Error(err)
				return
			}
		}
	}
	for _, pattern := range []hub.ChannelPattern{"none:*", "quiet:*", "busy:*", "*", "quiet:7"} {
		b.Run(string(pattern), func(b *testing.B) {
			for b.Loop() {
				fromEarliest(pattern)
			}
		})
	}
	b.Run("30 of none:* at once", func(b *testing.B) {
		for b.Loop() {
			var all sync.WaitGroup
			for range 30 {
				all.Go(func() { fromEarliest("none:*") })
			}
			all.Wait()
		}
	})
	for _, pattern := range []hub.ChannelPattern{"none:*", "busy:*"} {
		b.Run("quiet:7 beside 30 of "+string(pattern), func(b *testing.B) {
			stop := make(chan struct{})
			var others sync.WaitGroup
			for range 30 {
				others.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
							fromEarliest(pattern)
						}
					}
				})
			}
			for b.Loop() {
				fromEarliest("quiet:7")
			}
			close(stop)
			others.Wait()
		})
	}
}
