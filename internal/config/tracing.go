package config

import (
	"cmp"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/tributary-hub/tributary/internal/secret"
)

// Tracing is where spans go and which are made, by OpenTelemetry's own names.
type Tracing struct {
	Endpoint     *url.URL                 // of the collector, path included; nil: nothing is traced
	Headers      map[string]secret.String // sent with each request
	Gzip         bool
	Certificates []byte // PEM; nil: the system's authorities
	Timeout      time.Duration
	Sampler      string
	Ratio        float64
	Attributes   map[string]string // of the process, service.name among them

	certificateFile string // where Certificates are from
}

// tracingEnvironment are the variables of OpenTelemetry that the hub reads, as environment has its own. Others of
// that name are not looked at: they may be meant for something else.
//
//nolint:tagalign // whole sentences cannot stand in columns
type tracingEnvironment struct {
	Disabled       string `env:"OTEL_SDK_DISABLED, default=false" what:"true: nothing is traced, whatever else is set"`
	Exporter       string `env:"OTEL_TRACES_EXPORTER" shown:"otlp where an endpoint is set, else none" what:"where spans go: otlp or none"`
	Endpoint       string `env:"OTEL_EXPORTER_OTLP_ENDPOINT" shown:"http://localhost:4318" what:"the collector; /v1/traces is added to it"`
	TracesEndpoint string `env:"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" what:"the same with its path, taken as it is"`
	Headers        string `env:"OTEL_EXPORTER_OTLP_HEADERS" secret:"yes" what:"name=value, with commas, sent to the collector with each request; special characters percent-encoded"`
	Protocol       string `env:"OTEL_EXPORTER_OTLP_PROTOCOL, default=http/protobuf" what:"the only one that the hub speaks"`
	Compression    string `env:"OTEL_EXPORTER_OTLP_COMPRESSION, default=none" what:"gzip or none"`
	Certificate    string `env:"OTEL_EXPORTER_OTLP_CERTIFICATE" shown:"the system's" what:"file of the authorities that the collector's certificate is checked by, in PEM"`
	Timeout        string `env:"OTEL_EXPORTER_OTLP_TIMEOUT, default=10000" what:"milliseconds for one batch of spans, repetitions included"`
	Sampler        string `env:"OTEL_TRACES_SAMPLER, default=parentbased_always_on" what:"which requests are traced: always_on, always_off, traceidratio, or one of these after parentbased_"`
	SamplerArg     string `env:"OTEL_TRACES_SAMPLER_ARG, default=1" what:"the share that a ratio takes, from 0 to 1"`
	Service        string `env:"OTEL_SERVICE_NAME" shown:"tributary" what:"the name of this service in a trace"`
	Attributes     string `env:"OTEL_RESOURCE_ATTRIBUTES" what:"name=value of this process, with commas, such as deployment.environment.name=production"`
}

// tracing gives the variables their types. Those that would only matter if something were traced are judged all the
// same: a mistake shows when it is made.
func (p *Problems) tracing(env tracingEnvironment) Tracing {
	t := Tracing{
		Headers:    map[string]secret.String{},
		Gzip:       p.oneOf("OTEL_EXPORTER_OTLP_COMPRESSION", env.Compression, "none", "gzip") == "gzip",
		Timeout:    time.Duration(p.integer("OTEL_EXPORTER_OTLP_TIMEOUT", env.Timeout, 1, 600_000)) * time.Millisecond,
		Sampler:    p.oneOf("OTEL_TRACES_SAMPLER", env.Sampler, samplers...),
		Attributes: p.pairs("OTEL_RESOURCE_ATTRIBUTES", env.Attributes),
	}
	for name, value := range p.pairs("OTEL_EXPORTER_OTLP_HEADERS", env.Headers) {
		if strings.Trim(name, tokens) != "" {
			p.addf("OTEL_EXPORTER_OTLP_HEADERS: what stands before = is not the name of a header, as in api-key=value") // nor repeated: it may be the value
			continue
		}
		t.Headers[name] = secret.New(value)
	}
	ratio, err := strconv.ParseFloat(env.SamplerArg, 64)
	if err != nil || !(ratio >= 0 && ratio <= 1) { // not a number is neither
		p.addf("OTEL_TRACES_SAMPLER_ARG: %s is not a number from 0 to 1", shown(env.SamplerArg))
	}
	t.Ratio = ratio
	t.Attributes["service.name"] = cmp.Or(env.Service, t.Attributes["service.name"], "tributary")
	if t.certificateFile = p.path("OTEL_EXPORTER_OTLP_CERTIFICATE", env.Certificate); t.certificateFile != "" {
		if t.Certificates, err = os.ReadFile(t.certificateFile); err != nil {
			p.addf("OTEL_EXPORTER_OTLP_CERTIFICATE: the file cannot be read: %v", failure(err))
		}
	}
	p.oneOf("OTEL_EXPORTER_OTLP_PROTOCOL", env.Protocol, "http/protobuf")
	base := p.collector("OTEL_EXPORTER_OTLP_ENDPOINT", env.Endpoint)
	whole := p.collector("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", env.TracesEndpoint)
	disabled := p.oneOf("OTEL_SDK_DISABLED", strings.ToLower(env.Disabled), "true", "false") == "true"
	exporter := env.Exporter
	if exporter != "" {
		p.oneOf("OTEL_TRACES_EXPORTER", exporter, "otlp", "none")
	}
	if disabled || exporter == "none" || exporter == "" && base == nil && whole == nil {
		return Tracing{}
	}
	switch {
	case whole != nil:
		t.Endpoint = whole
	case base != nil:
		t.Endpoint = base.JoinPath("/v1/traces")
	default:
		t.Endpoint = &url.URL{Scheme: "http", Host: "localhost:4318", Path: "/v1/traces"}
	}
	return t
}

// samplers are those of OpenTelemetry that need nothing from elsewhere.
var samplers = []string{"always_on", "always_off", "traceidratio", "parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"}

// tokens are the characters of a header's name (RFC 9110, section 5.6.2).
const tokens = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

// collector takes the URL of a collector. Credentials belong into the headers, which are not shown.
func (p *Problems) collector(name, text string) *url.URL {
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		p.addf("%s: not a URL such as http://localhost:4318, without query and credentials", name)
		return nil
	}
	u.Path = cmp.Or(u.Path, "/") // what JoinPath joins to has one
	return u
}

// pairs takes name=value, with commas, percent-encoded. Neither side is repeated: it may be a credential.
func (p *Problems) pairs(name, text string) map[string]string {
	all := map[string]string{}
	for i, entry := range list(text) {
		key, value, ok := strings.Cut(entry, "=")
		key, bad := url.PathUnescape(strings.TrimSpace(key))
		value, worse := url.PathUnescape(strings.TrimSpace(value))
		if !ok || bad != nil || worse != nil || key == "" || strings.ContainsFunc(key+value, unicode.IsControl) {
			p.addf("%s: entry %d is not name=value with special characters percent-encoded", name, i+1)
			return all
		}
		all[key] = value
	}
	return all
}

// settings are what is in effect, in the order of tracingEnvironment: the endpoint as a whole, the service's name among
// the attributes, and of the headers only that there are some.
func (t Tracing) settings() []Setting {
	var exporter, compression, timeout, ratio, headers string
	var attributes []string
	if exporter = "none"; t.Endpoint != nil {
		exporter, compression = "otlp", "none"
		timeout, ratio = strconv.FormatInt(t.Timeout.Milliseconds(), 10), strconv.FormatFloat(t.Ratio, 'g', -1, 64)
	}
	if t.Gzip {
		compression = "gzip"
	}
	for _, value := range t.Headers {
		headers = hidden(value)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Attributes)) {
		attributes = append(attributes, name+"="+t.Attributes[name])
	}
	return []Setting{
		{"OTEL_SDK_DISABLED", ""},
		{"OTEL_TRACES_EXPORTER", exporter},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", ""},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", address(t.Endpoint)},
		{"OTEL_EXPORTER_OTLP_HEADERS", headers},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", ""},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", compression},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", t.certificateFile},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", timeout},
		{"OTEL_TRACES_SAMPLER", t.Sampler},
		{"OTEL_TRACES_SAMPLER_ARG", ratio},
		{"OTEL_SERVICE_NAME", ""},
		{"OTEL_RESOURCE_ATTRIBUTES", strings.Join(attributes, ",")},
	}
}
