package docs

import (
	"fmt"
	"html/template"
	"strings"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/parser"
	"github.com/yuin/goldmark/text"
)

// A renderer turns markdown and the API's document into pages.
type renderer struct {
	layout     *template.Template
	operations *template.Template
	style      template.CSS
	md         goldmark.Markdown
}

func newRenderer() (*renderer, error) {
	r := &renderer{md: goldmark.New(
		goldmark.WithExtensions(extension.Table), // not all of GFM: it makes a link of each address that is an example
		goldmark.WithParserOptions(parser.WithAutoHeadingID(), parser.WithAttribute()),
	)}
	style, err := files.ReadFile("style.css")
	if err != nil {
		return nil, fmt.Errorf("read the style: %w", err)
	}
	r.style = template.CSS(style) //nolint:gosec // our own file
	if r.layout, err = template.ParseFS(files, "layout.html"); err != nil {
		return nil, fmt.Errorf("read the layout: %w", err)
	}
	r.operations, err = template.New("reference.html").Funcs(template.FuncMap{
		"markdown": func(source string) (template.HTML, error) {
			b, err := r.markdown(source)
			return b.html, err
		},
	}).ParseFS(files, "reference.html")
	if err != nil {
		return nil, fmt.Errorf("read the reference's template: %w", err)
	}
	return r, nil
}

// markdown renders a page's source. Each section's heading links to itself; those of the second level are the
// page's outline.
func (r *renderer) markdown(source string) (body, error) {
	raw := []byte(source)
	document := r.md.Parser().Parse(text.NewReader(raw))
	var b body
	for _, heading := range headings(document) {
		id, ok := heading.AttributeString("id")
		if !ok || heading.Level == 1 {
			continue
		}
		href := "#" + string(id.([]byte))
		if heading.Level == 2 {
			b.outline = append(b.outline, link{Href: href, Title: plain(heading, raw)})
		}
		anchor := ast.NewLink()
		anchor.Destination = []byte(href)
		anchor.SetAttributeString("class", []byte("anchor"))
		anchor.SetAttributeString("aria-label", []byte("Link to this section"))
		anchor.AppendChild(anchor, ast.NewString([]byte("#")))
		heading.AppendChild(heading, anchor)
	}
	var out strings.Builder
	if err := r.md.Renderer().Render(&out, raw, document); err != nil {
		return body{}, fmt.Errorf("render: %w", err)
	}
	// A wide table scrolls by itself, and not the page with it.
	framed := strings.NewReplacer("<table>", `<div class="table"><table>`, "</table>", "</table></div>").Replace(out.String())
	b.html = template.HTML(framed) //nolint:gosec // goldmark lets no HTML of the source pass
	return b, nil
}

func headings(document ast.Node) []*ast.Heading {
	var all []*ast.Heading
	for node := document.FirstChild(); node != nil; node = node.NextSibling() {
		if heading, ok := node.(*ast.Heading); ok {
			all = append(all, heading)
		}
	}
	return all
}

// plain is a heading's text without its marks.
func plain(node ast.Node, source []byte) string {
	var out strings.Builder
	for child := node.FirstChild(); child != nil; child = child.NextSibling() {
		if t, ok := child.(*ast.Text); ok {
			out.Write(t.Value(source))
			continue
		}
		out.WriteString(plain(child, source))
	}
	return out.String()
}
