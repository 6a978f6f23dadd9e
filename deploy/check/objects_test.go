package check_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
)

// forEach runs a test over what the chart makes of each of the cases' values.
func forEach(t *testing.T, test func(t *testing.T, r release)) {
	t.Helper()
	for name, values := range cases(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, newRelease(t, values))
		})
	}
}

// Names and labels are what Kubernetes takes, and no two objects share a name.
func TestObjects_Names(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, r release) {
		t.Helper()
		seen := map[string]bool{}
		for _, o := range r.objects {
			kind := fmt.Sprintf("%T", o)
			if seen[kind+o.GetName()] {
				t.Errorf("%s %s is there twice", kind, o.GetName())
			}
			seen[kind+o.GetName()] = true
			for _, problem := range validation.IsDNS1035Label(o.GetName()) {
				t.Errorf("%s %s: %s", kind, o.GetName(), problem)
			}
			if o.GetNamespace() != "" {
				t.Errorf("%s %s: names a namespace; Helm and kubectl do", kind, o.GetName())
			}
			for key, value := range o.GetLabels() {
				for _, problem := range slices.Concat(validation.IsQualifiedName(key), validation.IsValidLabelValue(value)) {
					t.Errorf("%s %s: label %s=%s: %s", kind, o.GetName(), key, value, problem)
				}
			}
		}
	})
}

// Each deployment selects its own pods and no other's, and has one service and one budget that select just these. The
// operators' service selects all of the hub's pods, and the migration's none.
func TestSelectors(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, r release) {
		t.Helper()
		pods := r.pods()
		selected := func(s labels.Selector) string {
			var names []string
			for name, pod := range pods {
				if s.Matches(labels.Set(pod.Labels)) {
					names = append(names, name)
				}
			}
			slices.Sort(names)
			return strings.Join(names, " ")
		}
		var all []string
		for _, d := range r.deployments {
			all = append(all, d.Name)
			if got := selected(selector(t, d.Spec.Selector)); got != d.Name {
				t.Errorf("deployment %s selects %s", d.Name, got)
			}
			for _, c := range d.Spec.Template.Spec.TopologySpreadConstraints {
				if got := selected(selector(t, c.LabelSelector)); got != d.Name {
					t.Errorf("deployment %s spreads %s", d.Name, got)
				}
			}
		}
		slices.Sort(all)
		if len(r.budgets) != len(all) || len(r.services) != len(all)+1 {
			t.Errorf("%d deployments, %d budgets, %d services", len(all), len(r.budgets), len(r.services))
		}
		for _, b := range r.budgets {
			if got := selected(selector(t, b.Spec.Selector)); got != b.Name {
				t.Errorf("budget %s is for %s", b.Name, got)
			}
			if diff := cmp.Diff(policyv1.PodDisruptionBudgetSpec{
				Selector: b.Spec.Selector, MaxUnavailable: new(intstr.FromInt32(1)), UnhealthyPodEvictionPolicy: new(policyv1.AlwaysAllow),
			}, b.Spec); diff != "" {
				t.Errorf("budget %s (-want +got):\n%s", b.Name, diff)
			}
		}
		for _, s := range r.services {
			want := s.Name
			if s.Name == "tributary-ops" {
				want = strings.Join(all, " ")
			}
			if got := selected(labels.SelectorFromSet(s.Spec.Selector)); got != want {
				t.Errorf("service %s leads to %s", s.Name, got)
			}
		}
		for _, p := range r.policies {
			want := slices.Clone(all)
			for _, j := range r.jobs {
				want = append(want, j.Name)
			}
			slices.Sort(want)
			if got := selected(selector(t, &p.Spec.PodSelector)); got != strings.Join(want, " ") {
				t.Errorf("the policy is for %s", got)
			}
		}
	})
}

// The image is of the version that the chart says, unless the values say another.
func TestImage(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"plain":  "registry.example.com/tributary:0.1.0",
		"split":  "registry.example.com/tributary@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
		"paired": "registry.example.com/tributary:0.1.0-rc.1",
	} {
		for pod, template := range newRelease(t, cases(t)[name]).pods() {
			if got := template.Spec.Containers[0].Image; got != want {
				t.Errorf("%s, %s: %s, want %s", name, pod, got, want)
			}
		}
	}
	if version := "\nappVersion: \"0.1.0\"\n"; !strings.Contains(read(t, chart+"/Chart.yaml"), version) {
		t.Errorf("the chart is of another version than %s", version)
	}
}

// pods are the templates by the name of what makes them.
func (r release) pods() map[string]corev1.PodTemplateSpec {
	all := map[string]corev1.PodTemplateSpec{}
	for _, d := range r.deployments {
		all[d.Name] = d.Spec.Template
	}
	for _, j := range r.jobs {
		all[j.Name] = j.Spec.Template
	}
	return all
}

func selector(t *testing.T, s *metav1.LabelSelector) labels.Selector {
	t.Helper()
	converted, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return converted
}
