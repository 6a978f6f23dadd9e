package signature

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// A template says which bytes are signed. It is parsed once; its text has these tokens, everything else is literal
// (and \n a line feed):
//
//	{body}        the raw body, at most once
//	{ts}          the timestamp as received
//	{method}      the request's method
//	{header:A|B}  the first of these headers that is present, required
type template struct {
	head, tail []segment // before and after the body
	body       bool      // whether the body is signed at all
}

type segment struct {
	kind    segmentKind
	literal string
	headers []string // canonical
}

type segmentKind uint8

const (
	literalSegment segmentKind = iota
	timeSegment
	methodSegment
	headerSegment
)

func parseTemplate(text string) (template, error) {
	var t template
	add := func(s segment) {
		if t.body {
			t.tail = append(t.tail, s)
		} else {
			t.head = append(t.head, s)
		}
	}
	for rest := text; rest != ""; {
		literal, after, found := strings.Cut(rest, "{")
		if strings.Contains(literal, "}") {
			return template{}, errors.New("a closing brace without an opening one")
		}
		if literal != "" {
			add(segment{kind: literalSegment, literal: strings.ReplaceAll(literal, `\n`, "\n")})
		}
		if !found {
			break
		}
		token, next, closed := strings.Cut(after, "}")
		if !closed {
			return template{}, errors.New("an opening brace without a closing one")
		}
		rest = next
		if token == "body" {
			if t.body {
				return template{}, errors.New("{body} stands twice")
			}
			t.body = true
			continue
		}
		s, err := parseToken(token)
		if err != nil {
			return template{}, err
		}
		add(s)
	}
	if !t.body && len(t.head) == 0 {
		return template{}, errors.New("nothing is signed")
	}
	return t, nil
}

func parseToken(token string) (segment, error) {
	switch token {
	case "ts":
		return segment{kind: timeSegment}, nil
	case "method":
		return segment{kind: methodSegment}, nil
	}
	names, ok := strings.CutPrefix(token, "header:")
	if !ok {
		return segment{}, fmt.Errorf("{%s} is unknown: there are {body}, {ts}, {method} and {header:NAME}", token)
	}
	s := segment{kind: headerSegment}
	for name := range strings.SplitSeq(names, "|") {
		if !IsHeaderName(name) {
			return segment{}, fmt.Errorf("{%s} does not name a header", token)
		}
		s.headers = append(s.headers, http.CanonicalHeaderKey(name))
	}
	return s, nil
}

// IsHeaderName says whether s can be the name of a header: the tchars of RFC 9110, at most 100.
func IsHeaderName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != "" && len(s) <= 100
}

func (t *template) has(kind segmentKind) bool {
	for _, s := range t.head {
		if s.kind == kind {
			return true
		}
	}
	for _, s := range t.tail {
		if s.kind == kind {
			return true
		}
	}
	return false
}

// render gives what is signed before and after the body; missing names the header that is absent, if one is.
func (t *template) render(m *Message, timestamp string) (head, tail []byte, missing string) {
	head, missing = renderSegments(t.head, m, timestamp)
	if missing != "" {
		return nil, nil, missing
	}
	tail, missing = renderSegments(t.tail, m, timestamp)
	return head, tail, missing
}

func renderSegments(segments []segment, m *Message, timestamp string) (out []byte, missing string) {
	if len(segments) == 0 {
		return nil, ""
	}
	out = make([]byte, 0, 96)
	for i := range segments {
		s := &segments[i]
		switch s.kind {
		case literalSegment:
			out = append(out, s.literal...)
		case timeSegment:
			out = append(out, timestamp...)
		case methodSegment:
			out = append(out, m.Method...)
		case headerSegment:
			value, ok := firstHeader(m.Header, s.headers)
			if !ok {
				return nil, s.headers[0]
			}
			out = append(out, value...)
		}
	}
	return out, ""
}

// firstHeader is the first line of the first of these headers that is present and not empty. Names are canonical,
// so that the map is asked directly.
func firstHeader(h http.Header, names []string) (string, bool) {
	for _, name := range names {
		if values := h[name]; len(values) > 0 && values[0] != "" {
			return values[0], true
		}
	}
	return "", false
}

// CheckTemplate says what is wrong with a template's text.
func CheckTemplate(text string) error {
	_, err := parseTemplate(text)
	return err
}
