package stream_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// A thousand streams of one channel over real sockets: CPU of this process per frame, from the append to the
// client's end of the socket; its reader counts bytes and parses nothing.
func BenchmarkFanOut(b *testing.B) {
	for _, batch := range []int{1, 10} {
		b.Run(fmt.Sprintf("messages=%d", batch), func(b *testing.B) {
			const streams = 1000
			r := start(b, nil)
			var due, got atomic.Int64
			arrived, live := make(chan struct{}, 1), make(chan struct{}, streams)
			var readers sync.WaitGroup
			var conns []net.Conn
			for range streams {
				conn, err := net.Dial("tcp", r.server.Listener.Addr().String())
				if err != nil {
					b.Fatal(err)
				}
				conns = append(conns, conn)
				fmt.Fprint(conn, "GET /stream/acme?channel=a HTTP/1.1\r\nHost: x\r\n\r\n")
				readers.Go(func() {
					in := bufio.NewReader(conn)
					for {
						line, err := in.ReadSlice('\n')
						if err != nil {
							return
						}
						switch {
						case bytes.HasPrefix(line, []byte("event: test")):
							if got.Add(1) == due.Load() {
								arrived <- struct{}{}
							}
						case bytes.HasPrefix(line, []byte("event: hub.live")):
							live <- struct{}{}
						}
					}
				})
			}
			for range streams {
				<-live
			}
			messages := make([]string, batch)
			for i := range messages {
				messages[i] = "a"
			}
			before := cpu()
			for b.Loop() {
				due.Add(int64(streams * batch))
				r.log.appendSized(b, 250, messages...)
				<-arrived
			}
			b.ReportMetric(float64(cpu()-before)/float64(b.N*streams*batch), "cpu-ns/frame")
			for _, conn := range conns {
				_ = conn.Close()
			}
			readers.Wait()
		})
	}
}

// cpu is what this process has used.
func cpu() time.Duration {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}
