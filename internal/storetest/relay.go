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
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	network, address := "unix", config.Host+"/.s.PGSQL."+strconv.Itoa(int(config.Port))
	if config.Host[0] != '/' {
		network, address = "tcp", net.JoinHostPort(config.Host, strconv.Itoa(int(config.Port)))
	}
	var accepting, served sync.WaitGroup
	var open sync.Map // of net.Conn
	accepting.Go(func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			backend, err := net.Dial(network, address)
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
	return "postgres://" + config.User + "@" + ln.Addr().String() + "/" + config.Database + "?sslmode=disable"
}
