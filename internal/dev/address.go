package dev

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"syscall"

	"github.com/tributary-hub/tributary/internal/hub"
)

// DefaultListen is where dev listens unless it is told otherwise.
const DefaultListen = "127.0.0.1:8080"

// An address is where the hub listens and how it is reached.
type address struct {
	listen string   // host:port, the port no longer 0
	url    *url.URL // how people and tokens name the hub
	self   string   // host:port by which this process reaches itself, whatever others call it
	hosts  []string // names that it serves besides loopback's
	ops    string   // host:port of the operator's port

	held []net.Listener // keep the ports while the rest is prepared; released before the hub binds them
}

// reserve finds out everything about the address, and takes the port at once: that it is taken by another is told
// before anything else is done. public is the configured URL, or nil.
func reserve(ctx context.Context, listen string, hosts []string, public *url.URL) (*address, error) {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, hub.Errorf(hub.Invalid, "--listen %s: not an address such as %s", listen, DefaultListen)
	}
	for _, name := range hosts {
		if _, err := netip.ParseAddr(name); err != nil && strings.ContainsAny(name, ":/ ") || name == "" {
			return nil, hub.Errorf(hub.Invalid, "--host %s: a name or address alone, without scheme and port", name)
		}
	}
	if !isLoopbackHost(host) && len(hosts) == 0 {
		return nil, hub.Errorf(hub.Invalid, "--listen %s: other machines reach it, and a development hub gives tokens to anybody; name the hosts that it is to serve with --host, or listen on %s", listen, DefaultListen)
	}
	held, err := bind(ctx, listen, "another `tributary dev`, perhaps; stop that, or take any free port with --listen 127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	bound := held.Addr().(*net.TCPAddr).AddrPort()
	port := fmt.Sprint(bound.Port())
	a := &address{listen: net.JoinHostPort(host, port), hosts: slices.Clone(hosts), self: bound.String(), held: []net.Listener{held}, url: public}
	if bound.Addr().IsUnspecified() {
		a.self = "127.0.0.1:" + port
	} else {
		a.hosts = append(a.hosts, bound.Addr().String())
	}
	if a.url == nil {
		name := host
		if !isLoopbackHost(host) {
			name = hosts[0]
		}
		a.url = &url.URL{Scheme: "http", Host: net.JoinHostPort(name, port)}
	}
	return a, nil
}

// reserveOps takes the operator's port likewise.
func (a *address) reserveOps(ctx context.Context, listen string) error {
	held, err := bind(ctx, listen, "set TRIBUTARY_OPS_LISTEN=127.0.0.1:0 to take any free port for health and metrics")
	if err != nil {
		return err
	}
	host, _, _ := net.SplitHostPort(listen) // it was just listened on
	a.ops = net.JoinHostPort(host, fmt.Sprint(held.Addr().(*net.TCPAddr).Port))
	a.held = append(a.held, held)
	return nil
}

// release frees the ports for the hub.
func (a *address) release() {
	for _, listener := range a.held {
		_ = listener.Close()
	}
	a.held = nil
}

// bind takes a port. Its error is one sentence that says what to do.
func bind(ctx context.Context, listen, remedy string) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", listen)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is taken: %s", listen, remedy)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("%s: the system keeps ports below 1024 to itself; choose one above", listen)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", listen, cmp.Or(errors.Unwrap(err), err))
	}
	return listener, nil
}
