package hub

import (
	"fmt"
	"time"

	"github.com/google/uuid"
)

// An ID is a UUIDv7 that knows what it names. Its text is the kind's prefix and the UUID in its canonical
// form, such as evt_0198c0de-…; in Postgres it is a plain uuid, ordered by the time it was made.
type ID[K kind] uuid.UUID

// kind gives an ID its prefix. Kinds exist only as type arguments.
type kind interface{ prefix() string }

type (
	tenantKind     struct{}
	endpointKind   struct{}
	secretKind     struct{}
	routeKind      struct{}
	issuerKind     struct{}
	keyKind        struct{}
	eventKind      struct{}
	rejectionKind  struct{}
	runKind        struct{}
	messageKind    struct{}
	connectionKind struct{}
	requestKind    struct{}
	auditKind      struct{}
)

func (tenantKind) prefix() string     { return "ten_" }
func (endpointKind) prefix() string   { return "ep_" }
func (secretKind) prefix() string     { return "sec_" }
func (routeKind) prefix() string      { return "rt_" }
func (issuerKind) prefix() string     { return "iss_" }
func (keyKind) prefix() string        { return "key_" }
func (eventKind) prefix() string      { return "evt_" }
func (rejectionKind) prefix() string  { return "rej_" }
func (runKind) prefix() string        { return "rpl_" }
func (messageKind) prefix() string    { return "msg_" }
func (connectionKind) prefix() string { return "con_" }
func (requestKind) prefix() string    { return "req_" }
func (auditKind) prefix() string      { return "aud_" }

// The ids of the hub's nouns. A RunID names one working of an event: zero is the first, a replay's id any later one.
type (
	TenantID     = ID[tenantKind]
	EndpointID   = ID[endpointKind]
	SecretID     = ID[secretKind]
	RouteID      = ID[routeKind]
	IssuerID     = ID[issuerKind]
	KeyID        = ID[keyKind]
	EventID      = ID[eventKind]
	RejectionID  = ID[rejectionKind]
	RunID        = ID[runKind]
	MessageID    = ID[messageKind]
	ConnectionID = ID[connectionKind]
	RequestID    = ID[requestKind]
	AuditID      = ID[auditKind]
)

// idPrefixes lists every prefix, those of nouns that are yet to come included: names must not begin with one.
var idPrefixes = []string{"ten_", "ep_", "sec_", "rt_", "iss_", "key_", "evt_", "rej_", "rpl_", "msg_", "gen_", "con_", "req_", "aud_", "dst_", "dlv_"}

// NewID makes an id for now. It panics only where the system has no randomness left.
func NewID[I ID[K], K kind]() I {
	return I(uuid.Must(uuid.NewV7()))
}

// ParseID reads the text form and only that: prefix, lower-case canonical UUID.
func ParseID[I ID[K], K kind](s string) (I, error) {
	var k K
	prefix := k.prefix()
	if len(s) != len(prefix)+36 || s[:len(prefix)] != prefix {
		return I{}, Errorf(Invalid, "not an id of the form %s<uuid>", prefix)
	}
	u, err := uuid.Parse(s[len(prefix):])
	if err != nil || u == uuid.Nil || u.String() != s[len(prefix):] { // the nil UUID means an id that was never set
		return I{}, Errorf(Invalid, "not an id of the form %s<uuid>", prefix)
	}
	return I(u), nil
}

// String is the text form; an id that was never set is "".
func (id ID[K]) String() string {
	if id.IsZero() {
		return ""
	}
	var k K
	return k.prefix() + uuid.UUID(id).String()
}

// IsZero says whether the id was never set.
func (id ID[K]) IsZero() bool { return id == ID[K]{} }

// Time is when the id was made, to the millisecond; meaningless for ids that are not UUIDv7.
func (id ID[K]) Time() time.Time {
	ms := int64(id[0])<<40 | int64(id[1])<<32 | int64(id[2])<<24 | int64(id[3])<<16 | int64(id[4])<<8 | int64(id[5])
	return time.UnixMilli(ms).UTC()
}

// UUID is the bare value, for storage.
func (id ID[K]) UUID() uuid.UUID { return uuid.UUID(id) }

// MarshalText writes the text form.
func (id ID[K]) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the text form; empty text leaves the id unset.
func (id *ID[K]) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*id = ID[K]{}
		return nil
	}
	parsed, err := ParseID[ID[K]](string(text))
	if err != nil {
		return fmt.Errorf("parse id: %w", err)
	}
	*id = parsed
	return nil
}

// FirstID and its like bound a range of ids by time: the smallest id that a moment can have.
func FirstID[I ID[K], K kind](at time.Time) I {
	var id I
	ms := at.UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}
