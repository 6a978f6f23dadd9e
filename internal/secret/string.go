package secret

import (
	"crypto/subtle"
	"fmt"
	"io"
	"log/slog"
)

// redacted is all that a String shows of itself.
const redacted = "REDACTED"

// A String holds a value that must not be printed by accident. Every way of writing it down (fmt, slog, JSON,
// text) gives REDACTED; Reveal alone gives the value. The zero String holds "".
//
// The value stands behind a pointer, since fmt cannot call the methods of a String in an unexported field and
// would print what it finds there: it finds an address.
type String struct{ value *string }

// New wraps s.
func New(s string) String {
	if s == "" {
		return String{}
	}
	return String{value: &s}
}

// Reveal gives the value, for the one place that needs it.
func (s String) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// IsZero says whether there is no value, or an empty one.
func (s String) IsZero() bool { return s.value == nil || *s.value == "" }

// Equal compares the values in a time that depends on their lengths alone.
func (s String) Equal(other String) bool {
	return subtle.ConstantTimeCompare([]byte(s.Reveal()), []byte(other.Reveal())) == 1
}

// String gives REDACTED.
func (s String) String() string { return redacted }

// GoString gives REDACTED, for %#v.
func (s String) GoString() string { return redacted }

// Format writes REDACTED for every verb, also those that would not ask String.
func (s String) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// LogValue gives REDACTED to slog.
func (s String) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalJSON gives "REDACTED".
func (s String) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }

// MarshalText gives REDACTED.
func (s String) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// UnmarshalText takes the text as the value, so that configuration can be read straight into a String.
func (s *String) UnmarshalText(text []byte) error {
	*s = New(string(text))
	return nil
}
