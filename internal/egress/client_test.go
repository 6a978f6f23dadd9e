package egress_test

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/egress"
	"github.com/tributary-hub/tributary/internal/hub"
)

// remote is someone else's server, on loopback, that counts who reached it.
type remote struct {
	*httptest.Server
	connections atomic.Int64
	requests    atomic.Int64
	port        string
}

func newRemote(t testing.TB, tls bool, handle http.HandlerFunc) *remote {
	t.Helper()
	r := &remote{}
	r.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		r.requests.Add(1)
		handle(w, request)
	}))
	r.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			r.connections.Add(1)
		}
	}
	r.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	if tls {
		r.StartTLS()
	} else {
		r.Start()
	}
	t.Cleanup(r.Close)
	_, port, err := net.SplitHostPort(r.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	r.port = port
	return r
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) }

func (r *remote) roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(r.Certificate())
	return pool
}

func newClient(t testing.TB, o egress.Options) *egress.Client {
	t.Helper()
	c, err := egress.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// get asks and checks that a failure is the one error, word for word.
func get(t *testing.T, c *egress.Client, url string, internal bool) string {
	t.Helper()
	body, err := c.Get(t.Context(), url, internal)
	if err == nil {
		return string(body)
	}
	if err != egress.ErrRemote || body != nil { //nolint:errorlint // wrapping it would add words
		t.Errorf("%q, %v; want ErrRemote and nothing besides", body, err)
	}
	return ""
}

func TestClient_Guard(t *testing.T) {
	t.Parallel()
	server := newRemote(t, false, hello)
	local, name := "http://127.0.0.1:"+server.port, "http://localhost:"+server.port
	mapped := "http://[::ffff:127.0.0.1]:" + server.port

	for _, test := range []struct {
		name     string
		allow    []string
		url      string
		internal bool
		reached  bool
	}{
		{"loopback", nil, local, false, false},
		{"loopback, internal without an exemption", nil, local, true, false},
		{"a name that resolves to loopback", nil, name, false, false},
		{"loopback written as IPv6", nil, mapped, false, false},
		{"this host", nil, "http://0.0.0.0:" + server.port, false, false},
		{"exempt but not internal", []string{"127.0.0.1:" + server.port}, local, false, false},
		{"exempt network but not internal", []string{"127.0.0.0/8:" + server.port}, local, false, false},
		{"exempt name but not internal", []string{"localhost:" + server.port}, name, false, false},
		{"another port is exempt", []string{"127.0.0.1:1", "127.0.0.0/8:1", "localhost:1"}, local, true, false},
		{"another port of the name is exempt", []string{"127.0.0.1:1", "127.0.0.0/8:1", "localhost:1"}, name, true, false},
		{"another network is exempt", []string{"10.0.0.0/8:" + server.port}, local, true, false},
		{"another name is exempt", []string{"example.com:" + server.port}, local, true, false},
		{"the address is not the name", []string{"localhost:" + server.port}, local, true, false},

		{"exempt address", []string{"127.0.0.1:" + server.port}, local, true, true},
		{"exempt address by its name", []string{"127.0.0.1:" + server.port}, name, true, true},
		{"exempt address written as IPv6", []string{"127.0.0.1:" + server.port}, mapped, true, true},
		{"exempt network", []string{"127.0.0.0/8:" + server.port}, local, true, true},
		{"exempt network by a name", []string{"127.0.0.0/8:" + server.port}, name, true, true},
		{"exempt name", []string{"LOCALHOST:" + server.port}, name, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := newClient(t, egress.Options{Allow: test.allow, Dev: true})
			if got := get(t, c, test.url, test.internal); (got == "hello") != test.reached {
				t.Errorf("reached: %v", got == "hello")
			}
		})
	}
}

func TestClient_GuardedCallUsesNoExemptConnection(t *testing.T) {
	t.Parallel()
	server := newRemote(t, false, hello)
	c := newClient(t, egress.Options{Allow: []string{"127.0.0.1:" + server.port}, Dev: true})
	for range 3 {
		if get(t, c, server.URL, true) != "hello" {
			t.Fatal("the exempt call did not reach the server")
		}
		if get(t, c, server.URL, false) != "" {
			t.Fatal("a guarded call reached the server")
		}
	}
	if n := server.connections.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
}

func TestClient_PrivateAddressesAreNotDialled(t *testing.T) {
	t.Parallel()
	for _, host := range []string{
		"127.0.0.1", "127.8.9.1", "0.0.0.0", "10.1.2.3", "100.64.0.1", "169.254.169.254", "172.16.0.1", "192.168.0.1", "192.0.2.1", "224.0.0.1", "255.255.255.255",
		"[::1]", "[::]", "[::ffff:10.0.0.1]", "[::ffff:169.254.169.254]", "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]", "[2001:db8::1]", "[2002:7f00:1::]", "[ff02::1]",
	} {
		t.Run(host, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			c := newClient(t, egress.Options{Logger: debugLogger(&log)})
			get(t, c, "https://"+host+"/x", true)
			if !strings.Contains(log.String(), "prohibited IP address") {
				t.Errorf("not refused by the guard: %s", log.String())
			}
		})
	}
}

func TestClient_PublicPorts(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	c := newClient(t, egress.Options{Logger: debugLogger(&log)})
	get(t, c, "https://8.8.8.8:22/", false)
	if !strings.Contains(log.String(), "prohibited port") {
		t.Errorf("not refused by the guard: %s", log.String())
	}
	got, err := egress.PublicPorts()
	if diff := cmp.Diff([]int{443, 8443}, got); diff != "" || err != nil {
		t.Errorf("%v, ports (-want +got):\n%s", err, diff)
	}
}

// A proxy of the environment would dial for the hub whatever it is asked to. The environment is read once a process,
// so this test looks from one of its own.
func TestClient_NoProxy(t *testing.T) {
	t.Parallel()
	if proxy := os.Getenv("HTTP_PROXY"); os.Getenv("EGRESS_TEST_PROXIED") != "" {
		c := newClient(t, egress.Options{Allow: []string{strings.TrimPrefix(proxy, "http://")}, Dev: true})
		get(t, c, "http://192.0.2.1/", true) // an address that the guard refuses, so it is not dialled
		get(t, c, "https://192.0.2.1/", true)
		return
	}
	proxy := newRemote(t, false, hello)
	again := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestClient_NoProxy$", "-test.count=1")
	again.Env = append(os.Environ(), "EGRESS_TEST_PROXIED=1", "HTTP_PROXY="+proxy.URL, "HTTPS_PROXY="+proxy.URL, "NO_PROXY=", "no_proxy=")
	if out, err := again.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if n := proxy.connections.Load(); n != 0 {
		t.Errorf("%d connections to the environment's proxy", n)
	}
}

func TestClient_URLs(t *testing.T) {
	t.Parallel()
	server := newRemote(t, true, hello)
	allow := []string{"127.0.0.1:" + server.port}
	production := newClient(t, egress.Options{Allow: allow, RootCAs: server.roots()})
	if get(t, production, server.URL+"/keys?policy=a", true) != "hello" {
		t.Fatal("https does not pass")
	}
	reached := server.connections.Load()
	for _, url := range []string{
		"http://127.0.0.1:" + server.port, "https://user@127.0.0.1:" + server.port, "https://user:password@127.0.0.1:" + server.port,
		server.URL + "/#fragment", server.URL + "/#", "//127.0.0.1:" + server.port, "127.0.0.1:" + server.port, "https:///x", "https://:" + server.port,
		"ftp://127.0.0.1:" + server.port, "file:///etc/passwd", "HTTP://127.0.0.1:" + server.port, "", "nope", "https://127.0.0.1:port/", "https://\x00/", "javascript:alert(1)",
	} {
		if get(t, production, url, true) != "" {
			t.Errorf("%q passed", url)
		}
	}
	if n := server.connections.Load(); n != reached {
		t.Errorf("%d connections for URLs that are refused", n-reached)
	}
	strangers := newClient(t, egress.Options{Allow: allow})
	if get(t, strangers, server.URL, true) != "" {
		t.Error("a certificate of nobody we know passed")
	}
}

func TestClient_NoRedirect(t *testing.T) {
	t.Parallel()
	target := newRemote(t, false, hello)
	for _, status := range []int{301, 302, 303, 307, 308} {
		server := newRemote(t, false, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, target.URL, status) })
		c := newClient(t, egress.Options{Allow: []string{"127.0.0.1:" + server.port, "127.0.0.1:" + target.port}, Dev: true})
		if get(t, c, server.URL, true) != "" {
			t.Errorf("%d was taken for an answer", status)
		}
	}
	if n := target.connections.Load(); n != 0 {
		t.Errorf("%d redirects were followed", n)
	}
}

func TestClient_Statuses(t *testing.T) {
	t.Parallel()
	for _, status := range []int{201, 204, 206, 400, 401, 403, 404, 429, 500, 503} {
		server := newRemote(t, false, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
		c := newClient(t, egress.Options{Allow: []string{"127.0.0.1:" + server.port}, Dev: true})
		if _, err := c.Get(t.Context(), server.URL, true); !errors.Is(err, egress.ErrRemote) {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestClient_BodyCap(t *testing.T) {
	t.Parallel()
	const maxBody = 1000
	var endless atomic.Int64
	ended := make(chan struct{})
	server := newRemote(t, false, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/fits":
			_, _ = w.Write(make([]byte, maxBody))
		case "/over":
			_, _ = w.Write(make([]byte, maxBody+1))
		case "/announced":
			w.Header().Set("Content-Length", "300000000")
			w.WriteHeader(http.StatusOK)
		case "/endless":
			defer close(ended)
			chunk := make([]byte, 64<<10)
			for {
				n, err := w.Write(chunk)
				endless.Add(int64(n))
				if err != nil {
					return
				}
			}
		}
	})
	c := newClient(t, egress.Options{Allow: []string{"127.0.0.1:" + server.port}, Dev: true, MaxBody: maxBody})
	for path, passes := range map[string]bool{"/fits": true, "/over": false, "/announced": false, "/endless": false} {
		if got := get(t, c, server.URL+path, true); (len(got) == maxBody) != passes {
			t.Errorf("%s: %d bytes", path, len(got))
		}
	}
	<-ended
	if n := endless.Load(); n > 32<<20 { // what fits into the sockets' buffers
		t.Errorf("%d bytes of an endless body were taken", n)
	}
}

// A header is bounded like a body: net/http takes 10 MB of it.
func TestClient_HeaderCap(t *testing.T) {
	t.Parallel()
	server := newRemote(t, false, func(w http.ResponseWriter, r *http.Request) {
		kilobytes, _ := strconv.Atoi(r.URL.Path[1:])
		for i := range kilobytes {
			w.Header().Set("X-"+strconv.Itoa(i), strings.Repeat("x", 1<<10))
		}
		hello(w, r)
	})
	c := newClient(t, egress.Options{Allow: []string{"127.0.0.1:" + server.port}, Dev: true})
	for path, passes := range map[string]bool{"/40": true, "/80": false, "/1000": false} {
		if got := get(t, c, server.URL+path, true); (got == "hello") != passes {
			t.Errorf("%s kilobytes of header: %q", path, got)
		}
	}
}

func TestClient_SlowServer(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/silent", "/drip"} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			left := make(chan struct{})
			server := newRemote(t, false, func(w http.ResponseWriter, r *http.Request) {
				defer close(left)
				if r.URL.Path == "/drip" {
					_, _ = w.Write([]byte("{"))
					_ = http.NewResponseController(w).Flush()
				}
				<-r.Context().Done()
			})
			c := newClient(t, egress.Options{Allow: []string{"127.0.0.1:" + server.port}, Dev: true, Timeout: 100 * time.Millisecond})
			if get(t, c, server.URL+path, true) != "" {
				t.Error("an unfinished answer was taken")
			}
			<-left
		})
	}
}

func TestClient_CallerLeaves(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{})
	server := newRemote(t, false, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done()
	})
	c := newClient(t, egress.Options{Allow: []string{"127.0.0.1:" + server.port}, Dev: true})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := c.Get(ctx, server.URL, true); !errors.Is(err, egress.ErrRemote) {
		t.Error(err)
	}
}

func TestClient_LogSaysWhyAndNoSecret(t *testing.T) {
	t.Parallel()
	server := newRemote(t, false, func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "canary-body", http.StatusTeapot) })
	var log bytes.Buffer
	c := newClient(t, egress.Options{Allow: []string{"127.0.0.1:" + server.port, "127.0.0.1:1"}, Dev: true, Logger: debugLogger(&log)})
	get(t, c, server.URL+"/?key=canary-query", true)
	get(t, c, "http://127.0.0.1:1/?key=canary-query", true)
	get(t, c, "http://user:canary-password@127.0.0.1:1/", true)
	if !strings.Contains(log.String(), "status 418") || !strings.Contains(log.String(), "connection refused") {
		t.Errorf("does not say why: %s", log.String())
	}
	if strings.Contains(log.String(), "canary") {
		t.Errorf("says too much: %s", log.String())
	}
}

func debugLogger(out *bytes.Buffer) *slog.Logger {
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestNewClient_Exemptions(t *testing.T) {
	t.Parallel()
	for entry, want := range map[string]string{
		"keycloak:8443":        "",
		"10.0.0.0/8:443":       "",
		"10.0.0.5:443":         "",
		"[fd00::/8]:443":       "",
		"[fd00::1]:443":        "",
		"keycloak":             `egress exemption "keycloak": not of the form host:port or CIDR:port`,
		":443":                 `egress exemption ":443": not of the form host:port or CIDR:port`,
		"fd00::1:443":          `egress exemption "fd00::1:443": not of the form host:port or CIDR:port`,
		"keycloak:https":       `egress exemption "keycloak:https": not a port: https`,
		"keycloak:0":           `egress exemption "keycloak:0": not a port: 0`,
		"keycloak:65536":       `egress exemption "keycloak:65536": not a port: 65536`,
		"10.0.0.0/33:443":      `egress exemption "10.0.0.0/33:443": not a CIDR: 10.0.0.0/33`,
		"https://keycloak:443": `egress exemption "https://keycloak:443": not of the form host:port or CIDR:port`,
	} {
		_, err := egress.NewClient(egress.Options{Allow: []string{entry}})
		got := ""
		if err != nil {
			got = err.Error()
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", entry, diff)
		}
	}
}

func TestClient_CheckIssuer(t *testing.T) {
	t.Parallel()
	production, dev := newClient(t, egress.Options{}), newClient(t, egress.Options{Dev: true})
	for issuer, good := range map[string]bool{
		"https://accounts.example.com": true, "https://example.com/realms/a/": true, "https://example.com:8443": true,
		"http://example.com": false, "https://u@example.com": false, "https://example.com?a=b": false, "https://example.com?": false,
		"https://example.com#a": false, "https://example.com#": false, "example.com": false, "": false, "https://": false,
	} {
		if err := production.CheckIssuer(issuer); (err == nil) != good || err != nil && hub.CodeOf(err) != hub.Invalid {
			t.Errorf("%q: %v", issuer, err)
		}
	}
	if err := dev.CheckIssuer("http://127.0.0.1:8080/dev/issuer"); err != nil {
		t.Error(err)
	}
}
