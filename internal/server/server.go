// Package server binds a port and serves HTTP on it, the same for the public port and the operator's: bounds, the
// client's address, the request's id, the Host, the access record, panics, 404 and 405 as problems, and a stop that
// waits. What is served is the mux's matter; deadlines for bodies and for what is streamed are its handlers'.
package server

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/telemetry"
)

// Options of one server.
type Options struct {
	Name    string                // required: public or ops; stands in the log
	Listen  string                // required: host:port; port 0 takes a free one
	Mux     *http.ServeMux        // required: its patterns are the routes of the access record
	Log     *slog.Logger          // required
	Metrics prometheus.Registerer // default: counted for nobody
	Failed  chan<- error          // required, with room for one: told when the server ends although nobody stopped it

	CertFile string // of a certificate in PEM, and KeyFile of its key; without them the port speaks plain HTTP
	KeyFile  string

	Tracer *telemetry.Tracer // of requests that a route fits, probes excepted; nil: none is traced

	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed; none by default
	CheckHost      bool           // serve only loopback names and Hosts, but for /in/; default any
	Hosts          []string       // further names, ports ignored; with CheckHost

	ReadHeaderTimeout time.Duration // for a request's header, and for the rest of a body that nobody read; default 10 s
	IdleTimeout       time.Duration // between requests of a connection; default 2 min
	StopTimeout       time.Duration // for requests that are under way when the server stops; default 5 s
}

// maxHeaderBytes is ample for tokens and cookies; net/http's default is 1 MiB a connection.
const maxHeaderBytes = 16 << 10

// sendBuffer is what a connection may hold that its client has not taken; the kernel doubles it. Left alone it grows
// to megabytes, for each slow reader of a stream, who would go on to read what was written while he still might.
const sendBuffer = 128 << 10

// A Server is one port and what is served there. It is a handler as well, so that a test can drive it without one.
type Server struct {
	name      string
	listen    string
	mux       *http.ServeMux
	log       *slog.Logger
	metrics   *metrics
	tracer    *telemetry.Tracer
	proxies   []netip.Prefix
	hosts     map[string]bool // nil: any
	bodyGrace time.Duration
	patience  time.Duration // of Stop
	certFile  string
	keyFile   string
	http      *http.Server
	failed    chan<- error
	drain     *drain

	mu       sync.Mutex // guards what follows
	listener net.Listener
	cancel   context.CancelFunc // ends the requests' contexts
	done     chan struct{}      // closed when Serve has returned; nil: never started
}

// New makes a server that does nothing yet.
func New(o Options) *Server {
	if o.ReadHeaderTimeout == 0 {
		o.ReadHeaderTimeout = 10 * time.Second
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 2 * time.Minute
	}
	if o.StopTimeout == 0 {
		o.StopTimeout = 5 * time.Second // of an app's 22 s: what stops after the port has work to save
	}
	if o.Metrics == nil {
		o.Metrics = prometheus.NewRegistry()
	}
	s := &Server{
		name:      o.Name,
		listen:    o.Listen,
		mux:       o.Mux,
		log:       o.Log.With("server", o.Name),
		metrics:   newMetrics(o.Metrics, o.Name),
		tracer:    o.Tracer,
		proxies:   o.TrustedProxies,
		bodyGrace: o.ReadHeaderTimeout,
		patience:  o.StopTimeout,
		certFile:  o.CertFile,
		keyFile:   o.KeyFile,
		failed:    o.Failed,
		drain:     newDrain(),
	}
	if o.CheckHost {
		s.hosts = hostSet(o.Hosts)
	}
	s.http = &http.Server{
		Handler:           s,
		ReadHeaderTimeout: o.ReadHeaderTimeout,
		IdleTimeout:       o.IdleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          log.New(complaints{s.log}, "", 0),
		ConnContext: func(ctx context.Context, conn net.Conn) context.Context {
			if secured, ok := conn.(*tls.Conn); ok {
				conn = secured.NetConn()
			}
			if tcp, ok := conn.(*net.TCPConn); ok {
				_ = tcp.SetWriteBuffer(sendBuffer) // if it cannot be set, the connection is gone
			}
			return ctx
		},
		ConnState: s.drain.count,
		Protocols: protocols(),
		// No ReadTimeout and no WriteTimeout: both are absolute and would end streams.
	}
	return s
}

// protocols are HTTP/1.1 and HTTP/2, the latter without TLS too (RFC 9113, 3.3): proxies that end TLS speak it to what
// they trust, and have many streams on one connection.
func protocols() *http.Protocols {
	p := &http.Protocols{}
	p.SetHTTP1(true)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(true)
	return p
}

// Listen binds the port, so that a setup fails where it is taken, and Addr is known before anything runs.
func (s *Server) Listen(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return fmt.Errorf("%s server: already listening", s.name)
	}
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", s.listen)
	if err != nil {
		return fmt.Errorf("%s server: %w", s.name, err)
	}
	s.listener = listener
	return nil
}

// Addr is where the server listens; nil before Listen.
func (s *Server) Addr() net.Addr {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Start reads the certificate, where there is one, and serves in the background. The end of ctx does not end requests: Stop does.
func (s *Server) Start(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return fmt.Errorf("%s server: not listening", s.name)
	}
	if s.done != nil {
		return fmt.Errorf("%s server: already started", s.name)
	}
	if s.certFile != "" {
		pair, err := loadCertificate(s.certFile, s.keyFile, s.log, time.Now)
		if err != nil {
			return fmt.Errorf("%s server: %w", s.name, err)
		}
		s.http.TLSConfig = pair.config()
		s.metrics.certificate.Store(pair)
	}
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.http.BaseContext = func(net.Listener) context.Context { return base }
	s.cancel, s.done = cancel, make(chan struct{})
	go s.serve(s.listener, s.done)
	return nil
}

func (s *Server) serve(listener net.Listener, done chan struct{}) {
	defer close(done)
	serve := s.http.Serve
	if s.http.TLSConfig != nil {
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}
	if err := serve(listener); !errors.Is(err, http.ErrServerClosed) && !s.drain.isOn() {
		s.failed <- fmt.Errorf("%s server: %w", s.name, err)
	}
}

// Stop takes no more connections and waits until every request is answered: end streams before. After a Drain it first
// lets clients go by themselves, for a moment. What takes longer than the patience that it has for all, such as a body
// that never ends, is cut, and so is what is left when ctx is done, which is an error. It may be called twice, and on a
// server that never started.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	listener, cancel, done := s.listener, s.cancel, s.done
	s.mu.Unlock()
	if done == nil {
		if listener != nil {
			_ = listener.Close() // never served; a second close is no harm
		}
		return nil
	}
	if s.drain.isOn() {
		s.drain.wait(ctx)
		<-done // else Shutdown may find the port that Drain has closed, and fail over it
	}
	patient, over := context.WithTimeout(ctx, s.patience)
	err := s.http.Shutdown(patient)
	over()
	cancel()
	if err != nil {
		_ = s.http.Close() // its error is of sockets that end anyway
		s.log.Warn("requests were cut", "connections", s.drain.open.Load())
	}
	<-done
	if err != nil && ctx.Err() != nil {
		return fmt.Errorf("%s server: requests were cut: %w", s.name, ctx.Err())
	}
	return nil
}

// complaints takes what net/http has to say about connections into our log.
type complaints struct{ log *slog.Logger }

func (c complaints) Write(line []byte) (int, error) {
	level := slog.LevelWarn
	if bytes.HasPrefix(line, []byte("http: TLS handshake error")) { // whoever connects and speaks something else causes one
		level = slog.LevelDebug
	}
	c.log.Log(context.Background(), level, "http connection failed", "detail", strings.TrimSpace(string(line)))
	return len(line), nil
}
