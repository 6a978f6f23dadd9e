package store_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// answers is the address of a server that reads something and says that, however often it is asked.
func answers(t *testing.T, say string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() { _ = listener.Close(); <-done })
	go func() {
		defer close(done)
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 1024))
			_, _ = conn.Write([]byte(say))
			_ = conn.Close()
		}
	}()
	return listener.Addr().String()
}

// encrypted is the address of a Postgres that agrees to TLS, with a certificate that nobody knows, and goes no further.
func encrypted(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	certificate := selfSigned(t)
	done := make(chan struct{})
	t.Cleanup(func() { _ = listener.Close(); <-done })
	go func() {
		defer close(done)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		defer func() { _ = conn.Close() }()
		_, _ = conn.Read(make([]byte, 8))
		_, _ = conn.Write([]byte("S"))
		_ = tls.Server(conn, &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}).HandshakeContext(t.Context())
	}()
	return listener.Addr().String()
}

// Why there is no connection is told in one line that fits, and without the password.
func TestSurvey_Unreached(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	const login = "postgres://hub:c4n4ry@"
	for name, tt := range map[string]struct {
		url, want string
		kind      store.UnreachedKind // "" is of none
	}{
		"nobody listens":          {login + closed.Addr().String() + "/hub", "no Postgres answers at 127.0.0.1:", store.NoAnswer},
		"no socket":               {"postgres:///hub?user=hub&password=c4n4ry&host=" + t.TempDir(), "no Postgres answers at /", store.NoAnswer},
		"it refuses TLS":          {login + answers(t, "N") + "/hub?sslmode=require", "no TLS with the Postgres at 127.0.0.1:", store.NoTLS},
		"a certificate unknown":   {login + encrypted(t) + "/hub?sslmode=verify-full", "x509: ", store.NoTLS},
		"it is no Postgres":       {login + answers(t, "HTTP/1.1 400 Bad Request\r\n\r\n") + "/hub?sslmode=disable", "is no Postgres", store.NoAnswer},
		"not let in":              {db.URL + "&database=none_of_that_name", "lets ", store.NotLetIn},
		"no file of authorities":  {login + "db/hub?sslmode=verify-full&sslrootcert=" + filepath.Join(t.TempDir(), "none.pem"), "names a file that cannot be read: open /", ""},
		"a URL of something else": {"postgres://hub:c4n4ry@db:port/hub", "is not one that Postgres's clients understand", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := store.SurveyDatabase(t.Context(), tt.url, "")
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "c4n4ry") || strings.Contains(err.Error(), "\n") {
				t.Fatalf("%v, want one line with %q", err, tt.want)
			}
			unreached, ok := errors.AsType[*store.UnreachedError](err)
			if ok != (tt.kind != "") || ok && unreached.Kind != tt.kind {
				t.Errorf("%v is of kind %v, want %q", err, unreached, tt.kind)
			}
		})
	}
}

func selfSigned(t *testing.T) tls.Certificate {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
}
