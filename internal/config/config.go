// Package config reads the environment, once, into one validated Config that prints itself without its secrets. It
// owns the names of the variables, their defaults and their forms; what a value is good for is decided where it is
// used. It reads no flag and opens no connection.
package config

import (
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
)

// A Config is what the environment says, with its defaults filled in.
type Config struct {
	DatabaseURL         secret.String // the login; zero where none is named
	DirectDatabaseURL   secret.String // the same past a transaction pooler; DatabaseURL where there is none
	OwnerDatabaseURL    secret.String // for commands that change the schema; zero where none is named: see Owner
	DatabaseConnections int           // the sum over all pools of a process
	RolePrefix          string        // of the three database roles

	Listen         string // host:port of the public port; "" where none is named, but by LoadService: dev has defaults of its own
	OpsListen      string // host:port of the operator's port; likewise
	PublicURL      *url.URL
	TLSCertFile    string // PEM; "" where the public port speaks plain HTTP
	TLSKeyFile     string // likewise
	TrustedProxies []netip.Prefix

	Keyset      secret.String // zero where none is named
	Roles       Roles
	Retention   time.Duration
	Limits      hub.Limits // of a tenant that sets none: the operator's, and the hub's own where there is none
	EgressAllow []string   // host:port, address:port or CIDR:port, each of that form

	LogLevel  slog.Level
	LogFormat string // auto, text or json
	Tracing   Tracing

	DataDir  string
	Postgres string        // where dev takes Postgres from: auto, system or npm
	URL      *url.URL      // of the hub that the client commands speak to; nil: what dev.json says
	Tenant   string        // likewise; "": what dev.json says
	APIKey   secret.String // likewise; zero: what dev.json says
}

// Owner is the login of the schema's owner, its own, else the first one, and the variable that names it.
func (c Config) Owner() (database secret.String, variable string) {
	if c.OwnerDatabaseURL.IsZero() {
		return c.DatabaseURL, "TRIBUTARY_DATABASE_URL"
	}
	return c.OwnerDatabaseURL, "TRIBUTARY_OWNER_DATABASE_URL"
}

// Roles are the parts of the hub that a process runs.
type Roles struct {
	Ingest, API, Worker, Stream bool
}

// AllRoles are those of a process that names none.
func AllRoles() Roles { return Roles{Ingest: true, API: true, Worker: true, Stream: true} }

// ParseRoles reads a list such as ingest,stream; "" is all roles.
func ParseRoles(list string) (Roles, error) {
	if list == "" {
		return AllRoles(), nil
	}
	var roles Roles
	for name := range strings.SplitSeq(list, ",") {
		switch name = strings.TrimSpace(name); name {
		case "ingest":
			roles.Ingest = true
		case "api":
			roles.API = true
		case "worker":
			roles.Worker = true
		case "stream":
			roles.Stream = true
		case "":
		default:
			return Roles{}, hub.Errorf(hub.Invalid, "%q is no role; they are ingest, api, worker and stream, with commas between them", name)
		}
	}
	if roles == (Roles{}) {
		return Roles{}, hub.Errorf(hub.Invalid, "%q names no role; they are ingest, api, worker and stream, with commas between them", list)
	}
	return roles, nil
}

// String is the list that ParseRoles reads.
func (r Roles) String() string {
	var names []string
	for _, role := range []struct {
		name string
		on   bool
	}{{"ingest", r.Ingest}, {"api", r.API}, {"worker", r.Worker}, {"stream", r.Stream}} {
		if role.on {
			names = append(names, role.name)
		}
	}
	return strings.Join(names, ",")
}

// Problems are all that is wrong, one sentence each. None has a value in it that could be, or hold, a secret.
type Problems []string //nolint:errname // a list, read one by one

// Error is one message that lists them all.
func (p Problems) Error() string {
	return "the configuration has problems:\n  " + strings.Join(p, "\n  ")
}

// About says whether one of them is about the variable of that name, given as it is or as a file.
func (p Problems) About(name string) bool {
	return slices.ContainsFunc(p, func(problem string) bool {
		names, _, _ := strings.Cut(problem, ": ")
		return slices.ContainsFunc(strings.Split(names, ", "), func(n string) bool { return n == name || n == name+"_FILE" })
	})
}

func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	return slices.Clone(p)
}
