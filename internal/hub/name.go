package hub

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

var (
	slugForm = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)
	nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$`)
)

// ValidateSlug checks a tenant's slug: [a-z][a-z0-9-]*, at most 63, and no id's prefix.
func ValidateSlug(slug string) error {
	if !slugForm.MatchString(slug) {
		return FieldErrorf("body.slug", "a slug begins with a-z and has at most 63 of a-z, 0-9 and -")
	}
	return notAnID("body.slug", slug)
}

// ValidateName checks the name of an endpoint, route or issuer, which stands in paths wherever the id does:
// 1–100 of A–Z a–z 0–9 . _ -, beginning with a letter or digit, and no id's prefix.
func ValidateName(name string) error {
	if !nameForm.MatchString(name) {
		return FieldErrorf("body.name", "a name begins with a letter or digit and has at most 100 of A-Z, a-z, 0-9, '.', '_' and '-'")
	}
	return notAnID("body.name", name)
}

func notAnID(location, s string) error {
	for _, prefix := range idPrefixes {
		if strings.HasPrefix(s, prefix) {
			return FieldErrorf(location, "begins like an id (%s)", prefix)
		}
	}
	return nil
}

// LooksLikeID says whether s begins with an id's prefix; what does not may be a name or a slug.
func LooksLikeID(s string) bool {
	return notAnID("", s) != nil
}

// ValidateTitle checks text for people, such as a tenant's name or a key's: 1–200 characters of one line.
func ValidateTitle(location, s string) error {
	if n := utf8.RuneCountInString(s); n < 1 || n > 200 || !utf8.ValidString(s) {
		return FieldErrorf(location, "1 to 200 characters")
	}
	if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return FieldErrorf(location, "no control characters")
	}
	return nil
}

// Metadata is what users attach to resources: up to 50 pairs of strings.
type Metadata map[string]string

// Validate checks number and sizes: keys of 1–40 characters, values up to 500.
func (m Metadata) Validate() error {
	if len(m) > 50 {
		return FieldErrorf("body.metadata", "at most 50 pairs")
	}
	for k, v := range m {
		if n := utf8.RuneCountInString(k); n < 1 || n > 40 {
			return FieldErrorf("body.metadata", "a key has 1 to 40 characters")
		}
		if utf8.RuneCountInString(v) > 500 {
			return FieldErrorf("body.metadata", "a value has at most 500 characters")
		}
		if strings.ContainsRune(k+v, 0) {
			return FieldErrorf("body.metadata", "no NUL characters")
		}
	}
	return nil
}

// MaxKeyBytes is the longest key of a message, and the longest version that is text.
const MaxKeyBytes = 200

// ValidateMessageKey checks a message's key, or a version that is text: 1–200 bytes of UTF-8 without NUL, which
// Postgres cannot store in text.
func ValidateMessageKey(s string) error {
	switch {
	case s == "" || len(s) > MaxKeyBytes:
		return fmt.Errorf("a key or version has 1 to %d bytes", MaxKeyBytes)
	case !utf8.ValidString(s):
		return errors.New("a key or version is UTF-8")
	case strings.IndexByte(s, 0) >= 0:
		return errors.New("a key or version has no NUL character")
	}
	return nil
}

var errTypeReserved = errors.New("that message type is reserved: open, error, hub.* and generation.* are the hub's")

// ValidateType checks a message type that somebody gives: an event name, none of the hub's own.
func ValidateType(t string) error {
	if err := ValidateEventName(t); err != nil {
		return err
	}
	if strings.HasPrefix(t, "generation.") {
		return errTypeReserved
	}
	return nil
}

// ValidateEventName checks what the event line of a logged message may say: 1–128 printable ASCII without spaces,
// and nothing that an EventSource, or the hub about the stream itself, says.
func ValidateEventName(t string) error {
	if len(t) < 1 || len(t) > 128 {
		return errors.New("a message type has 1 to 128 characters")
	}
	for i := range len(t) {
		if t[i] <= ' ' || t[i] > '~' {
			return errors.New("a message type has printable ASCII characters without spaces")
		}
	}
	if t == "open" || t == "error" || strings.HasPrefix(t, "hub.") {
		return errTypeReserved
	}
	return nil
}
