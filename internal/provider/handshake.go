package provider

import "github.com/tributary-hub/tributary/internal/signature"

// A Handshake is an answer that a provider demands before it sends events. The request is answered with it instead
// of being stored.
type Handshake struct {
	Status      int
	ContentType string
	Body        []byte
}

// An answerFunc answers a handshake that has verified, given the event's type; both results are nil where the request
// is an ordinary event.
type answerFunc func(typ string, doc *document) (*Handshake, *signature.Failure)

// maxChallenge bounds what is echoed.
const maxChallenge = 256

// isChallenge says whether s may be echoed: short, and nothing but printable ASCII.
func isChallenge(s string) bool {
	if s == "" || len(s) > maxChallenge {
		return false
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
