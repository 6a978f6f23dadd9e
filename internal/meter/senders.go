package meter

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/tributary-hub/tributary/internal/hub"
)

// The share of one sender of bad requests at one endpoint.
const (
	bucketRate  = 1 // a second
	bucketBurst = 20
	bucketsMax  = 10_000
)

// Senders bound what failing requests may cause, per endpoint and address prefix (IPv4 whole, IPv6 /64): past its
// share a sender is still refused, and leaves no trace.
type Senders struct {
	now func() time.Time

	mu  sync.Mutex // guards all
	all map[bucketKey]*rate.Limiter
}

type bucketKey struct {
	endpoint hub.EndpointID
	prefix   netip.Prefix
}

// NewSenders makes Senders that have seen nobody.
func NewSenders(now func() time.Time) *Senders {
	return &Senders{now: now, all: map[bucketKey]*rate.Limiter{}}
}

// Take says whether a failing request of that address to that endpoint is within its share, and counts it.
func (b *Senders) Take(endpoint hub.EndpointID, addr netip.Addr) bool {
	key := bucketKey{endpoint, PrefixOf(addr)}
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

// PrefixOf is what counts as one sender: an IPv4 address, or the 2^64 of IPv6 that one customer of a network has. All
// unknown addresses share the zero prefix.
func PrefixOf(addr netip.Addr) netip.Prefix {
	bits := 32
	if addr = addr.Unmap(); addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}

// pruneLocked forgets full buckets, which are as good as none. Where none is full, all are forgotten: a flood from
// ten thousand prefixes is bounded by the queue behind.
func (b *Senders) pruneLocked() {
	for key, limiter := range b.all {
		if limiter.TokensAt(b.now()) >= bucketBurst {
			delete(b.all, key)
		}
	}
	if len(b.all) >= bucketsMax {
		clear(b.all)
	}
}
