package check_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// A pod is confined as Pod Security's restricted level asks, and more: it writes nothing, and nothing in it speaks to
// Kubernetes.
func TestPods_AreConfined(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, r release) {
		t.Helper()
		for name, template := range r.pods() {
			confined(t, name, template.Spec)
		}
	})
}

func confined(t *testing.T, name string, spec corev1.PodSpec) {
	t.Helper()
	if len(spec.Containers) != 1 {
		t.Fatalf("%s: containers %+v", name, spec.Containers)
	}
	box := spec.Containers[0]

	// The image's user, whose group reads the secrets' files.
	asPod := &corev1.PodSecurityContext{
		RunAsNonRoot: new(true), RunAsUser: new(int64(65532)), RunAsGroup: new(int64(65532)), FSGroup: new(int64(65532)),
		SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
	}
	asContainer := &corev1.SecurityContext{
		AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true),
		Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
	// The fields that this and the other tests judge. What else could be there, such as hostNetwork, an init container
	// or a command in the place of the image's, is not.
	judged := corev1.PodSpec{
		Containers: []corev1.Container{{
			Name: box.Name, Image: box.Image, ImagePullPolicy: box.ImagePullPolicy, Args: box.Args, Env: box.Env, Ports: box.Ports,
			Resources: box.Resources, VolumeMounts: box.VolumeMounts, SecurityContext: asContainer,
			StartupProbe: box.StartupProbe, LivenessProbe: box.LivenessProbe, ReadinessProbe: box.ReadinessProbe, Lifecycle: box.Lifecycle,
		}},
		Volumes: spec.Volumes, SecurityContext: asPod, AutomountServiceAccountToken: new(false), ServiceAccountName: spec.ServiceAccountName,
		EnableServiceLinks: new(false), // or it gets Kubernetes' variables for a service called tributary
		RestartPolicy:      spec.RestartPolicy, TerminationGracePeriodSeconds: spec.TerminationGracePeriodSeconds,
		TopologySpreadConstraints: spec.TopologySpreadConstraints, NodeSelector: spec.NodeSelector, Tolerations: spec.Tolerations,
		Affinity: spec.Affinity, PriorityClassName: spec.PriorityClassName, ImagePullSecrets: spec.ImagePullSecrets,
	}
	if diff := cmp.Diff(judged, spec); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
	if box.Resources.Requests.Cpu().IsZero() || box.Resources.Requests.Memory().IsZero() || box.Resources.Limits.Memory().Cmp(*box.Resources.Requests.Memory()) < 0 {
		t.Errorf("%s: resources %+v", name, box.Resources)
	}
}
