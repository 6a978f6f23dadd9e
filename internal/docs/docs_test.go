package docs_test

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/docs"
)

func handler(t *testing.T) http.Handler {
	t.Helper()
	h, err := docs.New(docs.Options{
		OpenAPI: []byte(openAPI), Variables: []docs.Variable{
			{Name: "TRIBUTARY_LISTEN", Default: ":8080", What: "where to listen | or not"},
			{Name: "TRIBUTARY_LIMIT_ROUTES", What: "the limit of routes"},
			{Name: "TRIBUTARY_LIMIT_CONNECTIONS", What: "the limit of connections"},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(t *testing.T, h http.Handler, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// text is the page at path, which must be there.
func text(t *testing.T, h http.Handler, path string) string {
	t.Helper()
	w := get(t, h, path)
	if w.Code != http.StatusOK {
		t.Fatalf("%s: %d", path, w.Code)
	}
	return w.Body.String()
}

func TestNew_Refused(t *testing.T) {
	t.Parallel()
	for name, document := range map[string]string{
		"no document":       ``,
		"not JSON":          `{`,
		"not a document":    `{"paths":{"/v1/me":{"get":7}}}`,
		"a tag of no group": `{"paths":{"/v1/me":{"get":{"tags":["Nobody"],"operationId":"getMe"}}}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := docs.New(docs.Options{OpenAPI: []byte(document)}); err == nil {
				t.Error("no error")
			}
		})
	}
}

func TestPaths(t *testing.T) {
	t.Parallel()
	h := handler(t)
	for path, want := range map[string]int{
		"/docs": 200, "/docs/": 200, "/docs/streams": 200, "/docs/streams/": 200, "/docs/providers/slack": 200,
		"/docs/nothing": 404, "/docs/index": 404, "/docs/providers/nobody": 404, "/docs/../docs": 200, "/": 404,
	} {
		w := get(t, h, path)
		if w.Code != want || !strings.Contains(w.Body.String(), "<nav") {
			t.Errorf("%s: %d, want the page with %d", path, w.Code, want)
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	h := handler(t)
	w := get(t, h, "/docs/streams")
	etag := w.Header().Get("ETag")
	for name, want := range map[string]string{
		"Content-Type":           "text/html; charset=utf-8",
		"Cache-Control":          "max-age=60",
		"X-Content-Type-Options": "nosniff",
		"Referrer-Policy":        "no-referrer",
	} {
		if got := w.Header().Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if other := get(t, h, "/docs/routes").Header().Get("ETag"); etag == "" || other == etag {
		t.Errorf("two pages have the ETags %q and %q", etag, other)
	}
	for name, condition := range map[string]string{"the tag": etag, "a weak one": "W/" + etag, "one of several": `"x", ` + etag, "any": "*"} {
		if again := get(t, h, "/docs/streams", "If-None-Match", condition); again.Code != http.StatusNotModified || again.Body.Len() != 0 {
			t.Errorf("%s: %d with %d bytes", name, again.Code, again.Body.Len())
		}
	}
	if again := get(t, h, "/docs/streams", "If-None-Match", `"x"`); again.Code != http.StatusOK {
		t.Errorf("another tag: %d", again.Code)
	}
	missing := get(t, h, "/docs/nothing", "If-None-Match", "*")
	if missing.Code != http.StatusNotFound || missing.Header().Get("Cache-Control") != "no-store" || missing.Header().Get("ETag") != "" {
		t.Errorf("missing page: %d, %v", missing.Code, missing.Header())
	}
}

// The policy lets the page's own style pass, to the byte, and nothing else.
func TestPolicy(t *testing.T) {
	t.Parallel()
	for _, path := range []string{"/docs", "/docs/api", "/docs/nothing"} {
		w := get(t, handler(t), path)
		_, rest, _ := strings.Cut(w.Body.String(), "<style>")
		style, _, _ := strings.Cut(rest, "</style>")
		sum := sha256.Sum256([]byte(style))
		want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
		if got := w.Header().Get("Content-Security-Policy"); got != want || style == "" {
			t.Errorf("%s: policy %q, want %q", path, got, want)
		}
	}
}
