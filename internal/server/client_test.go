package server_test

import (
	"io"
	"net/http"
	"net/netip"
	"testing"

	"github.com/tributary-hub/tributary/internal/server"
)

func TestClientAddr(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, server.ClientAddr(r.Context()).String())
	})
	loopback, private := netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")
	six := netip.MustParsePrefix("fd00::/8")
	tests := []struct {
		name      string
		trusted   []netip.Prefix
		forwarded []string
		want      string
	}{
		{"direct", nil, nil, "127.0.0.1"},
		{"nobody is trusted, so the header is a client's say", nil, []string{"203.0.113.7"}, "127.0.0.1"},
		{"another proxy is trusted", []netip.Prefix{private}, []string{"203.0.113.7"}, "127.0.0.1"},
		{"trusted, and no header", []netip.Prefix{loopback}, nil, "127.0.0.1"},
		{"trusted", []netip.Prefix{loopback}, []string{"203.0.113.7"}, "203.0.113.7"},
		{"what the client put before is not believed", []netip.Prefix{loopback}, []string{"198.51.100.1, 203.0.113.7"}, "203.0.113.7"},
		{"nor when it names a proxy", []netip.Prefix{loopback, private}, []string{"198.51.100.1, 10.0.0.9, 203.0.113.7, 10.0.0.1"}, "203.0.113.7"},
		{"two proxies", []netip.Prefix{loopback, private}, []string{"203.0.113.7, 10.0.0.1"}, "203.0.113.7"},
		{"several lines are one list", []netip.Prefix{loopback, private}, []string{"198.51.100.1", "203.0.113.7", "10.0.0.1"}, "203.0.113.7"},
		{"all of them proxies", []netip.Prefix{loopback, private}, []string{"10.0.0.2, 10.0.0.1"}, "10.0.0.2"},
		{"no address: the last that was one", []netip.Prefix{loopback, private}, []string{"203.0.113.7, unknown, 10.0.0.1"}, "10.0.0.1"},
		{"empty", []netip.Prefix{loopback}, []string{""}, "127.0.0.1"},
		{"with a port", []netip.Prefix{loopback}, []string{"203.0.113.7:4711"}, "203.0.113.7"},
		{"IPv6", []netip.Prefix{loopback, six}, []string{"2001:db8::7, [fd00::1]:80"}, "2001:db8::7"},
		{"IPv6 in brackets, with a zone", []netip.Prefix{loopback}, []string{"[fe80::1%eth0]"}, "fe80::1"},
		{"IPv4 in IPv6 is IPv4", []netip.Prefix{loopback, private}, []string{"203.0.113.7, ::ffff:10.0.0.1"}, "203.0.113.7"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, mux, func(o *server.Options) { o.TrustedProxies = tt.trusted })
			req := s.request(t, http.MethodGet, "/", nil)
			req.Header["X-Forwarded-For"] = tt.forwarded
			if _, body := s.do(t, req); body != tt.want {
				t.Errorf("client %s, want %s", body, tt.want)
			}
			s.stop(t)
			if got := s.log.records(t)[0]["client"]; got != tt.want {
				t.Errorf("record has %v", got)
			}
		})
	}
}
