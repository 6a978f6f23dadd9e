package config

import (
	"reflect"
	"slices"
	"strings"

	"github.com/tributary-hub/tributary/internal/hub"
)

// environment is the table of the variables: envconfig fills it, the documentation is made of it. Everything is text
// here, so that one message can list all that is not understood.
//
// A field tagged secret can also be given as …_FILE. shown stands for the default where that is not a plain value.
//
//nolint:tagalign // whole sentences cannot stand in columns
type environment struct {
	DatabaseURL         string `env:"TRIBUTARY_DATABASE_URL" secret:"yes" shown:"DATABASE_URL" what:"URL of the database with the hub's login, who owns nothing. dev does not read DATABASE_URL: it has a Postgres of its own, or takes the database that this names, with its owner's login"`
	DirectDatabaseURL   string `env:"TRIBUTARY_DIRECT_DATABASE_URL" secret:"yes" shown:"the first" what:"the same database past a transaction pooler, where there is one"`
	OwnerDatabaseURL    string `env:"TRIBUTARY_OWNER_DATABASE_URL" secret:"yes" shown:"the first" what:"the same database with its owner's login: for migrate, keyset, key and epoch, and refused by serve"`
	DatabaseConnections string `env:"TRIBUTARY_DATABASE_CONNECTIONS, default=20" what:"connections of a process, over all its pools and listeners; at least 11"`
	RolePrefix          string `env:"TRIBUTARY_ROLE_PREFIX, default=tributary" what:"begins the names of the three database roles; two hubs in one cluster need two"`

	Listen         string `env:"TRIBUTARY_LISTEN" shown:":8080, or :$PORT; dev: 127.0.0.1:8080" what:"address of the public port"`
	OpsListen      string `env:"TRIBUTARY_OPS_LISTEN" shown:"127.0.0.1:9090; dev: any that is free if that is not" what:"address of the operator's port: health, metrics, profiles"`
	PublicURL      string `env:"TRIBUTARY_PUBLIC_URL" what:"where browsers and providers reach the hub, such as https://hub.example.com; http or https is judged by it. serve needs it"`
	TLSCertFile    string `env:"TRIBUTARY_TLS_CERT_FILE" what:"file of the public port's certificate and its chain, in PEM; read again when it changes. Without it the port speaks plain HTTP, for a proxy that ends TLS"`
	TLSKeyFile     string `env:"TRIBUTARY_TLS_KEY_FILE" what:"file of that certificate's private key, in PEM"`
	TrustedProxies string `env:"TRIBUTARY_TRUSTED_PROXIES" what:"addresses and CIDRs whose X-Forwarded-For is believed, with commas"`

	Keyset      string `env:"TRIBUTARY_KEYSET" secret:"yes" shown:"dev: one in the data folder" what:"the keyset that seals secrets in the database, as keyset new prints it. serve needs it"`
	Roles       string `env:"TRIBUTARY_ROLES" shown:"all" what:"what this process does: ingest, api, worker, stream, with commas"`
	Retention   string `env:"TRIBUTARY_RETENTION, default=720h" what:"how long events and messages are kept; a tenant's can only be shorter"`
	EgressAllow string `env:"TRIBUTARY_EGRESS_ALLOW" what:"host:port and CIDR:port that an operator's rows may reach past the guard against internal addresses, with commas"`

	LogLevel  string `env:"TRIBUTARY_LOG_LEVEL, default=info" what:"debug, info, warn or error"`
	LogFormat string `env:"TRIBUTARY_LOG_FORMAT, default=auto" what:"text, json, or auto: text on a terminal, else json"`

	DataDir  string `env:"TRIBUTARY_DATA_DIR, default=.tributary" what:"where dev keeps its data, and token and send look for its dev.json"`
	Postgres string `env:"TRIBUTARY_POSTGRES, default=auto" what:"where dev takes Postgres from: system (installed), npm (fetched), or auto: the first that there is. PG_BINDIR names the folder of installed programs"`
	URL      string `env:"TRIBUTARY_URL" shown:"dev.json" what:"the hub that token and send speak to"`
	Tenant   string `env:"TRIBUTARY_TENANT" what:"kept for your own scripts; no command of this version reads it"`
	APIKey   string `env:"TRIBUTARY_API_KEY" secret:"yes" what:"the key in the lines of these pages; no command of this version reads it"`
}

// A Variable is one name of the environment, for the documentation.
type Variable struct {
	Name    string
	Default string // as it is to be shown; "" where there is none
	What    string
	Secret  bool // can also be given as Name_FILE, and is never printed
}

// limitPrefix begins the names of the defaults of tenants' limits.
const limitPrefix = "TRIBUTARY_LIMIT_"

// Variables lists every name that the hub reads, in the order of the documentation.
func Variables() []Variable {
	var all []Variable
	for _, field := range slices.Concat(fieldsOf[environment](), fieldsOf[tracingEnvironment]()) {
		name, value, _ := strings.Cut(field.Tag.Get("env"), ", default=")
		if shown := field.Tag.Get("shown"); shown != "" {
			value = shown
		}
		_, isSecret := field.Tag.Lookup("secret")
		all = append(all, Variable{Name: name, Default: value, What: field.Tag.Get("what"), Secret: isSecret})
	}
	defaults := hub.DefaultLimits()
	for _, limit := range defaults.Fields() {
		all = append(all, Variable{
			Name:    limitName(limit),
			Default: number(*limit.Value),
			What:    "the limit " + limit.Name + " of tenants that set none",
		})
	}
	return all
}

func fieldsOf[T any]() []reflect.StructField { return slices.Collect(reflect.TypeFor[T]().Fields()) }

func limitName(l hub.NamedLimit) string { return limitPrefix + strings.ToUpper(l.Name) }
