package server

import (
	"net/http"
	"strings"

	"github.com/tributary-hub/tributary/internal/hub"
)

// RefuseCompressed is hub.CompressedBody where the request's body is said to be encoded: nobody here reads such, and
// of a webhook nobody knows then what was signed.
func RefuseCompressed(r *http.Request) error {
	if encoding := r.Header.Get("Content-Encoding"); encoding != "" && !strings.EqualFold(encoding, "identity") {
		return hub.Errorf(hub.CompressedBody, "compressed bodies are not taken")
	}
	return nil
}
