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

// The operator's port, where none is named: the first if it is free.
const (
	defaultOps = "127.0.0.1:9090"
	anyOps     = "127.0.0.1:0"
)

// An address is where the hub listens and how it is reached.
type address struct {
	listen string   // host:port, the port no longer 0
	url    *url.URL // how people and tokens name the hub
	self   string   // host:port by which this process reaches itself, whatever others call it
	hosts  []string // names that it serves besides loopback's
	ops    string   // host:port of the operator's port

	held []net.Listener // keep the ports while the rest is prepared; released before the hub binds them
}

// check says whether a hub may listen there, before anything is made. An error is one of usage.
func check(listen string, hosts []string) error {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return hub.Errorf(hub.Invalid, "--listen %q: not an address such as %s", listen, DefaultListen)
	}
	for _, name := range hosts {
		if _, err := netip.ParseAddr(name); err != nil && strings.ContainsAny(name, ":/ ") || name == "" {
			return hub.Errorf(hub.Invalid, "--host %q: a name or address alone, without scheme and port", name)
		}
	}
	if !isLoopbackHost(host) && len(hosts) == 0 {
		return hub.Errorf(hub.Invalid, "--listen %q: other machines reach it, and a development hub gives tokens to anybody; name the hosts that it is to serve with --host, or listen on %s", listen, DefaultListen)
	}
	return nil
}

// reserve takes both ports at once, before a Postgres is started in vain: one message tells all that are taken. public
// is the configured URL, or nil; ops is "" where the user named none.
func reserve(ctx context.Context, listen, ops string, hosts []string, public *url.URL) (*address, error) {
	a := &address{hosts: slices.Clone(hosts), url: public}
	err := errors.Join(a.reservePublic(ctx, listen), a.reserveOps(ctx, ops))
	if err != nil {
		a.release()
		return nil, err
	}
	return a, nil
}

// reservePublic takes the public port, and finds out how it is called.
func (a *address) reservePublic(ctx context.Context, listen string) error {
	host, _, _ := net.SplitHostPort(listen) // checked
	held, err := bind(ctx, listen, "stop what has it, or take any free port with --listen 127.0.0.1:0")
	if err != nil {
		return err
	}
	a.held = append(a.held, held)
	bound := held.Addr().(*net.TCPAddr).AddrPort()
	port := fmt.Sprint(bound.Port())
	a.listen, a.self = net.JoinHostPort(host, port), bound.String()
	name := host
	if !isLoopbackHost(host) && len(a.hosts) > 0 {
		name = a.hosts[0]
	}
	if bound.Addr().IsUnspecified() {
		a.self = "127.0.0.1:" + port
	} else {
		a.hosts = append(a.hosts, bound.Addr().String())
	}
	if a.url == nil {
		a.url = &url.URL{Scheme: "http", Host: net.JoinHostPort(name, port)}
	}
	return nil
}

// reserveOps takes the operator's port; another one only where the user named none.
func (a *address) reserveOps(ctx context.Context, listen string) error {
	const remedy = "stop what has it, or take any free port for health and metrics with TRIBUTARY_OPS_LISTEN=" + anyOps
	named := listen != ""
	listen = cmp.Or(listen, defaultOps)
	held, err := bind(ctx, listen, remedy)
	if err != nil && !named {
		listen = anyOps
		held, err = bind(ctx, listen, remedy)
	}
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
