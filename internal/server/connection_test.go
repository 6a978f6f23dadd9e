package server_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/server"
)

func TestBounds(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("POST /unread", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	mux.HandleFunc("GET /", func(http.ResponseWriter, *http.Request) {})

	t.Run("header that never ends", func(t *testing.T) {
		t.Parallel()
		s := start(t, mux, func(o *server.Options) { o.ReadHeaderTimeout = 50 * time.Millisecond })
		conn := dial(t, s)
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ")
		if answer, err := io.ReadAll(conn); err != nil || strings.Contains(string(answer), "200 OK") {
			t.Errorf("answered %q, %v; want the connection closed", answer, err)
		}
	})
	t.Run("body that nobody wanted and that never comes", func(t *testing.T) {
		t.Parallel()
		s := start(t, mux, func(o *server.Options) { o.ReadHeaderTimeout = 50 * time.Millisecond })
		for _, framing := range []string{"Content-Length: 100", "Transfer-Encoding: chunked"} {
			conn := dial(t, s)
			_, _ = io.WriteString(conn, "POST /unread HTTP/1.1\r\nHost: x\r\n"+framing+"\r\n\r\n")
			if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 418") {
				t.Errorf("%s: answered %q, %v", framing, answer, err)
			}
		}
	})
	t.Run("idle connection", func(t *testing.T) {
		t.Parallel()
		s := start(t, mux, func(o *server.Options) { o.IdleTimeout = 50 * time.Millisecond })
		conn := dial(t, s)
		_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		if answer, err := io.ReadAll(conn); err != nil || !strings.HasPrefix(string(answer), "HTTP/1.1 200") {
			t.Errorf("answered %q, %v", answer, err)
		}
	})
	for _, secured := range []bool{false, true} {
		t.Run(fmt.Sprintf("client that takes nothing, TLS %t", secured), func(t *testing.T) {
			t.Parallel()
			taken := make(chan int, 1)
			mux := http.NewServeMux()
			mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) {
				n, err := 0, http.NewResponseController(w).SetWriteDeadline(time.Now().Add(300*time.Millisecond))
				for piece := make([]byte, 16<<10); err == nil; n += len(piece) {
					_, err = w.Write(piece)
				}
				taken <- n
			})
			pair := newKeyPair(t)
			roots := pair.write(t, 1, time.Now())
			conn := dial(t, start(t, mux, func(o *server.Options) {
				if secured {
					o.CertFile, o.KeyFile = pair.cert, pair.key
				}
			}))
			if tcp, ok := conn.(*net.TCPConn); !ok || tcp.SetReadBuffer(16<<10) != nil {
				t.Fatal("the client's own buffer cannot be bounded")
			}
			if secured {
				conn = tls.Client(conn, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"})
			}
			_, _ = io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			if n := <-taken; n > 1<<20 {
				t.Errorf("%d bytes lie in buffers", n)
			}
		})
	}
	t.Run("header too large", func(t *testing.T) {
		t.Parallel()
		s := start(t, mux, nil)
		for size, want := range map[int]int{15 << 10: 200, 24 << 10: 431} {
			req := s.request(t, http.MethodGet, "/", nil)
			req.Header.Set("X-Large", strings.Repeat("x", size))
			if res, _ := s.do(t, req); res.StatusCode != want {
				t.Errorf("%d bytes: status %d, want %d", size, res.StatusCode, want)
			}
		}
	})
}

// What a stream needs of its connection must reach it through everything that the server puts in between.
func TestResponseController(t *testing.T) {
	t.Parallel()
	more := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /flush", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "first\n")
		_ = http.NewResponseController(w).Flush()
		<-more
		_, _ = io.WriteString(w, "second\n")
		w.(http.Flusher).Flush()
	})
	mux.HandleFunc("GET /late", func(w http.ResponseWriter, _ *http.Request) {
		control := http.NewResponseController(w)
		if err := control.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Errorf("write deadline: %v", err)
		}
		_, _ = io.WriteString(w, "never")
		if err := control.Flush(); err == nil {
			t.Error("wrote after the deadline")
		}
	})
	mux.HandleFunc("POST /slow", func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(-time.Second)); err != nil {
			t.Errorf("read deadline: %v", err)
		}
		if _, err := io.ReadAll(r.Body); err == nil {
			t.Error("read after the deadline")
		}
		w.WriteHeader(http.StatusRequestTimeout)
	})
	mux.HandleFunc("POST /duplex", func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if err := control.EnableFullDuplex(); err != nil {
			t.Errorf("full duplex: %v", err)
		}
		lines := bufio.NewScanner(r.Body)
		for lines.Scan() {
			_, _ = fmt.Fprintln(w, lines.Text())
			_ = control.Flush()
		}
	})
	s := start(t, mux, nil)

	t.Run("flush", func(t *testing.T) {
		t.Parallel()
		res, err := s.client.Do(s.request(t, http.MethodGet, "/flush", nil))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body := bufio.NewReader(res.Body)
		if line, err := body.ReadString('\n'); line != "first\n" {
			t.Fatalf("%q, %v", line, err)
		}
		close(more)
		if line, err := body.ReadString('\n'); line != "second\n" {
			t.Fatalf("%q, %v", line, err)
		}
	})
	t.Run("write deadline", func(t *testing.T) {
		t.Parallel()
		if _, err := s.client.Do(s.request(t, http.MethodGet, "/late", nil)); err == nil {
			t.Error("answered")
		}
	})
	t.Run("read deadline", func(t *testing.T) {
		t.Parallel()
		conn := dial(t, s)
		_, _ = io.WriteString(conn, "POST /slow HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
		if answer, err := io.ReadAll(conn); !strings.HasPrefix(string(answer), "HTTP/1.1 408") {
			t.Errorf("%q, %v", answer, err)
		}
	})
	t.Run("full duplex", func(t *testing.T) {
		t.Parallel()
		read, write := io.Pipe()
		defer func() { _ = write.Close() }()
		go func() { _, _ = io.WriteString(write, "one\n") }()
		res, err := s.client.Do(s.request(t, http.MethodPost, "/duplex", read))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }()
		body := bufio.NewReader(res.Body)
		for _, want := range []string{"one\n", "two\n", "three\n"} {
			if want != "one\n" {
				_, _ = io.WriteString(write, want)
			}
			if line, err := body.ReadString('\n'); line != want {
				t.Fatalf("%q, %v; want %q", line, err, want)
			}
		}
	})
}
