package e2e_test

import (
	"io"
	"net"
	"net/url"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A relay stands between a process and Postgres, and can keep the process from listening: what it calls its listener
// is cut, and is let in no more, or stays open and carries nothing any more.
type relay struct {
	address string
	socket  string

	mu        sync.Mutex // guards what follows
	cut       bool
	listeners map[net.Conn]struct{}
	lost      map[net.Conn]struct{} // of the listeners, those that carry nothing
	open      map[net.Conn]struct{}
	ended     bool
}

// newRelay serves until the test ends.
func newRelay(t *testing.T, p *postgres) *relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{address: l.Addr().String(), socket: p.socket() + "/.s.PGSQL.5432", listeners: map[net.Conn]struct{}{}, lost: map[net.Conn]struct{}{}, open: map[net.Conn]struct{}{}}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { r.serve(client) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		r.mu.Lock()
		r.ended = true
		for conn := range r.open {
			_ = conn.Close()
		}
		r.mu.Unlock()
		serving.Wait()
	})
	return r
}

// url is the database's, by way of the relay.
func (r *relay) url(login string) string {
	u := url.URL{Scheme: "postgres", User: url.User(login), Host: r.address, Path: "/" + databaseName, RawQuery: "sslmode=disable"}
	return u.String()
}

// serve passes on what both sides say, from the client's first message on, which names it.
func (r *relay) serve(client net.Conn) {
	defer client.Close()
	first, err := pgproto3.NewBackend(client, client).ReceiveStartupMessage()
	if err != nil {
		return
	}
	startup, ok := first.(*pgproto3.StartupMessage)
	if ok && !r.enter(client, startup.Parameters["application_name"] == "tributary listener") {
		return
	}
	defer r.leave(client)
	server, err := net.Dial("unix", r.socket)
	if err != nil {
		return
	}
	defer server.Close()
	message, err := first.Encode(nil)
	if err != nil {
		return
	}
	if _, err := server.Write(message); err != nil {
		return
	}
	var back sync.WaitGroup
	back.Go(func() {
		r.pass(client, server, client) // until one side is gone, as below
		_ = client.Close()
	})
	r.pass(server, client, client)
	_ = server.Close()
	back.Wait()
}

// pass copies what a client's connection carries, in one direction.
func (r *relay) pass(to io.Writer, from io.Reader, client net.Conn) {
	piece := make([]byte, 32<<10)
	for {
		n, err := from.Read(piece)
		if err != nil {
			return
		}
		r.mu.Lock()
		_, lost := r.lost[client]
		r.mu.Unlock()
		if lost {
			continue
		}
		if _, err := to.Write(piece[:n]); err != nil {
			return
		}
	}
}

// swallow lets what the process's listener sends and is sent vanish, as where a firewall forgets a connection. It may
// make another one.
func (r *relay) swallow(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.listeners) == 0 {
		t.Error("the process has no listener that could be lost")
	}
	for conn := range r.listeners {
		r.lost[conn] = struct{}{}
	}
}

func (r *relay) enter(client net.Conn, listener bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ended || listener && r.cut {
		return false
	}
	r.open[client] = struct{}{}
	if listener {
		r.listeners[client] = struct{}{}
	}
	return true
}

func (r *relay) leave(client net.Conn) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.open, client)
	delete(r.listeners, client)
	delete(r.lost, client)
}

// deafen cuts the process's listener, and lets none in from now on.
func (r *relay) deafen(t *testing.T) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.listeners) == 0 {
		t.Error("the process has no listener that could be cut")
	}
	r.cut = true
	for conn := range r.listeners {
		_ = conn.Close()
	}
}
