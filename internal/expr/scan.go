package expr

import (
	"strings"
	"unicode/utf8"
)

// A fragment is a stretch of a template: plain text, or what stands between a pair of braces.
type fragment struct {
	text       string
	at         int // where it begins, in bytes
	expression bool
}

// split cuts a template into its fragments. CEL's own braces (maps), quotes and comments inside an expression do
// not end it. There is no escape for a brace, since a channel has none. at and problem say what is wrong where.
func splitTemplate(source string) (fragments []fragment, at int, problem string) {
	for i := 0; i < len(source); {
		open := strings.IndexAny(source[i:], "{}")
		if open < 0 {
			return append(fragments, fragment{text: source[i:], at: i}), 0, ""
		}
		open += i
		if source[open] == '}' {
			return nil, open, "a brace closes that was never opened"
		}
		if open > i {
			fragments = append(fragments, fragment{text: source[i:open], at: i})
		}
		end := closingBrace(source, open+1)
		if end < 0 {
			return nil, open, "the brace is not closed"
		}
		inside := source[open+1 : end]
		if strings.TrimSpace(inside) == "" {
			return nil, open, "the braces are empty"
		}
		fragments = append(fragments, fragment{text: inside, at: open + 1, expression: true})
		i = end + 1
	}
	return fragments, 0, ""
}

// closingBrace finds the brace that closes an expression which begins at i; -1 if there is none.
func closingBrace(source string, i int) int {
	depth := 1
	for i < len(source) {
		switch c := source[i]; {
		case c == '{':
			depth++
			i++
		case c == '}':
			if depth--; depth == 0 {
				return i
			}
			i++
		case c == '\'' || c == '"':
			i = endOfString(source, i, false)
		case c == '`':
			i = past(source, i+1, "`")
		case c == '/' && strings.HasPrefix(source[i:], "//"):
			i = past(source, i, "\n")
		case isWordByte(c):
			end := i
			for end < len(source) && isWordByte(source[end]) {
				end++
			}
			if end < len(source) && (source[end] == '\'' || source[end] == '"') {
				end = endOfString(source, end, isRaw(source[i:end]))
			}
			i = end
		default:
			i++
		}
	}
	return -1
}

// endOfString gives the place behind a string literal whose quote stands at i; the end of source where it does not
// end. A raw one knows no backslash; three quotes end with three, and may hold line breaks.
func endOfString(source string, i int, raw bool) int {
	quote := source[i : i+1]
	if three := strings.Repeat(quote, 3); strings.HasPrefix(source[i:], three) {
		quote = three
	}
	for i += len(quote); i < len(source); i++ {
		switch {
		case strings.HasPrefix(source[i:], quote):
			return i + len(quote)
		case source[i] == '\\' && !raw:
			i++
		case source[i] == '\n' && len(quote) == 1:
			return len(source)
		}
	}
	return len(source)
}

// isRaw says whether a word before a quote makes a raw string: r"…", or br"…" for bytes.
func isRaw(word string) bool {
	return strings.EqualFold(word, "r") || strings.EqualFold(word, "br")
}

// past gives the place behind the next end, or the end of source.
func past(source string, i int, end string) int {
	at := strings.Index(source[i:], end)
	if at < 0 {
		return len(source)
	}
	return i + at + len(end)
}

func isWordByte(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '_'
}

// column counts the characters before a byte of source.
func column(source string, at int) int { return utf8.RuneCountInString(source[:at]) }
