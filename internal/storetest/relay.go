package storetest

import (
	"net"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Relay listens in front of the database at url until the test ends, and gives the URL that leads there through it.
// serve has each connection and one to Postgres, and returns when it is done with both; when the test ends they are
// closed under it.
func Relay(t testing.TB, url string, serve func(client, backend net.Conn)) string {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	network, address := addressOf(config)
	dial := func() (net.Conn, error) { return net.Dial(network, address) }
	return "postgres://" + config.User + "@" + relay(t, dial, serve) + "/" + config.Database + "?sslmode=disable"
}

// addressOf is where Postgres listens.
func addressOf(config *pgx.ConnConfig) (network, address string) {
	if config.Host[0] == '/' {
		return "unix", config.Host + "/.s.PGSQL." + strconv.Itoa(int(config.Port))
	}
	return "tcp", net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
}

// relay serves connections until the test ends, each with one that dial makes, and gives its address. Where dial
// fails the client's is closed.
func relay(t testing.TB, dial func() (net.Conn, error), serve func(client, backend net.Conn)) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting, served sync.WaitGroup
	var open sync.Map // of net.Conn
	accepting.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			backend, err := dial()
			if err != nil {
				_ = client.Close()
				continue
			}
			open.Store(client, nil)
			open.Store(backend, nil)
			served.Go(func() { serve(client, backend) })
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		accepting.Wait() // then none is opened any more
		open.Range(func(conn, _ any) bool {
			_ = conn.(net.Conn).Close()
			return true
		})
		served.Wait()
	})
	return ln.Addr().String()
}
