package check_test

import (
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/v2/lint"
	"helm.sh/helm/v4/pkg/chart/v2/lint/support"
)

// `helm lint` finds nothing but that the chart has no picture.
func TestLint(t *testing.T) {
	t.Parallel()
	for name, values := range cases(t) {
		for _, message := range linted(values) {
			t.Errorf("%s: %v", name, message)
		}
	}
	if len(linted(map[string]any{})) == 0 {
		t.Error("the linter finds nothing wrong with values that lack what is required")
	}
}

func linted(values map[string]any) []support.Message {
	var found []support.Message
	for _, message := range lint.RunAll(chart, values, "tributary", lint.WithKubeVersion(&common.KubeVersion{Version: "v1.35.0", Major: "1", Minor: "35"})).Messages {
		if message.Severity > support.InfoSev || !strings.Contains(message.Err.Error(), "icon is recommended") {
			found = append(found, message)
		}
	}
	return found
}

// What is mistyped or forgotten is refused with a sentence that names it, before anything is installed.
func TestValues_Refused(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		path  string // of the value to set, with dots
		value any    // nil removes it
		want  string
	}{
		{"no public URL", "publicURL", nil, "publicURL"},
		{"public URL without a scheme", "publicURL", "hub.example.com", "publicURL"},
		{"public URL with a path", "publicURL", "https://example.com/hub", "publicURL"},
		{"no image", "image.repository", nil, "image/repository"},
		{"a digest cut short", "image.digest", "sha256:abc", "image/digest"},
		{"a misspelt value", "ingres", map[string]any{"enabled": true}, "ingres"},
		{"a misspelt value below", "ingress.enable", true, "enable"},
		{"a number in words", "preStopSeconds", "five", "preStopSeconds"},
		{"too short to drain", "terminationGracePeriodSeconds", 10, "terminationGracePeriodSeconds"},
		{"an unknown role", "workloads.hub.roles", []any{"ingest", "router"}, "roles"},
		{"a role without a home", "workloads.hub.roles", []any{"ingest", "api", "stream"}, "no workload has the role worker"},
		{"a workload called as our own", "workloads.ops", map[string]any{"roles": []any{"api"}}, "ops"},
		{"a secret in plain sight", "env.TRIBUTARY_DATABASE_URL", "postgres://a:b@c/d", "TRIBUTARY_DATABASE_URL"},
		{"a keyset in plain sight", "env.TRIBUTARY_KEYSET", "{}", "TRIBUTARY_KEYSET"},
		{"what the chart sets", "env.TRIBUTARY_OPS_LISTEN", ":9091", "TRIBUTARY_OPS_LISTEN"},
		{"a misspelt setting", "env.TRIBUTARY_RETENTON", "720h", "TRIBUTARY_RETENTON"},
		{"a misspelt setting of a workload", "workloads.hub.env.TRIBUTARY_LOG_LEVELS", "debug", "TRIBUTARY_LOG_LEVELS"},
		{"what only dev reads", "env.TRIBUTARY_DATA_DIR", "/data", "TRIBUTARY_DATA_DIR"},
		{"somebody else's variable", "env.LD_PRELOAD", "/x.so", "LD_PRELOAD"},
		{"a list as a setting", "env.TRIBUTARY_TRUSTED_PROXIES", []any{"10.0.0.0/8"}, "TRIBUTARY_TRUSTED_PROXIES"},
		{"a port by name", "database.ports", []any{"postgres"}, "ports"},
		{"a collector's key in plain sight", "env.OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x", "OTEL_EXPORTER_OTLP_HEADERS"},
		{"one for traces alone", "workloads.hub.env", map[string]any{"OTEL_EXPORTER_OTLP_TRACES_HEADERS": "a=b"}, "OTEL_EXPORTER_OTLP_TRACES_HEADERS"},
		{"a label of the chart's own", "podLabels", map[string]any{"app.kubernetes.io/instance": "x"}, "podLabels"},
		{"one for the monitor", "serviceMonitor.labels", map[string]any{"helm.sh/chart": "x"}, "serviceMonitor/labels"},
		{"one for the rules", "prometheusRule.labels", map[string]any{"app.kubernetes.io/name": "x"}, "prometheusRule/labels"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			values := cases(t)["plain"]
			set(values, tt.path, tt.value)
			_, err := render(t.Context(), values)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v; want an error that names %s", err, tt.want)
			}
		})
	}
}

// What is good by itself and contradicts another value is refused too; its neighbour that agrees is taken.
func TestValues_Agree(t *testing.T) {
	t.Parallel()
	worker := func(replicas int) map[string]any {
		return map[string]any{"roles": []any{"worker"}, "replicas": replicas}
	}
	front := []any{"ingest", "api", "stream"}
	tests := []struct {
		name   string
		values map[string]any // by their paths, with dots
		want   string         // in the refusal; "" is none
	}{
		{"a long wait before the end", map[string]any{"preStopSeconds": 11}, "terminationGracePeriodSeconds is too short"},
		{"and the time for it", map[string]any{"preStopSeconds": 11, "terminationGracePeriodSeconds": 41}, ""},
		{"an end that is one second short", map[string]any{"preStopSeconds": 11, "terminationGracePeriodSeconds": 40}, "are 41"},
		{"no replica of all", map[string]any{"workloads.hub.replicas": 0}, "no workload has the role ingest and a replica"},
		{"no replica of the only worker", map[string]any{"workloads.hub.roles": front, "workloads.worker": worker(0)}, "no workload has the role worker and a replica"},
		{"a replica of it", map[string]any{"workloads.hub.roles": front, "workloads.worker": worker(1)}, ""},
		{"no replica, and another worker", map[string]any{"workloads.worker": worker(0)}, ""},
		{"the owner's login for the hub", map[string]any{"database.secret": "tributary-owner", "database.key": "owner_database_url"}, "database.key and migration are the same key"},
		{"another key of the owner's secret", map[string]any{"database.secret": "tributary-owner"}, ""},
		{"a pooler that is none", map[string]any{"database.directKey": "database_url"}, "database.key and database.directKey are the same key"},
		{"the keyset as the database", map[string]any{"database.key": "keyset"}, "database.key and keyset are the same key"},
		{"the owner's login past the pooler", map[string]any{"database.directKey": "url", "migration.secret": "tributary", "migration.key": "url"}, "database.directKey and migration are the same key"},
		{"the keyset for the collector", map[string]any{"collectorHeaders.secret": "tributary", "collectorHeaders.key": "keyset"}, "keyset and collectorHeaders are the same key"},
		{"a monitor that is let in nowhere", map[string]any{"serviceMonitor.enabled": true, "networkPolicy.opsFrom": []any{}}, "networkPolicy.opsFrom"},
		{"a monitor without a policy", map[string]any{"serviceMonitor.enabled": true, "networkPolicy.opsFrom": []any{}, "networkPolicy.enabled": false}, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			values := cases(t)["plain"]
			for path, value := range tt.values {
				set(values, path, value)
			}
			switch _, err := render(t.Context(), values); {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v; want an error that says %q", err, tt.want)
			}
		})
	}
}

func set(values map[string]any, path string, value any) {
	head, rest, more := strings.Cut(path, ".")
	switch {
	case more:
		below, ok := values[head].(map[string]any)
		if !ok {
			below = map[string]any{}
			values[head] = below
		}
		set(below, rest, value)
	case value == nil:
		delete(values, head)
	default:
		values[head] = value
	}
}
