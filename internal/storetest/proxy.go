package storetest

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A Cut says where a proxy cuts a connection.
type Cut int32

// The cuts.
const (
	NoCut           Cut = iota
	CutBeforeCommit     // it never arrives
	CutAfterCommit      // it is done, and nobody is told
)

// A Proxy stands between a store and Postgres and loses the first commit after it was armed.
type Proxy struct {
	URL string // as the database's, through the proxy

	cut  atomic.Int32
	cuts atomic.Int32
}

// StartProxy serves until the test ends.
func StartProxy(t testing.TB, url string) *Proxy {
	t.Helper()
	p := &Proxy{}
	p.URL = Relay(t, url, p.serve)
	return p
}

// Arm cuts the connection at the next commit.
func (p *Proxy) Arm(c Cut) { p.cut.Store(int32(c)) }

// Hit says whether a connection was cut.
func (p *Proxy) Hit() bool { return p.cuts.Load() > 0 }

func (p *Proxy) serve(client, backend net.Conn) {
	lost := make(chan struct{}) // closed: what Postgres says is nobody's any more
	var sides sync.WaitGroup
	sides.Go(func() {
		defer func() { _ = backend.Close() }()
		defer func() { _ = client.Close() }()
		p.forward(client, backend, lost)
	})
	sides.Go(func() {
		defer func() { _ = client.Close() }()
		answers := bytes.Buffer{}
		buffer := make([]byte, 16<<10)
		for {
			n, err := backend.Read(buffer)
			select {
			case <-lost:
				if answers.Write(buffer[:n]); err != nil || bytes.Contains(answers.Bytes(), []byte("COMMIT\x00")) {
					return
				}
			default:
				if _, failed := client.Write(buffer[:n]); err != nil || failed != nil {
					return
				}
			}
		}
	})
	sides.Wait()
}

// forward passes the client's messages on, until one of them is a commit that is to be lost.
func (p *Proxy) forward(client io.Reader, backend io.Writer, lost chan<- struct{}) {
	for first := true; ; first = false {
		message, err := readMessage(client, first)
		if err != nil {
			return
		}
		at := NoCut
		if bytes.HasPrefix(message, []byte("Q")) && bytes.EqualFold(message[5:], []byte("commit\x00")) {
			at = Cut(p.cut.Swap(int32(NoCut)))
		}
		switch at {
		case NoCut:
		case CutBeforeCommit:
			p.cuts.Add(1)
			return
		case CutAfterCommit:
			p.cuts.Add(1)
			close(lost)
		}
		if _, err := backend.Write(message); err != nil {
			return
		}
	}
}

// readMessage reads one message of a client's; the first of a connection has no type.
func readMessage(r io.Reader, first bool) ([]byte, error) {
	head := make([]byte, 5)
	if first {
		head = head[1:]
	}
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	message := make([]byte, len(head)-4+int(binary.BigEndian.Uint32(head[len(head)-4:])))
	copy(message, head)
	_, err := io.ReadFull(r, message[len(head):])
	return message, err
}
