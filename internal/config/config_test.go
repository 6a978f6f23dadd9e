package config_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
)

// plain compares secrets by what they hold.
var plain = cmp.Transformer("reveal", secret.String.Reveal)

func TestLoad_Defaults(t *testing.T) {
	t.Parallel()
	got, err := config.Load([]string{"HOME=/root", "PATH=/bin", "TRIBUTARY_LOG_LEVEL="})
	if err != nil {
		t.Fatal(err)
	}
	want := config.Config{
		DatabaseConnections: 20,
		RolePrefix:          "tributary",
		Roles:               config.AllRoles(),
		Retention:           720 * time.Hour,
		Limits:              hub.DefaultLimits(),
		LogLevel:            slog.LevelInfo,
		LogFormat:           "auto",
		DataDir:             ".tributary",
		Postgres:            "auto",
	}
	if diff := cmp.Diff(want, got, plain, cmpopts.IgnoreUnexported(config.Tracing{})); diff != "" {
		t.Error(diff)
	}
}

func TestLoad_Everything(t *testing.T) {
	t.Parallel()
	got, err := config.Load([]string{
		"TRIBUTARY_DATABASE_URL=postgres://hub:pw@db:5432/tributary",
		"TRIBUTARY_DIRECT_DATABASE_URL=postgresql://hub:pw@direct/tributary",
		"TRIBUTARY_OWNER_DATABASE_URL=postgres:///tributary?host=/run/postgresql",
		"TRIBUTARY_DATABASE_CONNECTIONS=50",
		"TRIBUTARY_ROLE_PREFIX=hub_two",
		"TRIBUTARY_LISTEN=0.0.0.0:80",
		"TRIBUTARY_OPS_LISTEN=[::1]:9091",
		"TRIBUTARY_PUBLIC_URL=https://hub.example.com/",
		"TRIBUTARY_TLS_CERT_FILE=cert.pem",
		"TRIBUTARY_TLS_KEY_FILE=key.pem",
		"TRIBUTARY_TRUSTED_PROXIES=10.1.2.3/8, 192.0.2.7,fd00::/8,::ffff:172.16.0.0/108",
		"TRIBUTARY_KEYSET=keyset",
		"TRIBUTARY_ROLES=stream, ingest",
		"TRIBUTARY_RETENTION=48h",
		"TRIBUTARY_LIMIT_BODY_BYTES=2048",
		"TRIBUTARY_LIMIT_WEBHOOKS_PER_SECOND=100",
		"TRIBUTARY_EGRESS_ALLOW=idp.internal:8443,10.0.0.0/8:443,[fd00::/8]:443",
		"TRIBUTARY_LOG_LEVEL=debug",
		"TRIBUTARY_LOG_FORMAT=json",
		"TRIBUTARY_DATA_DIR=/var/lib/tributary",
		"TRIBUTARY_POSTGRES=npm",
		"TRIBUTARY_URL=http://127.0.0.1:8080",
		"TRIBUTARY_TENANT=acme",
		"TRIBUTARY_API_KEY=trb_x",
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318",
		"OTEL_EXPORTER_OTLP_HEADERS=api-key=a%20key, x=y",
		"OTEL_EXPORTER_OTLP_COMPRESSION=gzip",
		"OTEL_EXPORTER_OTLP_TIMEOUT=2500",
		"OTEL_TRACES_SAMPLER=parentbased_traceidratio",
		"OTEL_TRACES_SAMPLER_ARG=0.25",
		"OTEL_RESOURCE_ATTRIBUTES=service.name=other,deployment.environment.name=production",
		"OTEL_SERVICE_NAME=hub",
		"OTEL_METRICS_EXPORTER=prometheus",
	})
	if err != nil {
		t.Fatal(err)
	}
	limits := hub.DefaultLimits()
	limits.BodyBytes, limits.WebhooksPerSecond = new(2048), new(100)
	want := config.Config{
		DatabaseURL:         secret.New("postgres://hub:pw@db:5432/tributary"),
		DirectDatabaseURL:   secret.New("postgresql://hub:pw@direct/tributary"),
		OwnerDatabaseURL:    secret.New("postgres:///tributary?host=/run/postgresql"),
		DatabaseConnections: 50,
		RolePrefix:          "hub_two",
		Listen:              "0.0.0.0:80",
		OpsListen:           "[::1]:9091",
		PublicURL:           &url.URL{Scheme: "https", Host: "hub.example.com"},
		TLSCertFile:         "cert.pem",
		TLSKeyFile:          "key.pem",
		TrustedProxies: []netip.Prefix{
			netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.7/32"), netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("172.16.0.0/12"),
		},
		Keyset:      secret.New("keyset"),
		Roles:       config.Roles{Stream: true, Ingest: true},
		Retention:   48 * time.Hour,
		Limits:      limits,
		EgressAllow: []string{"idp.internal:8443", "10.0.0.0/8:443", "[fd00::/8]:443"},
		LogLevel:    slog.LevelDebug,
		LogFormat:   "json",
		Tracing: config.Tracing{
			Endpoint: &url.URL{Scheme: "http", Host: "collector:4318", Path: "/v1/traces"},
			Headers:  map[string]secret.String{"api-key": secret.New("a key"), "x": secret.New("y")},
			Gzip:     true, Timeout: 2500 * time.Millisecond, Sampler: "parentbased_traceidratio", Ratio: 0.25,
			Attributes: map[string]string{"service.name": "hub", "deployment.environment.name": "production"},
		},
		DataDir:  "/var/lib/tributary",
		Postgres: "npm",
		URL:      &url.URL{Scheme: "http", Host: "127.0.0.1:8080"},
		Tenant:   "acme",
		APIKey:   secret.New("trb_x"),
	}
	if diff := cmp.Diff(want, got, plain, cmpopts.IgnoreUnexported(config.Tracing{}), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Error(diff)
	}
}

func TestLoad_Precedence(t *testing.T) {
	t.Parallel()
	owner := func(c config.Config) string {
		url, variable := c.Owner()
		return url.Reveal() + " of " + variable
	}
	tests := []struct {
		name    string
		environ []string
		get     func(config.Config) string
		want    string
	}{
		{"direct is the first", []string{"TRIBUTARY_DATABASE_URL=postgres://a/b"}, func(c config.Config) string { return c.DirectDatabaseURL.Reveal() }, "postgres://a/b"},
		{"owner is the first", []string{"TRIBUTARY_DATABASE_URL=postgres://a/b"}, owner, "postgres://a/b of TRIBUTARY_DATABASE_URL"},
		{"owner is its own", []string{"TRIBUTARY_DATABASE_URL=postgres://a/b", "TRIBUTARY_OWNER_DATABASE_URL=postgres://o/b"}, owner, "postgres://o/b of TRIBUTARY_OWNER_DATABASE_URL"},
		{"DATABASE_URL is somebody else's", []string{"DATABASE_URL=mysql://a/b", "DATABASE_URL_FILE=/nowhere", "PORT=http"}, owner, " of TRIBUTARY_DATABASE_URL"},
		{"empty is not set", []string{"TRIBUTARY_LISTEN=", "TRIBUTARY_ROLES="}, func(c config.Config) string { return c.Listen + " " + c.Roles.String() }, " ingest,api,worker,stream"},
		{"the first of two counts", []string{"TRIBUTARY_TENANT=a", "TRIBUTARY_TENANT=b"}, func(c config.Config) string { return c.Tenant }, "a"},
		{"a value with an equals sign", []string{"TRIBUTARY_DATABASE_URL=postgres://a/b?sslmode=require"}, func(c config.Config) string { return c.DatabaseURL.Reveal() }, "postgres://a/b?sslmode=require"},
		{"a dollar stays", []string{"TRIBUTARY_KEYSET=a$HOME"}, func(c config.Config) string { return c.Keyset.Reveal() }, "a$HOME"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := config.Load(tt.environ)
			if err != nil {
				t.Fatal(err)
			}
			if got := tt.get(c); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// What is no file is refused, and does not keep whoever starts: a pipe that nobody writes to would.
func TestLoad_NoFile(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, t.TempDir(), "/dev/null"} {
		_, err := config.Load([]string{"TRIBUTARY_KEYSET_FILE=" + path})
		if err == nil || !strings.Contains(err.Error(), "TRIBUTARY_KEYSET_FILE: it names no file but a folder, a pipe or a device") {
			t.Errorf("%s: %v", path, err)
		}
	}
}

// A platform's own names stand in where ours are not set, for what runs in production and nowhere else.
func TestLoadService(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte("postgres://file/hub\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name     string
		environ  []string
		database string
		listen   string
		problem  string
	}{
		{name: "nothing", listen: ":8080"},
		{name: "the platform's", environ: []string{"DATABASE_URL=postgres://a/b", "PORT=5000"}, database: "postgres://a/b", listen: ":5000"},
		{name: "the platform's in a file", environ: []string{"DATABASE_URL_FILE=" + file}, database: "postgres://file/hub", listen: ":8080"},
		{
			name:     "ours before the platform's",
			environ:  []string{"DATABASE_URL=mysql://a/b", "PORT=http", "TRIBUTARY_DATABASE_URL=postgres://c/d", "TRIBUTARY_LISTEN=:80"},
			database: "postgres://c/d", listen: ":80",
		},
		{name: "ours in a file", environ: []string{"DATABASE_URL=mysql://a/b", "TRIBUTARY_DATABASE_URL_FILE=" + file}, database: "postgres://file/hub", listen: ":8080"},
		{name: "the platform's of another kind", environ: []string{"DATABASE_URL=mysql://a/c4n4ry"}, listen: ":8080", problem: "DATABASE_URL: not a URL such as postgres://"},
		{
			name: "one address for both", environ: []string{"TRIBUTARY_LISTEN=127.0.0.1:9090"}, listen: "127.0.0.1:9090",
			problem: "TRIBUTARY_OPS_LISTEN: 127.0.0.1:9090 is TRIBUTARY_LISTEN too",
		},
		{name: "any port for both", environ: []string{"TRIBUTARY_LISTEN=127.0.0.1:0"}, listen: "127.0.0.1:0"},
		{name: "no port", environ: []string{"PORT=http"}, listen: ":http", problem: `PORT: ":http" is not an address`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := config.LoadService(tt.environ)
			if got := c.DatabaseURL.Reveal() + c.DirectDatabaseURL.Reveal(); got != tt.database+tt.database {
				t.Errorf("databases %q, want %q twice", got, tt.database)
			}
			if c.Listen != tt.listen || c.OpsListen != "127.0.0.1:9090" {
				t.Errorf("listens on %s and %s, want %s", c.Listen, c.OpsListen, tt.listen)
			}
			switch {
			case tt.problem == "" && err != nil:
				t.Error(err)
			case tt.problem != "" && (err == nil || !strings.Contains(err.Error(), "\n  "+tt.problem) || strings.Contains(err.Error(), "c4n4ry")):
				t.Errorf("%v; want %q", err, tt.problem)
			}
		})
	}
}

func TestLoad_Refuses(t *testing.T) {
	t.Parallel()
	const exemption = " is not host:port or CIDR:port, such as 10.0.0.0/8:443 or [fd00::/8]:443"
	const database = ": not a URL such as postgres://user:password@host:5432/database; special characters in it are percent-encoded"
	const origin = ": not an absolute URL such as https://hub.example.com, without path, query and credentials"
	tests := []struct{ name, setting, want string }{
		{"database of another kind", "TRIBUTARY_DATABASE_URL=mysql://c4n4ry@x/y", "TRIBUTARY_DATABASE_URL" + database},
		{"database as keywords", "TRIBUTARY_DATABASE_URL=host=db password=c4n4ry", "TRIBUTARY_DATABASE_URL" + database},
		{"database with a raw space", "TRIBUTARY_OWNER_DATABASE_URL=postgres://u:c4n4ry x@h/d", "TRIBUTARY_OWNER_DATABASE_URL" + database},
		{"connections below what a process needs", "TRIBUTARY_DATABASE_CONNECTIONS=2", `TRIBUTARY_DATABASE_CONNECTIONS: "2" is not a whole number from 11 to 10000`},
		{"connections in words", "TRIBUTARY_DATABASE_CONNECTIONS=many", `TRIBUTARY_DATABASE_CONNECTIONS: "many" is not a whole number from 11 to 10000`},
		{"role prefix", "TRIBUTARY_ROLE_PREFIX=Hub-2", `TRIBUTARY_ROLE_PREFIX: "Hub-2"; it begins with a-z and has at most 50 of a-z, 0-9 and _`},
		{"listen without a port", "TRIBUTARY_LISTEN=localhost", `TRIBUTARY_LISTEN: "localhost" is not an address such as 127.0.0.1:8080 or :8080`},
		{"ops port too high", "TRIBUTARY_OPS_LISTEN=:70000", `TRIBUTARY_OPS_LISTEN: ":70000" is not an address such as 127.0.0.1:8080 or :8080`},
		{"public URL without a scheme", "TRIBUTARY_PUBLIC_URL=hub.example.com", "TRIBUTARY_PUBLIC_URL" + origin},
		{"public URL with a path", "TRIBUTARY_PUBLIC_URL=https://example.com/hub", "TRIBUTARY_PUBLIC_URL" + origin},
		{"public URL with credentials", "TRIBUTARY_PUBLIC_URL=https://u:c4n4ry@example.com", "TRIBUTARY_PUBLIC_URL" + origin},
		{"public URL with a query", "TRIBUTARY_PUBLIC_URL=https://example.com?", "TRIBUTARY_PUBLIC_URL" + origin},
		{"public URL without a host", "TRIBUTARY_PUBLIC_URL=https://:443", "TRIBUTARY_PUBLIC_URL" + origin},
		{"URL of another kind", "TRIBUTARY_URL=javascript:alert(1)", "TRIBUTARY_URL" + origin},
		{"a certificate", "TRIBUTARY_TLS_CERT_FILE=c.pem", "TRIBUTARY_TLS_CERT_FILE, TRIBUTARY_TLS_KEY_FILE: one is set and the other is not; TLS needs both"},
		{"proxies by name", "TRIBUTARY_TRUSTED_PROXIES=10.0.0.0/8,lb.internal", `TRIBUTARY_TRUSTED_PROXIES: "lb.internal" is not an address or a CIDR such as 10.0.0.0/8`},
		{"everybody a proxy", "TRIBUTARY_TRUSTED_PROXIES=0.0.0.0/0", "TRIBUTARY_TRUSTED_PROXIES: all addresses cannot be proxies; name yours"},
		{"everybody a proxy, in disguise", "TRIBUTARY_TRUSTED_PROXIES=::ffff:0.0.0.0/96", "TRIBUTARY_TRUSTED_PROXIES: all addresses cannot be proxies; name yours"},
		{"unknown role", "TRIBUTARY_ROLES=ingest,router", `TRIBUTARY_ROLES: "ingest,router" is not a list of ingest, api, worker and stream, with commas`},
		{"retention in days", "TRIBUTARY_RETENTION=30d", `TRIBUTARY_RETENTION: "30d" is not a duration such as 720h, from 1 to 87600 hours`},
		{"retention below zero", "TRIBUTARY_RETENTION=-1h", `TRIBUTARY_RETENTION: "-1h" is not a duration such as 720h, from 1 to 87600 hours`},
		{"limit of nothing", "TRIBUTARY_LIMIT_ROUTES=0", `TRIBUTARY_LIMIT_ROUTES: "0" is not a whole number from 1 to 1073741824`},
		{"exemption without a port", "TRIBUTARY_EGRESS_ALLOW=10.0.0.0/8", `TRIBUTARY_EGRESS_ALLOW: "10.0.0.0/8"` + exemption},
		{"exemption of port zero", "TRIBUTARY_EGRESS_ALLOW=host:0", `TRIBUTARY_EGRESS_ALLOW: "host:0"` + exemption},
		{"exemption of a broken CIDR", "TRIBUTARY_EGRESS_ALLOW=10.0.0.0/99:443", `TRIBUTARY_EGRESS_ALLOW: "10.0.0.0/99:443"` + exemption},
		{"log level", "TRIBUTARY_LOG_LEVEL=loud", `TRIBUTARY_LOG_LEVEL: "loud" is not one of debug, info, warn, error`},
		{"log format", "TRIBUTARY_LOG_FORMAT=xml", `TRIBUTARY_LOG_FORMAT: "xml" is not one of auto, text, json`},
		{"source of Postgres", "TRIBUTARY_POSTGRES=docker", `TRIBUTARY_POSTGRES: "docker" is not one of auto, system, npm`},
		{"misspelt name", "TRIBUTARY_PUBLIC_ULR=c4n4ry", "TRIBUTARY_PUBLIC_ULR: no such variable; did you mean TRIBUTARY_PUBLIC_URL?"},
		{"misspelt limit", "TRIBUTARY_LIMIT_ROUTE=3", "TRIBUTARY_LIMIT_ROUTE: no such variable; did you mean TRIBUTARY_LIMIT_ROUTES?"},
		{"misspelt file", "TRIBUTARY_KEYSETFILE=/x", "TRIBUTARY_KEYSETFILE: no such variable; did you mean TRIBUTARY_KEYSET_FILE?"},
		{"a file for what is no secret", "TRIBUTARY_PUBLIC_URL_FILE=/x", "TRIBUTARY_PUBLIC_URL_FILE: no such variable; did you mean TRIBUTARY_PUBLIC_URL?"},
		{"misspelt and empty", "TRIBUTARY_ROLE=", "TRIBUTARY_ROLE: no such variable; did you mean TRIBUTARY_ROLES?"},
		{"file that is not there", "TRIBUTARY_KEYSET_FILE=/nonexistent/keyset", "TRIBUTARY_KEYSET_FILE: the file cannot be read: no such file or directory"},
		{"the secret in its file's place", "TRIBUTARY_KEYSET_FILE=c4n4ry", "TRIBUTARY_KEYSET_FILE: the file cannot be read: no such file or directory"},
		{"a long one in its file's place", "TRIBUTARY_DATABASE_URL_FILE=" + strings.Repeat("c4n4ry", 100), "TRIBUTARY_DATABASE_URL_FILE: the file cannot be read: file name too long"},
		{"a key in its file's place", "OTEL_EXPORTER_OTLP_CERTIFICATE=-----BEGIN PRIVATE KEY-----\nc4n4ry", "OTEL_EXPORTER_OTLP_CERTIFICATE: holds what belongs into a file; it takes the file's path"},
		{"what may be a secret, as a number", "TRIBUTARY_DATABASE_CONNECTIONS=postgres://u:c4n4ry@h/d", "TRIBUTARY_DATABASE_CONNECTIONS: a value of 23 bytes is not a whole number from 11 to 10000"},
		{"as a list", "TRIBUTARY_TRUSTED_PROXIES=10.0.0.0/8,trb_c4n4ryc4n4ryc4n4ry", "TRIBUTARY_TRUSTED_PROXIES: a value of 22 bytes is not an address or a CIDR such as 10.0.0.0/8"},
		{"as a prefix", "TRIBUTARY_ROLE_PREFIX=trb_c4n4ry-c4n4ry-c4n4ry", "TRIBUTARY_ROLE_PREFIX: a value of 24 bytes; it begins with a-z and has at most 50 of a-z, 0-9 and _"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load([]string{tt.setting})
			want := error(config.Problems{tt.want})
			if diff := cmp.Diff(want, err); diff != "" {
				t.Fatal(diff)
			}
			if strings.Contains(err.Error(), "c4n4ry") {
				t.Errorf("the message repeats a value: %v", err)
			}
		})
	}

	t.Run("all in one message", func(t *testing.T) {
		t.Parallel()
		_, err := config.Load([]string{"TRIBUTARY_RETENTION=x", "TRIBUTARY_FOO=1", "TRIBUTARY_ROLES=x", "TRIBUTARY_DATABASE_URL=x"})
		if err == nil {
			t.Fatal("no error")
		}
		for _, name := range []string{"TRIBUTARY_RETENTION", "TRIBUTARY_FOO", "TRIBUTARY_ROLES", "TRIBUTARY_DATABASE_URL"} {
			if !strings.Contains(err.Error(), "\n  "+name+": ") {
				t.Errorf("%s is missing in %v", name, err)
			}
		}
	})
}

func TestLoad_Kubernetes(t *testing.T) {
	t.Parallel()
	_, err := config.Load([]string{
		"TRIBUTARY_SERVICE_HOST=10.0.0.1", "TRIBUTARY_SERVICE_PORT_HTTP=80", "TRIBUTARY_PORT=tcp://10.0.0.1:80", "TRIBUTARY_PORT_80_TCP=tcp://10.0.0.1:80",
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := config.Load([]string{"TRIBUTARY_PORTS=1"}); err == nil {
		t.Error("what only begins like it passes")
	}
}

func TestLoad_Files(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	url := file("url", "postgres://hub:pw@db/tributary\r\n")
	keyset := file("keyset", "keyset\n")
	c, err := config.Load([]string{"TRIBUTARY_DATABASE_URL_FILE=" + url, "TRIBUTARY_KEYSET_FILE=" + keyset, "TRIBUTARY_API_KEY_FILE=" + file("key", "trb_x")})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.DatabaseURL.Reveal(), c.Keyset.Reveal(), c.APIKey.Reveal()}
	if diff := cmp.Diff([]string{"postgres://hub:pw@db/tributary", "keyset", "trb_x"}, got); diff != "" {
		t.Error(diff)
	}

	bad := []struct{ name, want string }{
		{"TRIBUTARY_KEYSET_FILE=" + file("empty", "\n"), "TRIBUTARY_KEYSET_FILE: the file is empty"},
		{"TRIBUTARY_KEYSET_FILE=" + file("large", strings.Repeat("c4n4ry", 20_000)), "TRIBUTARY_KEYSET_FILE: the file is larger than 65536 bytes"},
	}
	for _, tt := range bad {
		_, err := config.Load([]string{tt.name})
		if diff := cmp.Diff(error(config.Problems{tt.want}), err); diff != "" {
			t.Error(diff)
		}
	}
	_, err = config.Load([]string{"TRIBUTARY_KEYSET=a", "TRIBUTARY_KEYSET_FILE=" + keyset})
	if diff := cmp.Diff(error(config.Problems{"TRIBUTARY_KEYSET: set, and TRIBUTARY_KEYSET_FILE as well; use one of them"}), err); diff != "" {
		t.Error(diff)
	}
}

func TestConfig_ShowsNoSecret(t *testing.T) {
	t.Parallel()
	c, err := config.Load([]string{
		"TRIBUTARY_DATABASE_URL=postgres://login:c4n4ry@db.internal:5432/hub?sslpassword=c4n4ry",
		"TRIBUTARY_DIRECT_DATABASE_URL=postgres://login:c4n4ry@/hub?host=/run/pg&password=c4n4ry",
		"TRIBUTARY_OWNER_DATABASE_URL=postgres://c4n4ry:c4n4ry@db.internal/hub?sslpassword=c4n4ry",
		"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_HEADERS=authorization=Bearer c4n4ry",
		"TRIBUTARY_KEYSET=c4n4ry", "TRIBUTARY_API_KEY=trb_c4n4ry", "TRIBUTARY_TENANT=acme", "TRIBUTARY_LIMIT_CONNECTIONS=7",
	})
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	var logged bytes.Buffer
	slog.New(slog.NewTextHandler(&logged, nil)).Info("configuration", "config", c)
	shown := map[string]string{"json": string(encoded), "slog": logged.String(), "settings": fmt.Sprint(c.Settings())}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
		shown[verb] = fmt.Sprintf(verb, c) + fmt.Sprintf(verb, &c) + fmt.Sprintf(verb, struct{ C config.Config }{c})
	}
	for how, text := range shown {
		if strings.Contains(text, "c4n4ry") || strings.Contains(text, fmt.Sprintf("%x", "c4n4ry")) {
			t.Errorf("%s shows the canary: %s", how, text)
		}
	}
	for _, line := range []string{
		"TRIBUTARY_DATABASE_URL=postgres://db.internal:5432/hub\n", "TRIBUTARY_DIRECT_DATABASE_URL=postgres://[/run/pg]/hub\n",
		"TRIBUTARY_OWNER_DATABASE_URL=postgres://db.internal/hub\n",
		"TRIBUTARY_KEYSET=REDACTED\n", "TRIBUTARY_API_KEY=REDACTED\n", "TRIBUTARY_TENANT=acme\n", "TRIBUTARY_LIMIT_CONNECTIONS=7\n", "OTEL_EXPORTER_OTLP_HEADERS=REDACTED\n",
		"TRIBUTARY_LIMIT_ROUTES=200\n",
	} {
		if !strings.Contains(c.String(), line) {
			t.Errorf("%q is missing in %s", line, c)
		}
	}
	if strings.Contains(c.String(), "TRIBUTARY_LIMIT_ENDPOINTS") || strings.Contains(c.String(), "TRIBUTARY_TLS") {
		t.Errorf("shows what is not set: %s", c)
	}
}

// What the documentation lists, what is read and what is shown are the same names.
func TestVariables(t *testing.T) {
	t.Parallel()
	documented := map[string]config.Variable{}
	var order []string
	for _, v := range config.Variables() {
		if _, twice := documented[v.Name]; twice || v.What == "" {
			t.Errorf("%s: twice, or without a word on what it is", v.Name)
		}
		documented[v.Name] = v
		order = append(order, v.Name)
	}
	var shown []string
	for _, s := range (config.Config{}).Settings() {
		shown = append(shown, s.Name)
	}
	if diff := cmp.Diff(order, shown); diff != "" {
		t.Errorf("names (-documented +shown):\n%s", diff)
	}
	for name, value := range map[string]string{
		"TRIBUTARY_LISTEN": ":8080, or :$PORT; dev: 127.0.0.1:8080", "TRIBUTARY_RETENTION": "720h", "TRIBUTARY_DATABASE_CONNECTIONS": "20",
		"TRIBUTARY_LIMIT_BODY_BYTES": "1048576", "TRIBUTARY_LIMIT_CONNECTIONS": "", "TRIBUTARY_ROLES": "all",
	} {
		if got := documented[name].Default; got != value {
			t.Errorf("%s: default %q, want %q", name, got, value)
		}
	}
	var secrets []string
	for _, name := range order {
		if documented[name].Secret {
			secrets = append(secrets, name)
		}
	}
	want := []string{"TRIBUTARY_DATABASE_URL", "TRIBUTARY_DIRECT_DATABASE_URL", "TRIBUTARY_OWNER_DATABASE_URL", "TRIBUTARY_KEYSET", "TRIBUTARY_API_KEY", "OTEL_EXPORTER_OTLP_HEADERS"}
	if diff := cmp.Diff(want, secrets); diff != "" {
		t.Error(diff)
	}
}

// The chart takes the hub's variables alone, so that a misspelt one is refused before anything is installed: all but
// secrets, what the chart sets itself, and what only dev and scripts read.
func TestVariables_InTheChart(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("../../deploy/helm/tributary/values.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Definitions struct {
			Env struct {
				PropertyNames struct{ Enum []string }
			}
		}
	}
	if err := json.Unmarshal(content, &schema); err != nil {
		t.Fatal(err)
	}
	left := map[string]bool{
		"TRIBUTARY_LISTEN": true, "TRIBUTARY_OPS_LISTEN": true, "TRIBUTARY_PUBLIC_URL": true, "TRIBUTARY_ROLES": true,
		"TRIBUTARY_DATA_DIR": true, "TRIBUTARY_POSTGRES": true, "TRIBUTARY_URL": true, "TRIBUTARY_TENANT": true,
	}
	var want []string
	for _, v := range config.Variables() {
		if !v.Secret && !left[v.Name] {
			want = append(want, v.Name)
		}
	}
	want = append(want, "GOMEMLIMIT", "GOMAXPROCS", "GOGC", "GODEBUG")
	if diff := cmp.Diff(want, schema.Definitions.Env.PropertyNames.Enum); diff != "" {
		t.Errorf("names (-the hub's +the chart's):\n%s", diff)
	}
}

func TestParseRoles(t *testing.T) {
	t.Parallel()
	tests := []struct{ list, want string }{
		{"", "ingest,api,worker,stream"},
		{"worker", "worker"},
		{" stream , api ", "api,stream"},
		{"ingest,ingest,", "ingest"},
	}
	for _, tt := range tests {
		roles, err := config.ParseRoles(tt.list)
		if err != nil || roles.String() != tt.want {
			t.Errorf("%q: %q, %v; want %q", tt.list, roles, err, tt.want)
		}
	}
	if _, err := config.ParseRoles(" ,"); hub.CodeOf(err) != hub.Invalid || !strings.Contains(err.Error(), `" ," names no role`) {
		t.Errorf("none: %v", err)
	}
	if _, err := config.ParseRoles("stream,Ingest"); hub.CodeOf(err) != hub.Invalid || !strings.Contains(err.Error(), `"Ingest" is no role`) {
		t.Errorf("upper case: %v", err)
	}
}
