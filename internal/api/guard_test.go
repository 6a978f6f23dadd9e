package api_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/api"
	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/server"
)

// A hasty writer is asked for a deadline, tells when it would have been, and lets it be at once.
type hasty struct {
	http.ResponseWriter
	asked chan<- time.Time
}

func (h hasty) Unwrap() http.ResponseWriter { return h.ResponseWriter }

func (h hasty) SetReadDeadline(at time.Time) error {
	h.asked <- at
	return http.NewResponseController(h.ResponseWriter).SetReadDeadline(time.Now())
}

// Whoever never ends a body holds a connection for so long and no longer, and is told.
func TestGuard_BodyWithoutEnd(t *testing.T) {
	t.Parallel()
	var options api.Options
	w := newWorld(t, func(o *api.Options) { options = *o })
	public := server.New(server.Options{Name: "public", Listen: "127.0.0.1:0", Mux: api.New(options), Log: canary.Logger(t)})
	asked := make(chan time.Time, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { public.ServeHTTP(hasty{w, asked}, r) }))
	t.Cleanup(s.Close)
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	begun := time.Now()
	_ = conn.SetDeadline(begun.Add(30 * time.Second))
	_, _ = fmt.Fprintf(conn, "POST /v1/tenants/acme/keys HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %s\r\nContent-Length: 100\r\n\r\n{", w.acme)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	defer func() { _ = res.Body.Close() }()
	var problem struct{ Code hub.Code }
	if err := json.NewDecoder(res.Body).Decode(&problem); err != nil || res.StatusCode != http.StatusBadRequest || problem.Code != hub.Malformed {
		t.Errorf("%d %+v, %v", res.StatusCode, problem, err)
	}
	if at := <-asked; at.Before(begun) || time.Until(at) > 15*time.Second {
		t.Errorf("the body may take %v", at.Sub(begun))
	}
}
