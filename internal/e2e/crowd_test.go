package e2e_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tmaxmax/go-sse"
)

// TestCrowd_Slow: of many subscribers of one process some stop reading. The others' messages are as fast as before, the
// process grows by no more than a bound for each of the slow ones, and what these missed they get, once and in order,
// when they read again or come back.
func TestCrowd_Slow(t *testing.T) { //nolint:paralleltest // see scale
	good, slow, phase := 150, 12, 4*time.Second
	if *full {
		good, slow, phase = 5000-200, 200, 45*time.Second // longer than the 30 s for which a socket may take nothing
	}
	s := newFleet(t)
	n := s.serve(t, allRoles)
	own := s.newTenant(t)
	route := func(name, match, channel, data string) {
		s.api(t, n, http.MethodPut, tenantBase+"/routes/"+name, map[string]any{"name": name, "match": match, "channels": []string{channel}, "data": data}, http.StatusOK+map[bool]int{true: 1}[name != "all"])
	}
	route("all", "event.type == 'payment_intent.succeeded'", "payments", "{'event': event.id}")
	route("bulk", "event.type == 'charge.succeeded'", "bulk", "event.body")

	readers := make([]*crowdReader, 0, good)
	for range good {
		readers = append(readers, s.join(t, n, own, "?channel=payments", "", nil))
	}
	gate := newGate()
	sleepers := make([]*crowdReader, 0, slow)
	for range slow {
		sleepers = append(sleepers, s.join(t, n, own, "?channel=payments&channel=bulk", "", gate))
	}
	for _, r := range slices.Concat(readers, sleepers) {
		r.await(t, "hub.live")
	}
	posts := s.postCrowd(t, n, own)
	pass(t, phase/2) // everybody is warm
	var all [2]measured
	for i, what := range []string{"all read", "some do not"} {
		if what == "some do not" {
			gate.close()
		}
		from := time.Now()
		pass(t, phase)
		all[i] = measured{what: what, memory: n.memory(t), from: from, until: time.Now()}
	}
	gate.open()
	posts.end(t)
	sent := posts.times()
	for i := range all {
		all[i].latencies(readers, sent)
		t.Logf("%-12s %d good, %d slow: from post to frame p50 %s, p99 %s of %d frames; memory %d MiB",
			all[i].what, good, slow, all[i].p(50), all[i].p(99), len(all[i].took), all[i].memory>>20)
	}
	if before, with := all[0].p(99), all[1].p(99); *full && with > before*3/2+50*time.Millisecond { // what is smaller says nothing of speed
		t.Errorf("the good ones' p99 went from %s to %s", before, with)
	}
	if grown := all[1].memory - all[0].memory; grown > int64(slow)*(1<<20)+64<<20 {
		t.Errorf("the process grew by %d MiB for %d slow subscribers", grown>>20, slow)
	}
	waitUntil(t, func() bool { // what was acknowledged last is in the log
		return count(t, s.pg.pool(t, databaseName), `SELECT count(*) FROM tributary.messages`) == len(sent)
	})
	log := s.positions(t, "payments", "bulk")
	again := 0
	for _, r := range sleepers {
		r.wantWhole(t, log)
		again += r.connects() - 1
	}
	t.Logf("the slow ones read on without a gap, %d of %d after their socket was closed", again, slow)
	if *full && again == 0 {
		t.Error("no socket was closed that took nothing for 30 s")
	}
}

// A gate stops those who read through it.
type gate struct {
	mu     sync.Mutex // guards opened
	opened chan struct{}
}

func newGate() *gate {
	g := &gate{opened: make(chan struct{})}
	close(g.opened)
	return g
}

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.opened = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.opened)
}

func (g *gate) pass() {
	if g == nil {
		return
	}
	g.mu.Lock()
	opened := g.opened
	g.mu.Unlock()
	<-opened
}

// A crowdReader is one of many subscribers, which holds little: what came when. It comes back with its last id.
type crowdReader struct {
	mu     sync.Mutex // guards what follows
	kinds  map[string]bool
	seen   []crowdFrame
	began  int64 // the position after which it began
	opened int
	lastID string
	gate   *gate

	cancel context.CancelFunc
	ended  chan struct{}
}

type crowdFrame struct {
	at       time.Time
	position int64
	event    string // of payments
}

// join starts a reader, behind the message of that id where there is one; with a gate it has a small buffer of its own.
func (s *fleet) join(t *testing.T, n *node, own *tenant, query, lastID string, g *gate) *crowdReader {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	r := &crowdReader{kinds: map[string]bool{}, lastID: lastID, gate: g, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(r.ended)
		for ctx.Err() == nil {
			r.read(ctx, n, own, query)
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	t.Cleanup(r.stop)
	return r
}

func (r *crowdReader) stop() {
	r.cancel()
	<-r.ended
}

func (r *crowdReader) read(ctx context.Context, n *node, own *tenant, query string) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", n.listen)
	if err != nil {
		return
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok && r.gate != nil {
		_ = tcp.SetReadBuffer(16 << 10)
	}
	r.mu.Lock()
	lastID := r.lastID
	r.mu.Unlock()
	_, err = fmt.Fprintf(conn, "GET /stream/%s%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\nLast-Event-ID: %s\r\n\r\n", tenantSlug, query, n.listen, own.key, lastID)
	if err != nil {
		return
	}
	res, err := http.ReadResponse(bufio.NewReaderSize(conn, 4<<10), nil)
	if err != nil || res.StatusCode != http.StatusOK {
		return
	}
	defer res.Body.Close()
	r.mu.Lock()
	r.opened++
	r.mu.Unlock()
	for ev, err := range sse.Read(res.Body, &sse.ReadConfig{MaxEventSize: 1 << 20}) {
		if err != nil {
			return
		}
		r.see(ev)
		r.gate.pass()
	}
}

func (r *crowdReader) see(ev sse.Event) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	_, text, _ := strings.Cut(ev.LastEventID, "-")
	position, _ := strconv.ParseInt(text, 10, 64)
	if ev.LastEventID != "" {
		r.lastID = ev.LastEventID
	}
	if len(r.kinds) == 0 {
		r.began = position
	}
	if strings.HasPrefix(ev.Type, "hub.") {
		r.kinds[ev.Type] = true
		return
	}
	f := crowdFrame{at: now, position: position}
	if ev.Type == "payment_intent.succeeded" {
		_, event, _ := strings.Cut(ev.Data, `"event":"`)
		f.event, _, _ = strings.Cut(event, `"`)
	}
	r.seen = append(r.seen, f)
}

func (r *crowdReader) await(t *testing.T, kind string) {
	t.Helper()
	waitUntil(t, func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.kinds[kind]
	})
}

func (r *crowdReader) connects() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opened
}

// wantWhole waits until the reader has all that the log has behind where it began, and wants it once and in order.
func (r *crowdReader) wantWhole(t *testing.T, log []int64) {
	t.Helper()
	last := log[len(log)-1]
	waitWhile(time.Now().Add(3*time.Minute), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.seen) == 0 || r.seen[len(r.seen)-1].position < last
	})
	r.wantEach(t, log, last)
}

// wantEach wants each of the log's positions from where the reader began through that one, once and in order.
func (r *crowdReader) wantEach(t *testing.T, log []int64, through int64) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	from, _ := slices.BinarySearch(log, r.began+1)
	to, _ := slices.BinarySearch(log, through+1)
	want := log[from:to]
	got := make([]int64, 0, len(r.seen))
	for _, f := range r.seen {
		got = append(got, f.position)
	}
	if !slices.Equal(got, want) {
		t.Errorf("a reader got %d messages after %d, %d of them in a row; the log has %d", len(got), r.began, inCommon(got, want), len(want))
	}
}

// inCommon is how many are the same from the beginning.
func inCommon(a, b []int64) (n int) {
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// positions are those of the channels in the log, as Postgres has them.
func (s *fleet) positions(t *testing.T, channels ...string) []int64 {
	t.Helper()
	rows, err := s.pg.pool(t, databaseName).Query(t.Context(), `SELECT position FROM tributary.messages WHERE channel = ANY ($1) ORDER BY position`, channels)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []int64
	for rows.Next() {
		var position int64
		if err := rows.Scan(&position); err != nil {
			t.Fatal(err)
		}
		all = append(all, position)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

// memory is what the process holds, in bytes.
func (n *node) memory(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", n.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	kilobytes, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kilobytes << 10
}
