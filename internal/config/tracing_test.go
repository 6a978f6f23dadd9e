package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/config"
)

// Nothing is traced unless somebody asks for it; where the spans go then is told as OpenTelemetry tells it.
func TestLoad_Collector(t *testing.T) {
	t.Parallel()
	const endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT=https://collector.example.com/base"
	tests := []struct {
		name    string
		environ []string
		want    string
	}{
		{"nothing", nil, ""},
		{"other settings", []string{"OTEL_SERVICE_NAME=hub", "OTEL_TRACES_SAMPLER=always_on", "OTEL_LOGS_EXPORTER=console"}, ""},
		{"the exporter alone", []string{"OTEL_TRACES_EXPORTER=otlp"}, "http://localhost:4318/v1/traces"},
		{"an endpoint", []string{endpoint}, "https://collector.example.com/base/v1/traces"},
		{"one without a path", []string{"OTEL_EXPORTER_OTLP_ENDPOINT=http://collector:4318"}, "http://collector:4318/v1/traces"},
		{"one of its own for traces", []string{endpoint, "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=http://t:1/spans"}, "http://t:1/spans"},
		{"switched off", []string{endpoint, "OTEL_TRACES_EXPORTER=none"}, ""},
		{"disabled", []string{endpoint, "OTEL_TRACES_EXPORTER=otlp", "OTEL_SDK_DISABLED=TRUE"}, ""},
		{"not disabled", []string{endpoint, "OTEL_SDK_DISABLED=false"}, "https://collector.example.com/base/v1/traces"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, err := config.Load(tt.environ)
			if err != nil {
				t.Fatal(err)
			}
			got := ""
			if c.Tracing.Endpoint != nil {
				got = c.Tracing.Endpoint.String()
			}
			if got != tt.want {
				t.Errorf("spans go to %q, want %q", got, tt.want)
			}
		})
	}
}

func TestLoad_RefusesTracing(t *testing.T) {
	t.Parallel()
	const endpoint = ": not a URL such as http://localhost:4318, without query and credentials"
	tests := []struct{ name, setting, want string }{
		{"another exporter", "OTEL_TRACES_EXPORTER=zipkin", `OTEL_TRACES_EXPORTER: "zipkin" is not one of otlp, none`},
		{"another protocol", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc", `OTEL_EXPORTER_OTLP_PROTOCOL: "grpc" is not one of http/protobuf`},
		{"an endpoint without a scheme", "OTEL_EXPORTER_OTLP_ENDPOINT=collector:4318", "OTEL_EXPORTER_OTLP_ENDPOINT" + endpoint},
		{"credentials in the endpoint", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT=https://u:c4n4ry@collector/v1/traces", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT" + endpoint},
		{"credentials in its query", "OTEL_EXPORTER_OTLP_ENDPOINT=https://collector?key=c4n4ry", "OTEL_EXPORTER_OTLP_ENDPOINT" + endpoint},
		{"headers in another form", "OTEL_EXPORTER_OTLP_HEADERS=c4n4ry", "OTEL_EXPORTER_OTLP_HEADERS: entry 1 is not name=value with special characters percent-encoded"},
		{"a header that ends its line", "OTEL_EXPORTER_OTLP_HEADERS=a=b,c=c4n4ry%0d%0a", "OTEL_EXPORTER_OTLP_HEADERS: entry 2 is not name=value with special characters percent-encoded"},
		{"a colon for the equals sign", "OTEL_EXPORTER_OTLP_HEADERS=api-key: c4n4ry==", "OTEL_EXPORTER_OTLP_HEADERS: what stands before = is not the name of a header, as in api-key=value"},
		{"the third, after one name twice", "OTEL_EXPORTER_OTLP_HEADERS=a=b,a=d,c4n4ry", "OTEL_EXPORTER_OTLP_HEADERS: entry 3 is not name=value with special characters percent-encoded"},
		{"a sampler from elsewhere", "OTEL_TRACES_SAMPLER=jaeger_remote", `OTEL_TRACES_SAMPLER: "jaeger_remote" is not one of always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio`},
		{"more than all", "OTEL_TRACES_SAMPLER_ARG=10", `OTEL_TRACES_SAMPLER_ARG: "10" is not a number from 0 to 1`},
		{"no number", "OTEL_TRACES_SAMPLER_ARG=NaN", `OTEL_TRACES_SAMPLER_ARG: "NaN" is not a number from 0 to 1`},
		{"seconds with their unit", "OTEL_EXPORTER_OTLP_TIMEOUT=10s", `OTEL_EXPORTER_OTLP_TIMEOUT: "10s" is not a whole number from 1 to 600000`},
		{"neither true nor false", "OTEL_SDK_DISABLED=1", `OTEL_SDK_DISABLED: "1" is not one of true, false`},
		{"authorities that are not there", "OTEL_EXPORTER_OTLP_CERTIFICATE=/nonexistent/ca.pem", "OTEL_EXPORTER_OTLP_CERTIFICATE: the file cannot be read: no such file or directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := config.Load([]string{tt.setting})
			if diff := cmp.Diff(error(config.Problems{tt.want}), err); diff != "" {
				t.Fatal(diff)
			}
			if strings.Contains(err.Error(), "c4n4ry") {
				t.Errorf("the message repeats a value: %v", err)
			}
		})
	}
}

func TestLoad_TracingFiles(t *testing.T) {
	t.Parallel()
	headers := filepath.Join(t.TempDir(), "headers")
	if err := os.WriteFile(headers, []byte("api-key=k\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := config.Load([]string{"OTEL_TRACES_EXPORTER=otlp", "OTEL_EXPORTER_OTLP_HEADERS_FILE=" + headers})
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Tracing.Headers["api-key"].Reveal(); got != "k" {
		t.Errorf("the header is %q", got)
	}
	if got := c.Tracing.Attributes["service.name"]; got != "tributary" {
		t.Errorf("the service is called %q", got)
	}
}
