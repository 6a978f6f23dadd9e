// Package signature verifies a signature over the raw bytes of a request, and makes one for those who send. It owns
// the schemes, one file each: where a signature stands, how it is written, which key and which bytes make it, and
// which time it may have. It is pure: it fetches nothing, keeps no state between requests, and is handed its keys.
// Which provider uses which scheme, and what a verdict means, is provider's.
package signature

import (
	"net/http"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Message is a request as the schemes see it.
type Message struct {
	Method string
	Header http.Header // names in canonical form, as net/http reads them
	Body   []byte      // as received: before decompression, charsets or JSON
}

// A Failure says why a request carries no signature that could be checked, or why its time is not accepted. Detail
// is one sentence for the tenant and never holds a value of the request.
type Failure struct {
	Cause  hub.Cause
	Detail string
}
