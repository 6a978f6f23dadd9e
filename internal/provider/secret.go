package provider

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Secret is one of an endpoint's secrets, opened. It prints as REDACTED.
type Secret struct {
	ID        hub.SecretID
	Value     SecretValue
	Candidate bool      // tried only to count what it would have matched
	ExpiresAt time.Time // zero: never
}

// expired is judged by the clock at use: a secret is good before that moment, not at it.
func (s *Secret) expired(at time.Time) bool {
	return !s.ExpiresAt.IsZero() && !at.Before(s.ExpiresAt)
}

// Format keeps the value out of every verb of fmt.
func (Secret) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String is REDACTED.
func (Secret) String() string { return redacted }

// GoString is REDACTED.
func (Secret) GoString() string { return redacted }

// LogValue is REDACTED.
func (Secret) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText writes REDACTED.
func (Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// A SecretValue is a secret as the user pasted it. It prints as REDACTED.
type SecretValue []byte

// Format keeps the value out of every verb of fmt.
func (SecretValue) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// String is REDACTED.
func (SecretValue) String() string { return redacted }

// GoString is REDACTED.
func (SecretValue) GoString() string { return redacted }

// LogValue is REDACTED.
func (SecretValue) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText writes REDACTED.
func (SecretValue) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// maxSecret bounds a secret's text.
const maxSecret = 4096

// CheckSecret refuses, as hub.Invalid, a secret that this provider cannot have: empty, blank, or not decodable in
// its form. Where the form is configuration, ask a provider that has been configured.
func (p *Provider) CheckSecret(value string) error {
	switch {
	case len(bytes.TrimSpace([]byte(value))) == 0:
		return hub.FieldErrorf("body.secret", "the secret is empty")
	case len(value) > maxSecret:
		return hub.FieldErrorf("body.secret", "the secret has more than %d bytes", maxSecret)
	case strings.HasPrefix(value, "whpk_") || strings.HasPrefix(value, "whsk_"):
		return hub.FieldErrorf("body.secret", "whpk_ and whsk_ begin the asymmetric keys of Standard Webhooks; %s signs with a shared secret", p.Title)
	}
	if _, err := p.scheme.Declaration().Key.Decode([]byte(value)); err != nil {
		return hub.FieldErrorf("body.secret", "%s", err)
	}
	return nil
}

// NewSecret makes a fresh secret in the provider's form.
func (p *Provider) NewSecret() string {
	return p.secretForm.make()
}

const (
	hexDigits = "0123456789abcdef"
	letters   = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	capitals  = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// A textForm says how random text of a provider looks.
type textForm struct {
	prefix   string
	alphabet string
	length   int  // in characters; of base64 in bytes
	base64   bool // standard, padded
	uuid     bool // nothing else counts
}

func (f textForm) make() string {
	if f.uuid {
		return uuid.NewString()
	}
	if f.base64 {
		random := make([]byte, f.length)
		_, _ = rand.Read(random) // never fails: it ends the program instead
		return f.prefix + base64.StdEncoding.EncodeToString(random)
	}
	out := make([]byte, 0, len(f.prefix)+f.length)
	out = append(out, f.prefix...)
	fair := byte(256 - 256%len(f.alphabet) - 1) // above it some characters would come more often
	var random [64]byte
	for {
		_, _ = rand.Read(random[:])
		for _, b := range random {
			if len(out) == len(f.prefix)+f.length {
				return string(out)
			}
			if b <= fair {
				out = append(out, f.alphabet[int(b)%len(f.alphabet)])
			}
		}
	}
}
