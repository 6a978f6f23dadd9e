package api

import (
	"bytes"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/tributary-hub/tributary/internal/hub"
)

// Text that Postgres cannot store is refused where it comes in, and nothing is rewritten to fit: NUL characters, bytes
// that are not UTF-8, and halves of surrogate pairs, for which encoding/json would put U+FFFD. Where it stands is not
// said: it may be in a name, and none is repeated.

// checkURL looks at the path and at the query's names and values. A query that could be read only in part is refused
// too: what is dropped may be the filter.
func checkURL(u *url.URL) error {
	if !storable(u.Path) {
		return hub.Errorf(hub.Malformed, "the path has a NUL character, or is not UTF-8")
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return hub.Errorf(hub.Malformed, "the query is not name=value pairs, percent-encoded and joined by &")
	}
	for name, values := range query {
		for _, s := range append(values, name) {
			if !storable(s) {
				return hub.Errorf(hub.Malformed, "the query has a NUL character, or is not UTF-8")
			}
		}
	}
	return nil
}

func storable(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// checkText looks at a body that is JSON: at its bytes, and at the escapes of its strings. Where nothing of it is
// stored, raw, it may have NUL characters. A webhook's body that is no such text can be given as base64.
func checkText(body []byte, raw bool) error {
	if !utf8.Valid(body) {
		return hub.Errorf(hub.Malformed, "the body is not UTF-8")
	}
	for rest := body; ; {
		i := bytes.IndexByte(rest, '\\')
		if i < 0 {
			return nil
		}
		rest = rest[i:]
		unit, isUnit := escapedUnit(rest)
		if !isUnit {
			rest = rest[2:] // \n, \\ and the like; what is JSON has a second byte
			continue
		}
		rest = rest[6:]
		if unit == 0 && !raw {
			return hub.Errorf(hub.Malformed, "the body has a NUL character in a string")
		}
		if !utf16.IsSurrogate(unit) {
			continue
		}
		second, ok := escapedUnit(rest)
		if !ok || utf16.DecodeRune(unit, second) == utf8.RuneError {
			return hub.Errorf(hub.Malformed, "the body has half of a surrogate pair in a string")
		}
		rest = rest[6:]
	}
}

// escapedUnit reads the escape of a UTF-16 unit, \u and four hex digits, at the beginning of s.
func escapedUnit(s []byte) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(string(s[2:6]), 16, 16)
	return rune(n), err == nil
}
