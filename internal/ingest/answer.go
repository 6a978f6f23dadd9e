package ingest

import (
	"net/http"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

// An answer is what the sender gets.
type answer struct {
	name        string // among the metrics' answers
	status      int
	contentType string
	body        []byte
}

// answerEvent says which event holds the webhook; a duplicate's is the first one's. Ids need no escaping.
func answerEvent(r hub.Receipt) answer {
	name, body := answerAccepted, `{"event":"`+r.Event.String()+`"}`
	if r.Duplicate {
		name, body = answerDuplicate, `{"event":"`+r.Event.String()+`","duplicate":true}`
	}
	return answer{name: name, status: http.StatusOK, contentType: "application/json", body: []byte(body)}
}

func answerHandshake(h *provider.Handshake) answer {
	return answer{name: answerShaken, status: h.Status, contentType: h.ContentType, body: h.Body}
}

func (a answer) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", a.contentType)
	w.WriteHeader(a.status)
	_, _ = w.Write(a.body) // the sender is gone: it will retry, and be told of a duplicate
}

// harmless keeps whatever is answered here, a stranger's challenge too, from being a page of the hub's origin.
func harmless(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cache-Control", "no-store")
}
