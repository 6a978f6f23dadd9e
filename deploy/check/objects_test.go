package check_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
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

// A pod is confined as Pod Security's restricted level asks, and more: it writes nothing, and nothing in it speaks to
// Kubernetes.
func TestPods_AreConfined(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, r release) {
		t.Helper()
		for name, pod := range r.pods() {
			confined(t, name, pod.Spec)
		}
	})
}

func confined(t *testing.T, name string, spec corev1.PodSpec) {
	t.Helper()
	yes, no := func(b *bool) bool { return b != nil && *b }, func(b *bool) bool { return b != nil && !*b }
	if !no(spec.AutomountServiceAccountToken) {
		t.Errorf("%s: gets a token of Kubernetes", name)
	}
	if !no(spec.EnableServiceLinks) {
		t.Errorf("%s: gets Kubernetes' variables for a service called tributary", name)
	}
	if spec.HostNetwork || spec.HostPID || spec.HostIPC {
		t.Errorf("%s: shares its node's namespaces", name)
	}
	c := spec.SecurityContext
	if c == nil || !yes(c.RunAsNonRoot) || c.RunAsUser == nil || *c.RunAsUser < 1 || c.SeccompProfile == nil || c.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
		t.Errorf("%s: not confined: %+v", name, c)
	}
	for _, v := range spec.Volumes {
		if v.Projected == nil && v.Secret == nil {
			t.Errorf("%s: the volume %s is not of secrets", name, v.Name)
		}
	}
	if len(spec.Containers) != 1 || len(spec.InitContainers) != 0 {
		t.Fatalf("%s: containers %v", name, spec.Containers)
	}
	box := spec.Containers[0]
	s := box.SecurityContext
	if s == nil || !no(s.AllowPrivilegeEscalation) || !yes(s.ReadOnlyRootFilesystem) || s.Capabilities == nil ||
		!slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) != 0 || s.Privileged != nil {
		t.Errorf("%s: not confined: %+v", name, s)
	}
	if box.Resources.Requests.Cpu().IsZero() || box.Resources.Requests.Memory().IsZero() || box.Resources.Limits.Memory().IsZero() {
		t.Errorf("%s: resources %+v", name, box.Resources)
	}
	for _, m := range box.VolumeMounts {
		if !m.ReadOnly {
			t.Errorf("%s: may write to %s", name, m.MountPath)
		}
	}
}

// A secret reaches a pod as a file, and each file that a variable names is one that a volume has. All others the hub
// itself reads and finds good.
func TestPods_Environment(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, r release) {
		t.Helper()
		for name, pod := range r.pods() {
			files := mounted(pod.Spec)
			environment := map[string]string{}
			box := pod.Spec.Containers[0]
			for _, v := range box.Env {
				if _, twice := environment[v.Name]; twice {
					t.Errorf("%s: %s is set twice", name, v.Name)
				}
				environment[v.Name] = v.Value
				if _, isSecret := secretFiles[v.Name+"_FILE"]; isSecret || v.ValueFrom != nil {
					t.Errorf("%s: %s is a secret, and not a file", name, v.Name)
				}
				if strings.HasSuffix(v.Name, "_FILE") && !files[v.Value] {
					t.Errorf("%s: %s names %s, of %v", name, v.Name, v.Value, slices.Sorted(maps.Keys(files)))
				}
			}
			if len(box.EnvFrom) != 0 {
				t.Errorf("%s: takes its environment from %v", name, box.EnvFrom)
			}
			if _, hub := environment["TRIBUTARY_ROLES"]; hub && environment["TRIBUTARY_OWNER_DATABASE_URL_FILE"] != "" {
				t.Errorf("%s: the hub gets the owner's login", name)
			}
			accepts(t, environment)
		}
	})
}

// mounted are the files that the pod's container finds.
func mounted(spec corev1.PodSpec) map[string]bool {
	files := map[string]bool{}
	for _, m := range spec.Containers[0].VolumeMounts {
		for _, v := range spec.Volumes {
			if v.Name != m.Name {
				continue
			}
			var items []corev1.KeyToPath
			if v.Secret != nil {
				items = v.Secret.Items
			} else if v.Projected != nil {
				for _, source := range v.Projected.Sources {
					items = append(items, source.Secret.Items...)
				}
			}
			for _, item := range items {
				files[m.MountPath+"/"+item.Path] = true
			}
		}
	}
	return files
}

// Settings reach the pods as they are written: a number of seven digits is not one with an exponent.
func TestPods_Settings(t *testing.T) {
	t.Parallel()
	r := newRelease(t, cases(t)["split"])
	want := map[string]map[string]string{
		"tributary-ingest": {"TRIBUTARY_ROLES": "ingest", "TRIBUTARY_LIMIT_BODY_BYTES": "2097152", "GOMEMLIMIT": "900MiB", "TRIBUTARY_DATABASE_CONNECTIONS": ""},
		"tributary-worker": {"TRIBUTARY_ROLES": "worker", "TRIBUTARY_DATABASE_CONNECTIONS": "40", "TRIBUTARY_DIRECT_DATABASE_URL_FILE": "/etc/tributary/direct_database_url"},
		"tributary-api":    {"TRIBUTARY_ROLES": "api", "TRIBUTARY_PUBLIC_URL": "https://hub.example.com:8443/"},
		"tributary-stream": {"TRIBUTARY_ROLES": "stream", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_SAMPLER_ARG": "0.25"},
	}
	for _, d := range r.deployments {
		env := map[string]string{}
		for _, v := range d.Spec.Template.Spec.Containers[0].Env {
			env[v.Name] = v.Value
		}
		for name, value := range want[d.Name] {
			if env[name] != value {
				t.Errorf("%s: %s=%q, want %q", d.Name, name, env[name], value)
			}
		}
		delete(want, d.Name)
	}
	if len(want) != 0 {
		t.Errorf("no deployments %v", slices.Collect(maps.Keys(want)))
	}
}

// The pods' probes ask ports that they have and paths that the hub serves; a pod is not told to end before it has been
// taken out of the endpoints, and has the time that draining takes.
func TestDeployments_StartAndStop(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, r release) {
		t.Helper()
		for _, d := range r.deployments {
			box := d.Spec.Template.Spec.Containers[0]
			for path, probe := range map[string]*corev1.Probe{"/healthz/live": box.LivenessProbe, "/healthz/ready": box.ReadinessProbe} {
				if probe == nil || probe.HTTPGet == nil || probe.HTTPGet.Path != path || port(box, probe.HTTPGet.Port) != 9090 {
					t.Errorf("%s: %s is asked by %+v", d.Name, path, probe)
				}
			}
			if p := box.StartupProbe; p == nil || p.HTTPGet == nil || port(box, p.HTTPGet.Port) != 9090 {
				t.Errorf("%s: its start is asked by %+v", d.Name, p)
			}
			if box.Lifecycle == nil || box.Lifecycle.PreStop == nil || box.Lifecycle.PreStop.Sleep == nil {
				t.Fatalf("%s: ends at once: %+v", d.Name, box.Lifecycle)
			}
			const drain = 25
			if wait, grace := box.Lifecycle.PreStop.Sleep.Seconds, *d.Spec.Template.Spec.TerminationGracePeriodSeconds; wait < 1 || grace < wait+drain+5 {
				t.Errorf("%s: has %d seconds, of which it waits %d", d.Name, grace, wait)
			}
			if u := d.Spec.Strategy.RollingUpdate; u == nil || u.MaxUnavailable.IntValue() != 0 {
				t.Errorf("%s: an update takes pods away before there are others: %+v", d.Name, u)
			}
			if len(d.Spec.Template.Spec.TopologySpreadConstraints) != 2 {
				t.Errorf("%s: its pods may all sit on one node", d.Name)
			}
			if d.Spec.Template.Spec.ServiceAccountName != r.accounts[0].Name {
				t.Errorf("%s: account %s", d.Name, d.Spec.Template.Spec.ServiceAccountName)
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
			if b.Spec.MinAvailable != nil || b.Spec.MaxUnavailable.IntValue() != 1 {
				t.Errorf("budget %s: %+v", b.Name, b.Spec)
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
			for _, p := range s.Spec.Ports {
				if at := port(r.deployments[0].Spec.Template.Spec.Containers[0], p.TargetPort); at != 8080 && at != 9090 || (at == 9090) != (s.Name == "tributary-ops") {
					t.Errorf("service %s: %s leads to %d", s.Name, p.Name, at)
				}
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

// The policy closes the operators' port to all but those named, leaves the public one open, and lets out what the hub
// needs.
func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct {
		anybody bool
		out     []int
	}{"plain": {true, []int{53, 443, 5432}}, "split": {false, []int{53, 443, 4318, 5432, 6432}}} {
		r := newRelease(t, cases(t)[name])
		if len(r.policies) != 1 {
			t.Fatalf("%s: %d policies", name, len(r.policies))
		}
		spec := r.policies[0].Spec
		if !slices.Equal(spec.PolicyTypes, []networkingv1.PolicyType{"Ingress", "Egress"}) {
			t.Errorf("%s: of types %v", name, spec.PolicyTypes)
		}
		box := r.deployments[0].Spec.Template.Spec.Containers[0]
		seen := map[int]bool{}
		for _, rule := range spec.Ingress {
			for _, p := range rule.Ports {
				at := port(box, *p.Port)
				seen[at] = true
				if at == 8080 && (len(rule.From) == 0) != want.anybody || at == 9090 && len(rule.From) == 0 {
					t.Errorf("%s: port %d is open to %v", name, at, rule.From)
				}
			}
		}
		if !seen[8080] || !seen[9090] || len(seen) != 2 {
			t.Errorf("%s: ports in: %v", name, seen)
		}
		out := map[int]bool{}
		for _, rule := range spec.Egress {
			for _, p := range rule.Ports {
				out[p.Port.IntValue()] = true
			}
		}
		if got := slices.Sorted(maps.Keys(out)); !slices.Equal(got, want.out) {
			t.Errorf("%s: ports out: %v, want %v", name, got, want.out)
		}
	}
	closed := cases(t)["plain"]
	set(closed, "networkPolicy.opsFrom", []any{})
	for _, rule := range newRelease(t, closed).policies[0].Spec.Ingress {
		if rule.Ports[0].Port.StrVal == "ops" {
			t.Errorf("nobody is named, and the operators' port is open to %v", rule.From)
		}
	}
}

// Requests go to the role that answers them.
func TestIngress(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]map[string]string{
		"split":  {"/in": "tributary-ingest", "/stream": "tributary-stream", "/": "tributary-api"},
		"paired": {"/in": "tributary-hub", "/stream": "tributary-hub", "/": "tributary-hub"},
	} {
		r := newRelease(t, cases(t)[name])
		if len(r.ingresses) != 1 || len(r.ingresses[0].Spec.Rules) != 1 {
			t.Fatalf("%s: %v", name, r.ingresses)
		}
		rule := r.ingresses[0].Spec.Rules[0]
		if host := map[string]string{"split": "hub.example.com", "paired": "hub.internal"}[name]; rule.Host != host {
			t.Errorf("%s: host %s", name, rule.Host)
		}
		services := map[string]*corev1.Service{}
		for _, s := range r.services {
			services[s.Name] = s
		}
		got := map[string]string{}
		for _, p := range rule.HTTP.Paths {
			got[p.Path] = p.Backend.Service.Name
			s := services[p.Backend.Service.Name]
			if s == nil || s.Spec.Ports[0].Name != p.Backend.Service.Port.Name {
				t.Errorf("%s: %s leads nowhere", name, p.Path)
			}
		}
		for path, service := range want {
			if got[path] != service {
				t.Errorf("%s: %s leads to %s, want %s", name, path, got[path], service)
			}
		}
	}
	if r := newRelease(t, cases(t)["plain"]); len(r.ingresses) != 0 {
		t.Error("an ingress that nobody asked for")
	}
}

// Migrations run before the pods that need them, and only where they are wanted.
func TestMigration(t *testing.T) {
	t.Parallel()
	for name, login := range map[string]string{"plain": "tributary_hub", "split": "hub", "paired": ""} {
		r := newRelease(t, cases(t)[name])
		if login == "" {
			if len(r.jobs) != 0 {
				t.Errorf("%s: migrates", name)
			}
			continue
		}
		if len(r.jobs) != 1 {
			t.Fatalf("%s: %d jobs", name, len(r.jobs))
		}
		job := r.jobs[0]
		if got := job.Annotations["helm.sh/hook"]; got != "pre-install,pre-upgrade" {
			t.Errorf("%s: hook %q", name, got)
		}
		if got := job.Spec.Template.Spec.Containers[0].Args; !slices.Equal(got, []string{"migrate", "up", "--login", login}) {
			t.Errorf("%s: %v", name, got)
		}
		if job.Spec.Template.Spec.ServiceAccountName != "" {
			t.Errorf("%s: names an account, which is not there yet when hooks run", name)
		}
	}
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

func port(c corev1.Container, p intstr.IntOrString) int {
	for _, named := range c.Ports {
		if p.Type == intstr.String && named.Name == p.StrVal || p.Type == intstr.Int && named.ContainerPort == p.IntVal {
			return int(named.ContainerPort)
		}
	}
	return 0
}

func selector(t *testing.T, s *metav1.LabelSelector) labels.Selector {
	t.Helper()
	converted, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		t.Fatal(err)
	}
	return converted
}
