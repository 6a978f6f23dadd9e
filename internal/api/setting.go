package api

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// Settings are what a tenant decides about its browsers.
type Settings struct {
	AllowedOrigins    []string `json:"allowed_origins" maxItems:"100" example:"[\"https://app.example.com\"]" doc:"Pages that may open streams: exact origins. Stored; has no effect yet."`
	SameSite          string   `json:"same_site" enum:"lax,strict,none" doc:"Of the cookie. Stored; has no effect yet."`
	TicketSeconds     int      `json:"ticket_seconds" minimum:"1" maximum:"600" doc:"Within which a ticket is first used. Stored; has no effect yet."`
	TicketReuse       string   `json:"ticket_reuse" enum:"session,none" doc:"Whether a ticket reopens its own session. Stored; has no effect yet."`
	CredentialSeconds int      `json:"credential_seconds" minimum:"60" maximum:"31536000" doc:"The longest life of a credential, whatever its own expiry."`
	Presence          []string `json:"presence" maxItems:"50" example:"[\"room:\"]" doc:"Beginnings of channels whose joins and leaves are told. Stored; has no effect yet."`
}

func (s Settings) version() any { return s }

// SettingsInput is what of the settings can be changed. What is taken away is the default again.
type SettingsInput struct {
	AllowedOrigins    []string `json:"allowed_origins,omitempty" maxItems:"100" example:"[\"https://app.example.com\"]" doc:"Pages that may open streams: exact origins. Stored; has no effect yet."`
	SameSite          string   `json:"same_site,omitempty" enum:"lax,strict,none" doc:"Of the cookie; lax by default. Stored; has no effect yet."`
	TicketSeconds     *int     `json:"ticket_seconds,omitempty" minimum:"1" maximum:"600" doc:"Within which a ticket is first used; 60 by default. Stored; has no effect yet."`
	TicketReuse       string   `json:"ticket_reuse,omitempty" enum:"session,none" doc:"Whether a ticket reopens its own session; session by default. Stored; has no effect yet."`
	CredentialSeconds *int     `json:"credential_seconds,omitempty" minimum:"60" maximum:"31536000" doc:"The longest life of a credential, whatever its own expiry; 86400 by default."`
	Presence          []string `json:"presence,omitempty" maxItems:"50" example:"[\"room:\"]" doc:"Beginnings of channels whose joins and leaves are told. Stored; has no effect yet."`
}

func fromSettings(s hub.Settings) Settings {
	out := Settings(s)
	out.AllowedOrigins, out.Presence = orEmpty(s.AllowedOrigins), orEmpty(s.Presence)
	return out
}

func inputOfSettings(s hub.Settings) SettingsInput {
	return SettingsInput{
		AllowedOrigins: s.AllowedOrigins, SameSite: s.SameSite, TicketSeconds: &s.TicketSeconds, TicketReuse: s.TicketReuse,
		CredentialSeconds: &s.CredentialSeconds, Presence: s.Presence,
	}
}

// settings checks the input and makes settings of it.
func (in SettingsInput) settings() (hub.Settings, error) {
	s := hub.DefaultSettings()
	s.AllowedOrigins, s.Presence = in.AllowedOrigins, in.Presence
	if in.SameSite != "" {
		s.SameSite = in.SameSite
	}
	if in.TicketSeconds != nil {
		s.TicketSeconds = *in.TicketSeconds
	}
	if in.TicketReuse != "" {
		s.TicketReuse = in.TicketReuse
	}
	if in.CredentialSeconds != nil {
		s.CredentialSeconds = *in.CredentialSeconds
	}
	var errs []error
	for i, origin := range s.AllowedOrigins {
		if !isOrigin(origin) {
			errs = append(errs, hub.FieldErrorf("body.allowed_origins["+strconv.Itoa(i)+"]", "an origin is a scheme and a host, and a port where it is not the usual one, such as https://app.example.com"))
		}
	}
	for i, prefix := range s.Presence {
		if err := validatePrefix(prefix); err != nil {
			errs = append(errs, hub.FieldErrorf("body.presence["+strconv.Itoa(i)+"]", "%s", err))
		}
	}
	return s, join(errs...)
}

// validatePrefix checks the beginning of channels: whole segments, perhaps with the colon after them.
func validatePrefix(prefix string) error {
	whole, colon := strings.CutSuffix(prefix, ":")
	if colon {
		return hub.ValidateChannel(whole + ":x") // so that hub: is refused
	}
	return hub.ValidateChannel(whole)
}

// isOrigin says whether s is what a browser sends as Origin, letter by letter: it is compared so.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Hostname() == "" || strings.ContainsAny(u.Host, "*_") {
		return false
	}
	if usual := map[string]string{"http": "80", "https": "443"}; u.Port() == usual[u.Scheme] || strings.HasSuffix(u.Host, ":") {
		return false
	}
	return s == u.Scheme+"://"+strings.ToLower(u.Host)
}

// SettingsPatchRequest changes settings.
type SettingsPatchRequest struct {
	TenantPath
	Body patch[SettingsInput]
}

func (a *API) settings() {
	register(a, operation{
		id: "getSettings", method: http.MethodGet, path: "/v1/tenants/{tenant}/settings", tag: "Settings",
		summary: "Get the settings", scopes: []hub.Scope{hub.ConfigRead},
	}, func(ctx context.Context, c *call, _ *TenantPath) (Settings, error) {
		t, err := read(ctx, a, c, func(tx *store.Tx) (hub.Tenant, error) { return tx.Tenant(ctx) })
		return fromSettings(t.Settings), err
	})
	register(a, operation{
		id: "updateSettings", method: http.MethodPatch, path: "/v1/tenants/{tenant}/settings", tag: "Settings",
		summary: "Change the settings", about: "What is taken away with null is the default again.", scopes: []hub.Scope{hub.ConfigWrite},
	}, a.updateSettings)
}

func (a *API) updateSettings(ctx context.Context, c *call, in *SettingsPatchRequest) (Settings, error) {
	return commit(ctx, a, c, func(change *store.Change, t hub.Tenant) (Settings, error) {
		if err := c.match(fromSettings(t.Settings)); err != nil {
			return Settings{}, err
		}
		input, err := patched(a, inputOfSettings(t.Settings), in.Body)
		if err != nil {
			return Settings{}, err
		}
		if t.Settings, err = input.settings(); err != nil {
			return Settings{}, err
		}
		if t, err = change.UpdateTenant(ctx, t); err != nil {
			return Settings{}, err
		}
		return fromSettings(t.Settings), change.Audit(ctx, "settings.update", t.ID.String(), in.Body.fields())
	})
}
