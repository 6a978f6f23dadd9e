package docs_test

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/docs"
	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/routing"
)

const openAPI = `{"tags":[{"name":"Routes","description":"Rules."}],"paths":{"/v1/tenants/{tenant}/routes":{"post":{"tags":["Routes"],
	"summary":"Create a route","operationId":"createRoute","description":"Compiles it.","parameters":[{"name":"tenant","in":"path","required":true,"description":"Id or slug."}],
	"requestBody":{"content":{"application/json":{"schema":{"$ref":"#/components/schemas/Route"}}}},"responses":{"201":{"description":"Created"}}}}},
	"components":{"schemas":{"Route":{"type":"object","required":["match"],"properties":{"match":{"type":"string","description":"CEL | a boolean"},"channels":{"type":"array","items":{"type":"string"}}}}}}}`

func handler(t *testing.T) http.Handler {
	t.Helper()
	h, err := docs.New(docs.Options{
		OpenAPI: []byte(openAPI), Variables: []docs.Variable{{Name: "TRIBUTARY_LISTEN", Default: ":8080", What: "where to listen"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func get(t *testing.T, h http.Handler, path string) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil))
	return w
}

var (
	hrefs = regexp.MustCompile(`href="([^"]*)"`)
	ids   = regexp.MustCompile(`id="([^"]*)"`)
)

// TestLinks crawls the pages: every link inside leads somewhere, anchors too, and nothing is loaded from elsewhere.
func TestLinks(t *testing.T) {
	t.Parallel()
	h := handler(t)
	seen := map[string]string{}
	queue := []string{"/docs"}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		if _, ok := seen[at]; ok {
			continue
		}
		w := get(t, h, at)
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", at, w.Code)
		}
		seen[at] = w.Body.String()
		for _, link := range hrefs.FindAllStringSubmatch(w.Body.String(), -1) {
			path, _, _ := strings.Cut(link[1], "#")
			if strings.HasPrefix(path, "/docs") {
				queue = append(queue, path)
			}
		}
	}
	for at, html := range seen {
		for _, link := range hrefs.FindAllStringSubmatch(html, -1) {
			path, anchor, has := strings.Cut(link[1], "#")
			if !has || !strings.HasPrefix(path, "/docs") {
				continue
			}
			if !strings.Contains(seen[path], `id="`+anchor+`"`) {
				t.Errorf("%s: no place %s", at, link[1])
			}
		}
		if strings.Contains(html, "<script") || strings.Contains(html, `src="`) || strings.Contains(html, "@import") {
			t.Errorf("%s loads something", at)
		}
		wellFormed(t, at, html)
	}
	for _, want := range []string{"/docs/api", "/docs/problems", "/docs/providers/slack", "/docs/configuration"} {
		if _, ok := seen[want]; !ok {
			t.Errorf("no link leads to %s", want)
		}
	}
}

func wellFormed(t *testing.T, at, html string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(html))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Errorf("%s: %v", at, err)
			return
		}
	}
}

func TestProblems_EachCodeHasItsPlace(t *testing.T) {
	t.Parallel()
	html := get(t, handler(t), "/docs/problems").Body.String()
	for _, e := range problem.Codes() {
		if !strings.Contains(html, `id="`+string(e.Code)+`"`) {
			t.Errorf("no place for %s", e.Code)
		}
	}
	seen := map[string]bool{}
	for _, id := range ids.FindAllStringSubmatch(html, -1) {
		if seen[id[1]] {
			t.Errorf("two places are named %s", id[1])
		}
		seen[id[1]] = true
	}
}

func TestPages_MadeOfTheCode(t *testing.T) {
	t.Parallel()
	h := handler(t)
	for _, p := range provider.All() {
		if html := get(t, h, "/docs/providers/"+p.Name).Body.String(); !strings.Contains(html, p.Title) || !strings.Contains(html, p.Headers[0]) && !strings.Contains(p.Headers[0], "|") {
			t.Errorf("%s's page says nothing of it", p.Name)
		}
	}
	if html := get(t, h, "/docs/api").Body.String(); !strings.Contains(html, `id="createRoute"`) || !strings.Contains(html, "list of string") {
		t.Errorf("the reference lacks the operation: %s", html)
	}
	if html := get(t, h, "/docs/configuration").Body.String(); !strings.Contains(html, "TRIBUTARY_LISTEN") {
		t.Error("the configuration lacks a variable")
	}
	for path := range map[string]bool{"/docs/": true, "/docs/problems/": true} {
		if w := get(t, h, path); w.Code != http.StatusOK {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	h := handler(t)
	w := get(t, h, "/docs")
	if csp := w.Header().Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'; style-src 'sha256-") {
		t.Errorf("policy %q", csp)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/docs", nil)
	r.Header.Set("If-None-Match", w.Header().Get("ETag"))
	again := httptest.NewRecorder()
	h.ServeHTTP(again, r)
	if again.Code != http.StatusNotModified || again.Body.Len() != 0 {
		t.Errorf("unchanged page: %d", again.Code)
	}
	if missing := get(t, h, "/docs/nothing"); missing.Code != http.StatusNotFound || !strings.Contains(missing.Body.String(), "<nav>") {
		t.Errorf("missing page: %d", missing.Code)
	}
}

func TestSnippets_Compile(t *testing.T) {
	t.Parallel()
	env, err := expr.NewEvents()
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, text := range fenced(t, "json route") {
		var route struct {
			Match, Type, Data string
			Channels          []string
		}
		if err := json.Unmarshal([]byte(text), &route); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if _, err := routing.Compile(env, hub.Route{Match: route.Match, Channels: route.Channels, Type: route.Type, Data: route.Data}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		checked++
	}
	if checked == 0 {
		t.Error("no route was checked")
	}
}

// fenced are the blocks of all pages whose fence says info. Those that say "sh run" are run by e2e.
func fenced(t *testing.T, info string) []string {
	t.Helper()
	names, err := filepath.Glob("pages/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, name := range names {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(source), "```"+info+"\n")[1:] {
			text, _, _ := strings.Cut(part, "```")
			all = append(all, text)
		}
	}
	return all
}
