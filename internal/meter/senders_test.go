package meter_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/meter"
)

// A sender is an IPv4 address or an IPv6 /64, whichever of its 2^64 addresses it sends from; those whose address
// nobody knows are one. Each has a share of its own at each endpoint.
func TestSenders(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		spends, asks string
		spent        bool
	}{
		"the same IPv4 address":     {"192.0.2.1", "192.0.2.1", true},
		"the same, written as IPv6": {"192.0.2.1", "::ffff:192.0.2.1", true},
		"its neighbour":             {"192.0.2.1", "192.0.2.2", false},
		"the same IPv6 /64":         {"2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", true},
		"the /64 beside it":         {"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		"nobody knows":              {"", "", true},
		"nobody knows one":          {"", "192.0.2.1", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
			senders := meter.NewSenders(func() time.Time { return now })
			endpoint := hub.NewID[hub.EndpointID]()
			spends, asks := address(t, tt.spends), address(t, tt.asks)
			for i := range 20 {
				if !senders.Take(endpoint, spends) {
					t.Fatalf("request %d of 20 is not within the share", i+1)
				}
			}
			if senders.Take(endpoint, spends) {
				t.Error("a share has no end")
			}
			if within := senders.Take(endpoint, asks); within == tt.spent {
				t.Errorf("%q is within its share: %t, after %q spent its own", tt.asks, within, tt.spends)
			}
			if !senders.Take(hub.NewID[hub.EndpointID](), spends) {
				t.Error("one endpoint's share is spent at another")
			}
			now = now.Add(time.Second)
			if !senders.Take(endpoint, spends) || senders.Take(endpoint, spends) {
				t.Error("a second gives back another number than one")
			}
		})
	}
}

func address(t *testing.T, text string) netip.Addr {
	t.Helper()
	if text == "" {
		return netip.Addr{}
	}
	addr, err := netip.ParseAddr(text)
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
