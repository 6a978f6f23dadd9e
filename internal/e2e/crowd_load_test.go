package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A measured is how it went during one stretch of time.
type measured struct {
	what        string
	memory      int64
	from, until time.Time
	took        []time.Duration // from post to frame, sorted
}

func (m *measured) latencies(readers []*crowdReader, sent map[string]time.Time) {
	for _, r := range readers {
		r.mu.Lock()
		for _, f := range r.seen {
			if at, ok := sent[f.event]; ok && at.After(m.from) && at.Before(m.until) {
				m.took = append(m.took, f.at.Sub(at))
			}
		}
		r.mu.Unlock()
	}
	slices.Sort(m.took)
}

// p is a percentile.
func (m *measured) p(percent int) time.Duration {
	if len(m.took) == 0 {
		return 0
	}
	return m.took[(len(m.took)-1)*percent/100].Round(10 * time.Microsecond)
}

// posts are webhooks that are sent one after the other, and when.
type posts struct {
	cancel context.CancelFunc
	ended  chan struct{}

	mu   sync.Mutex           // guards what follows
	sent map[string]time.Time // by the event
	err  error
}

// postCrowd sends two small webhooks and ten of 16 KiB a second, until end.
func (s *fleet) postCrowd(t *testing.T, n *node, own *tenant) *posts {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &posts{cancel: cancel, ended: make(chan struct{}), sent: map[string]time.Time{}}
	filler := strings.Repeat("x", 16<<10)
	go func() {
		defer close(p.ended)
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			p.one(n, own, fmt.Appendf(nil, `{"id":"evt_bulk_%d","object":"event","type":"charge.succeeded","data":{"object":{"id":"ch_%d","filler":%q}}}`, i, i, filler))
			if i%5 == 0 {
				p.one(n, own, payment(fmt.Sprintf("evt_small_%d", i), 1, "cus_1"))
			}
		}
	}()
	t.Cleanup(func() { cancel(); <-p.ended })
	return p
}

func (p *posts) one(n *node, own *tenant, body []byte) {
	at := time.Now()
	res, err := postSigned(context.Background(), http.DefaultClient, n.url()+own.path, own.secret, body)
	var r receipt
	if err == nil {
		var answer []byte
		answer, err = io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err == nil && (res.StatusCode != http.StatusOK || json.Unmarshal(answer, &r) != nil) {
			err = fmt.Errorf("a webhook was answered %d: %s", res.StatusCode, answer)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.err = err
		return
	}
	p.sent[r.Event] = at
}

func (p *posts) end(t *testing.T) {
	t.Helper()
	p.cancel()
	<-p.ended
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		t.Error(p.err)
	}
}

func (p *posts) times() map[string]time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.sent)
}
