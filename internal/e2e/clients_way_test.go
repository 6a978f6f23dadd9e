package e2e_test

import (
	"bytes"
	"io"
	"maps"
	"net/http"
	"strings"
)

// A way is what stands between a client's nth connection, from 0 on, and the hub: it may pass the request on, edit
// what comes back, or answer for the hub.
type way func(n int, w http.ResponseWriter, r *http.Request, hub http.HandlerFunc)

// forward asks the hub with the case's credential, and passes its bytes on as they come.
func (s *scene) forward(n int, w http.ResponseWriter, r *http.Request) {
	request := r.Clone(r.Context())
	request.URL.Scheme, request.URL.Host = "http", strings.TrimPrefix(s.bench.hub.dev.URL, "http://")
	request.Host, request.RequestURI = "", ""
	if credential := s.credential(n); credential != "" {
		request.Header.Set("Authorization", "Bearer "+credential)
	}
	response, err := http.DefaultTransport.RoundTrip(request)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer response.Body.Close()
	maps.Copy(w.Header(), response.Header)
	w.WriteHeader(response.StatusCode)
	flush := http.NewResponseController(w).Flush
	piece := make([]byte, 32<<10)
	for {
		n, err := response.Body.Read(piece)
		if n > 0 {
			_, _ = w.Write(piece[:n])
			_ = flush()
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			panic(http.ErrAbortHandler)
		}
	}
}

// An editor gives on, for what is written to it, pieces that it makes of it, each in a packet of its own.
type editor struct {
	http.ResponseWriter
	edit func([]byte) [][]byte
}

func (e *editor) Unwrap() http.ResponseWriter { return e.ResponseWriter }

func (e *editor) Write(b []byte) (int, error) {
	for _, piece := range e.edit(b) {
		if _, err := e.ResponseWriter.Write(piece); err != nil {
			return 0, err
		}
		if err := http.NewResponseController(e.ResponseWriter).Flush(); err != nil {
			return 0, err
		}
	}
	return len(b), nil
}

// edited is a way on which what pairs name is replaced, where it comes in one piece, as in a case's few bytes it does.
func edited(pairs ...string) way {
	replacer := strings.NewReplacer(pairs...)
	return func(_ int, w http.ResponseWriter, r *http.Request, hub http.HandlerFunc) {
		hub(&editor{w, func(b []byte) [][]byte { return [][]byte{[]byte(replacer.Replace(string(b)))} }}, r)
	}
}

// split is a way on which everything comes byte by byte, edited before.
func split(pairs ...string) way {
	replacer := strings.NewReplacer(pairs...)
	return func(_ int, w http.ResponseWriter, r *http.Request, hub http.HandlerFunc) {
		hub(&editor{w, func(b []byte) [][]byte {
			var pieces [][]byte
			for _, c := range []byte(replacer.Replace(string(b))) {
				pieces = append(pieces, []byte{c})
			}
			return pieces
		}}, r)
	}
}

// gathered is a way on which everything up to hub.live comes in one piece.
func gathered() way {
	return func(_ int, w http.ResponseWriter, r *http.Request, hub http.HandlerFunc) {
		var held []byte
		hub(&editor{w, func(b []byte) [][]byte {
			if held = append(held, b...); !bytes.Contains(held, []byte("event: hub.live")) {
				return nil
			}
			defer func() { held = []byte("event: hub.live") }()
			if bytes.Equal(held[:15], []byte("event: hub.live")) {
				return [][]byte{b}
			}
			return [][]byte{held}
		}}, r)
	}
}

// led is a way on which each connection begins with these bytes, the nth with the nth, before the hub's own.
func led(by ...string) way {
	return func(n int, w http.ResponseWriter, r *http.Request, hub http.HandlerFunc) {
		rest := ""
		if n < len(by) {
			rest = by[n]
		}
		hub(&editor{w, func(b []byte) [][]byte {
			whole := append([]byte(rest), b...)
			rest = ""
			return [][]byte{whole}
		}}, r)
	}
}

// cut is a way on which the first connection breaks right behind the first of these bytes. It begins with what led is.
func cut(behind, led string) way {
	return func(n int, w http.ResponseWriter, r *http.Request, hub http.HandlerFunc) {
		if n > 0 {
			hub(w, r)
			return
		}
		passed := []byte(led)
		sent := 0
		hub(&editor{w, func(b []byte) [][]byte {
			passed = append(passed, b...)
			rest := passed[sent:]
			if i := bytes.Index(passed, []byte(behind)); i >= 0 {
				_, _ = w.Write(passed[sent : i+len(behind)])
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
			sent = len(passed)
			return [][]byte{rest}
		}}, r)
	}
}

// answered is a way on which the nth connection has the nth of these answers, without the hub; later ones go on to it.
func answered(by ...http.HandlerFunc) way {
	return func(n int, w http.ResponseWriter, r *http.Request, hub http.HandlerFunc) {
		if n < len(by) {
			by[n](w, r)
			return
		}
		hub(w, r)
	}
}

func answer(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if contentType != "" {
			w.Header().Set("Content-Type", contentType)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// asking is a way on which requests have one header more.
func asking(name, value string) way {
	return func(_ int, w http.ResponseWriter, r *http.Request, hub http.HandlerFunc) {
		r.Header.Set(name, value)
		hub(w, r)
	}
}
