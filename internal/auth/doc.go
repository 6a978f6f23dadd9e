// Package auth says who is calling and what they may: API keys, tokens of tenants' issuers, and the channels that
// these open. It owns the rules by which a token is good, how long a credential lives, and what its grants give. It
// fetches nothing itself (egress has the issuers' keys), keeps no configuration, and knows no HTTP but the header
// that a credential comes in.
package auth
