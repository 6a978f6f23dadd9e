package check_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"k8s.io/apimachinery/pkg/labels"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// The monitor finds the operators' service, and asks a port that it has.
func TestServiceMonitor(t *testing.T) {
	t.Parallel()
	r := newRelease(t, cases(t)["split"])
	if len(r.monitors) != 1 {
		t.Fatalf("%d monitors", len(r.monitors))
	}
	monitor := r.monitors[0]
	if monitor.Labels["release"] != "prometheus" {
		t.Errorf("labels %v", monitor.Labels)
	}
	var found []string
	for _, s := range r.services {
		if selector(t, &monitor.Spec.Selector).Matches(labels.Set(s.Labels)) {
			found = append(found, s.Name)
			if e := monitor.Spec.Endpoints; len(e) != 1 || e[0].Port != s.Spec.Ports[0].Name || e[0].Path != "/metrics" {
				t.Errorf("it asks %+v", e)
			}
		}
	}
	if len(found) != 1 || found[0] != "tributary-ops" {
		t.Errorf("it finds %v", found)
	}
	if r := newRelease(t, cases(t)["plain"]); len(r.monitors)+len(r.rules) != 0 {
		t.Error("what needs the Prometheus operator is there unasked")
	}
}

// Each release is a job of its own, whatever it is called and wherever it is: alerts compare and add up within one, and
// look for names that begin with tributary.
func TestServiceMonitor_Job(t *testing.T) {
	t.Parallel()
	for _, r := range []struct{ name, namespace, want string }{
		{"tributary", "prod", "tributary/prod/tributary"},
		{"tributary", "staging", "tributary/staging/tributary"},
		{"hub", "prod", "tributary/prod/hub"},
	} {
		files, err := renderAs(t.Context(), r.name, r.namespace, cases(t)["split"])
		if err != nil {
			t.Fatal(err)
		}
		object, err := decode(documents(files["monitoring.yaml"])[0])
		if err != nil {
			t.Fatal(err)
		}
		monitor, ok := object.(*monitoringv1.ServiceMonitor)
		if !ok {
			t.Fatalf("a %T", object)
		}
		want := []monitoringv1.RelabelConfig{{TargetLabel: "job", Replacement: &r.want}}
		if monitor.Spec.JobLabel != "" || !reflect.DeepEqual(monitor.Spec.Endpoints[0].RelabelConfigs, want) {
			t.Errorf("%s in %s: %q, %+v", r.name, r.namespace, monitor.Spec.JobLabel, monitor.Spec.Endpoints[0].RelabelConfigs)
		}
	}
}

// The chart has the rules as they are in deploy/prometheus, where promtool tries them, and gives them to the operator
// whole: Helm's templates and Prometheus' look alike.
func TestAlerts(t *testing.T) {
	t.Parallel()
	copied := chart + "/files/alerts.yaml"
	want := read(t, "../prometheus/alerts.yaml")
	if *update {
		if err := os.MkdirAll(filepath.Dir(copied), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(copied, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, copied) != want {
		t.Errorf("%s is another one than prometheus/alerts.yaml; run make generate-deploy", copied)
	}
	asJSON, err := yaml.YAMLToJSONStrict([]byte(want))
	if err != nil {
		t.Fatal(err)
	}
	var spec monitoringv1.PrometheusRuleSpec
	strict, err := kjson.UnmarshalStrict(asJSON, &spec)
	if err != nil || len(strict) > 0 {
		t.Fatalf("%v %v", err, strict)
	}
	r := newRelease(t, cases(t)["split"])
	if len(r.rules) != 1 || len(spec.Groups) == 0 || !reflect.DeepEqual(r.rules[0].Spec, spec) {
		t.Errorf("the chart makes %d objects of the %d groups of rules, or not what they say", len(r.rules), len(spec.Groups))
	}
}
