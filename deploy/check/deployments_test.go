package check_test

import (
	"net"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// The ports that a container names are those that its own variables make the hub listen at, on every address of the
// pod: probes, services and the network policy go by these names.
func TestDeployments_Listen(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, r release) {
		t.Helper()
		for _, d := range r.deployments {
			p := described(t, d.Name, d.Spec.Template.Spec)
			want := []corev1.ContainerPort{
				{Name: "http", ContainerPort: listens(t, p.Env["TRIBUTARY_LISTEN"])},
				{Name: "ops", ContainerPort: listens(t, p.Env["TRIBUTARY_OPS_LISTEN"])},
			}
			if diff := cmp.Diff(want, p.Ports); diff != "" {
				t.Errorf("%s (-listens +names):\n%s", d.Name, diff)
			}
		}
	})
}

func listens(t *testing.T, address string) int32 {
	t.Helper()
	host, name, err := net.SplitHostPort(address)
	at, notANumber := strconv.ParseUint(name, 10, 15)
	if err != nil || notANumber != nil || host != "" {
		t.Errorf("nobody outside the pod reaches %q", address)
	}
	return int32(at)
}

// What asks a pod is the operators' port and what the hub serves there: its start and its life by the process alone,
// so that a database that is away gets no pod killed. None of them gives up on a hub that is busy for a moment, and one
// that is not ready gets no more requests soon.
func TestDeployments_Probes(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, r release) {
		t.Helper()
		for _, d := range r.deployments {
			box := d.Spec.Template.Spec.Containers[0]
			for name, want := range map[string]struct {
				probe         *corev1.Probe
				path          string
				least, most   int32 // seconds until it gives up
				answersWithin int32
			}{
				"start":     {box.StartupProbe, "/healthz/live", 60, 600, 0},
				"life":      {box.LivenessProbe, "/healthz/live", 30, 120, 5},
				"readiness": {box.ReadinessProbe, "/healthz/ready", 10, 15, 5},
			} {
				p := want.probe
				if p == nil {
					t.Fatalf("%s: nothing asks its %s", d.Name, name)
				}
				judged := &corev1.Probe{
					ProbeHandler:  corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: want.path, Port: intstr.FromString("ops")}},
					PeriodSeconds: p.PeriodSeconds, FailureThreshold: p.FailureThreshold, TimeoutSeconds: want.answersWithin,
				}
				if diff := cmp.Diff(judged, p); diff != "" {
					t.Errorf("%s, %s (-want +got):\n%s", d.Name, name, diff)
				}
				if patience := p.PeriodSeconds * p.FailureThreshold; patience < want.least || patience > want.most {
					t.Errorf("%s: its %s is given up after %d seconds; want %d to %d", d.Name, name, patience, want.least, want.most)
				}
			}
		}
	})
}

// A pod is not told to end before it has been taken out of the endpoints, and has the time that draining takes; an
// update takes none away before there is another.
func TestDeployments_StartAndStop(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, r release) {
		t.Helper()
		for _, d := range r.deployments {
			spec := d.Spec.Template.Spec
			end := spec.Containers[0].Lifecycle
			if end == nil || end.PreStop == nil || end.PreStop.Sleep == nil || spec.TerminationGracePeriodSeconds == nil {
				t.Fatalf("%s: ends at once: %+v", d.Name, end)
			}
			wait := end.PreStop.Sleep.Seconds
			judged := &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: wait}}}
			if diff := cmp.Diff(judged, end); diff != "" {
				t.Errorf("%s (-want +got):\n%s", d.Name, diff)
			}
			const drain = 25
			if grace := *spec.TerminationGracePeriodSeconds; wait < 1 || grace < wait+drain+5 {
				t.Errorf("%s: has %d seconds, of which it waits %d", d.Name, grace, wait)
			}
			if diff := cmp.Diff(appsv1.DeploymentSpec{
				Replicas: d.Spec.Replicas, Selector: d.Spec.Selector, Template: d.Spec.Template, RevisionHistoryLimit: d.Spec.RevisionHistoryLimit,
				Strategy: appsv1.DeploymentStrategy{
					Type:          appsv1.RollingUpdateDeploymentStrategyType,
					RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: new(intstr.FromInt32(0)), MaxSurge: new(intstr.FromInt32(1))},
				},
			}, d.Spec); diff != "" {
				t.Errorf("%s (-want +got):\n%s", d.Name, diff)
			}
			if len(spec.TopologySpreadConstraints) != 2 {
				t.Errorf("%s: its pods may all sit on one node", d.Name)
			}
			if len(r.accounts) != 1 || spec.ServiceAccountName != r.accounts[0].Name {
				t.Errorf("%s: account %s", d.Name, spec.ServiceAccountName)
			}
		}
		for _, a := range r.accounts {
			if token := a.AutomountServiceAccountToken; token == nil || *token || len(a.Secrets)+len(a.ImagePullSecrets) != 0 {
				t.Errorf("the account %s speaks to Kubernetes: %+v", a.Name, a)
			}
		}
	})
}

// The values' wait and grace are the pods'.
func TestDeployments_Wait(t *testing.T) {
	t.Parallel()
	values := cases(t)["plain"]
	set(values, "preStopSeconds", 20)
	set(values, "terminationGracePeriodSeconds", 90)
	spec := newRelease(t, values).deployments[0].Spec.Template.Spec
	if wait, grace := spec.Containers[0].Lifecycle.PreStop.Sleep.Seconds, *spec.TerminationGracePeriodSeconds; wait != 20 || grace != 90 {
		t.Errorf("has %d seconds, of which it waits %d", grace, wait)
	}
}
