package check_test

import (
	"testing"

	"k8s.io/apimachinery/pkg/labels"
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
