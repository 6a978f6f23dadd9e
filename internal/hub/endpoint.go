package hub

import "time"

// An Endpoint is where one provider sends one tenant's webhooks.
type Endpoint struct {
	ID         EndpointID
	Name       string
	Provider   string // a name of the catalogue
	State      State
	Mode       EndpointMode
	Config     map[string]string // what the provider's preset asks for besides secrets
	Token      string            // of the URL /in/{token}: a secret, shown to config:read alone
	ArmedUntil *time.Time        // a handshake that sets the secret is taken until then
	Metadata   Metadata
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// A State says whether an endpoint takes webhooks, or a route runs.
type State string

// The states of endpoints and routes.
const (
	Enabled  State = "enabled"
	Disabled State = "disabled"
)

// An EndpointMode says what happens to webhooks that do not verify.
type EndpointMode string

// The modes of an endpoint: enforce refuses what does not verify; monitor accepts it, marked with the cause.
const (
	ModeEnforce EndpointMode = "enforce"
	ModeMonitor EndpointMode = "monitor"
)

// A Secret is one signing secret of an endpoint, without its value.
type Secret struct {
	ID         SecretID
	Endpoint   EndpointID
	State      SecretState
	ExpiresAt  *time.Time
	LastUsedAt *time.Time
	Matches    int64 // webhooks that verified with it; counted in batches
	CreatedAt  time.Time
	UpdatedAt  time.Time
}

// A SecretState says whether a secret verifies.
type SecretState string

// The states of a secret. A candidate is tried only to count its matches: it never accepts a webhook.
const (
	SecretActive    SecretState = "active"
	SecretCandidate SecretState = "candidate"
)

// A Cause says why a webhook did not verify.
type Cause string

// The causes of SignatureInvalid.
const (
	NoSignature          Cause = "no_signature"
	MalformedSignature   Cause = "malformed_signature"
	UnknownSchemeVersion Cause = "unknown_scheme_version"
	SignatureMismatch    Cause = "signature_mismatch"
	TimestampMissing     Cause = "timestamp_missing"
	TimestampTooOld      Cause = "timestamp_too_old"
	TimestampInFuture    Cause = "timestamp_in_future"
	NoActiveSecret       Cause = "no_active_secret"
	WrongAccount         Cause = "wrong_account"
	HandshakeFailed      Cause = "handshake_failed"
)

// A Rejection is a webhook that was refused. A bounded ring per endpoint keeps them.
type Rejection struct {
	ID         RejectionID
	Endpoint   EndpointID
	Cause      Cause
	Detail     string // one sentence for the tenant
	ReceivedAt time.Time
	Header     []byte  // wire form, without credentials
	Body       []byte  // as received
	Truncated  bool    // Body holds only the beginning: such a rejection cannot be retried
	Retried    EventID // the event that a retry made of it
}
