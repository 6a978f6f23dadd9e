package docs_test

import (
	"encoding/xml"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
	"github.com/tributary-hub/tributary/internal/provider"
)

var (
	hrefs = regexp.MustCompile(` href="([^"]*)"`)
	ids   = regexp.MustCompile(` id="([^"]*)"`)
)

// crawl follows every link from the overview, and gives the pages by path.
func crawl(t *testing.T, h http.Handler) map[string]string {
	t.Helper()
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
			t.Errorf("a link leads to %s: %d", at, w.Code)
		}
		seen[at] = w.Body.String()
		for _, match := range hrefs.FindAllStringSubmatch(seen[at], -1) {
			if path, _, _ := strings.Cut(match[1], "#"); strings.HasPrefix(path, "/docs") {
				queue = append(queue, path)
			}
		}
	}
	return seen
}

// Every link leads to a page, and to a place on it; from outside of the pages come only the documents, and sites that
// a reader may go to.
func TestLinks(t *testing.T) {
	t.Parallel()
	document, err := os.ReadFile("../../openapi/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	outside := []string{"/openapi.yaml", "/openapi.json", "/openapi-3.0.yaml", "/selftest", "https://cel.dev", "https://github.com/tributary-hub/tributary/releases"}
	seen := crawl(t, handler(t))
	for at, html := range seen {
		for _, match := range hrefs.FindAllStringSubmatch(html, -1) {
			path, anchor, hasAnchor := strings.Cut(match[1], "#")
			if path == "" {
				path = at
			}
			_, isPage := seen[path]
			switch {
			case !isPage && !slices.Contains(outside, path):
				t.Errorf("%s: nothing is known of %s", at, match[1])
			case hasAnchor && path == "/docs/api" && at != path: // the document of these tests lacks most operations
				if !strings.Contains(string(document), "operationId: "+anchor+"\n") {
					t.Errorf("%s: the API has no operation %s", at, anchor)
				}
			case hasAnchor && !strings.Contains(seen[path], ` id="`+anchor+`"`):
				t.Errorf("%s: there is no place %s", at, match[1])
			}
		}
	}
	written, err := filepath.Glob("pages/*.md")
	if err != nil || len(seen) != len(written)+len(alerts(t))+len(provider.All()) {
		t.Errorf("links lead to %v", slices.Sorted(maps.Keys(seen)))
	}
}

// A page is well-formed, names each place once, has one title, and loads nothing.
func TestPages(t *testing.T) {
	t.Parallel()
	h := handler(t)
	seen := crawl(t, h)
	seen["a missing page"] = get(t, h, "/docs/nothing").Body.String()
	loads := regexp.MustCompile(`<(script|link|img|iframe|object|embed|base|form)\b| (src|srcset|style|on[a-z]+)="|@import|url\(`)
	for at, html := range seen {
		wellFormed(t, at, html)
		places := map[string]bool{}
		for _, id := range ids.FindAllStringSubmatch(html, -1) {
			if places[id[1]] {
				t.Errorf("%s: two places are named %s", at, id[1])
			}
			places[id[1]] = true
		}
		if n := strings.Count(html, "<h1"); n != 1 {
			t.Errorf("%s: %d titles", at, n)
		}
		if found := loads.FindString(html); found != "" {
			t.Errorf("%s: %q loads or runs something", at, found)
		}
		for _, wrong := range []string{"raw HTML omitted", "{{", "ZgotmplZ", "<p></p>", "%!"} {
			if strings.Contains(html, wrong) {
				t.Errorf("%s: has %q", at, wrong)
			}
		}
	}
}

func wellFormed(t *testing.T, at, html string) {
	t.Helper()
	html = regexp.MustCompile(`<((meta|br|hr|input)\b[^>]*)>`).ReplaceAllString(html, "<$1/>")
	d := xml.NewDecoder(strings.NewReader(html)) // tags match, attributes are quoted
	d.Entity = xml.HTMLEntity
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

// The navigation says where one is, and lists the sections of that page alone.
func TestNavigation(t *testing.T) {
	t.Parallel()
	h := handler(t)
	for path, want := range map[string][]string{
		"/docs":                 {`href="/docs" aria-current="page">Overview`, `href="#what-it-promises"`},
		"/docs/streams":         {`href="/docs/streams" aria-current="page">Streams`, `href="#resuming"`},
		"/docs/providers":       {`href="/docs/providers" aria-current="page">Providers`, `href="/docs/providers/slack">Slack`},
		"/docs/providers/slack": {`href="/docs/providers/slack" aria-current="page">Slack`, `href="/docs/providers">Providers`},
		"/docs/api":             {`href="/docs/api" aria-current="page">Reference`, `href="#tag-Routes">Routes`},
	} {
		html := text(t, h, path)
		_, nav, _ := strings.Cut(html, "<nav")
		nav, _, _ = strings.Cut(nav, "</nav>")
		for _, w := range want {
			if !strings.Contains(nav, w) {
				t.Errorf("%s: the navigation lacks %s", path, w)
			}
		}
		if n := strings.Count(nav, "aria-current"); n != 1 {
			t.Errorf("%s: %d pages are the current one", path, n)
		}
		if path != "/docs/streams" && strings.Contains(nav, `href="#resuming"`) {
			t.Errorf("%s: the navigation has the sections of another page", path)
		}
	}
}

// What the code has, its page has: none is forgotten when one is added.
func TestTables(t *testing.T) {
	t.Parallel()
	h := handler(t)
	problems, authentication := text(t, h, "/docs/problems"), text(t, h, "/docs/authentication")
	for _, e := range problem.Codes() {
		for _, want := range []string{`<h3 id="` + string(e.Code) + `">`, "<strong>" + e.Title + ".</strong>"} {
			if !strings.Contains(problems, want) {
				t.Errorf("%s: no %s", e.Code, want)
			}
		}
	}
	for _, cause := range declared(t, "../hub/endpoint.go", "Cause") {
		if !strings.Contains(problems, "<td><code>"+cause+"</code></td>") {
			t.Errorf("the cause %s is not explained", cause)
		}
	}
	for _, scope := range hub.OperatorScopes() {
		if !strings.Contains(authentication, "<td><code>"+string(scope)+"</code></td>") {
			t.Errorf("the scope %s is not explained", scope)
		}
	}
	streams := text(t, h, "/docs/streams")
	for _, reason := range slices.Concat(declared(t, "../frame/control.go", "ByeReason"), declared(t, "../frame/control.go", "ResetReason")) {
		if !strings.Contains(streams, "<code>"+reason+"</code>") {
			t.Errorf("the reason %s is not explained", reason)
		}
	}
	if html := text(t, h, "/docs/configuration"); !strings.Contains(html, "<code>TRIBUTARY_LISTEN</code>") || !strings.Contains(html, "where to listen | or not</td>") {
		t.Error("the configuration lacks a variable")
	}
	if html := text(t, h, "/docs/configuration"); !strings.Contains(html, "the limit of routes</td>") || !strings.Contains(html, "the limit of connections; nothing counts it yet</td>") {
		t.Error("the configuration does not say which limits are counted")
	}
	for page, want := range map[string]string{
		"/docs/conventions": "<td><code>body_bytes</code></td>\n<td>1048576</td>",
		"/docs/routes":      "<td>4,096 bytes</td>",
		"/docs/streams":     "event: hub.ready\nid: 3f9c2a10-40\n",
	} {
		if !strings.Contains(text(t, h, page), want) {
			t.Errorf("%s: no %q", page, want)
		}
	}
}

// declared reads the values of a file's constants of a type.
func declared(t *testing.T, file, kind string) []string {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, match := range regexp.MustCompile(`(?m)^\t\w+ +`+kind+` += "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1) {
		all = append(all, match[1])
	}
	if len(all) < 4 {
		t.Fatalf("%s: found %v: the expression no longer fits the file", file, all)
	}
	return all
}

func TestProviders(t *testing.T) {
	t.Parallel()
	h := handler(t)
	list := text(t, h, "/docs/providers")
	for _, p := range provider.All() {
		if !strings.Contains(list, `<a href="/docs/providers/`+p.Name+`">`+p.Title+"</a>") {
			t.Errorf("the table lacks %s", p.Name)
		}
		html := text(t, h, "/docs/providers/"+p.Name)
		want := []string{p.Title, p.Scheme, string(p.ReplayProtection), string(p.Coverage), "tributary send " + p.Name}
		for _, names := range p.Headers {
			want = append(want, strings.Split(names, "|")...)
		}
		for _, s := range p.Settings {
			want = append(want, "<code>"+s.Name+"</code>")
		}
		for _, place := range slices.Concat(p.ID, p.Type) {
			_, path, _ := strings.Cut(place, ":")
			want = append(want, "<code>"+path+"</code>")
		}
		for _, w := range want {
			if !strings.Contains(html, w) {
				t.Errorf("%s's page lacks %q", p.Name, w)
			}
		}
	}
}

// A command that a page names is one of this build; so is a variable.
func TestPages_NameWhatThereIs(t *testing.T) {
	t.Parallel()
	commands := []string{"dev", "send", "token", "openapi", "serve", "migrate", "keyset", "key", "epoch", "doctor", "config", "bench", "version"}
	named := regexp.MustCompile(`\btributary ([a-z]+)`)
	sources := crawl(t, handler(t))
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	sources["README.md"] = string(readme)
	known := map[string]bool{}
	for _, v := range config.Variables() {
		known[v.Name] = true
		if v.Secret {
			known[v.Name+"_FILE"] = true
		}
	}
	for at, text := range sources {
		for _, match := range named.FindAllStringSubmatch(text, -1) {
			if !slices.Contains(commands, match[1]) {
				t.Errorf("%s: there is no command %s", at, match[1])
			}
		}
		for _, name := range regexp.MustCompile(`\b(TRIBUTARY|OTEL)_[A-Z_]+`).FindAllString(text, -1) {
			if !known[name] {
				t.Errorf("%s: there is no variable %s", at, name)
			}
		}
	}
}
