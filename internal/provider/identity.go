package provider

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/tidwall/gjson"

	"github.com/tributary-hub/tributary/internal/signature"
)

// A ref says where a value stands in a request: header:NAME, the first line of that header, or json:PATH, a member
// of the body's root by its path: a.b, items.0.id.
type ref struct {
	header string // canonical; "": in the body
	path   string
}

// An identity is one way to name an event: parts that do so together.
type identity struct {
	parts  []ref
	signed bool // all of them stand inside the signed bytes
}

// The bounds of what is looked into and of what is taken from it. Ids and types are stored as text and compared: a
// longer one, or one with control characters, is taken for none, never cut to fit.
const (
	maxPeekBytes = 8 << 20
	maxPeekDepth = 64
	maxValue     = 255
	maxPath      = 200
)

func parseRef(s string) (ref, error) {
	if name, ok := strings.CutPrefix(s, "header:"); ok {
		if !signature.IsHeaderName(name) {
			return ref{}, fmt.Errorf("%q does not name a header", s)
		}
		return ref{header: http.CanonicalHeaderKey(name)}, nil
	}
	if path, ok := strings.CutPrefix(s, "json:"); ok {
		if !isPath(path) {
			return ref{}, fmt.Errorf("%q is not a path: names of A-Z a-z 0-9 _ - $ and indexes, with dots between them", s)
		}
		return ref{path: path}, nil
	}
	return ref{}, errors.New("a place has the form header:NAME or json:PATH")
}

// isPath allows plain paths alone: gjson's own language has wildcards, queries and modifiers.
func isPath(path string) bool {
	for name := range strings.SplitSeq(path, ".") {
		if name == "" {
			return false
		}
		for i := range len(name) {
			c := name[i]
			if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_' || c == '-' || c == '$') {
				return false
			}
		}
	}
	return len(path) <= maxPath
}

func parseRefs(texts []string) ([]ref, error) {
	refs := make([]ref, 0, len(texts))
	for _, text := range texts {
		r, err := parseRef(text)
		if err != nil {
			return nil, err
		}
		refs = append(refs, r)
	}
	return refs, nil
}

func parseIdentities(texts []string, scheme *signature.Scheme) ([]identity, error) {
	ids := make([]identity, 0, len(texts))
	for _, text := range texts {
		parts, err := parseRefs(strings.Split(text, "+"))
		if err != nil {
			return nil, err
		}
		id := identity{parts: parts, signed: true}
		for _, part := range parts {
			if part.header != "" && !scheme.CoversHeader(part.header) || part.header == "" && !scheme.CoversBody() {
				id.signed = false
			}
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// A value is what stands at a ref. The number 7 and the text "7" are two values.
type value struct {
	text   string
	number bool
}

// value is what stands there, empty where nothing does or where it is no fit id or type: a string or a number as it is
// written, 1 to 255 bytes of UTF-8 without control characters, and without U+FFFD, which is also what halves of
// surrogate pairs are read as: many texts would be one. Of two members with one name the first counts; it is signed
// all the same, and whoever could sign two could sign anything.
func (r ref) value(h http.Header, doc *document) (v value) {
	if r.header != "" {
		if lines := h[r.header]; len(lines) > 0 {
			v.text = lines[0]
		}
	} else if doc.isJSON() {
		switch found := gjson.GetBytes(doc.body, r.path); found.Type {
		case gjson.String:
			v.text = found.Str
		case gjson.Number:
			v = value{found.Raw, true}
		default:
		}
	}
	if len(v.text) > maxValue || !utf8.ValidString(v.text) || strings.ContainsFunc(v.text, unfit) {
		return value{}
	}
	return v
}

func unfit(r rune) bool { return unicode.IsControl(r) || r == unicode.ReplacementChar }

func firstValue(refs []ref, h http.Header, doc *document) string {
	for _, r := range refs {
		if v := r.value(h, doc); v.text != "" {
			return v.text
		}
	}
	return ""
}

// identify gives the values of the first identity that is complete; none are nil.
func identify(ids []identity, h http.Header, doc *document) (values []value, signed bool) {
next:
	for i := range ids {
		values = values[:0]
		for _, part := range ids[i].parts {
			v := part.value(h, doc)
			if v.text == "" {
				continue next
			}
			values = append(values, v)
		}
		return values, ids[i].signed
	}
	return nil, false
}

// A document is a body that is perhaps JSON, looked into at most once.
type document struct {
	body    []byte
	checked bool
	json    bool
}

// isJSON says whether the body is one JSON value that may be looked into: not too large, not too deep.
func (d *document) isJSON() bool {
	if !d.checked {
		d.checked = true
		d.json = len(d.body) <= maxPeekBytes && shallow(d.body) && gjson.ValidBytes(d.body)
	}
	return d.json
}

// shallow says whether nothing is nested deeper than maxPeekDepth, before a recursive reader is let near it. Most
// bodies do not even have that many braces, and counting them is nearly free.
func shallow(body []byte) bool {
	if bytes.Count(body, []byte{'{'})+bytes.Count(body, []byte{'['}) <= maxPeekDepth {
		return true
	}
	depth, quoted := 0, false
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			if depth++; depth > maxPeekDepth {
				return false
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return true
}
