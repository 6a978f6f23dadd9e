package provider

import (
	"net/http"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/signature"
)

// A Request is a webhook as it came in.
type Request struct {
	Method  string
	Header  http.Header // names in canonical form
	Body    []byte      // raw
	Secrets []Secret    // of the endpoint, opened: active ones and candidates, expired or not
	Config  map[string]string
	At      time.Time // the arrival; required
}

// A Verdict is what was decided about a request.
type Verdict struct {
	OK     bool
	Cause  hub.Cause // why not
	Detail string    // the cause in one sentence for the tenant, without a secret or a signature
	Fault  error     // ours, not the sender's: nothing was decided

	Secret     hub.SecretID   // which active secret made the signature
	Candidates []hub.SecretID // which candidates did; they never accept
	SignedAt   time.Time      // zero where no time was signed

	Type       string // "" where there is none; of an unverified request as good as a guess
	ProviderID string
	Dedup      hub.Dedup  // zero unless OK, and for handshakes
	Handshake  *Handshake // to be answered instead of stored
}

// Err is the refusal: nil where the verdict is good.
func (v Verdict) Err() error {
	switch {
	case v.OK:
		return nil
	case v.Fault != nil:
		return v.Fault
	}
	err := hub.Errorf(hub.SignatureInvalid, "%s", v.Detail)
	err.Cause = v.Cause
	return err
}

// Verify decides about a request, by computing alone: no scheme here needs a key that is not the endpoint's own.
func (p *Provider) Verify(r Request) Verdict {
	p, err := p.with(r.Config)
	if err != nil {
		return Verdict{Fault: hub.Errorf(hub.Unavailable, "the endpoint's configuration cannot be used: %w", err)}
	}
	doc := document{body: r.Body}
	v := p.judge(&r)
	v.Type = firstValue(p.types, r.Header, &doc)
	id, signed := identify(p.ids, r.Header, &doc)
	v.ProviderID = joinID(id)
	if !v.OK {
		return v
	}
	if p.answer != nil {
		handshake, failure := p.answer(v.Type, &doc)
		if failure != nil {
			v.OK, v.Secret, v.Cause, v.Detail = false, hub.SecretID{}, failure.Cause, failure.Detail
			return v
		}
		if handshake != nil {
			v.Handshake = handshake
			return v
		}
	}
	v.Dedup = p.dedup(v.Type, id, signed, r.Body)
	return v
}

func joinID(id []value) string {
	if len(id) == 1 {
		return id[0].text
	}
	texts := make([]string, len(id))
	for i, v := range id {
		texts[i] = v.text
	}
	return strings.Join(texts, "+")
}

// judge tries every secret that has not expired, whatever the ones before it gave.
func (p *Provider) judge(r *Request) Verdict {
	claim, failure := p.scheme.Read(signature.Message{Method: r.Method, Header: r.Header, Body: r.Body})
	var v Verdict
	active, matched := false, false
	form := p.scheme.Declaration().Key
	for i := range r.Secrets {
		s := &r.Secrets[i]
		if s.expired(r.At) {
			continue
		}
		key, err := form.Decode(s.Value)
		if err != nil {
			continue // CheckSecret lets none in; one that is there all the same can make no signature
		}
		active = active || !s.Candidate
		if failure != nil || !claim.MadeBy(key) {
			continue
		}
		switch {
		case s.Candidate:
			v.Candidates = append(v.Candidates, s.ID)
		case !matched:
			matched, v.Secret = true, s.ID
		}
	}
	switch {
	case !active:
		failure = &signature.Failure{Cause: hub.NoActiveSecret, Detail: "The endpoint has no active secret that could verify."}
	case failure != nil:
	case !matched && len(v.Candidates) > 0:
		failure = &signature.Failure{Cause: hub.SignatureMismatch, Detail: "Only a candidate secret made this signature, and candidates never accept."}
	case !matched:
		failure = &signature.Failure{Cause: hub.SignatureMismatch, Detail: "No active secret made this signature over the body as it arrived."}
	default:
		v.SignedAt = claim.SignedAt
		failure = claim.CheckTime(r.At)
	}
	if failure != nil {
		v.Secret, v.Cause, v.Detail = hub.SecretID{}, failure.Cause, failure.Detail
		return v
	}
	v.OK = true
	return v
}
