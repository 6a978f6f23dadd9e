package egress

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
)

// guard decides which addresses may be dialled. It judges each address after the name was resolved and right
// before the connection is made, so a name that resolves to something else the second time gains nothing.
type guard struct {
	public *ssrf.Guardian
	hosts  map[string]bool // host:port as it stands in a URL; exempt whatever it resolves to
	nets   []exemptNet
}

type exemptNet struct {
	prefix netip.Prefix
	port   uint16
}

// newGuard reads the exemptions: host:port, address:port or CIDR:port, with IPv6 in brackets. Outside dev only the
// ports of HTTPS are dialled at public addresses, so that the hub is of no use to scan others.
func newGuard(allow []string, dev bool) (*guard, error) {
	ports := ssrf.WithPorts(443, 8443)
	if dev {
		ports = ssrf.WithAnyPort()
	}
	g := &guard{public: ssrf.New(ports), hosts: map[string]bool{}}
	for _, entry := range allow {
		if err := g.exempt(entry); err != nil {
			return nil, fmt.Errorf("egress exemption %q: %w", entry, err)
		}
	}
	return g, nil
}

func (g *guard) exempt(entry string) error {
	host, digits, err := net.SplitHostPort(entry)
	if err != nil || host == "" {
		return errors.New("not of the form host:port or CIDR:port")
	}
	port, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || port == 0 {
		return fmt.Errorf("not a port: %s", digits)
	}
	if strings.Contains(host, "/") {
		prefix, err := netip.ParsePrefix(host)
		if err != nil {
			return fmt.Errorf("not a CIDR: %s", host)
		}
		g.nets = append(g.nets, exemptNet{prefix.Masked(), uint16(port)})
		return nil
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		addr = addr.Unmap().WithZone("")
		g.nets = append(g.nets, exemptNet{netip.PrefixFrom(addr, addr.BitLen()), uint16(port)})
		return nil
	}
	g.hosts[hostPort(host, digits)] = true
	return nil
}

// dial connects to public addresses alone, or, with exempt, also to those that are exempt.
func (g *guard) dial(exempt bool) func(ctx context.Context, network, address string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		dialer := &net.Dialer{Timeout: 5 * time.Second, KeepAlive: -1}
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		if !exempt || !g.hosts[hostPort(host, port)] {
			dialer.Control = func(network, address string, conn syscall.RawConn) error {
				if exempt && g.exempts(address) {
					return nil
				}
				return g.public.Safe(network, address, conn)
			}
		}
		return dialer.DialContext(ctx, network, address)
	}
}

func (g *guard) exempts(address string) bool {
	resolved, err := netip.ParseAddrPort(address)
	if err != nil {
		return false
	}
	for _, n := range g.nets {
		if n.port == resolved.Port() && n.prefix.Contains(resolved.Addr().Unmap()) {
			return true
		}
	}
	return false
}

func hostPort(host, port string) string { return strings.ToLower(host) + ":" + port }
