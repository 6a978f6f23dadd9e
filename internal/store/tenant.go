package store

import (
	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
)

const tenantColumns = `id, slug, name, state, limits, retention_days, settings, metadata, config_version, created_at, updated_at`

func scanTenant(row pgx.CollectableRow) (hub.Tenant, error) {
	var t hub.Tenant
	var limits map[string]int
	settings := settingsRow(hub.DefaultSettings())
	err := row.Scan(&t.ID, &t.Slug, &t.Name, &t.State, &limits, &t.RetentionDays, &settings, &t.Metadata, &t.ConfigVersion, &t.CreatedAt, &t.UpdatedAt)
	t.Settings = hub.Settings(settings)
	for _, f := range t.Limits.Fields() {
		if n, ok := limits[f.Name]; ok {
			*f.Value = &n
		}
	}
	return t, err
}

// limitsRow is what tenants.limits keeps: the limits that are set, by name.
func limitsRow(l hub.Limits) map[string]int {
	row := map[string]int{}
	for _, f := range l.Fields() {
		if *f.Value != nil {
			row[f.Name] = **f.Value
		}
	}
	return row
}

// A settingsRow is hub.Settings as tenants.settings keeps it; what is absent there is the default.
type settingsRow struct {
	AllowedOrigins    []string `json:"allowed_origins,omitempty"`
	SameSite          string   `json:"same_site"`
	TicketSeconds     int      `json:"ticket_seconds"`
	TicketReuse       string   `json:"ticket_reuse"`
	CredentialSeconds int      `json:"credential_seconds"`
	Presence          []string `json:"presence,omitempty"`
}
