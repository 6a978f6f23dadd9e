// Package docs serves the pages at /docs: markdown that is embedded, rendered once, and filled with tables and examples
// made of the code itself (providers, problems, settings, frames, the API's operations), so that they cannot drift
// from it. A page loads nothing from anywhere, runs nothing, and works offline.
package docs

import (
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"
)

//go:embed pages/*.md pages/runbooks/*.md metrics.md layout.html reference.html style.css
var files embed.FS

// A Variable is one name of the environment, for the page on configuration.
type Variable struct{ Name, Default, What string }

// Options of the pages.
type Options struct {
	Variables []Variable // what the hub reads of its environment; default: an empty table
	OpenAPI   []byte     // required: the document of the admin API, as JSON
}

// contents are the pages in the order of the navigation: a group, a name in the path, and a title.
var contents = []struct{ group, name, title string }{
	{"Begin", "", "Overview"},
	{"Begin", "quickstart", "Quickstart"},
	{"Begin", "concepts", "Concepts"},
	{"Use", "providers", "Providers"},
	{"Use", "routes", "Routes"},
	{"Use", "streams", "Streams"},
	{"Use", "authentication", "Authentication"},
	{"Use", "issuers", "Issuers"},
	{"API", "conventions", "Conventions"},
	{"API", "api", "Reference"},
	{"API", "problems", "Problems"},
	{"Run", "install", "Install"},
	{"Run", "configuration", "Configuration"},
	{"Run", "operating", "Operating"},
	{"Run", "scale", "From one node to four"},
	{"Run", "upgrade", "Upgrade"},
	{"Run", "backup", "Back up and restore"},
	{"Run", "keyset", "The keyset"},
	{"Run", "metrics", "Metrics"},
	{"Run", "tracing", "Tracing"},
	{"Run", "runbooks", "Runbooks"},
	{"Run", "troubleshoot", "Troubleshoot"},
}

// A page is rendered and ready to be sent.
type page struct {
	html []byte
	etag string
}

// pages serve /docs and what is below.
type pages struct {
	all     map[string]page // by path: /docs, /docs/streams
	missing page
	csp     string
}

// New renders all pages and gives the handler of /docs and what is below. The error is a fault of the build: a page, a
// template or the document that cannot be read.
func New(o Options) (http.Handler, error) {
	r, err := newRenderer()
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(r.style))
	p := &pages{
		all: map[string]page{},
		csp: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
			"'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
	for _, c := range contents {
		body, err := content(r, c.name, o)
		if err != nil {
			return nil, fmt.Errorf("page %q: %w", c.name, err)
		}
		if err := p.add(r, place(c.name), c.title, body); err != nil {
			return nil, err
		}
	}
	for _, provider := range providerPages() {
		body, err := r.markdown(provider.source)
		if err != nil {
			return nil, fmt.Errorf("provider %s: %w", provider.name, err)
		}
		body.outline = siblings()
		if err := p.add(r, place("providers/"+provider.name), provider.title, body); err != nil {
			return nil, err
		}
	}
	books, err := runbooks()
	if err != nil {
		return nil, err
	}
	for _, book := range books {
		body, err := r.markdown(book.source)
		if err != nil {
			return nil, fmt.Errorf("runbook %s: %w", book.name, err)
		}
		body.outline = linksTo(books)
		if err := p.add(r, place("runbooks/"+book.name), book.title, body); err != nil {
			return nil, err
		}
	}
	body, err := r.markdown("# No such page\n\nThe address is wrong, or the page has moved. The pages are listed beside this; [the overview](/docs) is a good start.\n")
	if err != nil {
		return nil, err
	}
	p.missing, err = r.page("", "No such page", body)
	return p, err
}

// place is where the page of a name is served.
func place(name string) string { return strings.TrimSuffix("/docs/"+name, "/") }

// content is a page's own text, with what the code adds to it.
func content(r *renderer, name string, o Options) (body, error) {
	source, err := source(name, o)
	if err != nil {
		return body{}, err
	}
	b, err := r.markdown(source)
	if err != nil {
		return body{}, err
	}
	switch name {
	case "api":
		reference, err := r.reference(o.OpenAPI)
		if err != nil {
			return body{}, err
		}
		b.html += reference.html
		b.outline = append(b.outline, reference.outline...)
	case "providers":
		b.outline = siblings()
	case "runbooks":
		books, err := runbooks()
		if err != nil {
			return body{}, err
		}
		b.outline = linksTo(books)
	}
	return b, nil
}

// source is a page's markdown, with what the code gives in the places that are marked for it.
func source(name string, o Options) (string, error) {
	if name == "" {
		name = "index"
	}
	text, err := files.ReadFile("pages/" + name + ".md")
	if err != nil {
		return "", err
	}
	examples, err := makeExamples()
	if err != nil {
		return "", err
	}
	metrics, err := files.ReadFile("metrics.md")
	if err != nil {
		return "", err
	}
	books, err := runbooks()
	if err != nil {
		return "", err
	}
	filled := strings.NewReplacer(append(examples,
		"{{providers}}", providerTable(),
		"{{problems}}", problemList(),
		"{{causes}}", causeTable(),
		"{{scopes}}", scopeTable(),
		"{{limits}}", limitTable(),
		"{{bounds}}", boundTable(),
		"{{variables}}", variableTable(o.Variables),
		"{{metrics}}", string(metrics),
		"{{runbooks}}", runbookTable(books),
	)...).Replace(string(text))
	if _, rest, unknown := strings.Cut(filled, "{{"); unknown {
		mark, _, _ := strings.Cut(rest, "}}")
		return "", fmt.Errorf("nothing fills %q", mark)
	}
	return filled, nil
}

func (p *pages) add(r *renderer, at, title string, b body) (err error) {
	p.all[at], err = r.page(at, title, b)
	return err
}

// A link leads to a page or to a section of one.
type link struct {
	Href, Title string
	Here        bool // it is the page that is shown
}

// A body is what a page shows beside the navigation.
type body struct {
	html    template.HTML
	outline []link // its sections
}

// page puts the body into the layout.
func (r *renderer) page(at, title string, b body) (page, error) {
	type entry struct {
		link
		Below []link
	}
	type group struct {
		Title   string
		Entries []entry
	}
	var groups []group
	for _, c := range contents {
		if len(groups) == 0 || groups[len(groups)-1].Title != c.group {
			groups = append(groups, group{Title: c.group})
		}
		e := entry{link: link{Href: place(c.name), Title: c.title, Here: place(c.name) == at}}
		if e.Here || c.name != "" && strings.HasPrefix(at, e.Href+"/") {
			for _, below := range b.outline {
				below.Here = below.Href == at
				e.Below = append(e.Below, below)
			}
		}
		last := &groups[len(groups)-1]
		last.Entries = append(last.Entries, e)
	}
	var out strings.Builder
	err := r.layout.Execute(&out, map[string]any{"Title": title, "Style": r.style, "Groups": groups, "Body": b.html})
	if err != nil {
		return page{}, fmt.Errorf("lay out %s: %w", at, err)
	}
	html := []byte(out.String())
	sum := sha256.Sum256(html)
	return page{html: html, etag: `"` + hex.EncodeToString(sum[:12]) + `"`}, nil
}

func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.csp)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	found, ok := p.all[path.Clean(r.URL.Path)]
	if !ok {
		h.Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write(p.missing.html) // nobody is left to be told
		return
	}
	h.Set("ETag", found.etag)
	h.Set("Cache-Control", "max-age=60")
	if known(r.Header.Get("If-None-Match"), found.etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(found.html)
}

// Icon answers browsers that ask for a site's icon unasked: there is none, which is no error to show in a console.
func Icon() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "max-age=86400")
		w.WriteHeader(http.StatusNoContent)
	})
}

// known says whether the client has the page already: its list of tags has this one, weak or not, as a proxy that
// compresses makes it.
func known(list, etag string) bool {
	for tag := range strings.SplitSeq(list, ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}
