package signature

import (
	"crypto/hmac"
	"crypto/sha1" //nolint:gosec // HMAC-SHA1 stands; some providers have nothing else
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"net/http"
	"slices"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Hash is the hash of an HMAC.
type Hash string

// The hashes.
const (
	SHA1   Hash = "sha1"
	SHA256 Hash = "sha256"
	SHA512 Hash = "sha512"
)

func (h Hash) parts() (construct func() hash.Hash, size int) {
	switch h {
	case SHA1:
		return sha1.New, sha1.Size
	case SHA256:
		return sha256.New, sha256.Size
	case SHA512:
		return sha512.New, sha512.Size
	default:
		return nil, 0
	}
}

// HMAC (RFC 2104) declares how a provider signs with a shared secret. Compile makes it ready to use.
type HMAC struct {
	Carrier

	Hash   Hash      // default SHA256
	Key    KeyForm   // default KeyUTF8
	Signed string    // the template of the signed bytes; default {body}
	Time   *TimeRule // nil: the scheme has no signed time
}

// A Scheme is a compiled HMAC. It is immutable and safe for use by many goroutines.
type Scheme struct {
	hmac     HMAC
	hash     func() hash.Hash
	size     int
	template template
}

// Compile checks the declaration and parses its template, once for all requests.
func (d HMAC) Compile() (*Scheme, error) {
	if err := d.complete(); err != nil {
		return nil, err
	}
	if d.Hash == "" {
		d.Hash = SHA256
	}
	if d.Key == "" {
		d.Key = KeyUTF8
	}
	if d.Signed == "" {
		d.Signed = "{body}"
	}
	s := &Scheme{}
	s.hash, s.size = d.Hash.parts()
	if s.hash == nil {
		return nil, fmt.Errorf("hash %q is unknown", d.Hash)
	}
	if !d.Key.valid() {
		return nil, fmt.Errorf("key form %q is unknown", d.Key)
	}
	var err error
	if s.template, err = parseTemplate(d.Signed); err != nil {
		return nil, fmt.Errorf("signed: %w", err)
	}
	if d.Time, err = d.completeTime(s.template.has(timeSegment)); err != nil {
		return nil, err
	}
	s.hmac = d
	return s, nil
}

// completeTime sees to it that a time which is checked is a time that was signed, and that {ts} has a source.
func (d *HMAC) completeTime(signed bool) (*TimeRule, error) {
	if d.Time == nil {
		if signed {
			return nil, errors.New("{ts} is signed, and nothing says where the timestamp stands")
		}
		return nil, nil
	}
	rule := *d.Time
	if rule.Format == "" {
		rule.Format = Unix
	}
	switch {
	case !signed:
		return nil, errors.New("the timestamp is not signed: {ts} is missing")
	case !rule.Format.valid():
		return nil, fmt.Errorf("time format %q is unknown", rule.Format)
	case rule.Tolerance < 0:
		return nil, errors.New("the tolerance is negative")
	case len(rule.Headers) == 0 && d.TimeKey == "":
		return nil, errors.New("nothing says where the timestamp stands")
	}
	rule.Headers = slices.Clone(rule.Headers)
	for i, name := range rule.Headers {
		if !IsHeaderName(name) {
			return nil, fmt.Errorf("%q does not name a header", name)
		}
		rule.Headers[i] = http.CanonicalHeaderKey(name)
	}
	return &rule, nil
}

// Declaration gives what the scheme was compiled from, defaults filled in. It must not be changed.
func (s *Scheme) Declaration() HMAC { return s.hmac }

// CoversBody says whether the body is among the signed bytes.
func (s *Scheme) CoversBody() bool { return s.template.body }

// CoversHeader says whether the value of that header, by its canonical name, is among the signed bytes whenever it is
// there: of {header:A|B} that holds for A alone.
func (s *Scheme) CoversHeader(name string) bool {
	for _, segments := range [][]segment{s.template.head, s.template.tail} {
		for _, seg := range segments {
			if seg.kind == headerSegment && seg.headers[0] == name {
				return true
			}
		}
	}
	return false
}

// A Claim is what a request says about itself: the signatures that it carries and the time that it names. Nothing
// of it is true before MadeBy said so.
type Claim struct {
	SignedAt time.Time // zero where the scheme signs no time

	scheme     *Scheme
	body       []byte
	head, tail []byte // what is signed before and after the body
	macs       []byte // decoded candidates, size bytes each
}

// Read finds signatures and timestamp in a request.
func (s *Scheme) Read(m Message) (Claim, *Failure) {
	found, failure := s.hmac.read(m.Header, s.size)
	if failure != nil {
		return Claim{}, failure
	}
	c := Claim{scheme: s, macs: found.macs}
	timestamp, signedAt, failure := s.readTime(m.Header, found.timestamp)
	if failure != nil {
		return Claim{}, failure
	}
	c.SignedAt = signedAt
	var missing string
	if c.head, c.tail, missing = s.template.render(&m, timestamp); missing != "" {
		return Claim{}, &Failure{hub.MalformedSignature, "The request has no " + missing + " header, which is part of what is signed."}
	}
	if s.template.body {
		c.body = m.Body
	}
	return c, nil
}

func (s *Scheme) readTime(h http.Header, inSignature string) (text string, at time.Time, _ *Failure) {
	rule := s.hmac.Time
	if rule == nil {
		return "", time.Time{}, nil
	}
	place := s.hmac.Headers[0]
	if text = inSignature; len(rule.Headers) > 0 {
		place = rule.Headers[0]
		text, _ = firstHeader(h, rule.Headers)
	}
	if text == "" {
		return "", time.Time{}, &Failure{hub.TimestampMissing, "The request has no timestamp in header " + place + "."}
	}
	at, ok := rule.Format.parse(text)
	if !ok {
		return "", time.Time{}, &Failure{hub.MalformedSignature, "The timestamp in header " + place + " is not " + string(rule.Format) + " time."}
	}
	return text, at, nil
}

// MadeBy says whether the key made one of the signatures. Every candidate is compared, in constant time, whatever
// the ones before it gave.
func (c *Claim) MadeBy(key []byte) bool {
	var sum [maxMAC]byte
	mac := c.scheme.mac(sum[:0], key, c.head, c.body, c.tail)
	made := false
	for rest := c.macs; len(rest) > 0; rest = rest[len(mac):] {
		if hmac.Equal(mac, rest[:len(mac)]) {
			made = true
		}
	}
	return made
}

// CheckTime compares the signed time with the arrival; nil where it is accepted or there is none. It is asked after
// MadeBy: only a signed time is worth a cause.
func (c *Claim) CheckTime(arrived time.Time) *Failure {
	if c.scheme.hmac.Time == nil {
		return nil
	}
	return c.scheme.hmac.Time.check(c.SignedAt, arrived)
}

func (s *Scheme) mac(dst, key, head, body, tail []byte) []byte {
	h := hmac.New(s.hash, key)
	h.Write(head)
	h.Write(body)
	h.Write(tail)
	return h.Sum(dst)
}

// Sign sets the signature on m's headers, and the timestamp where the scheme has one. Headers that are part of what
// is signed must be there already; the error names one that is not.
func (s *Scheme) Sign(m Message, key []byte, at time.Time) error {
	var timestamp string
	if rule := s.hmac.Time; rule != nil {
		timestamp = rule.Format.format(at)
		if len(rule.Headers) > 0 {
			m.Header.Set(rule.Headers[0], timestamp)
		}
	}
	head, tail, missing := s.template.render(&m, timestamp)
	if missing != "" {
		return fmt.Errorf("header %s is part of what is signed and not set", missing)
	}
	var body []byte
	if s.template.body {
		body = m.Body
	}
	s.hmac.write(m.Header, s.mac(nil, key, head, body, tail), timestamp)
	return nil
}
