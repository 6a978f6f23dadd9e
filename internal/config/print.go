package config

import (
	"log/slog"
	"net/url"
	"strings"

	"github.com/tributary-hub/tributary/internal/secret"
)

// A Setting is one value in effect, as it may be shown.
type Setting struct {
	Name  string
	Value string // "" where nothing is set
}

// Settings lists every value in effect, in the order of Variables. Of a database URL they show host and database, of
// any other secret only that it is set.
func (c Config) Settings() []Setting {
	var proxies []string
	for _, prefix := range c.TrustedProxies {
		proxies = append(proxies, prefix.String())
	}
	all := []Setting{
		{"TRIBUTARY_DATABASE_URL", Place(c.DatabaseURL)},
		{"TRIBUTARY_DIRECT_DATABASE_URL", Place(c.DirectDatabaseURL)},
		{"TRIBUTARY_OWNER_DATABASE_URL", Place(c.OwnerDatabaseURL)},
		{"TRIBUTARY_DATABASE_CONNECTIONS", number(&c.DatabaseConnections)},
		{"TRIBUTARY_ROLE_PREFIX", c.RolePrefix},
		{"TRIBUTARY_LISTEN", c.Listen},
		{"TRIBUTARY_OPS_LISTEN", c.OpsListen},
		{"TRIBUTARY_PUBLIC_URL", address(c.PublicURL)},
		{"TRIBUTARY_TLS_CERT_FILE", c.TLSCertFile},
		{"TRIBUTARY_TLS_KEY_FILE", c.TLSKeyFile},
		{"TRIBUTARY_TRUSTED_PROXIES", strings.Join(proxies, ",")},
		{"TRIBUTARY_KEYSET", hidden(c.Keyset)},
		{"TRIBUTARY_ROLES", c.Roles.String()},
		{"TRIBUTARY_RETENTION", c.Retention.String()},
		{"TRIBUTARY_EGRESS_ALLOW", strings.Join(c.EgressAllow, ",")},
		{"TRIBUTARY_LOG_LEVEL", strings.ToLower(c.LogLevel.String())},
		{"TRIBUTARY_LOG_FORMAT", c.LogFormat},
		{"TRIBUTARY_DATA_DIR", c.DataDir},
		{"TRIBUTARY_POSTGRES", c.Postgres},
		{"TRIBUTARY_URL", address(c.URL)},
		{"TRIBUTARY_TENANT", c.Tenant},
		{"TRIBUTARY_API_KEY", hidden(c.APIKey)},
	}
	all = append(all, c.Tracing.settings()...)
	for _, limit := range c.Limits.Fields() {
		all = append(all, Setting{limitName(limit), number(*limit.Value)})
	}
	return all
}

// String is a line NAME=value for each setting that has one, without secrets.
func (c Config) String() string {
	var out strings.Builder
	for _, s := range c.Settings() {
		if s.Value != "" {
			out.WriteString(s.Name + "=" + s.Value + "\n")
		}
	}
	return out.String()
}

// GoString is String, so that no verb of fmt shows more.
func (c Config) GoString() string { return c.String() }

// LogValue gives the settings that have a value to slog, without secrets.
func (c Config) LogValue() slog.Value {
	var attrs []slog.Attr
	for _, s := range c.Settings() {
		if s.Value != "" {
			attrs = append(attrs, slog.String(strings.ToLower(s.Name), s.Value))
		}
	}
	return slog.GroupValue(attrs...)
}

// Place says which database a URL leads to, and not as whom.
func Place(database secret.String) string {
	u, err := url.Parse(database.Reveal())
	if err != nil || database.IsZero() {
		return hidden(database)
	}
	host := u.Host
	if socket := u.Query().Get("host"); host == "" && socket != "" {
		host = "[" + socket + "]"
	}
	return u.Scheme + "://" + host + u.Path
}

func hidden(s secret.String) string {
	if s.IsZero() {
		return ""
	}
	return s.String()
}

func address(u *url.URL) string {
	if u == nil {
		return ""
	}
	return u.String()
}
