package server_test

import (
	"net/http"
	"testing"

	"github.com/tributary-hub/tributary/internal/server"
)

func TestHost(t *testing.T) {
	t.Parallel()
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(http.ResponseWriter, *http.Request) {})
	strict := start(t, mux, func(o *server.Options) { o.CheckHost, o.Hosts = true, []string{"hub.local", "Public.example:8443"} })
	open := start(t, mux, nil)
	tests := []struct {
		name, host, path string
		status           int
	}{
		{"localhost", "localhost", "/", 200},
		{"localhost with a port", "localhost:8080", "/", 200},
		{"loopback address", "127.0.0.1:1", "/", 200},
		{"IPv6", "[::1]:8080", "/", 200},
		{"IPv6 without a port", "[::1]", "/", 200},
		{"upper case", "LOCALHOST", "/", 200},
		{"named", "hub.local:9", "/", 200},
		{"the public URL's", "public.example", "/", 200},
		{"rebound name", "evil.example", "/", 421},
		{"name that ends in ours", "evil-localhost", "/", 421},
		{"another loopback address", "127.0.0.2", "/", 421},
		{"under a name of ours", "x.hub.local", "/v1/me", 421},
		{"webhooks come by any name", "tunnel.example", "/in/token", 200},
		{"but nothing beside them", "tunnel.example", "/in", 421},
		{"nor below them", "tunnel.example", "/in/token/x", 421},
		{"nor a path that leaves them", "tunnel.example", "/in/../v1/me", 421},
		{"nor one that leaves them in disguise", "tunnel.example", "/in/%2e%2e/v1/me", 421},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			req := strict.request(t, http.MethodGet, tt.path, nil)
			req.Host = tt.host
			res, body := strict.do(t, req)
			if tt.status == 421 {
				wantProblem(t, res, body, 421, "misdirected_request")
			} else if res.StatusCode != tt.status {
				t.Errorf("status %d", res.StatusCode)
			}
			req = open.request(t, http.MethodGet, tt.path, nil)
			req.Host = tt.host
			if res, _ := open.do(t, req); res.StatusCode == 421 {
				t.Errorf("without the check: status %d", res.StatusCode)
			}
		})
	}
}
