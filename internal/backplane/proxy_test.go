package backplane_test

import (
	"bytes"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/tributary-hub/tributary/internal/storetest"
)

// A proxy stands between a client and Postgres and can make the connection a bad one.
type proxy struct {
	url      string
	accepted chan struct{}

	mu   sync.Mutex // guards gate
	gate chan struct{}
	deaf atomic.Bool // notifications are not passed on
}

func startProxy(t *testing.T, url string) *proxy {
	t.Helper()
	p := &proxy{accepted: make(chan struct{}, 64), gate: make(chan struct{})}
	close(p.gate)
	p.url = storetest.Relay(t, url, p.serve)
	t.Cleanup(func() { p.swallow(false) }) // before the relay, which waits for what is held
	return p
}

func (p *proxy) serve(client, backend net.Conn) {
	p.accepted <- struct{}{}
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
	var sides sync.WaitGroup
	sides.Go(func() { pass(backend, client, func(b *bytes.Buffer) []byte { return b.Next(b.Len()) }) })
	sides.Go(func() { pass(client, backend, p.messages) })
	sides.Wait()
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
