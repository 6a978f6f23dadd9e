// Package docs serves the pages at /docs: markdown that is embedded, rendered once, and filled with tables made of the
// code itself (providers, problems, settings, the API's operations), so that they cannot drift from it. A page
// loads nothing from anywhere, and works offline.
package docs

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"html/template"
	"net/http"
	"path"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
)

//go:embed pages/*.md layout.html style.css
var files embed.FS

// A Variable is one name of the environment, for the page on configuration.
type Variable struct{ Name, Default, What string }

// Options of the pages.
type Options struct {
	Variables []Variable // what the hub reads of its environment
	OpenAPI   []byte     // required: the document of the admin API, as JSON
}

// contents are the pages in the order of the navigation: a name in the path, and its title.
var contents = []struct{ name, title string }{
	{"", "Tributary"},
	{"quickstart", "Quickstart"},
	{"concepts", "Concepts"},
	{"providers", "Providers"},
	{"routes", "Routes"},
	{"streams", "Streams"},
	{"authentication", "Authentication"},
	{"conventions", "API conventions"},
	{"api", "API reference"},
	{"problems", "Problems"},
	{"configuration", "Configuration"},
	{"operating", "Operating"},
}

// A page is rendered and ready to be sent.
type page struct {
	html []byte
	etag string
}

// pages serve /docs and what is below.
type pages struct {
	all map[string]page // by path
	csp string
}

// New renders all pages. The error is a fault of the build.
func New(o Options) (http.Handler, error) {
	style, err := files.ReadFile("style.css")
	if err != nil {
		return nil, fmt.Errorf("read the style: %w", err)
	}
	sum := sha256.Sum256(style)
	p := &pages{
		all: map[string]page{},
		csp: "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
	}
	layout, err := template.New("layout.html").ParseFS(files, "layout.html")
	if err != nil {
		return nil, fmt.Errorf("read the layout: %w", err)
	}
	r := renderer{layout: layout, style: template.CSS(style), markdown: newMarkdown()} //nolint:gosec // our own file
	for _, c := range contents {
		source, err := r.source(c.name, o)
		if err != nil {
			return nil, err
		}
		if err := p.add(r, "/docs/"+c.name, c.title, source); err != nil {
			return nil, err
		}
	}
	for _, provider := range providerPages() {
		if err := p.add(r, "/docs/providers/"+provider.name, provider.title, provider.source); err != nil {
			return nil, err
		}
	}
	return p, p.add(r, "", "No such page", "# No such page\n\nThe pages are listed beside this.\n")
}

func newMarkdown() goldmark.Markdown {
	return goldmark.New(goldmark.WithExtensions(extension.GFM), goldmark.WithParserOptions(parser.WithAutoHeadingID(), parser.WithAttribute()))
}

func (p *pages) add(r renderer, at, title, source string) error {
	html, err := r.render(at, title, source)
	if err != nil {
		return fmt.Errorf("render %s: %w", at, err)
	}
	sum := sha256.Sum256(html)
	p.all[at] = page{html: html, etag: `"` + hex.EncodeToString(sum[:8]) + `"`}
	return nil
}

func (p *pages) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := path.Clean(r.URL.Path)
	if at == "/docs" {
		at = "/docs/"
	}
	found, ok := p.all[at]
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", p.csp)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write(p.all[""].html)
		return
	}
	h.Set("ETag", found.etag)
	h.Set("Cache-Control", "max-age=60")
	if r.Header.Get("If-None-Match") == found.etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = w.Write(found.html)
}

// renderer turns markdown into pages.
type renderer struct {
	layout   *template.Template
	style    template.CSS
	markdown goldmark.Markdown
}

// source is a page's markdown, with the tables that the code gives in their places.
func (r renderer) source(name string, o Options) (string, error) {
	file := name
	if name == "" {
		file = "index"
	}
	text, err := files.ReadFile("pages/" + file + ".md")
	if err != nil {
		return "", fmt.Errorf("read page: %w", err)
	}
	reference := ""
	if name == "api" {
		if reference, err = apiReference(o.OpenAPI); err != nil {
			return "", err
		}
	}
	return strings.NewReplacer(
		"{{providers}}", providerTable(),
		"{{problems}}", problemList(),
		"{{causes}}", causeTable(),
		"{{variables}}", variableTable(o.Variables),
		"{{api}}", reference,
	).Replace(string(text)), nil
}

func (r renderer) render(at, title, source string) ([]byte, error) {
	var body bytes.Buffer
	if err := r.markdown.Convert([]byte(source), &body); err != nil {
		return nil, err
	}
	type link struct {
		Href, Title string
		Here        bool
	}
	var links []link
	for _, c := range contents {
		href := strings.TrimSuffix("/docs/"+c.name, "/")
		links = append(links, link{Href: href, Title: c.title, Here: strings.TrimSuffix(at, "/") == href})
	}
	var out bytes.Buffer
	err := r.layout.Execute(&out, map[string]any{
		"Title": title, "Style": r.style, "Links": links, "Body": template.HTML(body.String()), //nolint:gosec // our own pages
	})
	return out.Bytes(), err
}
