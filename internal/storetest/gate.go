package storetest

import (
	"errors"
	"net"
	"slices"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/store"
)

// A Gate stands before a Postgres that goes away, hangs or moves.
type Gate struct {
	URL string // of the login, through the gate

	mu     sync.Mutex // guards what follows
	to     *Cluster   // nil: connections are refused
	open   []*passage // oldest first
	frozen bool
	thaw   *sync.Cond // on mu: frozen no longer, or a passage was closed
}

// A passage is one connection through a gate.
type passage struct {
	client, backend net.Conn
	lost            bool // nothing passes any more, and nobody is told
	closed          bool
}

// NewGate opens a gate to the cluster; it is closed when the test ends.
func NewGate(t testing.TB, to *Cluster) *Gate {
	t.Helper()
	g := &Gate{to: to}
	g.thaw = sync.NewCond(&g.mu)
	g.URL = "postgres://" + Login + "@" + relay(t, g.dial, g.serve) + "/" + hubDatabase + "?sslmode=disable"
	t.Cleanup(func() { // before the relay, which waits for what is held
		g.CutAll()
		g.Thaw()
	})
	return g
}

// Store is a store that connects through the gate.
func (g *Gate) Store(t testing.TB) *store.Store {
	t.Helper()
	return g.to.open(t, g.URL)
}

// Lead has new connections lead to another cluster; those that are open stay. With nil they are refused.
func (g *Gate) Lead(to *Cluster) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.to = to
}

// Cut ends the oldest connection and says whether there was one.
func (g *Gate) Cut() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.open) == 0 {
		return false
	}
	g.closeLocked(g.open[0])
	return true
}

// Open is how many connections there are.
func (g *Gate) Open() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.open)
}

// CutAll ends every connection.
func (g *Gate) CutAll() {
	for g.Cut() {
	}
}

// Freeze lets no more bytes through, of old connections and of new ones, until Thaw lets all go on as if nothing had
// been.
func (g *Gate) Freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = true
}

// Thaw ends what Freeze began.
func (g *Gate) Thaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.frozen = false
	g.thaw.Broadcast()
}

// Lose makes a black hole of every open connection: neither side hears of the other again, and neither is told. New
// ones are as the gate is.
func (g *Gate) Lose() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.open {
		p.lost = true
	}
}

func (g *Gate) dial() (net.Conn, error) {
	g.mu.Lock()
	to := g.to
	g.mu.Unlock()
	if to == nil {
		return nil, errors.New("the gate is closed")
	}
	config, err := pgx.ParseConfig(to.URL())
	if err != nil {
		return nil, err
	}
	network, address := addressOf(config)
	return net.Dial(network, address)
}

func (g *Gate) serve(client, backend net.Conn) {
	p := &passage{client: client, backend: backend}
	g.mu.Lock()
	g.open = append(g.open, p)
	g.mu.Unlock()
	var sides sync.WaitGroup
	sides.Go(func() { g.pass(p, backend, client) })
	sides.Go(func() { g.pass(p, client, backend) })
	sides.Wait()
}

// pass moves bytes one way until a side is closed.
func (g *Gate) pass(p *passage, to, from net.Conn) {
	defer g.close(p)
	buffer := make([]byte, 16<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil || !g.through(p) {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// through waits until bytes may pass; false when the passage was closed meanwhile.
func (g *Gate) through(p *passage) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for (g.frozen || p.lost) && !p.closed {
		g.thaw.Wait()
	}
	return !p.closed
}

func (g *Gate) close(p *passage) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closeLocked(p)
}

func (g *Gate) closeLocked(p *passage) {
	p.closed = true
	_ = p.client.Close()
	_ = p.backend.Close()
	g.open = slices.DeleteFunc(g.open, func(other *passage) bool { return other == p })
	g.thaw.Broadcast()
}
