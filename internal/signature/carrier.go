package signature

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Layout is the form of the header that carries signatures.
type Layout string

// The layouts.
const (
	Single Layout = "single" // one signature a line, perhaps after a prefix: sha256=…
	KV     Layout = "kv"     // labelled parts: t=…,v1=…,v1=… or v1,… v1,…
)

// A Carrier says where the signatures stand. Several lines of one header count as candidates all alike.
type Carrier struct {
	Layout   Layout   // default Single
	Headers  []string // the first that is present is read; required
	Encoding Encoding // default Hex

	Prefix string // Single: the text before the signature

	Sep     string   // KV: between parts; required
	KVSep   string   // KV: between a part's label and value; required
	TimeKey string   // KV: the label of the timestamp; "": the timestamp is elsewhere
	SigKeys []string // KV: the labels that count, every other is ignored (no downgrade); required
	Strict  bool     // KV: a part without a label makes the header invalid
}

// found is what a header holds: decoded candidates one after the other, the timestamp, and what was passed over.
type found struct {
	macs      []byte
	timestamp string
	unknown   bool // a label or prefix that this scheme does not know
	broken    bool // a signature that could not be decoded
	invalid   bool // the header as a whole
}

func (c *Carrier) complete() error {
	if c.Layout == "" {
		c.Layout = Single
	}
	if c.Encoding == "" {
		c.Encoding = Hex
	}
	if !c.Encoding.valid() {
		return fmt.Errorf("encoding %q is unknown", c.Encoding)
	}
	if len(c.Headers) == 0 {
		return errors.New("no header carries the signature")
	}
	c.Headers = slices.Clone(c.Headers)
	for i, name := range c.Headers {
		if !IsHeaderName(name) {
			return fmt.Errorf("%q does not name a header", name)
		}
		c.Headers[i] = http.CanonicalHeaderKey(name)
	}
	switch c.Layout {
	case Single:
		return nil
	case KV:
		if c.Sep == "" || c.KVSep == "" || len(c.SigKeys) == 0 {
			return errors.New("layout kv needs separators and labels")
		}
		return nil
	default:
		return fmt.Errorf("layout %q is unknown", c.Layout)
	}
}

// read collects every candidate of the first header that is present. A candidate that cannot be decoded is passed
// over, unless it is the only one.
func (c *Carrier) read(h http.Header, size int) (found, *Failure) {
	var f found
	lines, ok := c.lines(h)
	if !ok {
		return f, &Failure{hub.NoSignature, "The request has no " + c.Headers[0] + " header."}
	}
	f.macs = make([]byte, 0, 2*size)
	for _, line := range lines {
		if c.Layout == KV {
			c.readParts(line, size, &f)
		} else {
			c.readSingle(line, size, &f)
		}
	}
	switch {
	case f.invalid:
		return f, c.malformed("a part without a label")
	case len(f.macs) > 0:
		return f, nil
	case f.broken:
		return f, c.malformed("no signature that is " + string(c.Encoding) + " text of the right length")
	case f.unknown:
		return f, &Failure{hub.UnknownSchemeVersion, "Header " + c.Headers[0] + " has only signatures of a version other than " + c.version() + "."}
	default:
		return f, c.malformed("no signature")
	}
}

func (c *Carrier) lines(h http.Header) ([]string, bool) {
	for _, name := range c.Headers {
		for _, line := range h[name] {
			if line != "" {
				return h[name], true
			}
		}
	}
	return nil, false
}

func (c *Carrier) malformed(what string) *Failure {
	return &Failure{hub.MalformedSignature, "Header " + c.Headers[0] + " has " + what + "."}
}

// version names what counts, for a sentence.
func (c *Carrier) version() string {
	if c.Layout == KV {
		return strings.Join(c.SigKeys, ", ")
	}
	return strings.TrimSuffix(c.Prefix, "=")
}

func (c *Carrier) readSingle(line string, size int, f *found) {
	text, ok := strings.CutPrefix(line, c.Prefix)
	if !ok {
		if hasOtherLabel(line, c.Prefix) {
			f.unknown = true
		} else {
			f.broken = true
		}
		return
	}
	c.add(text, size, f)
}

// hasOtherLabel says whether the line has a label such as sha512= where the prefix has another, such as sha256=.
func hasOtherLabel(line, prefix string) bool {
	if !strings.HasSuffix(prefix, "=") {
		return false
	}
	label, _, ok := strings.Cut(line, "=")
	if !ok || label == "" || len(label) > 16 {
		return false
	}
	for i := range len(label) {
		if c := label[i]; !('a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '-') {
			return false
		}
	}
	return true
}

// readParts reads labelled parts. Blanks around a part are not of it: proxies put one behind the comma when they
// join lines, and WorkOS sends it so. Where the timestamp is repeated the last one counts, as in stripe-go; it is
// the one that is both signed and checked.
func (c *Carrier) readParts(line string, size int, f *found) {
	for part := range strings.SplitSeq(line, c.Sep) {
		part = strings.Trim(part, " \t")
		label, value, ok := strings.Cut(part, c.KVSep)
		switch {
		case !ok:
			if c.Strict {
				f.invalid = true
			}
		case c.TimeKey != "" && label == c.TimeKey:
			f.timestamp = value
		case slices.Contains(c.SigKeys, label):
			c.add(value, size, f)
		default:
			f.unknown = true
		}
	}
}

func (c *Carrier) add(text string, size int, f *found) {
	macs, ok := c.Encoding.decode(f.macs, text, size)
	if !ok {
		f.broken = true
		return
	}
	f.macs = macs
}

// write sets the header to one signature, with the timestamp where the layout carries it.
func (c *Carrier) write(h http.Header, mac []byte, timestamp string) {
	text := c.Encoding.encode(mac)
	if c.Layout == Single {
		h.Set(c.Headers[0], c.Prefix+text)
		return
	}
	var b strings.Builder
	if c.TimeKey != "" {
		b.WriteString(c.TimeKey + c.KVSep + timestamp + c.Sep)
	}
	b.WriteString(c.SigKeys[0] + c.KVSep + text)
	h.Set(c.Headers[0], b.String())
}
