package egress

import (
	"net/url"
	"strings"
	"time"
)

// Budget of one host, whoever asks: hubs with many tenants at one provider stay below it, and a stranger who makes
// tenants' issuers refresh cannot turn the hub against a third party's server.
const (
	hostBurst  = 100
	hostPerSec = 10
	maxHosts   = 4096 // remembered at once; a host beyond them waits until others are idle, 10 s at most
)

// hosts counts requests by host. Its user guards it.
type hosts map[string]*budget

type budget struct {
	left float64
	at   time.Time
}

// take spends one request at the host. A spare request, one that a stranger's token asks for, leaves half of the
// budget to the others.
func (h hosts) take(host string, now time.Time, spare bool) bool {
	b, ok := h[host]
	if !ok {
		if len(h) >= maxHosts {
			h.forgetIdle(now)
		}
		if len(h) >= maxHosts {
			return false
		}
		b = &budget{left: hostBurst, at: now}
		h[host] = b
	}
	b.left = min(hostBurst, b.left+now.Sub(b.at).Seconds()*hostPerSec)
	b.at = now
	keep := 0.0
	if spare {
		keep = hostBurst / 2
	}
	if b.left < keep+1 {
		return false
	}
	b.left--
	return true
}

func (h hosts) forgetIdle(now time.Time) {
	for host, b := range h {
		if b.left+now.Sub(b.at).Seconds()*hostPerSec >= hostBurst {
			delete(h, host)
		}
	}
}

// affordLocked spends one request at the URL's host. What is not a URL costs nothing: no request will be made.
func (k *Keys) affordLocked(rawURL string, now time.Time, spare bool) bool {
	u, err := url.Parse(rawURL)
	return err != nil || k.hosts.take(strings.ToLower(u.Hostname()), now, spare)
}

func (k *Keys) afford(rawURL string, spare bool) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.affordLocked(rawURL, k.now(), spare)
}
