package e2e_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A foreignClient opens the stream that the plan at an address names, and says there what it sees.
type foreignClient struct {
	name        string
	open, close func(base string)
}

// A clientRun is one client in one case, with a server of its own between it and the hub, which is the page's origin.
type clientRun struct {
	name, client string
	base         string
	epoch        string

	mu     sync.Mutex // guards what follows
	seen   []string
	asked  []string      // the answer and the Last-Event-ID of each connection
	asking []time.Time   // when each of them began
	grew   chan struct{} // closed and replaced with each of them

	atEnd, askedAtEnd int // how many they were when it had closed for good
}

// A sight is what a client reports: that it is open, an error, or a message, and the readyState that it then has.
type sight struct {
	What  string `json:"what"`
	Type  string `json:"type"`
	Data  string `json:"data"`
	ID    string `json:"id"`
	State int    `json:"state"`
}

// unsteady is what is another with each run of an envelope.
var unsteady = regexp.MustCompile(`"(msg_|evt_|20\d\d-)[^"]*"`)

// text is one line: "open"; "error, comes again" or "error, closed"; or type, place and data of a message. #3 is the
// cursor of position 3, - none.
func (r *clientRun) text(s sight) string {
	id := s.ID
	if position, own := strings.CutPrefix(id, r.epoch+"-"); own {
		id = "#" + position
	}
	if id == "" {
		id = "-"
	}
	line := s.What
	switch s.What {
	case "message":
		line = s.Type + " " + id + " " + brief(strings.ReplaceAll(s.Data, r.epoch+"-", "EPOCH-"))
		if s.Type == "hub.ready" || s.Type == "hub.live" {
			line = s.Type + " " + id
		}
	case "error":
		return map[int]string{0: "error, comes again", 1: "error, open", 2: "error, closed"}[s.State]
	}
	if s.State != 1 {
		line += fmt.Sprintf(" in state %d", s.State)
	}
	return line
}

// brief is the data, or, where it is long, how long, and its hash.
func brief(data string) string {
	if len(data) > 300 {
		return fmt.Sprintf("%d bytes, %.8x", len(data), sha256.Sum256([]byte(data)))
	}
	return unsteady.ReplaceAllString(data, `"$1…"`)
}

func (r *clientRun) see(s sight) {
	if s.Type == "hub.ping" || s.Type == "hub.expiring" { // a matter of time
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, r.text(s))
	r.grow()
}

// ask notes a connection, and says the how many-th it is, from 0 on.
func (r *clientRun) ask(lastEventID string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = append(r.asked, strings.Replace(" "+lastEventID, r.epoch+"-", "#", 1))
	r.asking = append(r.asking, time.Now())
	return len(r.asked) - 1
}

// answered notes with which status that connection was answered.
func (r *clientRun) answered(n, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[n] = strings.TrimSpace(strconv.Itoa(status) + r.asked[n])
	r.grow()
}

// A statusNote notes the status of a connection.
type statusNote struct {
	http.ResponseWriter
	note func(status int)
}

func (s *statusNote) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *statusNote) WriteHeader(status int) {
	s.note(status)
	s.ResponseWriter.WriteHeader(status)
}

// wantPause fails where the second connection came too soon.
func (r *clientRun) wantPause(t *testing.T, want time.Duration) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.client == "go-sse" {
		want /= 2 // it takes up to half off, or adds it
	}
	if pause := r.asking[1].Sub(r.asking[0]); pause < want {
		t.Errorf("%s came again after %s, want at least %s", r.client, pause, want)
	}
}

func (r *clientRun) grow() {
	close(r.grew)
	r.grew = make(chan struct{})
}

func (r *clientRun) soFar() (seen, asked []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen), slices.Clone(r.asked)
}

// await waits until done, which is asked with the lock held.
func (r *clientRun) await(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.NewTimer(clientPatience)
	defer deadline.Stop()
	for {
		r.mu.Lock()
		ok, grew := done(), r.grew
		r.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-grew:
		case <-deadline.C:
			seen, asked := r.soFar()
			t.Fatalf("%s: after %s still waiting for %s; it saw %q, and connected with %q", r.client, clientPatience, what, seen, asked)
		}
	}
}

// newRun starts the server that the client takes for the hub: the stream by the case's way, and beside it what a page
// needs. It lives until all cases are done.
func (s *scene) newRun(client string) *clientRun {
	r := &clientRun{name: s.c.name, client: client, epoch: s.bench.epoch, grew: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /page", serveFile("page.html"))
	mux.HandleFunc("GET /watch.js", serveFile("watch.js"))
	mux.HandleFunc("GET /plan", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{"path": s.path(), "types": s.types()})
	})
	mux.HandleFunc("POST /saw", func(w http.ResponseWriter, request *http.Request) {
		var saw sight
		body, err := io.ReadAll(request.Body)
		if err == nil && json.Unmarshal(body, &saw) == nil {
			r.see(saw)
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("GET /stream/", func(w http.ResponseWriter, request *http.Request) {
		n := r.ask(request.Header.Get("Last-Event-ID"))
		w = &statusNote{w, func(status int) { r.answered(n, status) }}
		forward := func(w http.ResponseWriter, request *http.Request) { s.forward(n, w, request) }
		if s.c.way == nil {
			forward(w, request)
			return
		}
		s.c.way(n, w, request, forward)
	})
	server := httptest.NewServer(mux)
	s.bench.cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	r.base = server.URL
	return r
}

func serveFile(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { http.ServeFile(w, r, clientsDir+name) }
}

const clientsDir = "testdata/clients/"

// An orderBook tells one process, of Node or a browser, which streams to open and to close.
type orderBook struct {
	*httptest.Server
	orders chan map[string]string
}

// newOrderBook serves until the test ends.
func newOrderBook(t *testing.T) *orderBook {
	t.Helper()
	b := &orderBook{orders: make(chan map[string]string, 1000)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", serveFile("orders.html"))
	mux.HandleFunc("GET /watch.js", serveFile("watch.js"))
	mux.HandleFunc("GET /next", func(w http.ResponseWriter, r *http.Request) {
		select {
		case order := <-b.orders:
			_ = json.NewEncoder(w).Encode(order)
		case <-r.Context().Done():
		}
	})
	b.Server = httptest.NewServer(mux)
	t.Cleanup(func() {
		b.CloseClientConnections()
		b.Close()
	})
	return b
}

func (b *orderBook) client(name string) foreignClient {
	return foreignClient{
		name:  name,
		open:  func(base string) { b.orders <- map[string]string{"open": base} },
		close: func(base string) { b.orders <- map[string]string{"close": base} },
	}
}

// copyInto puts a file of the clients' folder into another.
func copyInto(t *testing.T, dir, from, to string) {
	t.Helper()
	content, err := os.ReadFile(clientsDir + from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/"+to, content, 0o600); err != nil {
		t.Fatal(err)
	}
}
