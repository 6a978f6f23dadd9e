package api

import (
	"context"
	"errors"

	"github.com/tributary-hub/tributary/internal/hub"
)

// CheckIssuer asks an issuer for its keys, by its discovery document or where jwksURI says; internal lets it ask what
// the operator has exempted. hub.IssuerUnreachable is its one answer to whatever goes wrong there.
type CheckIssuer func(ctx context.Context, issuer, jwksURI string, internal bool) error

// An address is what of an issuer the hub asks.
type address struct {
	issuer, jwksURI string
	internal        bool
}

func addressOf(i hub.Issuer) address { return address{i.Issuer, i.JWKSURI, i.Internal} }

// unaskedError undoes a change that would save an address which was not asked yet.
type unaskedError struct{ address }

func (*unaskedError) Error() string { return "an issuer's address was not asked yet" }

// maxAsks bounds how often one request asks: a second time where somebody else has moved the row meanwhile.
const maxAsks = 2

// asking runs fn, which saves an issuer and holds what it saves against asked, the address that has answered. The
// first run finds out whether there is one to ask, with everything else already checked; then fn is undone, so that
// no transaction waits for a stranger's server, and runs again.
func (a *API) asking(ctx context.Context, fn func(asked address) (Issuer, error)) (Issuer, error) {
	var asked address
	for n := 0; ; n++ {
		saved, err := fn(asked)
		unasked, ok := errors.AsType[*unaskedError](err)
		if !ok {
			return saved, err
		}
		if n == maxAsks {
			return Issuer{}, hub.Errorf(hub.Conflict, "others keep changing the issuer's address")
		}
		if err := a.ask(ctx, unasked.address); err != nil {
			return Issuer{}, err
		}
		asked = unasked.address
	}
}

// reached refuses to save an address that is neither the one that the issuer had nor the one that has answered.
func (a *API) reached(i, was hub.Issuer, asked address) error {
	if at := addressOf(i); at != addressOf(was) && at != asked {
		return &unaskedError{at}
	}
	return nil
}

func (a *API) ask(ctx context.Context, at address) error {
	err := a.o.CheckIssuer(ctx, at.issuer, at.jwksURI, at.internal)
	e, ok := asCoded(err)
	if !ok || e.Code != hub.IssuerUnreachable {
		return err
	}
	location := "body.issuer"
	if at.jwksURI != "" {
		location = "body.jwks_uri"
	}
	placed := hub.FieldErrorf(location, "%s", e.Message)
	placed.Code = hub.IssuerUnreachable
	return placed
}
