package provider

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/signature"
)

// Explain says in sentences why a request did not verify, the plain cause first and then whatever can be found out
// by trying: other forms of the secrets, other spellings of the body, other providers' headers, clocks. It costs
// some dozens of verifications and is for the slow lane. No sentence holds a secret or a signature; of the request it
// has names of headers and the signed time.
func (p *Provider) Explain(r Request) []string {
	v := p.Verify(r)
	switch {
	case v.Fault != nil:
		return []string{"The endpoint's configuration cannot be used: " + v.Fault.Error() + "."}
	case v.OK:
		return []string{p.explainAccepted(&v)}
	}
	p, err := p.with(r.Config)
	if err != nil {
		return []string{v.Detail}
	}
	e := explanation{p: p, r: &r, sentences: []string{v.Detail}}
	switch v.Cause {
	case hub.NoSignature:
		e.headers()
	case hub.UnknownSchemeVersion, hub.MalformedSignature:
		e.form()
	case hub.TimestampTooOld, hub.TimestampInFuture:
		e.clock(&v)
	case hub.NoActiveSecret:
		e.secretStates()
	case hub.SignatureMismatch:
		e.mismatch(&v)
	default:
	}
	return e.sentences
}

func (p *Provider) explainAccepted(v *Verdict) string {
	s := "The signature verifies"
	if !v.Secret.IsZero() {
		s += " with secret " + v.Secret.String()
	}
	if v.Handshake != nil {
		s += "; the request is the handshake of " + p.Title + ", answered and not stored"
	}
	return s + "."
}

// An explanation collects sentences about one request.
type explanation struct {
	p         *Provider
	r         *Request
	sentences []string
}

func (e *explanation) say(format string, args ...any) {
	e.sentences = append(e.sentences, fmt.Sprintf(format, args...))
}

// headers looks for signatures of somebody else, and for the provider's own that are not read.
func (e *explanation) headers() {
	own := e.p.scheme.Declaration().Headers
	for _, also := range e.p.also {
		name := also.Declaration().Headers[0]
		if len(e.r.Header[name]) > 0 {
			e.say("%s is there, an older signature of %s that is never read.", name, e.p.Title)
		}
	}
	for _, other := range All() {
		if other.Name == e.p.Name || other.apply != nil {
			continue
		}
		for _, name := range other.scheme.Declaration().Headers {
			if len(e.r.Header[name]) > 0 && !slices.Contains(own, name) {
				e.say("The request has %s, as %s sends it: perhaps this URL was given to %s, or the endpoint has the wrong provider.", name, other.Title, other.Title)
			}
		}
	}
	if len(e.sentences) == 1 {
		e.say("%s sends the signature in %s; either no secret is set there, something in between removes the header, or the request is not from %s.",
			e.p.Title, strings.Join(own, " or "), e.p.Title)
	}
}

// form says how the header ought to look.
func (e *explanation) form() {
	d := e.p.scheme.Declaration()
	text := "<" + string(d.Encoding) + ">"
	if d.Layout == signature.Single {
		text = d.Prefix + text
	} else {
		text = d.SigKeys[0] + d.KVSep + text
		if d.TimeKey != "" {
			text = d.TimeKey + d.KVSep + "<timestamp>" + d.Sep + text
		}
	}
	e.say("%s sends %s: %s, the %s of %s.", e.p.Title, d.Headers[0], text, e.p.Scheme, d.Signed)
}

// clock says which clock is likely wrong.
func (e *explanation) clock(v *Verdict) {
	skew := e.r.At.Sub(v.SignedAt).Abs().Round(time.Second)
	e.say("The signature itself is right; the time in it is %s away from this machine's clock (%s and %s).",
		skew, v.SignedAt.UTC().Format(time.RFC3339), e.r.At.UTC().Format(time.RFC3339))
	if v.Cause == hub.TimestampInFuture {
		e.say("Compare both clocks with a time server: one of them is wrong.")
		return
	}
	e.say("Either this machine's clock is ahead, the request was held back on its way, or somebody sent an old request again; " +
		"a sender whose retries keep the first signature needs a longer tolerance.")
}

func (e *explanation) secretStates() {
	if len(e.r.Secrets) == 0 {
		e.say("Add a secret to the endpoint: %s", e.p.Setup)
		return
	}
	for i := range e.r.Secrets {
		s := &e.r.Secrets[i]
		if _, err := e.p.scheme.Declaration().Key.Decode(s.Value); err != nil {
			e.say("Secret %s cannot be used: %s.", e.name(i), err)
			continue
		}
		switch {
		case s.expired(e.r.At):
			e.say("Secret %s expired at %s.", e.name(i), s.ExpiresAt.UTC().Format(time.RFC3339))
		case s.Candidate:
			e.say("Secret %s is a candidate, which never accepts: make it active.", e.name(i))
		}
	}
}

// name is how a secret is called in sentences; those that were given by hand have no id.
func (e *explanation) name(i int) string {
	if id := e.r.Secrets[i].ID; !id.IsZero() {
		return id.String()
	}
	return fmt.Sprintf("number %d", i+1)
}

// mismatch tries what usually went wrong, one thing at a time: the first that makes the signature fit is the cause.
func (e *explanation) mismatch(v *Verdict) {
	for _, id := range v.Candidates {
		e.say("Candidate secret %s made it: make that one active.", id)
	}
	read := func(body []byte) (signature.Claim, bool) {
		claim, failure := e.p.scheme.Read(signature.Message{Method: e.r.Method, Header: e.r.Header, Body: body})
		return claim, failure == nil
	}
	claim, ok := read(e.r.Body)
	if !ok {
		return
	}
	found := len(v.Candidates) > 0
	for i := range e.r.Secrets {
		found = e.otherKeys(i, &claim) || found
	}
	if !found {
		found = e.otherBodies(read)
	}
	if found {
		return
	}
	e.secretLooks()
	if len(e.r.Header["Content-Encoding"]) > 0 {
		e.say("The request says Content-Encoding: the signature covers the bytes before or after compression, and something in between changed that.")
	}
	if len(e.sentences) == 1 {
		e.say("No other form of the endpoint's secrets and no other spelling of the body fits either: the secret is another one (each webhook of a sender often has its own), or the body or a signed header was changed on the way.")
	}
}

// otherKeys tries one secret in the forms in which people paste it.
func (e *explanation) otherKeys(i int, claim *signature.Claim) bool {
	s := &e.r.Secrets[i]
	if key, err := e.p.scheme.Declaration().Key.Decode(s.Value); err == nil && s.expired(e.r.At) && claim.MadeBy(key) {
		e.say("Secret %s made it, and expired at %s.", e.name(i), s.ExpiresAt.UTC().Format(time.RFC3339))
		return true
	}
	for _, v := range keyVariants(e.p.scheme.Declaration().Key, s.Value) {
		if claim.MadeBy(v.key) {
			e.say("The signature fits secret %s %s.", e.name(i), v.how)
			return true
		}
	}
	return false
}

// otherBodies tries the spellings into which software on the way turns a body.
func (e *explanation) otherBodies(read func([]byte) (signature.Claim, bool)) bool {
	form := e.p.scheme.Declaration().Key
	for v := range bodyVariants(e.r.Body) {
		claim, ok := read(v.body)
		if !ok {
			continue
		}
		for i := range e.r.Secrets {
			key, err := form.Decode(e.r.Secrets[i].Value)
			if err == nil && claim.MadeBy(key) {
				e.say("The signature fits the body %s: something between %s and the hub rewrites it, and it must arrive byte for byte.", v.how, e.p.Title)
				return true
			}
		}
	}
	return false
}

// secretLooks points at secrets that look like some other credential.
func (e *explanation) secretLooks() {
	if e.p.apply != nil {
		return // an endpoint of its own kind may have any secret
	}
	for i := range e.r.Secrets {
		value := string(e.r.Secrets[i].Value)
		if hint := e.p.looksLike(value); hint != "" {
			e.say("Secret %s %s. %s", e.name(i), hint, e.p.Setup)
		}
		if strings.TrimSpace(value) != value {
			e.say("Secret %s has white space at an end: perhaps it was pasted with a line break.", e.name(i))
		}
	}
}
