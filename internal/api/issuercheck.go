package api

import (
	"context"
	"net/http"
	"time"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// IssuerCheck is a token to be judged.
type IssuerCheck struct {
	Token string `json:"token" minLength:"1" maxLength:"16384" writeOnly:"true" example:"eyJhbGciOi…" doc:"An OIDC token, as an end user would send it. It is not kept."`
}

// IssuerVerdict says what a token would get.
type IssuerVerdict struct {
	OK        bool                 `json:"ok"`
	Reason    string               `json:"reason,omitempty" example:"the token has expired" doc:"Which rule the token fails."`
	Issuer    hub.IssuerID         `json:"issuer,omitzero" example:"iss_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05" doc:"The row by which it was judged."`
	Subject   string               `json:"subject,omitempty" example:"user-7"`
	ExpiresAt *time.Time           `json:"expires_at,omitempty" doc:"When the credential ends here."`
	Channels  []hub.ChannelPattern `json:"channels" example:"[\"user:user-7\"]" doc:"What the grants give it."`
	Failures  []string             `json:"failures" doc:"Grants that failed on its claims, and gave nothing."`
}

// IssuerCheckRequest asks about a token.
type IssuerCheckRequest struct {
	TenantPath
	Body IssuerCheck
}

func (a *API) issuerCheck(path string) {
	register(a, operation{
		id: "checkIssuers", method: http.MethodPost, path: path, tag: "Issuers",
		summary: "Explain a token", about: "Says what a token would get from the tenant's issuers, or which rule it fails.",
		scopes: []hub.Scope{hub.ConfigRead}, again: true,
	}, a.checkIssuers)
}

func (a *API) checkIssuers(ctx context.Context, c *call, in *IssuerCheckRequest) (IssuerVerdict, error) {
	var tenant hub.Tenant
	rows, err := read(ctx, a, c, func(tx *store.Tx) (rows []hub.Issuer, err error) {
		if tenant, err = tx.Tenant(ctx); err != nil {
			return nil, err
		}
		return tx.AllIssuers(ctx)
	})
	if err != nil {
		return IssuerVerdict{}, err
	}
	issuers := make([]*directory.Issuer, 0, len(rows))
	for _, row := range rows {
		grants, err := a.compileGrants(row)
		if err != nil {
			a.o.Log.WarnContext(ctx, "stored grant does not compile", "issuer", row.ID, "error", err)
		}
		issuers = append(issuers, &directory.Issuer{Issuer: row, Grants: grants})
	}
	out := IssuerVerdict{Channels: []hub.ChannelPattern{}, Failures: []string{}}
	claims, err := a.o.Verifier.Explain(ctx, in.Body.Token, issuers)
	if err != nil {
		return out.refused(err)
	}
	out.Issuer, out.Subject = claims.Subject.Issuer, claims.Subject.Sub
	identity, err := claims.Identity(ctx, c.tenant, tenant.Settings, a.o.Now())
	if err != nil {
		return out.refused(err)
	}
	out.OK, out.ExpiresAt, out.Channels = true, utc(&identity.Expires), orEmpty(identity.Grants)
	for _, failure := range identity.Failures {
		out.Failures = append(out.Failures, failure.Error())
	}
	return out, nil
}

// refused is a verdict too, unless the fault is ours: then nothing is known about the token.
func (v IssuerVerdict) refused(err error) (IssuerVerdict, error) {
	e, ok := asCoded(err)
	if !ok || e.Code != hub.Unauthenticated && e.Code != hub.NoGrants {
		return v, err
	}
	v.Reason = e.Message
	return v, nil
}
