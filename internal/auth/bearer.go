package auth

import (
	"net/http"
	"strings"

	"github.com/tributary-hub/tributary/internal/hub"
)

// Bearer gives the credential of the Authorization header: "" where there is no such header, hub.Unauthenticated
// where there are several, or it is of another form (RFC 6750, 2.1).
func Bearer(header http.Header) (string, error) {
	values := header.Values("Authorization")
	switch len(values) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", hub.Errorf(hub.Unauthenticated, "the request has more than one Authorization header")
	}
	scheme, credential, _ := strings.Cut(values[0], " ")
	credential = strings.TrimLeft(credential, " ")
	if !strings.EqualFold(scheme, "Bearer") || !isToken68(credential) {
		return "", hub.Errorf(hub.Unauthenticated, "the Authorization header is not of the form: Bearer <credential>")
	}
	return credential, nil
}

// isToken68 is the alphabet of RFC 9110, 11.2; the padding may stand anywhere, for nobody here reads it.
func isToken68(s string) bool {
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case strings.IndexByte("-._~+/=", c) >= 0:
		default:
			return false
		}
	}
	return s != ""
}
