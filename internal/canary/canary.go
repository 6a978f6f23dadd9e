// Package canary finds secrets of known value in places where they must not be: as they are, in the codings in which
// values travel, and in parts. It is for tests, and knows nothing of the hub.
package canary

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// part is how many bytes of a value in a row are a leak.
const part = 12

// A Finder knows values, each by a name that is none itself.
type Finder struct {
	windows map[int]map[string]string // of a length, to the name of the value that they are a part of
	starts  [1 << startBits]bool      // by the first bytes of a window, so that most places are passed by at a glance
	names   map[string]bool
}

const startBits = 22

// start is where the first four bytes are found in starts.
func start(b0, b1, b2, b3 byte) uint32 {
	const spread = 2654435761 // Knuth's
	return (uint32(b0) | uint32(b1)<<8 | uint32(b2)<<16 | uint32(b3)<<24) * spread >> (32 - startBits)
}

// A Hit is a value that was found.
type Hit struct {
	Name string
	At   string // what stands there
}

// String names the value and shows its place.
func (h Hit) String() string { return h.Name + " in …" + h.At + "…" }

// New makes a Finder that knows nothing.
func New() *Finder {
	return &Finder{windows: map[int]map[string]string{}, names: map[string]bool{}}
}

// Text is a fresh value, 32 random characters that are the same in every coding of text.
func Text() string { return rand.Text() + strings.ToLower(rand.Text()[:6]) }

// Add lets the Finder know a value. What is shorter than a part could be found anywhere, and is a mistake of the test.
func (f *Finder) Add(t testing.TB, name, value string) {
	t.Helper()
	if len(value) < part {
		t.Fatalf("%s has %d bytes; a canary needs %d", name, len(value), part)
	}
	f.names[name] = true
	texts := []string{value}
	if isText(value) {
		texts = spellings(value)
		f.add(name, part, strings.ToLower(value), strings.ToUpper(value))
	} else {
		f.add(name, len(`\x00`)*part, strings.Trim(strconv.QuoteToASCII(value), `"`)) // each byte may take so many
	}
	f.add(name, part, texts...)
	encoded := inBase64(texts...)
	f.add(name, base64.StdEncoding.EncodedLen(part), encoded...)
	f.add(name, hex.EncodedLen(part), inHex(texts...)...)
	for _, text := range encoded { // as a bytea of a dump
		f.add(name, 2*base64.StdEncoding.EncodedLen(part), hex.EncodeToString([]byte(text)))
	}
}

// Names are the values that it knows.
func (f *Finder) Names() []string { return slices.Sorted(maps.Keys(f.names)) }

func (f *Finder) add(name string, length int, texts ...string) {
	if f.windows[length] == nil {
		f.windows[length] = map[string]string{}
	}
	for _, text := range texts {
		for i := 0; i+length <= len(text); i++ {
			window := text[i : i+length]
			f.windows[length][window] = name
			f.starts[start(window[0], window[1], window[2], window[3])] = true
		}
	}
}

func isText(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, unicode.IsControl)
}

// spellings are the ways in which text is written as text.
func spellings(value string) []string {
	encoded, err := json.Marshal(value)
	if err != nil {
		encoded = []byte(fmt.Sprintf("%q", value))
	}
	quoted := strings.Trim(string(encoded), `"`)
	again, _ := json.Marshal(quoted) // what could be encoded once can be so twice
	query := url.QueryEscape(value)
	all := []string{
		value, quoted, strings.Trim(string(again), `"`), strings.Trim(fmt.Sprintf("%q", value), `"`),
		query, lowerEscapes(query), url.PathEscape(value), strings.ReplaceAll(value, "'", "''"),
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// lowerEscapes writes %2F as %2f.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := range b {
		if i+2 < len(b) && b[i] == '%' {
			copy(b[i+1:i+3], bytes.ToLower(b[i+1:i+3]))
		}
	}
	return string(b)
}

// inBase64 gives the texts as they stand in the middle of something longer: at each of the three places that a byte can
// have in a group of three, without the characters that hold bits of their neighbours.
func inBase64(texts ...string) []string {
	var all []string
	for _, text := range texts {
		for at := range 3 {
			whole := text[at : len(text)-(len(text)-at)%3]
			std := base64.StdEncoding.EncodeToString([]byte(whole))
			all = append(all, std)
			if strings.ContainsAny(std, "+/") {
				all = append(all, base64.URLEncoding.EncodeToString([]byte(whole)))
			}
		}
	}
	return all
}

func inHex(texts ...string) []string {
	var all []string
	for _, text := range texts {
		lower := hex.EncodeToString([]byte(text))
		all = append(all, lower, strings.ToUpper(lower))
	}
	return all
}

// Search gives each value that stands in the text, in whole or in part, once.
func (f *Finder) Search(text []byte) []Hit {
	found := map[string]Hit{}
	for i := 0; i+part <= len(text); i++ {
		if !f.starts[start(text[i], text[i+1], text[i+2], text[i+3])] {
			continue
		}
		for length, windows := range f.windows {
			if i+length > len(text) {
				continue
			}
			name, ok := windows[string(text[i:i+length])]
			if _, before := found[name]; ok && !before {
				found[name] = Hit{name, string(text[max(0, i-80):min(len(text), i+length+20)])}
			}
		}
	}
	hits := make([]Hit, 0, len(found))
	for _, name := range slices.Sorted(maps.Keys(found)) {
		hits = append(hits, found[name])
	}
	return hits
}
