package api

import (
	"context"
	"net/http"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/provider"
)

// A Provider is one entry of the catalogue.
type Provider struct {
	Name             string            `json:"name" example:"stripe" doc:"What an endpoint's provider says."`
	Title            string            `json:"title" example:"Stripe"`
	Scheme           string            `json:"scheme" example:"hmac-sha256" doc:"How the signature is made."`
	Signed           string            `json:"signed" example:"{ts}.{body}" doc:"What is signed."`
	Encoding         string            `json:"encoding" example:"hex" doc:"Of the signature."`
	Headers          []string          `json:"headers" doc:"Headers that are read, the signature's first; after a | another name of the same."`
	Handshake        string            `json:"handshake,omitempty" doc:"What the provider asks before it sends events; absent where it asks nothing."`
	ID               []string          `json:"id" doc:"Where the event's id stands, the first that is there."`
	Type             []string          `json:"type" doc:"Where the event's type stands, the first that is there."`
	ToleranceSeconds int               `json:"tolerance_seconds" example:"300" doc:"How far the signed time may be from the arrival; 0 where none is checked."`
	ReplayProtection string            `json:"replay_protection" enum:"id,time,none" doc:"What refuses a captured request that is sent again."`
	Coverage         string            `json:"coverage" enum:"whole-body,part-of-body,nothing" doc:"How much of an event its signature covers."`
	RequiredConfig   []string          `json:"required_config" doc:"Settings that an endpoint must have."`
	Settings         []ProviderSetting `json:"settings" doc:"Settings that an endpoint may have."`
	ExampleConfig    map[string]string `json:"example_config,omitempty" doc:"A configuration to begin with."`
	Setup            string            `json:"setup" doc:"What to paste where."`
	UserSetsSecret   bool              `json:"user_sets_secret" doc:"The secret is yours to choose, and the hub makes one; else the provider shows it."`
	Samples          []string          `json:"samples" doc:"Types of event that the hub can send as this provider."`
}

// A ProviderSetting is one name of an endpoint's config.
type ProviderSetting struct {
	Name     string `json:"name" example:"tolerance"`
	About    string `json:"about"`
	Required bool   `json:"required"`
	Default  string `json:"default,omitempty"`
}

func fromProvider(p *provider.Provider) Provider {
	out := Provider{
		Name: p.Name, Title: p.Title, Scheme: p.Scheme, Signed: p.Signed, Encoding: p.Encoding, Headers: orEmpty(p.Headers),
		Handshake: p.Handshake, ID: orEmpty(p.ID), Type: orEmpty(p.Type), ToleranceSeconds: int(p.Tolerance / time.Second),
		ReplayProtection: string(p.ReplayProtection), Coverage: string(p.Coverage), RequiredConfig: orEmpty(p.RequiredConfig),
		Settings: make([]ProviderSetting, 0, len(p.Settings)), ExampleConfig: p.Example, Setup: p.Setup,
		UserSetsSecret: p.UserSetsSecret, Samples: orEmpty(provider.Samples(p.Name)),
	}
	for _, s := range p.Settings {
		out.Settings = append(out.Settings, ProviderSetting{Name: s.Name, About: s.About, Required: s.Required, Default: s.Default})
	}
	return out
}

// orEmpty makes nil a list without elements: in answers lists are never null.
func orEmpty[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

// ProviderPath names one entry.
type ProviderPath struct {
	Provider string `path:"provider" maxLength:"100" example:"stripe" doc:"The provider's name."`
}

func (a *API) providers() {
	register(a, operation{
		id: "listProviders", method: http.MethodGet, path: "/v1/providers", tag: "Providers",
		summary: "List the providers", about: "The whole catalogue, by name, on one page.",
	}, func(context.Context, *call, *NoInput) (List[Provider], error) {
		l := List[Provider]{Items: []Provider{}}
		for _, p := range provider.All() {
			l.Items = append(l.Items, fromProvider(p))
		}
		return l, nil
	})
	register(a, operation{
		id: "getProvider", method: http.MethodGet, path: "/v1/providers/{provider}", tag: "Providers",
		summary: "Get a provider", about: "How its signatures are made, and what to paste where.",
	}, func(_ context.Context, _ *call, in *ProviderPath) (Provider, error) {
		p, ok := provider.Get(in.Provider)
		if !ok {
			return Provider{}, hub.Errorf(hub.NotFound, "no such provider")
		}
		return fromProvider(p), nil
	})
}
