package hub

import (
	"crypto/rand"
	"crypto/sha256"
	"hash/crc32"
	"slices"
	"strings"
	"time"
)

// A Key is an API key, without its value.
type Key struct {
	ID         KeyID
	Name       string
	Scopes     []Scope
	ExpiresAt  *time.Time
	LastUsedAt *time.Time
	RevokedAt  *time.Time
	Metadata   Metadata
	CreatedAt  time.Time
}

// A Scope is one thing that a key may do.
type Scope string

// The scopes of tenants' keys, and the two that only operators have.
const (
	ConfigRead      Scope = "config:read"
	ConfigWrite     Scope = "config:write"
	EventsRead      Scope = "events:read"
	EventsRaw       Scope = "events:raw"
	EventsReplay    Scope = "events:replay"
	MessagesRead    Scope = "messages:read"
	MessagesPublish Scope = "messages:publish"
	TicketsCreate   Scope = "tickets:create"
	KeysWrite       Scope = "keys:write"
	TenantsRead     Scope = "tenants:read"
	TenantsWrite    Scope = "tenants:write"
)

// TenantScopes lists what a tenant's key can have, in the order of the documentation.
func TenantScopes() []Scope {
	return []Scope{ConfigRead, ConfigWrite, EventsRead, EventsRaw, EventsReplay, MessagesRead, MessagesPublish, TicketsCreate, KeysWrite}
}

// OperatorScopes lists what an operator's key can have: all of a tenant's, for every tenant, and its own two.
func OperatorScopes() []Scope {
	return append(TenantScopes(), TenantsRead, TenantsWrite)
}

// The form of a key's value: trb_, 32 random base62 characters, 6 base62 characters of CRC-32 (IEEE) over what
// stands before them, so that a mistyped or cut key is told from an unknown one without asking the database.
const (
	keyPrefix = "trb_"
	keyRandom = 32
	keyCheck  = 6
	base62    = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// FormatKey makes a key's value from 32 base62 characters.
func FormatKey(random string) string {
	s := keyPrefix + random
	return s + keyChecksum(s)
}

// NewKey makes the value of a new key.
func NewKey() string { return FormatKey(RandomText(keyRandom)) }

// RandomText is n random base62 characters, of 5.95 bits each.
func RandomText(n int) string {
	out := make([]byte, 0, n)
	for len(out) < n {
		var random [64]byte
		_, _ = rand.Read(random[:]) // never fails: it ends the program instead
		for _, b := range random {
			if b < 248 && len(out) < n { // 4 × 62: above it some characters would come more often
				out = append(out, base62[b%62])
			}
		}
	}
	return string(out)
}

// IsKey says whether s has the form of a key, checksum included.
func IsKey(s string) bool {
	if len(s) != len(keyPrefix)+keyRandom+keyCheck || !strings.HasPrefix(s, keyPrefix) {
		return false
	}
	for i := len(keyPrefix); i < len(s); i++ {
		if strings.IndexByte(base62, s[i]) < 0 {
			return false
		}
	}
	body := s[:len(s)-keyCheck]
	return keyChecksum(body) == s[len(body):]
}

func keyChecksum(s string) string {
	sum := crc32.ChecksumIEEE([]byte(s))
	var out [keyCheck]byte
	for i := range out {
		out[keyCheck-1-i] = base62[sum%62]
		sum /= 62
	}
	return string(out[:])
}

// HashToken is how keys and endpoint tokens are looked up: what is stored cannot be turned back.
func HashToken(value string) [32]byte {
	return sha256.Sum256([]byte(value))
}

// A Principal is the result of authentication: an operator, an API key, or a subject.
type Principal struct {
	Kind    PrincipalKind
	Tenant  TenantID // zero for an operator
	Key     KeyID    // of an operator or API key; zero for the hub itself
	Name    string   // the key's name, for the audit
	Scopes  []Scope
	Expires *time.Time
	Subject Subject // of a subject
}

// A PrincipalKind says what a Principal is.
type PrincipalKind string

// The kinds of principals. System is the hub itself: commands on the operator's machine, housekeeping.
const (
	PrincipalOperator PrincipalKind = "operator"
	PrincipalKey      PrincipalKind = "key"
	PrincipalSubject  PrincipalKind = "subject"
	PrincipalSystem   PrincipalKind = "system"
)

// A Subject is one end user: an issuer row and a sub, always both.
type Subject struct {
	Issuer IssuerID
	Sub    string
}

// May says whether the principal has the scope.
func (p Principal) May(s Scope) bool {
	return p.Kind == PrincipalSystem || slices.Contains(p.Scopes, s)
}

// Reaches says whether the principal reaches that tenant at all.
func (p Principal) Reaches(t TenantID) bool {
	switch p.Kind {
	case PrincipalOperator, PrincipalSystem:
		return true
	default:
		return !p.Tenant.IsZero() && p.Tenant == t
	}
}
