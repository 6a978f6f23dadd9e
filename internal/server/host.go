package server

import (
	"net"
	"net/http"
	"slices"
	"strings"
)

// loopbackHosts are how a browser on this machine names a loopback listener. A page that rebinds its own name to
// 127.0.0.1 still sends that name, and is refused.
var loopbackHosts = []string{"localhost", "127.0.0.1", "::1"}

func hostSet(further []string) map[string]bool {
	set := map[string]bool{}
	for _, name := range slices.Concat(loopbackHosts, further) {
		set[hostName(name)] = true
	}
	return set
}

// servesHost says whether r's Host is one of ours. A webhook's URL is meant for strangers, and its token is the guard:
// /in/{token} is exempt, and nothing that is only written to look like it.
func (s *Server) servesHost(r *http.Request) bool {
	if s.hosts == nil || s.hosts[hostName(r.Host)] {
		return true
	}
	token, webhook := strings.CutPrefix(r.URL.Path, "/in/")
	return webhook && !strings.Contains(token, "/")
}

// hostName is a Host without its port and its brackets.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.ToLower(host)
}
