package server_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tributary-hub/tributary/internal/server"
)

func TestStop_Waits(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		close(entered)
		<-release
		if err := r.Context().Err(); err != nil {
			t.Errorf("the request's context ended: %v", err)
		}
		_, _ = io.WriteString(w, "whole")
	})
	ctx, cancel := context.WithCancel(t.Context())
	s := start(t, mux, nil)

	answered := make(chan string, 1)
	go func() {
		_, body := s.get(t, "/")
		answered <- body
	}()
	<-entered
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop(ctx) }()
	for refused := false; !refused; { // it takes no more connections
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
		refused = err != nil
		if conn != nil {
			_ = conn.Close()
		}
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped before the request was answered: %v", err)
	default:
	}
	close(release)
	if body := <-answered; body != "whole" {
		t.Errorf("answered %q", body)
	}
	if err := <-stopped; err != nil {
		t.Errorf("stop: %v", err)
	}
	cancel()
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("second stop: %v", err)
	}
}

func TestStop_Cuts(t *testing.T) {
	t.Parallel()
	entered, left := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(_ http.ResponseWriter, r *http.Request) {
		defer close(left)
		close(entered)
		<-r.Context().Done()
	})
	s := start(t, mux, nil)
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		if res, err := s.client.Do(s.request(t, http.MethodGet, "/", nil)); err == nil { // cut, or answered just in time
			_ = res.Body.Close()
		}
	}()
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Stop(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("stop: %v", err)
	}
	<-left
	<-answered
}

// A request that does not end is cut by the server's own patience, which is no failure of the stop: whoever can open a
// connection can send a body that never ends.
func TestStop_IsNotKept(t *testing.T) {
	t.Parallel()
	entered, left := make(chan struct{}), make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("POST /", func(_ http.ResponseWriter, r *http.Request) {
		defer close(left)
		close(entered)
		_, _ = io.ReadAll(r.Body)
	})
	s := server.New(server.Options{
		Name: "test", Listen: "127.0.0.1:0", Mux: mux, Log: slog.New(slog.DiscardHandler), Failed: make(chan error, 1), StopTimeout: 50 * time.Millisecond,
	})
	check(t, errors.Join(s.Listen(t.Context()), s.Start(t.Context())))
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr().String())
	check(t, err)
	defer func() { _ = conn.Close() }()
	_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nhalf")
	check(t, err)
	<-entered
	check(t, s.Stop(t.Context()))
	<-left
}

// The context of Start is that of the process's start, not of its life.
func TestStart_ContextEnds(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		if err := r.Context().Err(); err != nil {
			http.Error(w, err.Error(), http.StatusTeapot)
		}
	})
	s := server.New(server.Options{Name: "test", Listen: "127.0.0.1:0", Mux: mux, Log: slog.New(slog.DiscardHandler), Failed: make(chan error, 1)})
	ctx, cancel := context.WithCancel(t.Context())
	if err := errors.Join(s.Listen(ctx), s.Start(ctx)); err != nil {
		t.Fatal(err)
	}
	cancel()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.Addr().String(), nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("status %d", res.StatusCode)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestLifecycle_Misuse(t *testing.T) {
	t.Parallel()
	newServer := func(listen string) *server.Server {
		return server.New(server.Options{Name: "test", Listen: listen, Mux: http.NewServeMux(), Log: slog.New(slog.DiscardHandler), Failed: make(chan error, 1)})
	}
	t.Run("never started", func(t *testing.T) {
		t.Parallel()
		s := newServer("127.0.0.1:0")
		if s.Addr() != nil {
			t.Error("has an address")
		}
		if err := s.Start(t.Context()); err == nil {
			t.Error("started without listening")
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	t.Run("bound and never started", func(t *testing.T) {
		t.Parallel()
		s := newServer("127.0.0.1:0")
		if err := s.Listen(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Listen(t.Context()); err == nil {
			t.Error("bound twice")
		}
		if err := errors.Join(s.Stop(t.Context()), s.Stop(t.Context())); err != nil {
			t.Errorf("stop: %v", err)
		}
		if conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", s.Addr().String()); err == nil {
			_ = conn.Close()
			t.Error("still bound")
		}
	})
	t.Run("started twice", func(t *testing.T) {
		t.Parallel()
		s := start(t, http.NewServeMux(), nil)
		if err := s.Start(t.Context()); err == nil {
			t.Error("no error")
		}
	})
	t.Run("port taken", func(t *testing.T) {
		t.Parallel()
		first := start(t, http.NewServeMux(), nil)
		if err := newServer(first.Addr().String()).Listen(t.Context()); err == nil || !strings.Contains(err.Error(), "test server") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("the listener breaks", func(t *testing.T) {
		t.Parallel()
		failed := make(chan error, 1)
		s := start(t, http.NewServeMux(), func(o *server.Options) { o.Failed = failed })
		if err := s.Break(); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; err == nil {
			t.Error("no error")
		}
	})
}

// A connection that is open when the server drains is answered once more, and told that this was its last; meanwhile
// none is taken, and the end of the port is no failure.
func TestDrain(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "whole") })
	failed := make(chan error, 1)
	s := start(t, mux, func(o *server.Options) { o.Failed = failed })
	address := strings.TrimPrefix(s.url, "http://")
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	in := bufio.NewReader(conn)
	ask := func() *http.Response {
		if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: "+address+"\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		res, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatalf("no answer: %v", err)
		}
		if body, err := io.ReadAll(res.Body); string(body) != "whole" || err != nil {
			t.Errorf("answered %q, %v", body, err)
		}
		return res
	}
	if res := ask(); res.Close {
		t.Error("told to go before the drain")
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Fatal(err)
	}
	if other, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", address); err == nil {
		_ = other.Close()
		t.Error("a draining server takes connections")
	}
	if res := ask(); !res.Close {
		t.Error("not told to go by the last answer")
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
	select {
	case err := <-failed:
		t.Errorf("draining is told as a failure: %v", err)
	default:
	}
	if err := s.Drain(t.Context()); err != nil {
		t.Errorf("second drain: %v", err)
	}
}

// Nobody lingers for connections that are gone, be it to their client or to a handler that took one over.
func TestDrain_EndsWithTheLast(t *testing.T) {
	t.Parallel()
	for _, gone := range []http.ConnState{http.StateClosed, http.StateHijacked} {
		t.Run(gone.String(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began, ended := time.Now(), make(chan struct{})
				drain := server.NewDrain(time.Hour)
				drain.Count(http.StateNew)
				drain.Count(http.StateNew)
				go func() {
					defer close(ended)
					drain.Wait(t.Context())
				}()
				drain.Count(gone)
				synctest.Wait()
				select {
				case <-ended:
					t.Error("ended with one of two connections left")
				default:
				}
				drain.Count(gone)
				<-ended
				if took := time.Since(began); took != 0 {
					t.Errorf("lingered for %s", took)
				}
			})
		})
	}
}

// A connection that says nothing while the server drains is not closed at once: its client may just have begun.
func TestDrain_Lingers(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(http.ResponseWriter, *http.Request) {})
	s := start(t, mux, nil)
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	res, err := (&http.Client{Transport: transport}).Do(s.request(t, http.MethodGet, "/", nil)) // and keeps its connection
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	began := time.Now()
	if err := errors.Join(s.Drain(t.Context()), s.Stop(t.Context())); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took < server.Linger {
		t.Errorf("stopped after %s with a connection open, want to wait %s", took, server.Linger)
	}
}
