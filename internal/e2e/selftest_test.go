package e2e_test

import (
	"compress/gzip"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/e2e"
	"github.com/tributary-hub/tributary/internal/logtest"
)

// TestSelftest has a real browser run the hub's self-test through proxies that do to streams what proxies do, and reads
// what the page says of them.
func TestSelftest(t *testing.T) {
	t.Parallel()
	e2e.Needs(t, "chromium")
	h := startHub(t)
	token := h.token(t, "ann", nil)
	t.Cleanup(func() { // once all below have ended
		if !regexp.MustCompile(`"route":"GET /stream/{tenant}/selftest".*"tenant":"ten_.*"connection":"con_.*"frames":6\d,"ended":"max_age"`).MatchString(h.out.String()) {
			t.Error("the log has no record of a self-test that ended with its time")
		}
	})
	c := startChromium(t)
	for _, tt := range []struct {
		name  string
		proxy func(t *testing.T, hub string) string
		token string
		kind  string
		says  string
	}{
		{"nothing", plain(passOnAtOnce), token, "clear", `^Nothing buffers: \d\d frames came one by one as they were sent.*, over HTTP/1\.1\.$`},
		{"nothing, over HTTP/2", secure(passOnAtOnce), token, "clear", `^Nothing buffers: \d\d frames came one by one as they were sent.*, over HTTP/2\.$`},
		{"a buffer of 5 s", plain(passOnEvery(5 * time.Second)), token, "buffers", `^Something in between buffers: frames come in bunches of (4\.5|5|5\.5) s, up to .* late, over HTTP/1\.1\.$`},
		{"compression", plain(passOnCompressed), token, "compressed", `^Something in between compresses \(gzip\)`},
		{"a cut", plain(passOnFor(4 * time.Second)), token, "cut", `^Something in between cuts streams: this one ended after [4-9].*s without the hub's goodbye`},
		{"nginx that holds everything", nginx(""), token, "buffers", `^Something in between buffers: all \d\d frames came at once, 3\d s after the test began, compressed \(gzip\), over HTTP/1\.1\.$`},
		{"nginx with the lines of the page", nginx(nginxLines(t)), token, "clear", `^Nothing buffers: \d\d frames came one by one as they were sent.*, over HTTP/1\.1\.$`},
		{"a token that is none", plain(passOnAtOnce), "nonsense", "refused", `^The hub refuses the test, 401 unauthenticated: .*\.$`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			tab := c.open(t, tt.proxy(t, h.dev.URL)+"/selftest")
			said := tab.evaluate(t, fmt.Sprintf(`new Promise((done) => {
				document.getElementById('tenant').value = 'demo';
				document.getElementById('token').value = %q;
				const verdict = document.getElementById('verdict');
				new MutationObserver(() => {
					const kind = verdict.dataset.kind;
					if (kind !== 'running') done(kind + ' ' + verdict.textContent);
				}).observe(verdict, { childList: true, attributes: true });
				document.getElementById('start').click();
			})`, tt.token))
			kind, sentence, _ := strings.Cut(said, " ")
			if kind != tt.kind || !regexp.MustCompile(tt.says).MatchString(sentence) {
				t.Errorf("the page says %s: %s", kind, sentence)
			}
			if drawn := tab.evaluate(t, `String(document.querySelectorAll('#drawing .frame').length)`); (drawn == "0") != (tt.kind == "refused") {
				t.Errorf("%s frames are drawn", drawn)
			}
			if shots := os.Getenv("SCREENSHOTS"); shots != "" {
				tab.screenshot(t, fmt.Sprintf("%s/selftest-%s.png", shots, tt.kind))
			}
			if kept := tab.evaluate(t, `JSON.stringify([location.search, location.hash, Object.keys(localStorage), Object.keys(sessionStorage), document.cookie])`); kept != `["","",[],[],""]` {
				t.Errorf("the page keeps %s", kept)
			}
			if complaints := tab.complaints(); tt.kind != "refused" && tt.kind != "cut" && len(complaints) > 0 {
				t.Errorf("the browser complains of %q", complaints)
			}
		})
	}
}

// plain serves what the hub does, without TLS, and passes the self-test's frames on in its own way.
func plain(passOn func(http.ResponseWriter, io.Reader)) func(*testing.T, string) string {
	return func(t *testing.T, hub string) string {
		t.Helper()
		proxy := newProxy(t, hub, passOn)
		proxy.Start()
		return proxy.URL
	}
}

// secure is the same with TLS, and so over HTTP/2.
func secure(passOn func(http.ResponseWriter, io.Reader)) func(*testing.T, string) string {
	return func(t *testing.T, hub string) string {
		t.Helper()
		proxy := newProxy(t, hub, passOn)
		proxy.EnableHTTP2 = true
		proxy.StartTLS()
		return proxy.URL
	}
}

func newProxy(t *testing.T, hub string, passOn func(http.ResponseWriter, io.Reader)) *httptest.Server {
	t.Helper()
	target, err := url.Parse(hub)
	if err != nil {
		t.Fatal(err)
	}
	rest := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	mux := http.NewServeMux()
	mux.Handle("/", rest)
	mux.HandleFunc("/stream/", func(w http.ResponseWriter, r *http.Request) {
		request, err := http.NewRequestWithContext(r.Context(), r.Method, hub+r.URL.RequestURI(), nil)
		if err != nil {
			t.Error(err)
			return
		}
		request.Header = r.Header.Clone()
		response, err := http.DefaultTransport.RoundTrip(request)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		maps.Copy(w.Header(), response.Header)
		if response.StatusCode != http.StatusOK {
			w.WriteHeader(response.StatusCode)
			_, _ = io.Copy(w, response.Body)
			return
		}
		passOn(w, response.Body)
	})
	proxy := httptest.NewUnstartedServer(mux)
	t.Cleanup(proxy.Close)
	return proxy
}

// pieces gives what comes from the hub as it comes, and ends with it.
func pieces(from io.Reader) <-chan []byte {
	all := make(chan []byte, 1000) // more than a self-test has, so that nobody needs to take them
	go func() {
		defer close(all)
		for {
			piece := make([]byte, 4096)
			n, err := from.Read(piece)
			if n > 0 {
				all <- piece[:n]
			}
			if err != nil {
				return
			}
		}
	}()
	return all
}

func passOnAtOnce(w http.ResponseWriter, from io.Reader) {
	for piece := range pieces(from) {
		_, _ = w.Write(piece)
		_ = http.NewResponseController(w).Flush()
	}
}

// passOnEvery keeps what comes, and passes it on so often.
func passOnEvery(interval time.Duration) func(http.ResponseWriter, io.Reader) {
	return func(w http.ResponseWriter, from io.Reader) {
		tick := time.NewTicker(interval)
		defer tick.Stop()
		all := pieces(from)
		for {
			select {
			case piece, more := <-all:
				if !more {
					return
				}
				_, _ = w.Write(piece) // net/http holds 4 KiB
			case <-tick.C:
				_ = http.NewResponseController(w).Flush()
			}
		}
	}
}

// passOnFor cuts the stream when that time is over.
func passOnFor(life time.Duration) func(http.ResponseWriter, io.Reader) {
	return func(w http.ResponseWriter, from io.Reader) {
		over := time.After(life)
		all := pieces(from)
		for {
			select {
			case piece, more := <-all:
				if !more {
					return
				}
				_, _ = w.Write(piece)
				_ = http.NewResponseController(w).Flush()
			case <-over:
				panic(http.ErrAbortHandler)
			}
		}
	}
}

func passOnCompressed(w http.ResponseWriter, from io.Reader) {
	w.Header().Set("Content-Encoding", "gzip")
	packed := gzip.NewWriter(w)
	defer packed.Close()
	for piece := range pieces(from) {
		_, _ = packed.Write(piece)
		_ = packed.Flush()
		_ = http.NewResponseController(w).Flush()
	}
}

// nginxLines are those that the page on streams has for nginx.
func nginxLines(t *testing.T) string {
	t.Helper()
	return strings.Join(fenced(t, "../docs/pages/streams.md", "nginx"), "")
}

// nginx is a real one, which was told to heed nobody and to compress everything, but for what lines say.
func nginx(lines string) func(*testing.T, string) string {
	return func(t *testing.T, hub string) string {
		t.Helper()
		e2e.Needs(t, "nginx")
		dir, address := t.TempDir(), freeAddress(t)
		config := fmt.Sprintf(`
			daemon off; master_process off; pid %[1]s/pid;
			events {}
			http {
				access_log off;
				client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy; fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
				proxy_ignore_headers X-Accel-Buffering;
				gzip on; gzip_types text/event-stream; gzip_proxied any; gzip_min_length 0;
				server {
					listen %[2]s;
					location / { proxy_pass %[3]s; proxy_set_header Host $host; }
					%[4]s
				}
			}`, dir, address, hub, strings.ReplaceAll(lines, "http://127.0.0.1:8080", hub))
		name := filepath.Join(dir, "nginx.conf")
		if err := os.WriteFile(name, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		said := &logtest.Buffer{}
		cmd := exec.Command("nginx", "-p", dir, "-c", name, "-e", "stderr")
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Logf("nginx said:\n%s", said.Tail(4000))
			}
		})
		url := "http://" + address
		look := time.NewTicker(20 * time.Millisecond)
		defer look.Stop()
		for timeout := time.After(20 * time.Second); !healthy(t.Context(), url); {
			select {
			case <-look.C:
			case <-timeout:
				t.Fatalf("nginx does not serve:\n%s", said.Tail(4000))
			}
		}
		return url
	}
}
