package config

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sethvargo/go-envconfig"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
)

// The bounds of numbers. A process needs a connection for its listener, and a few for each pool.
const (
	minConnections = 11
	maxConnections = 10_000
	minRetention   = time.Hour
	maxRetention   = 10 * 365 * 24 * time.Hour
)

var rolePrefixForm = regexp.MustCompile(`^[a-z][a-z0-9_]{0,49}$`)

// Load reads environ, a list of name=value as os.Environ gives it, and the files that it names for secrets. The
// error is a Problems, which lists all that is wrong; what was understood all the same is in the Config.
func Load(environ []string) (Config, error) {
	var p Problems
	c, err := load(newSource(environ, &p), environ)
	return c, cmp.Or(err, p.err())
}

// LoadService is Load for what runs in production and beside it. There a platform may name the database in
// DATABASE_URL and the port in PORT, and the ports have their defaults.
func LoadService(environ []string) (Config, error) {
	var p Problems
	from := newSource(environ, &p)
	from.alias("TRIBUTARY_DATABASE_URL", "DATABASE_URL")
	c, err := load(from, environ)
	if c.Listen == "" {
		c.Listen = ":" + cmp.Or(from.values["PORT"], "8080")
		p.address("PORT", c.Listen)
	}
	c.OpsListen = cmp.Or(c.OpsListen, "127.0.0.1:9090")
	if c.OpsListen == c.Listen && !strings.HasSuffix(c.Listen, ":0") {
		p.addf("TRIBUTARY_OPS_LISTEN: %s is TRIBUTARY_LISTEN too; each of the two ports needs an address of its own", c.OpsListen)
	}
	return c, cmp.Or(err, p.err())
}

func load(from *source, environ []string) (Config, error) {
	from.checkNames(environ)
	var env environment
	var traced tracingEnvironment
	if err := errors.Join(envconfig.ProcessWith(context.Background(), &envconfig.Config{Target: &env, Lookuper: from}),
		envconfig.ProcessWith(context.Background(), &envconfig.Config{Target: &traced, Lookuper: from})); err != nil {
		return Config{}, fmt.Errorf("read the environment: %w", err) // a fault of our table: it takes any text
	}
	c := from.problems.parse(from, env)
	c.Limits = from.problems.limits(from)
	c.Tracing = from.problems.tracing(traced)
	return c, nil
}

// parse gives every text its type; what it does not understand, it notes and leaves out.
func (p *Problems) parse(from *source, env environment) Config {
	c := Config{
		DatabaseURL:         p.database(from.called("TRIBUTARY_DATABASE_URL"), env.DatabaseURL),
		DirectDatabaseURL:   p.database("TRIBUTARY_DIRECT_DATABASE_URL", env.DirectDatabaseURL),
		OwnerDatabaseURL:    p.database("TRIBUTARY_OWNER_DATABASE_URL", env.OwnerDatabaseURL),
		DatabaseConnections: p.integer("TRIBUTARY_DATABASE_CONNECTIONS", env.DatabaseConnections, minConnections, maxConnections),
		RolePrefix:          p.rolePrefix("TRIBUTARY_ROLE_PREFIX", env.RolePrefix),
		Listen:              p.address("TRIBUTARY_LISTEN", env.Listen),
		OpsListen:           p.address("TRIBUTARY_OPS_LISTEN", env.OpsListen),
		PublicURL:           p.origin("TRIBUTARY_PUBLIC_URL", env.PublicURL),
		TLSCertFile:         p.path("TRIBUTARY_TLS_CERT_FILE", env.TLSCertFile),
		TLSKeyFile:          p.path("TRIBUTARY_TLS_KEY_FILE", env.TLSKeyFile),
		TrustedProxies:      p.proxies("TRIBUTARY_TRUSTED_PROXIES", env.TrustedProxies),
		Keyset:              secret.New(strings.TrimSpace(env.Keyset)),
		Retention:           p.duration("TRIBUTARY_RETENTION", env.Retention, minRetention, maxRetention),
		EgressAllow:         p.exemptions("TRIBUTARY_EGRESS_ALLOW", env.EgressAllow),
		LogLevel:            p.level("TRIBUTARY_LOG_LEVEL", env.LogLevel),
		LogFormat:           p.oneOf("TRIBUTARY_LOG_FORMAT", env.LogFormat, "auto", "text", "json"),
		DataDir:             env.DataDir,
		Postgres:            p.oneOf("TRIBUTARY_POSTGRES", env.Postgres, "auto", "system", "npm"),
		URL:                 p.origin("TRIBUTARY_URL", env.URL),
		Tenant:              env.Tenant,
		APIKey:              secret.New(strings.TrimSpace(env.APIKey)),
	}
	if c.DirectDatabaseURL.IsZero() {
		c.DirectDatabaseURL = c.DatabaseURL
	}
	if (env.TLSCertFile == "") != (env.TLSKeyFile == "") {
		p.addf("TRIBUTARY_TLS_CERT_FILE, TRIBUTARY_TLS_KEY_FILE: one is set and the other is not; TLS needs both")
	}
	roles, err := ParseRoles(env.Roles)
	if err != nil {
		p.addf("TRIBUTARY_ROLES: %s is not a list of ingest, api, worker and stream, with commas", shown(env.Roles))
	}
	c.Roles = roles
	return c
}

func (p *Problems) addf(format string, args ...any) { *p = append(*p, fmt.Sprintf(format, args...)) }

// shown is a value as a problem may repeat it: what is long may be a secret that was pasted into the wrong variable.
func shown(text string) string {
	const most = 20
	if len(text) > most {
		return fmt.Sprintf("a value of %d bytes", len(text))
	}
	return strconv.Quote(text)
}

// path takes the name of a file, and not what belongs into it.
func (p *Problems) path(name, text string) string {
	if strings.ContainsAny(text, "\r\n") || strings.Contains(text, "-----BEGIN") {
		p.addf("%s: holds what belongs into a file; it takes the file's path", name)
		return ""
	}
	return text
}

// failure is why a file could not be read, without its path: where the secret itself was pasted, that is it.
func failure(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}

func (p *Problems) rolePrefix(name, text string) string {
	if !rolePrefixForm.MatchString(text) {
		p.addf("%s: %s; it begins with a-z and has at most 50 of a-z, 0-9 and _", name, shown(text))
		return ""
	}
	return text
}

// database takes a URL as libpq has it. The texts of url.Parse repeat their input, so they are not used.
func (p *Problems) database(name, text string) secret.String {
	if text == "" {
		return secret.String{}
	}
	u, err := url.Parse(strings.TrimSpace(text))
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Opaque != "" {
		p.addf("%s: not a URL such as postgres://user:password@host:5432/database; special characters in it are percent-encoded", name)
		return secret.String{}
	}
	return secret.New(strings.TrimSpace(text))
}

// origin takes an absolute http or https URL of a host and nothing more.
func (p *Problems) origin(name, text string) *url.URL {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" ||
		u.User != nil || u.RawQuery != "" || u.ForceQuery || u.Fragment != "" || u.Path != "" && u.Path != "/" {
		p.addf("%s: not an absolute URL such as https://hub.example.com, without path, query and credentials", name)
		return nil
	}
	u.Path = ""
	return u
}

func (p *Problems) integer(name, text string, low, high int) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < low || n > high {
		p.addf("%s: %s is not a whole number from %d to %d", name, shown(text), low, high)
	}
	return n
}

func (p *Problems) duration(name, text string, low, high time.Duration) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil || d < low || d > high {
		p.addf("%s: %s is not a duration such as 720h, from %d to %d hours", name, shown(text), int(low.Hours()), int(high.Hours()))
	}
	return d
}

func (p *Problems) address(name, text string) string {
	if text == "" {
		return ""
	}
	_, port, err := net.SplitHostPort(text)
	if n, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil || strconv.FormatUint(n, 10) != port {
		p.addf("%s: %s is not an address such as 127.0.0.1:8080 or :8080", name, shown(text))
		return ""
	}
	return text
}

func (p *Problems) oneOf(name, text string, values ...string) string {
	if !slices.Contains(values, text) {
		p.addf("%s: %s is not one of %s", name, shown(text), strings.Join(values, ", "))
		return ""
	}
	return text
}

func (p *Problems) level(name, text string) slog.Level {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	return levels[p.oneOf(name, text, "debug", "info", "warn", "error")]
}

// proxies takes addresses and CIDRs. Everybody is not a proxy: with 0.0.0.0/0 any client would choose the address
// that it is counted under.
func (p *Problems) proxies(name, text string) []netip.Prefix {
	var prefixes []netip.Prefix
	for _, entry := range list(text) {
		prefix, err := netip.ParsePrefix(entry)
		if addr, bad := netip.ParseAddr(entry); bad == nil && addr.Zone() == "" {
			addr = addr.Unmap()
			prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if addr := prefix.Addr(); addr.Is4In6() && prefix.Bits() >= 96 {
			prefix = netip.PrefixFrom(addr.Unmap(), prefix.Bits()-96) // as clients' addresses are written
		}
		switch {
		case err != nil:
			p.addf("%s: %s is not an address or a CIDR such as 10.0.0.0/8", name, shown(entry))
			return nil
		case prefix.Bits() == 0:
			p.addf("%s: all addresses cannot be proxies; name yours", name)
			return nil
		}
		prefixes = append(prefixes, prefix.Masked())
	}
	return prefixes
}

// exemptions takes what the guard of outgoing requests takes: host:port, address:port, CIDR:port, IPv6 in brackets.
func (p *Problems) exemptions(name, text string) []string {
	entries := list(text)
	for _, entry := range entries {
		host, port, err := net.SplitHostPort(entry)
		n, bad := strconv.ParseUint(port, 10, 16)
		ok := err == nil && host != "" && bad == nil && n > 0
		if ok && strings.Contains(host, "/") {
			_, err := netip.ParsePrefix(host)
			ok = err == nil
		}
		if !ok {
			p.addf("%s: %s is not host:port or CIDR:port, such as 10.0.0.0/8:443 or [fd00::/8]:443", name, shown(entry))
			return nil
		}
	}
	return entries
}

func list(text string) []string {
	var entries []string
	for entry := range strings.SplitSeq(text, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			entries = append(entries, entry)
		}
	}
	return entries
}

// limits takes the operator's defaults of tenants' limits, and the hub's own where there is none.
func (p *Problems) limits(from *source) hub.Limits {
	const most = 1 << 30
	var limits hub.Limits
	for _, limit := range limits.Fields() {
		if text, set := from.Lookup(limitName(limit)); set {
			*limit.Value = new(p.integer(limitName(limit), text, 1, most))
		}
	}
	return limits.Or(hub.DefaultLimits())
}

func number(n *int) string {
	if n == nil {
		return ""
	}
	return strconv.Itoa(*n)
}
