package app_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/app"
	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// A certificate for 127.0.0.1 and hub.example.com in two files.
type certificate struct {
	cert, key string
	roots     *x509.CertPool
}

// newCertificate is good for that long.
func newCertificate(t *testing.T, left time.Duration) certificate {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"hub.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(left), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	must(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	must(t, err)
	dir := t.TempDir()
	c := certificate{cert: filepath.Join(dir, "hub.pem"), key: filepath.Join(dir, "hub.key"), roots: x509.NewCertPool()}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	must(t, os.WriteFile(c.cert, public, 0o600))
	must(t, os.WriteFile(c.key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	c.roots.AppendCertsFromPEM(public)
	return c
}

// counted is what of a metric of the process went well.
func counted(t *testing.T, process *app.App, name string) float64 {
	t.Helper()
	families, err := process.Registry().Gather()
	must(t, err)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && m.GetLabel()[0].GetValue() == "ok" {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s", name)
	return 0
}

// rises waits until a metric is above what it was before something was done.
func rises(t *testing.T, process *app.App, name, what string, do func()) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	was := counted(t, process, name)
	for do(); counted(t, process, name) <= was; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: %s stays at %v", what, name, was)
		}
	}
}

// What the environment says of the public port holds there, and what the database says to a process reaches the parts
// that are to know.
func TestStart_Wires(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	certificate := newCertificate(t, time.Hour)
	s.config.TLSCertFile, s.config.TLSKeyFile = certificate.cert, certificate.key
	s.config.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	process, _ := s.start(t, "one", "")
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: certificate.roots}}
	defer transport.CloseIdleConnections()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+process.Addr()+"/stream/"+s.tenant.String()+"?channel=payments", nil)
	must(t, err)
	request.Header.Set("Authorization", "Bearer "+s.key)
	request.Header.Set("X-Forwarded-For", "203.0.113.7")
	response, err := (&http.Client{Transport: transport}).Do(request)
	must(t, err)
	defer func() { _ = response.Body.Close() }()
	events := eventsOf(response)
	awaitEvent(t, events, "hub.ready")

	const loads, looks = "tributary_directory_loads_total", "tributary_directory_looks_total"
	rises(t, process, loads, "a restore that no signal tells of", func() { // the tenant was forgotten, and the stream asks for it again
		s.db.Exec(t, `UPDATE tributary.epoch SET salt = 'restored'`)
	})
	awaitEvent(t, events, "hub.reset")

	for what, tell := range map[string]func(){ // one after the other: each is to be the reason of what is seen
		"changed": func() {
			s.db.Exec(t, `SELECT pg_notify('tributary', $1)`, backplane.Changed{Tenant: s.tenant, Version: 1 << 40}.Encode())
		},
		"epoch": func() { s.db.Exec(t, `SELECT pg_notify('tributary', $1)`, backplane.EpochChanged{}.Encode()) },
		"a listener that connects again": func() {
			s.db.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tributary listener'`)
		},
	} {
		began := time.Now()
		for range 10 {
			rises(t, process, looks, what, tell)
		}
		if took := time.Since(began); took > 40*time.Second { // by the clock alone there is a look each 5 s
			t.Errorf("%s: ten looks in %s", what, took)
		}
	}

	must(t, response.Body.Close())
	must(t, process.Stop(context.WithoutCancel(t.Context())))
	if !strings.Contains(s.log.String(), `"route":"GET /stream/{tenant}"`) || !strings.Contains(s.log.String(), `"client":"203.0.113.7"`) {
		t.Errorf("the stream's record does not name the client behind the proxy:\n%s", s.log)
	}
}

// eventsOf gives the types of a stream's events, until it ends.
func eventsOf(response *http.Response) <-chan string {
	types := make(chan string, 100)
	go func() {
		defer close(types)
		for lines := bufio.NewScanner(response.Body); lines.Scan(); {
			if name, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				types <- name
			}
		}
	}()
	return types
}

func awaitEvent(t *testing.T, types <-chan string, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		select {
		case got, open := <-types:
			if got == want {
				return
			}
			if !open {
				t.Fatalf("the stream ended without %s", want)
			}
		case <-ctx.Done():
			t.Fatalf("no %s in a minute", want)
		}
	}
}

// What is stopped is stopped before all that it uses, and the ports first: who is told goodbye must not come back
// here, and what serves a stream ends before the port that waits for it. All steps together have 25 seconds.
func TestStop_InOrder(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ctx := context.WithoutCancel(t.Context())
	process, err := app.New(ctx, app.Options{Config: whole(t, db), Log: canary.Logger(t)})
	must(t, err)
	must(t, process.Start(ctx))
	want := []string{
		"accepting", "streams", "public port", "ops port", "feed", "listener", "notebook", "intake", "river", "worker", "keys", "appender", "meter", "directory",
		"issuers' keys", "node", "watch", "river pool", "store",
	}
	if diff := cmp.Diff(want, process.Steps()); diff != "" {
		t.Errorf("the steps of Stop (-want +got):\n%s", diff)
	}
	var left time.Duration
	process.OnStop("test", func(ctx context.Context) error {
		deadline, _ := ctx.Deadline()
		left = time.Until(deadline)
		return nil
	})
	must(t, process.Stop(ctx))
	if left <= 0 || left > 25*time.Second {
		t.Errorf("the first step has %s", left)
	}
}
