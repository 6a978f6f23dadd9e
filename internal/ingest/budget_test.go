package ingest_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/ingest"
	"github.com/tributary-hub/tributary/internal/server"
)

// What strangers send at once is bounded, for each address and for all; small bodies always pass, and what is released
// makes room.
func TestBodies_Bounds(t *testing.T) {
	t.Parallel()
	var bodies ingest.Bodies
	var release func()
	var got []byte
	var err error
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) { got, release, err = bodies.Read(w, r, 1<<20) })
	s := server.New(server.Options{Name: "public", Mux: mux, Log: canary.Logger(t)})
	large, small := make([]byte, 1<<20), bytes.Repeat([]byte("x"), 30<<10)
	post := func(from string, body []byte) hub.Code {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
		r.RemoteAddr = from
		s.ServeHTTP(httptest.NewRecorder(), r)
		if err == nil && !bytes.Equal(got, body) {
			t.Fatalf("%d bytes read, %d sent", len(got), len(body))
		}
		return hub.CodeOf(err)
	}

	for _, from := range []string{"192.0.2.1:1", "192.0.2.2:1", "[2001:db8::1]:1", "[2001:db8:0:1::1]:1"} {
		for n := range 63 { // each with a byte more, so that the 64th finds no room in 64 MiB
			if code := post(from, large); code != "" {
				t.Fatalf("%s, body %d: %v", from, n+1, err)
			}
		}
		if code := post(from, large); code != hub.Unavailable {
			t.Errorf("%s, one too many: %v", from, err)
		}
		if code := post(from, small); code != "" {
			t.Errorf("%s, a small one: %v", from, err)
		}
	}
	if code := post("[2001:db8::ffff]:1", large); code != hub.Unavailable {
		t.Errorf("another address of the same customer: %v", err)
	}
	releases := make([]func(), 0, 4)
	for code := post("192.0.2.3:1", large); code == ""; code = post("192.0.2.3:1", large) {
		releases = append(releases, release)
	}
	if len(releases) < 1 || len(releases) > 4 {
		t.Errorf("%d bodies more than four times 63, want up to 256 MiB in all", len(releases))
	}
	releases[0]()
	if code := post("192.0.2.4:1", large); code != "" {
		t.Errorf("after one was released: %v", err)
	}
}

// A body may be longer than it promised, and come in any pieces.
func TestBodies_Pieces(t *testing.T) {
	t.Parallel()
	var bodies ingest.Bodies
	for _, size := range []int{0, 1, 511, 512, 32<<10 - 1, 32 << 10, 32<<10 + 1, 100_000, 1<<20 - 1, 1 << 20} {
		for _, promised := range []int64{-1, 0, int64(size)} {
			body := bytes.Repeat([]byte("b"), size)
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
			r.Body, r.ContentLength = http.NoBody, promised
			if size > 0 {
				r.Body = pieces{bytes.NewReader(body)}
			}
			got, release, err := bodies.Read(httptest.NewRecorder(), r, 1<<20)
			if err != nil || !bytes.Equal(got, body) {
				t.Fatalf("%d bytes of which %d were promised: %d, %v", size, promised, len(got), err)
			}
			release()
		}
	}
}

// pieces gives 1,000 bytes at a time.
type pieces struct{ *bytes.Reader }

func (p pieces) Read(b []byte) (int, error) { return p.Reader.Read(b[:min(len(b), 1000)]) }
func (pieces) Close() error                 { return nil }
