package api

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// An Issuer is an OIDC issuer that a tenant trusts, and what its tokens may read.
type Issuer struct {
	ID                hub.IssuerID   `json:"id" example:"iss_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	Name              string         `json:"name" example:"login"`
	Issuer            string         `json:"issuer" example:"https://login.example.com"`
	Audiences         []string       `json:"audiences" example:"[\"app\"]"`
	AuthorizedParties []string       `json:"authorized_parties"`
	RequiredClaims    map[string]any `json:"required_claims"`
	Grants            []Grant        `json:"grants"`
	SessionSeconds    *int           `json:"session_seconds,omitempty" example:"3600"`
	SharesChannels    bool           `json:"shares_channels"`
	JWKSURI           string         `json:"jwks_uri,omitempty" doc:"Set by an operator."`
	Internal          bool           `json:"internal" doc:"Set by an operator: its addresses may be inside the hub's network."`
	Metadata          hub.Metadata   `json:"metadata"`
	CreatedAt         time.Time      `json:"created_at"`
	UpdatedAt         time.Time      `json:"updated_at"`
}

func (i Issuer) version() any { return i }

// A Grant is a channel pattern with claims in braces, given where a condition holds.
type Grant struct{ hub.Grant }

// Schema is that of both forms: the pattern alone, or with its condition.
func (Grant) Schema(huma.Registry) *huma.Schema {
	pattern := func() *huma.Schema {
		s := text(1, hub.MaxExpressionBytes)
		s.Description, s.Examples = "A channel pattern with claims in braces.", []any{"user:{sub}"}
		return s
	}
	when := text(1, hub.MaxExpressionBytes)
	when.Description, when.Examples = "CEL over `claims`: the grant holds where it is true.", []any{"claims.email_verified"}
	return &huma.Schema{OneOf: []*huma.Schema{pattern(), {
		Type: huma.TypeObject, AdditionalProperties: false, Required: []string{"pattern"},
		Properties: map[string]*huma.Schema{"pattern": pattern(), "when": when},
	}}}
}

// grantObject is the long form.
type grantObject struct {
	Pattern string `json:"pattern"`
	When    string `json:"when,omitempty"`
}

// MarshalJSON writes the short form where that says all.
func (g Grant) MarshalJSON() ([]byte, error) {
	if g.When == "" {
		return marshal(g.Pattern)
	}
	return marshal(grantObject(g.Grant))
}

// UnmarshalJSON reads either form.
func (g *Grant) UnmarshalJSON(data []byte) error {
	if bytes.HasPrefix(data, []byte(`"`)) {
		return json.Unmarshal(data, &g.Pattern)
	}
	var long grantObject
	err := json.Unmarshal(data, &long)
	g.Grant = hub.Grant(long)
	return err
}

// IssuerInput is what of an issuer can be changed, and with its name what makes one.
type IssuerInput struct {
	Name string `json:"name" minLength:"1" maxLength:"100" example:"login" doc:"Stands wherever the id does."`
	IssuerFields
}

// IssuerPut creates or replaces an issuer at a name.
type IssuerPut struct {
	Name string `json:"name,omitempty" maxLength:"100" example:"login" doc:"The path's name, or where the path has an id, a new one."`
	IssuerFields
}

// IssuerFields is what both say.
type IssuerFields struct {
	Issuer            string         `json:"issuer" minLength:"1" maxLength:"2000" example:"https://login.example.com" doc:"The tokens' iss: an https URL without query and fragment."`
	Audiences         []string       `json:"audiences,omitempty" maxItems:"50" example:"[\"app\"]" doc:"One of them is in the token's aud."`
	AuthorizedParties []string       `json:"authorized_parties,omitempty" maxItems:"50" doc:"Or the token's azp, or without one its client_id, is among these."`
	RequiredClaims    map[string]any `json:"required_claims,omitempty" maxProperties:"20" doc:"Claims, by path, and the value that each must have."`
	Grants            []Grant        `json:"grants" minItems:"1" maxItems:"100"`
	SessionSeconds    *int           `json:"session_seconds,omitempty" minimum:"60" maximum:"31536000" example:"3600" doc:"Lets streams outlive a short token. For tickets and cookies it is stored and has no effect yet."`
	SharesChannels    bool           `json:"shares_channels,omitempty" doc:"Its grants may give channels that another issuer's give too."`
	JWKSURI           *string        `json:"jwks_uri,omitempty" maxLength:"2000" doc:"Operators only: where its keys are, instead of discovery."`
	Internal          *bool          `json:"internal,omitempty" doc:"Operators only: its addresses may be inside the hub's network."`
	Metadata          hub.Metadata   `json:"metadata,omitempty" maxProperties:"50"`
}

func fromIssuer(i hub.Issuer) Issuer {
	out := Issuer{
		ID: i.ID, Name: i.Name, Issuer: i.Issuer, Audiences: orEmpty(i.Audiences), AuthorizedParties: orEmpty(i.AuthorizedParties),
		RequiredClaims: i.RequiredClaims, Grants: fromGrants(i.Grants), SessionSeconds: i.SessionSeconds, SharesChannels: i.SharesChannels,
		JWKSURI: i.JWKSURI, Internal: i.Internal, Metadata: orNone(i.Metadata), CreatedAt: i.CreatedAt.UTC(), UpdatedAt: i.UpdatedAt.UTC(),
	}
	if out.RequiredClaims == nil {
		out.RequiredClaims = map[string]any{}
	}
	return out
}

func fromGrants(grants []hub.Grant) []Grant {
	out := make([]Grant, len(grants))
	for i, g := range grants {
		out[i] = Grant{g}
	}
	return out
}

func inputOfIssuer(i hub.Issuer) IssuerInput {
	in := IssuerInput{Name: i.Name, IssuerFields: IssuerFields{
		Issuer: i.Issuer, Audiences: i.Audiences, AuthorizedParties: i.AuthorizedParties, RequiredClaims: i.RequiredClaims,
		Grants: fromGrants(i.Grants), SessionSeconds: i.SessionSeconds, SharesChannels: i.SharesChannels, Metadata: i.Metadata,
	}}
	if i.JWKSURI != "" {
		in.JWKSURI = &i.JWKSURI
	}
	if i.Internal {
		in.Internal = &i.Internal
	}
	return in
}

// IssuerPath names an issuer.
type IssuerPath struct {
	TenantPath
	Issuer string `path:"issuer" maxLength:"100" example:"login" doc:"The issuer's id or name."`
}

func (in IssuerPath) ref() (store.Ref[hub.IssuerID], error) {
	return refOf[hub.IssuerID](in.Issuer, "issuer")
}

// The requests of issuers.
type (
	IssuerListRequest struct {
		TenantPath
		Page
	}
	IssuerCreateRequest struct {
		TenantPath
		Body IssuerInput
	}
	IssuerPutRequest struct {
		IssuerPath
		Body IssuerPut
	}
	IssuerPatchRequest struct {
		IssuerPath
		Body patch[IssuerInput]
	}
)

func (a *API) issuers() {
	const all, one = "/v1/tenants/{tenant}/issuers", "/v1/tenants/{tenant}/issuers/{issuer}"
	writes := []hub.Scope{hub.ConfigWrite, hub.MessagesRead}
	register(a, operation{
		id: "createIssuer", method: http.MethodPost, path: all, tag: "Issuers", status: http.StatusCreated,
		summary: "Trust an issuer",
		about: "Whose tokens then read what its grants give them. It needs `messages:read` too, since that is what it hands out. " +
			"The issuer is asked for its keys before it is saved: one that does not answer is `issuer_unreachable`.",
		scopes: writes, refuses: []hub.Code{hub.Conflict, hub.LimitExceeded, hub.GrantsOverlap, hub.IssuerUnreachable},
	}, a.createIssuer)
	register(a, operation{
		id: "listIssuers", method: http.MethodGet, path: all, tag: "Issuers",
		summary: "List the issuers", about: "In the order they were made.", scopes: []hub.Scope{hub.ConfigRead},
	}, a.listIssuers)
	register(a, operation{
		id: "getIssuer", method: http.MethodGet, path: one, tag: "Issuers",
		summary: "Get an issuer", about: "With its grants.", scopes: []hub.Scope{hub.ConfigRead},
	}, a.getIssuer)
	register(a, operation{
		id: "putIssuer", method: http.MethodPut, path: one, tag: "Issuers", or: http.StatusCreated,
		summary: "Create or replace an issuer", about: "At a name. What is absent is the default again. `If-None-Match: *` only creates. A new address is asked for its keys first.",
		scopes: writes, refuses: []hub.Code{hub.Conflict, hub.LimitExceeded, hub.GrantsOverlap, hub.IssuerUnreachable},
	}, a.putIssuer)
	register(a, operation{
		id: "updateIssuer", method: http.MethodPatch, path: one, tag: "Issuers",
		summary: "Change an issuer", about: "Streams that its grants no longer cover end within 10 seconds. A new address is asked for its keys first.",
		scopes: writes, refuses: []hub.Code{hub.Conflict, hub.GrantsOverlap, hub.IssuerUnreachable},
	}, a.updateIssuer)
	register(a, operation{
		id: "deleteIssuer", method: http.MethodDelete, path: one, tag: "Issuers", status: http.StatusNoContent,
		summary: "Stop trusting an issuer", about: "Its tokens are refused everywhere within 10 seconds.", scopes: writes,
	}, a.deleteIssuer)
	a.issuerCheck(all + "/check")
}

func (a *API) createIssuer(ctx context.Context, c *call, in *IssuerCreateRequest) (Issuer, error) {
	i, err := a.newIssuer(c, in.Body)
	if err != nil {
		return Issuer{}, err
	}
	return a.asking(ctx, func(asked address) (Issuer, error) {
		return commit(ctx, a, c, func(change *store.Change, tenant hub.Tenant) (Issuer, error) {
			return a.addIssuer(ctx, change, tenant, i, asked)
		})
	})
}

// newIssuer checks the form of a new issuer.
func (a *API) newIssuer(c *call, in IssuerInput) (hub.Issuer, error) {
	i := hub.Issuer{ID: hub.NewID[hub.IssuerID]()}
	return i, a.applyIssuer(c, in, &i)
}

func (a *API) addIssuer(ctx context.Context, change *store.Change, tenant hub.Tenant, i hub.Issuer, asked address) (Issuer, error) {
	if err := a.room(ctx, tenant.Limits.Issuers, a.o.Limits.Issuers, "issuers", func(ctx context.Context) (int, error) {
		rows, err := change.AllIssuers(ctx)
		return len(rows), err
	}); err != nil {
		return Issuer{}, err
	}
	if err := a.keepApart(ctx, change, i); err != nil {
		return Issuer{}, err
	}
	created, err := change.CreateIssuer(ctx, i)
	if err != nil {
		return Issuer{}, err
	}
	if err := a.reached(created, hub.Issuer{}, asked); err != nil {
		return Issuer{}, err
	}
	return fromIssuer(created), change.Audit(ctx, "issuer.create", i.ID.String(), map[string]any{"name": i.Name, "issuer": i.Issuer})
}

func (a *API) listIssuers(ctx context.Context, c *call, in *IssuerListRequest) (List[Issuer], error) {
	after, err := a.after(c, in.Page)
	if err != nil {
		return List[Issuer]{}, err
	}
	rows, err := read(ctx, a, c, func(tx *store.Tx) ([]hub.Issuer, error) { return tx.Issuers(ctx, hub.IssuerID(after), in.Limit+1) })
	if err != nil {
		return List[Issuer]{}, err
	}
	return list(a, c, in.Page, rows, func(i hub.Issuer) [16]byte { return i.ID }, fromIssuer)
}

func (a *API) getIssuer(ctx context.Context, c *call, in *IssuerPath) (Issuer, error) {
	ref, err := in.ref()
	if err != nil {
		return Issuer{}, err
	}
	i, err := read(ctx, a, c, func(tx *store.Tx) (hub.Issuer, error) { return tx.Issuer(ctx, ref) })
	if err != nil {
		return Issuer{}, err
	}
	return fromIssuer(i), nil
}

// changeIssuer locks the issuer of the path, checks If-Match and runs fn, perhaps twice: see asking.
func (a *API) changeIssuer(ctx context.Context, c *call, in IssuerPath, fn func(*store.Change, hub.Issuer, address) (hub.Issuer, error)) (Issuer, error) {
	ref, err := in.ref()
	if err != nil {
		return Issuer{}, err
	}
	return a.asking(ctx, func(asked address) (Issuer, error) {
		return commit(ctx, a, c, func(change *store.Change, _ hub.Tenant) (Issuer, error) {
			i, err := change.LockIssuer(ctx, ref)
			if err != nil {
				return Issuer{}, err
			}
			if err := c.match(fromIssuer(i)); err != nil {
				return Issuer{}, err
			}
			i, err = fn(change, i, asked)
			return fromIssuer(i), err
		})
	})
}

// saveIssuer checks the input and writes it over i. Where it grants what it did before, that was checked then: another
// issuer may have said since that it shares these channels.
func (a *API) saveIssuer(ctx context.Context, c *call, change *store.Change, in IssuerInput, i hub.Issuer, asked address) (hub.Issuer, error) {
	was := i
	if err := a.applyIssuer(c, in, &i); err != nil {
		return i, err
	}
	if i.Name != was.Name || i.SharesChannels != was.SharesChannels || !slices.Equal(i.Grants, was.Grants) {
		if err := a.keepApart(ctx, change, i); err != nil {
			return i, err
		}
	}
	saved, err := change.UpdateIssuer(ctx, i)
	if err != nil {
		return i, err
	}
	return saved, a.reached(saved, was, asked)
}

func (a *API) putIssuer(ctx context.Context, c *call, in *IssuerPutRequest) (Issuer, error) {
	name, err := nameToPut(in.Issuer, in.Body.Name)
	if err != nil {
		return Issuer{}, err
	}
	input := IssuerInput{Name: firstOf(name, "x"), IssuerFields: in.Body.IssuerFields}
	// The form first. What only an operator may is left to the row that is found.
	if err := a.applyIssuer(&call{principal: hub.Principal{Kind: hub.PrincipalSystem}}, input, &hub.Issuer{}); err != nil {
		return Issuer{}, err
	}
	ref, err := in.ref()
	if err != nil {
		return Issuer{}, err
	}
	return a.asking(ctx, func(asked address) (Issuer, error) {
		return commit(ctx, a, c, func(change *store.Change, tenant hub.Tenant) (Issuer, error) {
			i, err := change.LockIssuer(ctx, ref)
			creates, err := c.creates(in.Issuer, err)
			if err != nil {
				return Issuer{}, err
			}
			if creates {
				fresh, err := a.newIssuer(c, input)
				if err != nil {
					return Issuer{}, err
				}
				return a.addIssuer(ctx, change, tenant, fresh, asked)
			}
			if err := c.matchFound(fromIssuer(i)); err != nil {
				return Issuer{}, err
			}
			input.Name = firstOf(name, i.Name)
			saved, err := a.saveIssuer(ctx, c, change, input, i, asked)
			if err != nil {
				return Issuer{}, err
			}
			return fromIssuer(saved), change.Audit(ctx, "issuer.replace", saved.ID.String(), map[string]any{"name": saved.Name, "issuer": saved.Issuer})
		})
	})
}

func (a *API) updateIssuer(ctx context.Context, c *call, in *IssuerPatchRequest) (Issuer, error) {
	if err := a.checkIssuerPatch(in.Body); err != nil {
		return Issuer{}, err
	}
	return a.changeIssuer(ctx, c, in.IssuerPath, func(change *store.Change, i hub.Issuer, asked address) (hub.Issuer, error) {
		input, err := patched(a, inputOfIssuer(i), in.Body)
		if err != nil {
			return i, err
		}
		saved, err := a.saveIssuer(ctx, c, change, input, i, asked)
		if err != nil {
			return i, err
		}
		return saved, change.Audit(ctx, "issuer.update", saved.ID.String(), in.Body.fields())
	})
}

func (a *API) deleteIssuer(ctx context.Context, c *call, in *IssuerPath) (nothing, error) {
	_, err := a.changeIssuer(ctx, c, *in, func(change *store.Change, i hub.Issuer, _ address) (hub.Issuer, error) {
		if err := change.DeleteIssuer(ctx, i.ID); err != nil {
			return i, err
		}
		return i, change.Audit(ctx, "issuer.delete", i.ID.String(), map[string]any{"name": i.Name})
	})
	return nothing{}, err
}
