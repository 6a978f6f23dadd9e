package ingest

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tributary-hub/tributary/internal/hub"
)

// The share of one sender of bad requests at one endpoint: past it they are still refused, and leave no trace.
const (
	bucketRate  = 1 // a second
	bucketBurst = 20
	bucketsMax  = 10_000
)

// buckets bound what failing requests may cause, per endpoint and address prefix (IPv4 whole, IPv6 /64).
type buckets struct {
	now func() time.Time

	mu  sync.Mutex // guards all
	all map[bucketKey]*rate.Limiter
}

type bucketKey struct {
	endpoint hub.EndpointID
	prefix   netip.Prefix
}

func newBuckets(now func() time.Time) *buckets {
	return &buckets{now: now, all: map[bucketKey]*rate.Limiter{}}
}

func (b *buckets) take(endpoint hub.EndpointID, addr netip.Addr) bool {
	bits := 32
	if addr = addr.Unmap(); addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits) // of an unknown address the zero prefix, which all such share
	key := bucketKey{endpoint, prefix}
	b.mu.Lock()
	defer b.mu.Unlock()
	limiter := b.all[key]
	if limiter == nil {
		if len(b.all) >= bucketsMax {
			b.pruneLocked()
		}
		limiter = rate.NewLimiter(bucketRate, bucketBurst)
		b.all[key] = limiter
	}
	return limiter.AllowN(b.now(), 1)
}

// pruneLocked forgets full buckets, which are as good as none. Where none is full, all are forgotten: a flood from
// ten thousand prefixes is bounded by the queue behind.
func (b *buckets) pruneLocked() {
	for key, limiter := range b.all {
		if limiter.TokensAt(b.now()) >= bucketBurst {
			delete(b.all, key)
		}
	}
	if len(b.all) >= bucketsMax {
		clear(b.all)
	}
}
