package api

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// applyIssuer checks the input and puts it into i, which is the issuer as it was, or new.
func (a *API) applyIssuer(c *call, in IssuerInput, i *hub.Issuer) error {
	if err := c.mayAddress(in.IssuerFields, *i); err != nil {
		return err
	}
	i.Name, i.Issuer, i.Audiences, i.AuthorizedParties = in.Name, in.Issuer, in.Audiences, in.AuthorizedParties
	i.RequiredClaims, i.SessionSeconds, i.SharesChannels, i.Metadata = in.RequiredClaims, in.SessionSeconds, in.SharesChannels, in.Metadata
	if c.operates() {
		i.JWKSURI, i.Internal = "", false
		if in.JWKSURI != nil {
			i.JWKSURI = *in.JWKSURI
		}
		if in.Internal != nil {
			i.Internal = *in.Internal
		}
	}
	i.Grants = make([]hub.Grant, len(in.Grants))
	for n, g := range in.Grants {
		i.Grants[n] = g.Grant
	}
	errs := []error{hub.ValidateName(i.Name), a.checkAddress("body.issuer", i.Issuer), i.Metadata.Validate(), checkAudiences(*i), checkClaims(i.RequiredClaims)}
	if i.JWKSURI != "" {
		errs = append(errs, a.checkAddress("body.jwks_uri", i.JWKSURI))
	}
	if _, err := a.compileGrants(*i); err != nil {
		errs = append(errs, err)
	}
	return join(errs...)
}

// operates says whether the caller is an operator.
func (c *call) operates() bool {
	return c.principal.Kind == hub.PrincipalOperator || c.principal.Kind == hub.PrincipalSystem
}

// mayAddress refuses a tenant that would set what the hub asks inside its own network, or move the address of a row
// that an operator has exempted.
func (c *call) mayAddress(in IssuerFields, was hub.Issuer) error {
	if c.operates() {
		return nil
	}
	if in.JWKSURI != nil && *in.JWKSURI != was.JWKSURI || in.Internal != nil && *in.Internal != was.Internal {
		return hub.Errorf(hub.ScopeMissing, "only an operator sets jwks_uri and internal")
	}
	if (was.Internal || was.JWKSURI != "") && in.Issuer != was.Issuer {
		return hub.Errorf(hub.ScopeMissing, "only an operator changes the address of an issuer that an operator has set up")
	}
	return nil
}

// checkAddress checks the URL of an issuer or its keys: https but under dev, and nothing in it but scheme, host and
// path.
func (a *API) checkAddress(location, s string) error {
	u, err := url.Parse(s)
	switch {
	case err != nil || !u.IsAbs() || u.Hostname() == "" || u.Opaque != "":
		return hub.FieldErrorf(location, "is not the URL of a server")
	case u.Scheme != "https" && (u.Scheme != "http" || !a.o.Dev):
		return hub.FieldErrorf(location, "is not https")
	case u.User != nil || strings.ContainsAny(s, "?#"):
		return hub.FieldErrorf(location, "has a user, a query or a fragment")
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }):
		return hub.FieldErrorf(location, "has characters that no URL has")
	}
	return nil
}

func checkAudiences(i hub.Issuer) error {
	if len(i.Audiences)+len(i.AuthorizedParties) == 0 {
		return hub.FieldErrorf("body.audiences", "at least one audience or authorized party: else any token of the issuer would do")
	}
	var errs []error
	for _, list := range []struct {
		name   string
		values []string
	}{{"audiences", i.Audiences}, {"authorized_parties", i.AuthorizedParties}} {
		for n, value := range list.values {
			if value == "" || len(value) > 500 || strings.Contains(value, "*") {
				errs = append(errs, hub.FieldErrorf("body."+list.name+"["+strconv.Itoa(n)+"]", "1 to 500 characters, none of them a wildcard"))
			}
		}
	}
	return join(errs...)
}

func checkClaims(claims map[string]any) error {
	for path, value := range claims {
		if path == "" || len(path) > 200 {
			return hub.FieldErrorf("body.required_claims", "a claim's path has 1 to 200 characters")
		}
		if !isKept(value) {
			return hub.FieldErrorf("body.required_claims", "a number of 2^53 or more is not kept exactly, and would be like no token's")
		}
	}
	return nil
}

// isKept says whether what JSON has read, as float64, is what was written.
func isKept(value any) bool {
	switch value := value.(type) {
	case float64:
		return math.Abs(value) < 1<<53
	case []any:
		return !slices.ContainsFunc(value, func(v any) bool { return !isKept(v) })
	case map[string]any:
		for _, v := range value {
			if !isKept(v) {
				return false
			}
		}
	}
	return true
}

// compileGrants compiles an issuer's grants; the error names each that does not.
func (a *API) compileGrants(i hub.Issuer) ([]*expr.Grant, error) {
	compiled := make([]*expr.Grant, 0, len(i.Grants))
	var errs []error
	for n, g := range i.Grants {
		grant, err := a.o.Directory.Claims().Grant(fmt.Sprintf("body.grants[%d]", n), g, i.Name)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		compiled = append(compiled, grant)
	}
	return compiled, join(errs...)
}

// keepApart refuses an issuer whose grants could give a channel that another issuer's give: who is 7 at one is
// somebody else than who is 7 at the other.
func (a *API) keepApart(ctx context.Context, change *store.Change, i hub.Issuer) error {
	if i.SharesChannels {
		return nil
	}
	mine, err := a.compileGrants(i)
	if err != nil {
		return err
	}
	others, err := change.AllIssuers(ctx)
	if err != nil {
		return err
	}
	for _, other := range others {
		if other.ID == i.ID {
			continue
		}
		theirs, err := a.compileGrants(other)
		if err != nil {
			a.o.Log.WarnContext(ctx, "stored grant does not compile", "issuer", other.ID, "error", err)
		}
		for n, g := range mine {
			if slices.ContainsFunc(theirs, g.Overlaps) {
				e := hub.FieldErrorf(fmt.Sprintf("body.grants[%d]", n), "could give a channel that issuer %s gives too: begin it differently, or, if both mean the same people, say shares_channels", other.Name)
				e.Code = hub.GrantsOverlap
				return e
			}
		}
	}
	return nil
}

// checkIssuerPatch checks what a patch says before there is an issuer that it is said of.
func (a *API) checkIssuerPatch(p patch[IssuerInput]) error {
	probe, err := patched(a, IssuerInput{Name: "x", IssuerFields: IssuerFields{
		Issuer: "https://x", Audiences: []string{"x"}, AuthorizedParties: []string{"x"}, Grants: []Grant{{hub.Grant{Pattern: "x"}}},
	}}, p)
	if err != nil {
		return err
	}
	return a.applyIssuer(&call{principal: hub.Principal{Kind: hub.PrincipalSystem}}, probe, &hub.Issuer{})
}
