package hub

import "time"

// A Tenant is a customer of the operator; it owns everything below it.
type Tenant struct {
	ID            TenantID
	Slug          string
	Name          string
	State         TenantState
	Limits        Limits
	RetentionDays *int // nil: the hub's retention; at most that
	Settings      Settings
	Metadata      Metadata
	ConfigVersion int64 // rises with each change to the tenant or to anything that it owns
	CreatedAt     time.Time
	UpdatedAt     time.Time
}

// A TenantState says whether a tenant is served.
type TenantState string

// The states of a tenant. A suspended one's webhooks, keys and streams are refused; nothing of it is lost.
const (
	Active    TenantState = "active"
	Suspended TenantState = "suspended"
)

// Settings are what a tenant decides about its browsers.
type Settings struct {
	AllowedOrigins    []string // exact origins, such as https://app.example.com; no "*", no "null"
	SameSite          string   // of cookies: lax (default), strict, none
	TicketSeconds     int      // a ticket's first use, 1–600; default 60
	TicketReuse       string   // session (default) or none
	CredentialSeconds int      // the longest life of a credential, whatever its exp; default 86400
	Presence          []string // channel prefixes whose joins and leaves are told
}

// DefaultSettings are those of a tenant that has set none.
func DefaultSettings() Settings {
	return Settings{SameSite: "lax", TicketSeconds: 60, TicketReuse: "session", CredentialSeconds: 86400}
}

// Limits bound what a tenant may do. A nil limit is the hub's default, and where that has none, no limit.
type Limits struct {
	WebhooksPerSecond     *int
	WebhooksBurst         *int
	BodyBytes             *int
	Connections           *int
	ConnectionsPerSubject *int
	ConnectionsPerAddress *int
	ChannelsPerConnection *int
	ConnectsPerSecond     *int
	PublishesPerSecond    *int
	Endpoints             *int
	Routes                *int
	Issuers               *int
	StateKeys             *int
	GenerationsOpen       *int
}

// DefaultLimits has the numbers that hold where neither tenant nor operator says one.
func DefaultLimits() Limits {
	return Limits{
		BodyBytes:             new(1 << 20),
		ChannelsPerConnection: new(100),
		Routes:                new(200),
		Issuers:               new(20),
		StateKeys:             new(10_000),
		GenerationsOpen:       new(1_000),
	}
}

// Or fills what l leaves open from defaults.
func (l Limits) Or(defaults Limits) Limits {
	mine, theirs := l.fields(), defaults.fields()
	for i := range mine {
		if *mine[i].Value == nil {
			*mine[i].Value = *theirs[i].Value
		}
	}
	return l
}

// A NamedLimit is one limit and its name in the API and in TRIBUTARY_LIMIT_<NAME>.
type NamedLimit struct {
	Name  string
	Value **int
}

// Fields lists the limits by name, each with the place of its value in l.
func (l *Limits) Fields() []NamedLimit { return l.fields() }

func (l *Limits) fields() []NamedLimit {
	return []NamedLimit{
		{"webhooks_per_second", &l.WebhooksPerSecond},
		{"webhooks_burst", &l.WebhooksBurst},
		{"body_bytes", &l.BodyBytes},
		{"connections", &l.Connections},
		{"connections_per_subject", &l.ConnectionsPerSubject},
		{"connections_per_address", &l.ConnectionsPerAddress},
		{"channels_per_connection", &l.ChannelsPerConnection},
		{"connects_per_second", &l.ConnectsPerSecond},
		{"publishes_per_second", &l.PublishesPerSecond},
		{"endpoints", &l.Endpoints},
		{"routes", &l.Routes},
		{"issuers", &l.Issuers},
		{"state_keys", &l.StateKeys},
		{"generations_open", &l.GenerationsOpen},
	}
}
