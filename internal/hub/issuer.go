package hub

import "time"

// An Issuer is an OIDC issuer that a tenant trusts, and what its tokens may read.
type Issuer struct {
	ID                IssuerID
	Name              string
	Issuer            string         // the iss claim, an https URL
	Audiences         []string       // one of them in aud
	AuthorizedParties []string       // or azp, without one client_id, among these
	RequiredClaims    map[string]any // claim path to the value it must have
	Grants            []Grant
	SessionSeconds    *int   // lets tickets, cookies and streams outlive a short token
	SharesChannels    bool   // its grants may overlap another row's
	JWKSURI           string // set by operators alone: instead of discovery
	Internal          bool   // an operator's row: its addresses may be exempt from the SSRF guard
	Metadata          Metadata
	CreatedAt         time.Time
	UpdatedAt         time.Time
}

// A Grant is a channel pattern with claims in braces, such as user:{sub}, given where When holds.
type Grant struct {
	Pattern string
	When    string // CEL over claims; "": always
}
