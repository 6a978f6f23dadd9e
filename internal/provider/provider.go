// Package provider is the catalogue: who signs webhooks and how, as data, one file a family, and a provider that
// deviates in a file of its own. It owns the verdict on a request, the handshakes, the identity and the likeness of
// events, the explanation of a refusal, and the samples that can be sent. It stores nothing, fetches nothing, and
// leaves schemes to signature; what becomes of a verdict is ingest's.
package provider

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/signature"
)

// A Provider is one entry of the catalogue. What Get and All give is shared and must not be changed.
type Provider struct {
	Name  string // in URLs and configuration: stripe
	Title string // for people: Stripe

	Scheme   string   // kind and hash: hmac-sha256
	Signed   string   // template of the signed bytes: {ts}.{body}
	Encoding string   // of the signature: hex, base64
	Headers  []string // that it reads, the signature's first; what is after a "|" is another name of the same

	Handshake  string   // its kind; "": none
	SetsSecret bool     // the handshake brings the secret, which an endpoint takes while it is armed
	ID         []string // where the event's id stands, the first that is there: header:NAME, json:PATH; + joins parts
	Type       []string // where the event's type stands, the first that is there

	Tolerance        time.Duration // between signed time and arrival; zero: no signed time, or not checked
	ReplayProtection ReplayProtection
	Coverage         Coverage

	Settings       []Setting         // what an endpoint's configuration may say
	RequiredConfig []string          // those that it must say
	Example        map[string]string // a configuration to begin with; nil where none is required
	Setup          string            // what to paste where
	UserSetsSecret bool              // the secret is the user's choice; else the provider shows one

	CredentialHeaders []string // headers that hold a secret, to be sealed
	CredentialPaths   []string // places in the body that hold one: Redact takes them out

	Reply *Reply // what the provider reads in the answer; nil: the hub's own JSON

	declared    signature.HMAC
	alsoSent    []signature.HMAC // signatures that the provider sends beside and the hub never reads
	sent        []sentHeader
	secretForm  textForm
	secretLooks string // how its secrets begin, where they always do
	idForm      textForm
	keep        time.Duration // of dedup keys; zero: by whether there is an id
	dedupOff    bool
	answer      answerFunc
	redact      func(body []byte) []byte
	apply       func(p *Provider, config map[string]string) error // beyond the tolerance; nil: nothing

	// Made of what stands above, once.
	scheme     *signature.Scheme
	also       []*signature.Scheme
	ids        []identity
	types      []ref
	configured bool
}

// A Reply is the body of a 2xx answer that a provider expects.
type Reply struct {
	ContentType string
	Body        string
}

// ReplayProtection says what refuses a captured request that is sent again.
type ReplayProtection string

// The kinds of replay protection.
const (
	ReplayTime ReplayProtection = "time" // a signed time, bounded by the tolerance
	ReplayID   ReplayProtection = "id"   // a signed id, remembered for seven days
	ReplayNone ReplayProtection = "none"
)

// Coverage says how much of an event its signature covers.
type Coverage string

// The kinds of coverage.
const (
	CoversBody    Coverage = "whole-body"
	CoversPart    Coverage = "part-of-body"
	CoversNothing Coverage = "nothing"
)

// Get finds a provider by its name.
func Get(name string) (*Provider, bool) {
	i, ok := slices.BinarySearchFunc(catalogue, name, func(p *Provider, name string) int {
		return strings.Compare(p.Name, name)
	})
	if !ok {
		return nil, false
	}
	return catalogue[i], true
}

// All gives the catalogue, sorted by name.
func All() []*Provider {
	return slices.Clone(catalogue)
}

// Redact gives the body as it may be shown: without the credentials that this provider puts into it. It is the body
// itself where there are none, and nil where they cannot be told from the rest.
func (p *Provider) Redact(body []byte) []byte {
	if p.redact == nil {
		return body
	}
	return p.redact(body)
}

// finish compiles the declaration and derives the facts that follow from it.
func (p *Provider) finish() error {
	var err error
	if p.scheme, err = p.declared.Compile(); err != nil {
		return err
	}
	p.also = make([]*signature.Scheme, len(p.alsoSent))
	for i, d := range p.alsoSent {
		if p.also[i], err = d.Compile(); err != nil {
			return err
		}
	}
	if p.ids, err = parseIdentities(p.ID, p.scheme); err != nil {
		return fmt.Errorf("id: %w", err)
	}
	if p.types, err = parseRefs(p.Type); err != nil {
		return fmt.Errorf("type: %w", err)
	}
	d := p.scheme.Declaration()
	p.Scheme, p.Signed, p.Encoding = "hmac-"+string(d.Hash), d.Signed, string(d.Encoding)
	p.Headers = p.headers()
	p.Tolerance = 0
	if d.Time != nil {
		p.Tolerance = d.Time.Tolerance
	}
	p.Coverage = CoversNothing
	if p.scheme.CoversBody() {
		p.Coverage = CoversBody
	}
	p.ReplayProtection = p.replayProtection()
	p.RequiredConfig = nil
	for _, s := range p.Settings {
		if s.Required {
			p.RequiredConfig = append(p.RequiredConfig, s.Name)
		}
	}
	return nil
}

// headers lists them as the provider's documentation spells them.
func (p *Provider) headers() []string {
	d := p.declared
	names := []string{strings.Join(d.Headers, "|")}
	if d.Time != nil && len(d.Time.Headers) > 0 {
		names = append(names, strings.Join(d.Time.Headers, "|"))
	}
	for _, refs := range [][]string{p.ID, p.Type} {
		var group []string
		for _, r := range refs {
			if name, ok := strings.CutPrefix(r, "header:"); ok {
				group = append(group, name)
			}
		}
		if len(group) > 0 {
			names = append(names, strings.Join(group, "|"))
		}
	}
	return names
}

func (p *Provider) replayProtection() ReplayProtection {
	switch {
	case p.Tolerance > 0:
		return ReplayTime
	case len(p.ids) > 0 && p.ids[0].signed && !p.dedupOff:
		return ReplayID
	default:
		return ReplayNone
	}
}
