package check_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/yaml"
)

// The public ports are behind services of the type that the values say, and only these; the operators' is behind one
// without an address of its own, which finds the pods that are not ready too.
func TestServices(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, r release) {
		t.Helper()
		for _, s := range r.services {
			want := public(corev1.ServiceTypeClusterIP, 80)
			if s.Name == "tributary-ops" {
				want = corev1.ServiceSpec{ClusterIP: corev1.ClusterIPNone, PublishNotReadyAddresses: true, Ports: servicePorts("ops", 9090)}
			}
			want.Selector = s.Spec.Selector // TestSelectors judges it
			if diff := cmp.Diff(want, s.Spec); diff != "" {
				t.Errorf("service %s (-want +got):\n%s", s.Name, diff)
			}
		}
	})
	values := cases(t)["plain"]
	set(values, "service.type", "LoadBalancer")
	set(values, "service.port", 8000)
	for _, s := range newRelease(t, values).services {
		if want := public(corev1.ServiceTypeLoadBalancer, 8000); s.Name == "tributary-ops" && s.Spec.Type != "" || s.Name != "tributary-ops" && !cmp.Equal(want.Ports, s.Spec.Ports) {
			t.Errorf("service %s: %+v", s.Name, s.Spec)
		}
	}
}

func public(kind corev1.ServiceType, at int32) corev1.ServiceSpec {
	return corev1.ServiceSpec{Type: kind, Ports: servicePorts("http", at)}
}

func servicePorts(name string, at int32) []corev1.ServicePort {
	return []corev1.ServicePort{{Name: name, Port: at, TargetPort: intstr.FromString(name), AppProtocol: new("http")}}
}

// policies are all that each case's network policy lets in and out. The operators' port is for those alone that are
// named, and a cloud's metadata for nobody.
var policies = map[string]string{
	"plain": `
ingress:
  - ports: [{port: http, protocol: TCP}]
  - ports: [{port: ops, protocol: TCP}]
    from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
egress:
  - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  - ports: [{port: 5432, protocol: TCP}]
  - ports: [{port: 443, protocol: TCP}]
    to:
      - ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}
      - ipBlock: {cidr: "::/0", except: ["fe80::/10", "fd00:ec2::254/128"]}
`,
	"split": `
ingress:
  - ports: [{port: http, protocol: TCP}]
    from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: ingress-nginx}}}]
  - ports: [{port: ops, protocol: TCP}]
    from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: monitoring}}}]
egress:
  - ports: [{port: 53, protocol: UDP}, {port: 53, protocol: TCP}]
  - ports: [{port: 5432, protocol: TCP}, {port: 6432, protocol: TCP}]
  - ports: [{port: 443, protocol: TCP}]
    to:
      - ipBlock: {cidr: 0.0.0.0/0, except: [169.254.0.0/16]}
      - ipBlock: {cidr: "::/0", except: ["fe80::/10", "fd00:ec2::254/128"]}
  - ports: [{port: 4318, protocol: TCP}]
`,
}

func TestNetworkPolicy(t *testing.T) {
	t.Parallel()
	for name, rules := range policies {
		r := newRelease(t, cases(t)[name])
		if len(r.policies) != 1 {
			t.Fatalf("%s: %d policies", name, len(r.policies))
		}
		got := r.policies[0].Spec
		want := networkingv1.NetworkPolicySpec{
			PodSelector: got.PodSelector, // TestSelectors judges it
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		}
		if err := yaml.UnmarshalStrict([]byte(rules), &want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	closed := cases(t)["plain"]
	set(closed, "networkPolicy.opsFrom", []any{})
	for _, rule := range newRelease(t, closed).policies[0].Spec.Ingress {
		if rule.Ports[0].Port.StrVal == "ops" {
			t.Errorf("nobody is named, and the operators' port is open to %v", rule.From)
		}
	}
	if r := newRelease(t, cases(t)["paired"]); len(r.policies) != 0 {
		t.Error("a policy that nobody wants")
	}
}

// Requests go to the role that answers them, by the name in the public URL and with the certificate that was named.
func TestIngress(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ host, class, secret, ingest, stream, api string }{
		"split":  {"hub.example.com", "nginx", "hub-tls", "tributary-ingest", "tributary-stream", "tributary-api"},
		"paired": {"hub.internal", "", "", "tributary-hub", "tributary-hub", "tributary-hub"},
	} {
		r := newRelease(t, cases(t)[name])
		if len(r.ingresses) != 1 || len(r.ingresses[0].Spec.Rules) != 1 {
			t.Fatalf("%s: %v", name, r.ingresses)
		}
		spec := r.ingresses[0].Spec
		judged := networkingv1.IngressSpec{Rules: spec.Rules}
		if want.class != "" {
			judged.IngressClassName = &want.class
		}
		if want.secret != "" {
			judged.TLS = []networkingv1.IngressTLS{{Hosts: []string{want.host}, SecretName: want.secret}}
		}
		if diff := cmp.Diff(judged, spec); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if spec.Rules[0].Host != want.host {
			t.Errorf("%s: host %s", name, spec.Rules[0].Host)
		}
		got := map[string]string{}
		for _, p := range spec.Rules[0].HTTP.Paths {
			got[p.Path] = strings.Join([]string{string(*p.PathType), p.Backend.Service.Name, p.Backend.Service.Port.Name}, " ")
		}
		if diff := cmp.Diff(map[string]string{
			"/":           "Prefix " + want.api + " http",
			"/in":         "Prefix " + want.ingest + " http",
			"/stream":     "Prefix " + want.stream + " http",
			"/selftest":   "Prefix " + want.stream + " http",
			"/client.js":  "Prefix " + want.stream + " http",
			"/client.tgz": "Prefix " + want.stream + " http",
		}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if r := newRelease(t, cases(t)["plain"]); len(r.ingresses) != 0 {
		t.Error("an ingress that nobody asked for")
	}
}
