package e2e_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/localpg"
	"github.com/tributary-hub/tributary/internal/logtest"
	"github.com/tributary-hub/tributary/internal/tracetest"
)

// A birdcage is a hub as operators run it, whose every secret is known, and all that it says.
type birdcage struct {
	secrets   *canary.Finder // what must be nowhere but where the contract gives it
	misplaced *canary.Finder // pasted where something else belongs: stored and shown as what it was taken for, and nowhere else
	names     *canary.Finder // that members and parameters were given: a problem says where it is wrong, and that is their place

	dir       string
	server    *localpg.Server
	owner     string // the URL of the owner, who has a password like the logins
	env       []string
	collector *tracetest.Collector
	client    *http.Client
	url       string
	ops       string
	node      *exec.Cmd
	ended     chan struct{}
	log       *logtest.Buffer
	operator  string // its key
	tlsKey    string // PEM
	described *document
	stray     map[string]string // headers of every request
	media     map[string][]byte // what was said, by where
}

const birdcageDatabase = "cage"

func newBirdcage(t *testing.T) *birdcage {
	t.Helper()
	dir, err := os.MkdirTemp("", "trb-canary-") //nolint:usetesting // short: a socket's path is
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { // Postgres is another user where the test is root
		t.Fatal(err)
	}
	b := &birdcage{secrets: canary.New(), misplaced: canary.New(), names: canary.New(), dir: dir, collector: tracetest.New(t), log: &logtest.Buffer{}, media: map[string][]byte{}}
	b.startPostgres(t)
	t.Cleanup(func() { b.stopPostgres(t) })
	b.prepareDatabase(t)
	b.prepareTLS(t)
	b.env = append(b.env, "TRIBUTARY_OPS_LISTEN=127.0.0.1:0", "TRIBUTARY_LISTEN="+freeAddress(t), "TRIBUTARY_LOG_LEVEL=debug", "TRIBUTARY_LOG_FORMAT=json",
		"TRIBUTARY_PUBLIC_URL=https://hub.example.com", "TRIBUTARY_API_KEY="+b.secret(t, "TRIBUTARY_API_KEY", canary.Text()),
		"OTEL_EXPORTER_OTLP_ENDPOINT="+b.collector.URL,
		"OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer%20"+b.secret(t, "a header for the collector", canary.Text()))
	return b
}

// secret makes a value known as one that must not be seen.
func (b *birdcage) secret(t *testing.T, name, value string) string {
	t.Helper()
	b.secrets.Add(t, name, value)
	return value
}

// mislay makes a value known as a secret that was pasted into the wrong place.
func (b *birdcage) mislay(t *testing.T, name string) string {
	t.Helper()
	value := canary.Text()
	b.misplaced.Add(t, name, value)
	return value
}

// misname makes a value known as a secret that stands where the name of a member or parameter does.
func (b *birdcage) misname(t *testing.T, name string) string {
	t.Helper()
	value := canary.Text()
	b.names.Add(t, name, value)
	return value
}

// heard keeps what was said there, to be searched at the end.
func (b *birdcage) heard(medium string, text []byte) {
	b.media[medium] = append(append(b.media[medium], text...), '\n')
}

// The server writes every statement to a log of its own, without the values that go with them.
func (b *birdcage) startPostgres(t *testing.T) {
	t.Helper()
	var err error
	b.server, err = localpg.Start(context.WithoutCancel(t.Context()), localpg.Options{
		DataDir: filepath.Join(b.dir, "pg"), Source: os.Getenv("TRIBUTARY_POSTGRES"), Log: slog.New(slog.DiscardHandler),
		Settings: map[string]string{
			"fsync": "off", "log_statement": "all", "log_parameter_max_length": "0", "log_parameter_max_length_on_error": "0", "password_encryption": "scram-sha-256",
		},
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (b *birdcage) stopPostgres(t *testing.T) {
	t.Helper()
	if err := b.server.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// prepareDatabase makes an owner and two logins that need passwords, and has the commands do the rest.
func (b *birdcage) prepareDatabase(t *testing.T) {
	t.Helper()
	if err := b.server.CreateDatabase(t.Context(), birdcageDatabase); err != nil {
		t.Fatal(err)
	}
	urls := map[string]string{}
	b.sql(t, `SET log_statement = 'none'`, func(conn *pgx.Conn) {
		for _, role := range []string{"owner", "hub", "direct"} {
			password := b.secret(t, "the password of "+role, canary.Text()+`/+%'`+canary.Text())
			attributes := " LOGIN NOINHERIT"
			if role == "owner" {
				attributes = " LOGIN SUPERUSER"
			}
			if _, err := conn.Exec(t.Context(), `CREATE ROLE `+role+attributes+` PASSWORD '`+strings.ReplaceAll(password, "'", "''")+`'`); err != nil {
				t.Fatal(err)
			}
			u, err := url.Parse(b.server.URL(birdcageDatabase))
			if err != nil {
				t.Fatal(err)
			}
			u.User = url.UserPassword(role, password)
			urls[role] = u.String()
		}
	})
	access := "local all postgres trust\nlocal all all scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(b.dir, "pg", "data", "pg_hba.conf"), []byte(access), 0o600); err != nil {
		t.Fatal(err)
	}
	b.sql(t, `SELECT pg_reload_conf()`, nil)
	b.owner = urls["owner"]
	for _, login := range []string{"hub", "direct"} {
		b.command(t, "migrate up", []string{"TRIBUTARY_OWNER_DATABASE_URL=" + b.owner}, "migrate", "up", "--login", login).wantDone(t)
	}
	keyset := b.made(t, "keyset new", nil, "keyset", "new")
	b.learnKeyset(t, keyset)
	b.operator = b.secret(t, "the operator's key", b.made(t, "key create", []string{"TRIBUTARY_OWNER_DATABASE_URL=" + b.owner}, "key", "create", "--operator", "--name", "e2e"))
	b.env = []string{"TRIBUTARY_DATABASE_URL=" + urls["hub"], "TRIBUTARY_DIRECT_DATABASE_URL=" + urls["direct"], "TRIBUTARY_KEYSET=" + keyset}
}

// learnKeyset makes a keyset's keys known, as text and as bytes. The rest of it is the same in every keyset.
func (b *birdcage) learnKeyset(t *testing.T, keyset string) {
	t.Helper()
	decoded, err := base64.StdEncoding.DecodeString(keyset)
	if err != nil {
		t.Fatal(err)
	}
	var set struct {
		Key []struct {
			KeyData struct{ Value string }
		}
	}
	if err := json.Unmarshal(decoded, &set); err != nil || len(set.Key) == 0 {
		t.Fatalf("the keyset: %v", err)
	}
	for _, key := range set.Key {
		raw, err := base64.StdEncoding.DecodeString(key.KeyData.Value)
		if err != nil {
			t.Fatal(err)
		}
		b.secret(t, "a key of the keyset", string(raw[2:])) // after what all have, its kind and length
		b.secret(t, "a key of the keyset, as written", key.KeyData.Value[4:])
	}
}

// sql runs a statement, and then fn, as the superuser who needs no password.
func (b *birdcage) sql(t *testing.T, statement string, fn func(*pgx.Conn)) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	conn, err := pgx.Connect(ctx, b.server.URL(birdcageDatabase))
	if err == nil {
		defer conn.Close(ctx)
		_, err = conn.Exec(ctx, statement)
	}
	if err != nil {
		t.Fatal(err)
	}
	if fn != nil {
		fn(conn)
	}
}

// prepareTLS has the public port speak TLS with a key of its own.
func (b *birdcage) prepareTLS(t *testing.T) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "hub"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := key.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	b.secret(t, "the key of TLS", string(raw))
	b.tlsKey = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded}))
	for name, content := range map[string]string{"tls.key": b.tlsKey, "tls.pem": string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))} {
		if err := os.WriteFile(filepath.Join(b.dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	b.env = append(b.env, "TRIBUTARY_TLS_CERT_FILE="+filepath.Join(b.dir, "tls.pem"), "TRIBUTARY_TLS_KEY_FILE="+filepath.Join(b.dir, "tls.key"))
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(certificate)
	b.client = &http.Client{
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       time.Minute,
	}
	t.Cleanup(b.client.CloseIdleConnections)
}

// serve starts the process, after its predecessor has ended.
func (b *birdcage) serve(t *testing.T) {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	b.log = &logtest.Buffer{}
	b.node = exec.Command(path, "serve")
	b.node.Dir, b.node.Env, b.node.Stdout, b.node.Stderr = b.dir, append(os.Environ(), b.env...), b.log, b.log
	b.node.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := b.node.Start(); err != nil {
		t.Fatal(err)
	}
	ended, node := make(chan struct{}), b.node
	b.ended = ended
	go func() {
		_ = node.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = node.Process.Kill()
		<-ended
	})
	serving := regexp.MustCompile(`"msg":"serving".*"listen":"([^"]*)","ops_listen":"([^"]*)"`)
	waitUntil(t, func() bool {
		select {
		case <-ended:
			t.Fatalf("serve ended by itself:\n%s", b.log.Tail(8000))
		default:
		}
		found := serving.FindStringSubmatch(b.log.String())
		if found != nil {
			b.url, b.ops = "https://"+found[1], "http://"+found[2]
		}
		return found != nil
	})
}

// stop ends the process in order and keeps what it said.
func (b *birdcage) stop(t *testing.T) {
	t.Helper()
	b.look(t)
	_ = b.node.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.ended:
	case <-time.After(time.Minute):
		t.Fatal("serve did not end within a minute of SIGTERM")
	}
	b.client.CloseIdleConnections()
	b.heard("the log", []byte(b.log.String()))
}

// look keeps what the operator's port says.
func (b *birdcage) look(t *testing.T) {
	t.Helper()
	for _, path := range []string{"/metrics", "/healthz/ready", "/healthz/live", "/debug/pprof/cmdline", "/debug/pprof/goroutine?debug=2", "/" + b.mislay(t, "a path of the operator's port")} {
		res, err := b.client.Get(b.ops + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		b.heard("the operator's port", body)
	}
}
