package server_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/server"
)

// A keyPair is a certificate for 127.0.0.1 in two files.
type keyPair struct{ cert, key string }

// write makes the pair anew, as whoever renews it does, with the serial number by which a test knows it.
func (p keyPair) write(t *testing.T, serial int64, changed time.Time) *x509.CertPool {
	t.Helper()
	return p.writeUntil(t, serial, changed, time.Now().Add(time.Hour))
}

func (p keyPair) writeUntil(t *testing.T, serial int64, changed, end time.Time) *x509.CertPool {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "hub"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: end, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	check(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err)
	for name, block := range map[string]*pem.Block{p.cert: {Type: "CERTIFICATE", Bytes: der}, p.key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		check(t, os.WriteFile(name, pem.EncodeToMemory(block), 0o600))
		check(t, os.Chtimes(name, changed, changed))
	}
	parsed, err := x509.ParseCertificate(der)
	check(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return pool
}

func newKeyPair(t *testing.T) keyPair {
	t.Helper()
	dir := t.TempDir()
	return keyPair{cert: filepath.Join(dir, "hub.pem"), key: filepath.Join(dir, "hub.key")}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// halves is a handler that says which protocol it speaks, and the rest when more is closed.
func halves(t *testing.T) (more chan struct{}, mux *http.ServeMux) {
	t.Helper()
	more, mux = make(chan struct{}), http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		stream := http.NewResponseController(w)
		check(t, stream.SetWriteDeadline(time.Now().Add(time.Minute)))
		_, _ = io.WriteString(w, r.Proto)
		check(t, stream.Flush())
		<-more
		_, _ = io.WriteString(w, " and more")
	})
	return more, mux
}

// both sees that the first half arrives before the rest is written, by HTTP/2.
func both(t *testing.T, client *http.Client, url string, more chan struct{}) {
	t.Helper()
	answer, err := client.Get(url)
	check(t, err)
	defer func() { check(t, answer.Body.Close()) }()
	first := make([]byte, 8)
	_, err = io.ReadFull(answer.Body, first)
	check(t, err)
	close(more)
	rest, err := io.ReadAll(answer.Body)
	check(t, err)
	if got := string(first) + string(rest); got != "HTTP/2.0 and more" {
		t.Errorf("answered %q", got)
	}
}

// Without a certificate the port speaks HTTP/2 to a proxy that begins with it, beside HTTP/1.1; and a drain tells the
// connection that it takes no more.
func TestHTTP2_WithoutTLS(t *testing.T) {
	t.Parallel()
	more, mux := halves(t)
	s := server.New(server.Options{
		Name: "public", Listen: "127.0.0.1:0", Mux: mux, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(), Failed: make(chan error, 1),
	})
	check(t, s.Listen(t.Context()))
	check(t, s.Start(t.Context()))
	t.Cleanup(func() { check(t, s.Stop(context.WithoutCancel(t.Context()))) })
	address := "http://" + s.Addr().String() + "/"

	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	both(t, client, address, more)
	plain, err := http.Get(address)
	check(t, err)
	said, err := io.ReadAll(plain.Body)
	check(t, err)
	check(t, plain.Body.Close())
	if string(said) != "HTTP/1.1 and more" {
		t.Errorf("HTTP/1.1 answered %q", said)
	}
	check(t, s.Drain(t.Context()))
	last, err := client.Get(address) // on the connection that is open
	check(t, err)
	check(t, last.Body.Close())
	if again, err := client.Get(address); err == nil {
		_ = again.Body.Close()
		t.Error("the connection of a server that drains takes more than one request")
	}
}

// With a certificate the port speaks TLS, HTTP/2 where the client can, and what is streamed arrives as it is written.
func TestTLS(t *testing.T) {
	t.Parallel()
	pair := newKeyPair(t)
	roots := pair.write(t, 1, time.Now())
	more, mux := halves(t)
	s := server.New(server.Options{
		Name: "public", Listen: "127.0.0.1:0", Mux: mux, Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Failed: make(chan error, 1), CertFile: pair.cert, KeyFile: pair.key,
	})
	check(t, s.Listen(t.Context()))
	check(t, s.Start(t.Context()))
	t.Cleanup(func() { check(t, s.Stop(context.WithoutCancel(t.Context()))) })

	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	both(t, client, "https://"+s.Addr().String()+"/", more)
	plain, err := http.Get("http://" + s.Addr().String() + "/")
	check(t, err)
	check(t, plain.Body.Close())
	if plain.StatusCode != http.StatusBadRequest {
		t.Errorf("plain HTTP: %d, want 400", plain.StatusCode)
	}
	old := &tls.Dialer{Config: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}}
	if conn, err := old.DialContext(t.Context(), "tcp", s.Addr().String()); err == nil {
		_ = conn.Close()
		t.Error("TLS 1.1 is spoken")
	}
}

// A renewed certificate serves without a restart, and one that cannot be read does not take the old one away.
func TestCertificate_IsReadAgain(t *testing.T) {
	t.Parallel()
	pair := newKeyPair(t)
	began := time.Now()
	pair.write(t, 1, began)
	now := began
	log := &logBuffer{}
	current, err := server.LoadCertificate(pair.cert, pair.key, slog.New(slog.NewTextHandler(log, nil)), func() time.Time { return now })
	check(t, err)
	serves := func(what string, want int64) {
		t.Helper()
		if got := current().Leaf.SerialNumber.Int64(); got != want {
			t.Errorf("%s: number %d serves, want %d", what, got, want)
		}
	}
	serves("at first", 1)
	pair.write(t, 2, began.Add(time.Second))
	serves("at once", 1)
	now = now.Add(time.Minute)
	serves("a minute later", 2)

	check(t, os.WriteFile(pair.key, []byte("half a key"), 0o600))
	now = now.Add(time.Minute)
	serves("while the key is no key", 2)
	now = now.Add(time.Minute)
	serves("while it is none still", 2)
	if n := strings.Count(log.String(), "certificate not read again"); n != 1 {
		t.Errorf("told %d times:\n%s", n, log)
	}
	pair.write(t, 3, began.Add(time.Hour))
	now = now.Add(time.Minute)
	serves("when it is one again", 3)
	if !strings.Contains(log.String(), "certificate is read again") {
		t.Errorf("nobody is told that it is over:\n%s", log)
	}
	pair.write(t, 4, began.Add(time.Hour)) // as if at the time of the one before
	check(t, os.Chtimes(pair.key, began, began.Add(2*time.Hour)))
	now = now.Add(time.Minute)
	serves("when the key alone is a newer file", 4)
	now = now.Add(time.Minute)
	serves("while nothing changes", 4)
	pair.write(t, 5, began.Add(3*time.Hour))
	serves("just after a look that found nothing", 4)
	pair.writeUntil(t, 6, began.Add(4*time.Hour), began.Add(-time.Minute))
	now = now.Add(time.Minute)
	serves("while the new one has expired and the old one has not", 4)
	now = now.Add(time.Hour)
	serves("when both have", 6)
}

func TestStart_WithoutACertificate(t *testing.T) {
	t.Parallel()
	pair := newKeyPair(t)
	pair.write(t, 1, time.Now())
	other := newKeyPair(t)
	other.write(t, 2, time.Now())
	for name, files := range map[string]keyPair{
		"no such file":  {cert: pair.cert + ".none", key: pair.key},
		"another's key": {cert: pair.cert, key: other.key},
	} {
		s := server.New(server.Options{
			Name: "public", Listen: "127.0.0.1:0", Mux: http.NewServeMux(), Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
			Failed: make(chan error, 1), CertFile: files.cert, KeyFile: files.key,
		})
		check(t, s.Listen(t.Context()))
		if err := s.Start(t.Context()); err == nil {
			t.Errorf("%s: it serves", name)
		}
		check(t, s.Stop(t.Context()))
	}
}
