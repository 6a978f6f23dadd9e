package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestCrowd_Seam: clients come again and again with random old ids and channels while messages pour in. From replay to
// what is live nothing is missing and nothing comes twice.
func TestCrowd_Seam(t *testing.T) { //nolint:paralleltest // see scale
	clients, webhooks, stretch := 30, 30, 5*time.Second // each webhook makes ten messages
	if *full {
		clients, webhooks, stretch = 200, 200, 30*time.Second
	}
	s := newFleet(t)
	n := s.serve(t, allRoles)
	own := s.newTenant(t)
	channels := []string{"payments"}
	for i := range 9 {
		channels = append(channels, fmt.Sprintf("seam:%d", i))
	}
	s.api(t, n, http.MethodPut, tenantBase+"/routes/all", map[string]any{"name": "all", "match": "true", "channels": channels}, http.StatusOK)
	sender := s.newSender(t, own)
	first := s.join(t, n, own, "?channel="+strings.Join(channels, "&channel="), "", nil)
	first.await(t, "hub.live")
	load := sender.start(t, webhooks)
	pass(t, stretch/5)

	var visits []*visit
	var mu sync.Mutex // guards visits
	var all sync.WaitGroup
	end := time.Now().Add(stretch)
	for range clients {
		all.Go(func() {
			for time.Now().Before(end) {
				v := &visit{channels: slices.Clone(channels)}
				rand.Shuffle(len(v.channels), func(i, j int) { v.channels[i], v.channels[j] = v.channels[j], v.channels[i] })
				v.channels = v.channels[:1+rand.IntN(2)]
				epoch, head := first.place()
				back := rand.Int64N(min(head, 4000) + 1)
				v.reader = s.join(t, n, own, "?channel="+strings.Join(v.channels, "&channel="), fmt.Sprintf("%s-%d", epoch, head-back), nil)
				v.reader.await(t, "hub.live")
				at := v.reader.count()
				waitWhile(time.Now().Add(30*time.Second), func() bool { return v.reader.count() < at+20 }) // live ones
				v.reader.stop()
				mu.Lock()
				visits = append(visits, v)
				mu.Unlock()
			}
		})
	}
	all.Wait()
	load.end(t)
	logs := map[string][]int64{}
	for _, channel := range channels {
		logs[channel] = s.positions(t, channel)
	}
	messages := 0
	for _, v := range visits {
		var log []int64
		for _, channel := range v.channels {
			log = append(log, logs[channel]...)
		}
		slices.Sort(log)
		v.reader.wantEach(t, log, v.reader.last())
		messages += v.reader.count()
	}
	total := 0
	for _, log := range logs {
		total += len(log)
	}
	t.Logf("%d clients, %d connects with random old ids, %.0f messages/s: %d messages came, each once and in order: %t",
		clients, len(visits), float64(total)/(stretch+stretch/5).Seconds(), messages, !t.Failed())
	if len(visits) < clients {
		t.Errorf("%d visits of %d clients", len(visits), clients)
	}
}

// A visit is one connection of a client.
type visit struct {
	channels []string
	reader   *crowdReader
}

// place is the newest id that the reader has seen.
func (r *crowdReader) place() (epoch string, position int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	epoch, _, _ = strings.Cut(r.lastID, "-")
	if len(r.seen) > 0 {
		position = r.seen[len(r.seen)-1].position
	}
	return epoch, position
}

func (r *crowdReader) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.seen)
}

// last is the position of the last message that came.
func (r *crowdReader) last() int64 {
	_, position := r.place()
	return position
}
