package backplane_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
)

// A proxy stands between a client and Postgres and can make the connection a bad one.
type proxy struct {
	url      string
	accepted chan struct{}

	mu        sync.Mutex // guards gate
	gate      chan struct{}
	deaf      atomic.Bool // notifications are not passed on
	sides     sync.WaitGroup
	open      sync.Map // of net.Conn
	backendTo func() (net.Conn, error)
}

func startProxy(t *testing.T, url string) *proxy {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	network, address := "unix", config.Host+"/.s.PGSQL."+strconv.Itoa(int(config.Port))
	if config.Host[0] != '/' {
		network, address = "tcp", net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	}
	p := &proxy{accepted: make(chan struct{}, 64), gate: make(chan struct{}), backendTo: func() (net.Conn, error) { return net.Dial(network, address) }}
	close(p.gate)
	_, own, _ := net.SplitHostPort(ln.Addr().String())
	p.url = "postgres://" + config.User + "@127.0.0.1:" + own + "/" + config.Database + "?sslmode=disable"
	p.sides.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			p.accepted <- struct{}{}
			p.serve(client)
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		p.swallow(false)
		p.open.Range(func(conn, _ any) bool {
			_ = conn.(net.Conn).Close()
			return true
		})
		p.sides.Wait()
	})
	return p
}

func (p *proxy) serve(client net.Conn) {
	backend, err := p.backendTo()
	if err != nil {
		_ = client.Close()
		return
	}
	p.open.Store(client, nil)
	p.open.Store(backend, nil)
	pass := func(to, from net.Conn, filter func(*bytes.Buffer) []byte) {
		defer to.Close()
		defer from.Close()
		var pending bytes.Buffer
		buffer := make([]byte, 16<<10)
		for {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			p.wait()
			pending.Write(buffer[:n])
			if _, err := to.Write(filter(&pending)); err != nil {
				return
			}
		}
	}
	p.sides.Go(func() { pass(backend, client, func(b *bytes.Buffer) []byte { return b.Next(b.Len()) }) })
	p.sides.Go(func() { pass(client, backend, p.messages) })
}

// messages takes whole messages of the server out of b, without notifications where the proxy is deaf.
func (p *proxy) messages(b *bytes.Buffer) []byte {
	var out []byte
	for b.Len() >= 5 {
		size := 1 + int(binary.BigEndian.Uint32(b.Bytes()[1:5]))
		if b.Len() < size {
			break
		}
		message := b.Next(size)
		if message[0] == 'A' && p.deaf.Load() {
			continue
		}
		out = append(out, message...)
	}
	return out
}

// swallow takes bytes and passes none on, or passes on again what it held.
func (p *proxy) swallow(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.gate:
		if yes {
			p.gate = make(chan struct{})
		}
	default:
		if !yes {
			close(p.gate)
		}
	}
}

func (p *proxy) wait() {
	p.mu.Lock()
	gate := p.gate
	p.mu.Unlock()
	<-gate
}

func (p *proxy) deafen() { p.deaf.Store(true) }
