package expr

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// maxBodyDepth is how deep objects and lists of a body may stand in one another; a deeper body is not taken as JSON.
const maxBodyDepth = 200

// decodeJSON reads one JSON text (RFC 8259) into map[string]any, []any, string, bool, nil and numbers that stay what
// they were written as: an integer is an int64, or a uint64 where it is larger, and so is exact up to 2^64; only
// beyond that, and where it has a fraction or an exponent, is it a float64. The last of two equal keys counts;
// bytes that are not UTF-8 and lone surrogates become U+FFFD, as in encoding/json.
//
// encoding/json takes more than twice as long, and makes all numbers float64 or leaves them text; a body is what
// routing an event spends most of its time on.
func decodeJSON(body []byte) (any, bool) {
	d := decoder{text: valid(string(body))}
	d.space()
	value, ok := d.value(0)
	if !ok {
		return nil, false
	}
	d.space()
	return value, d.at == len(d.text)
}

// valid puts U+FFFD for each byte that is not UTF-8.
func valid(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return string([]rune(s))
}

type decoder struct {
	text string // strings of the result are parts of it where they have no escapes
	at   int
}

func (d *decoder) space() {
	for d.at < len(d.text) {
		switch d.text[d.at] {
		case ' ', '\t', '\r', '\n':
			d.at++
		default:
			return
		}
	}
}

// next takes c if it comes next.
func (d *decoder) next(c byte) bool {
	if d.at < len(d.text) && d.text[d.at] == c {
		d.at++
		return true
	}
	return false
}

func (d *decoder) value(depth int) (any, bool) {
	if d.at == len(d.text) || depth > maxBodyDepth {
		return nil, false
	}
	switch d.text[d.at] {
	case '{':
		return d.object(depth)
	case '[':
		return d.list(depth)
	case '"':
		return d.string()
	case 't':
		return true, d.word("true")
	case 'f':
		return false, d.word("false")
	case 'n':
		return nil, d.word("null")
	default:
		return d.number()
	}
}

func (d *decoder) word(word string) bool {
	if !strings.HasPrefix(d.text[d.at:], word) {
		return false
	}
	d.at += len(word)
	return true
}

func (d *decoder) object(depth int) (any, bool) {
	object := map[string]any{}
	d.at++
	if d.space(); d.next('}') {
		return object, true
	}
	for {
		d.space()
		if d.at == len(d.text) || d.text[d.at] != '"' {
			return nil, false
		}
		key, ok := d.string()
		if !ok {
			return nil, false
		}
		if d.space(); !d.next(':') {
			return nil, false
		}
		d.space()
		value, ok := d.value(depth + 1)
		if !ok {
			return nil, false
		}
		object[key] = value
		d.space()
		if d.next('}') {
			return object, true
		}
		if !d.next(',') {
			return nil, false
		}
	}
}

func (d *decoder) list(depth int) (any, bool) {
	list := []any{}
	d.at++
	if d.space(); d.next(']') {
		return list, true
	}
	for {
		d.space()
		value, ok := d.value(depth + 1)
		if !ok {
			return nil, false
		}
		list = append(list, value)
		d.space()
		if d.next(']') {
			return list, true
		}
		if !d.next(',') {
			return nil, false
		}
	}
}

func (d *decoder) string() (string, bool) {
	d.at++
	for start := d.at; d.at < len(d.text); d.at++ {
		switch c := d.text[d.at]; {
		case c == '"':
			d.at++
			return d.text[start : d.at-1], true
		case c == '\\':
			return d.escaped(start)
		case c < ' ':
			return "", false
		}
	}
	return "", false
}

// escaped goes on with a string at its first backslash.
func (d *decoder) escaped(start int) (string, bool) {
	var b strings.Builder
	b.WriteString(d.text[start:d.at])
	for d.at < len(d.text) {
		c := d.text[d.at]
		d.at++
		switch {
		case c == '"':
			return b.String(), true
		case c < ' ':
			return "", false
		case c != '\\':
			b.WriteByte(c)
		default:
			r, ok := d.escape()
			if !ok {
				return "", false
			}
			b.WriteRune(r)
		}
	}
	return "", false
}

// escape reads what stands behind a backslash.
func (d *decoder) escape() (rune, bool) {
	if d.at == len(d.text) {
		return 0, false
	}
	c := d.text[d.at]
	d.at++
	if c != 'u' {
		at := strings.IndexByte(`"\/bfnrt`, c)
		if at < 0 {
			return 0, false
		}
		return rune("\"\\/\b\f\n\r\t"[at]), true
	}
	r, ok := d.hex()
	if !ok || !utf16.IsSurrogate(r) {
		return r, ok
	}
	rest := *d
	if rest.next('\\') && rest.next('u') {
		if low, ok := rest.hex(); ok {
			if pair := utf16.DecodeRune(r, low); pair != utf8.RuneError {
				*d = rest
				return pair, true
			}
		}
	}
	return utf8.RuneError, true
}

func (d *decoder) hex() (rune, bool) {
	if len(d.text)-d.at < 4 {
		return 0, false
	}
	var r rune
	for _, c := range []byte(d.text[d.at : d.at+4]) {
		switch {
		case '0' <= c && c <= '9':
			r = r<<4 | rune(c-'0')
		case 'a' <= c && c <= 'f':
			r = r<<4 | rune(c-'a'+10)
		case 'A' <= c && c <= 'F':
			r = r<<4 | rune(c-'A'+10)
		default:
			return 0, false
		}
	}
	d.at += 4
	return r, true
}

func (d *decoder) number() (any, bool) {
	start, whole := d.at, true
	d.next('-')
	if !d.next('0') && !d.digits() {
		return nil, false
	}
	if d.next('.') {
		whole = false
		if !d.digits() {
			return nil, false
		}
	}
	if d.next('e') || d.next('E') {
		whole = false
		if !d.next('+') {
			d.next('-')
		}
		if !d.digits() {
			return nil, false
		}
	}
	return number(d.text[start:d.at], whole), true
}

func (d *decoder) digits() bool {
	start := d.at
	for d.at < len(d.text) && '0' <= d.text[d.at] && d.text[d.at] <= '9' {
		d.at++
	}
	return d.at > start
}

// number gives a JSON number as an integer where it is written as one and fits. What is beyond a double's range
// is infinity, which nothing writes out again.
func number(text string, whole bool) any {
	if whole {
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
		if n, err := strconv.ParseUint(text, 10, 64); err == nil {
			return n
		}
	}
	f, _ := strconv.ParseFloat(text, 64)
	return f
}
