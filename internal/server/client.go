package server

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// client is the address that a request comes from. X-Forwarded-For is read from the right, as long as what stands
// there was written by a proxy that we trust: everything left of the first other address is the client's own say.
func (s *Server) client(r *http.Request) netip.Addr {
	addr, ok := parseAddr(r.RemoteAddr)
	if !ok || !s.trusts(addr) {
		return addr
	}
	for _, line := range slices.Backward(r.Header.Values("X-Forwarded-For")) {
		for _, hop := range slices.Backward(strings.Split(line, ",")) {
			next, ok := parseAddr(strings.TrimSpace(hop))
			if !ok {
				return addr
			}
			addr = next
			if !s.trusts(addr) {
				return addr
			}
		}
	}
	return addr
}

func (s *Server) trusts(addr netip.Addr) bool {
	return slices.ContainsFunc(s.proxies, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// parseAddr reads an address with or without a port, IPv6 with or without brackets.
func parseAddr(text string) (netip.Addr, bool) {
	if withPort, err := netip.ParseAddrPort(text); err == nil {
		return withPort.Addr().Unmap().WithZone(""), true
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		text = strings.TrimSuffix(inner, "]")
	}
	addr, err := netip.ParseAddr(text)
	return addr.Unmap().WithZone(""), err == nil
}
