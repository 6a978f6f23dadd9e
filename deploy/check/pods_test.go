package check_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
)

// A pod is what decides whether it does its work, and with whose secrets.
type pod struct {
	Replicas int32
	Args     []string
	Env      map[string]string
	Files    map[string]string // each file that the container finds: its secret, and the key in that
	Ports    []corev1.ContainerPort
	Memory   string // its limit
	Restart  corev1.RestartPolicy
}

var hubPorts = []corev1.ContainerPort{{Name: "http", ContainerPort: 8080}, {Name: "ops", ContainerPort: 9090}}

// hubEnv is the environment of each of the hub's pods, and what differs.
func hubEnv(differs map[string]string) map[string]string {
	env := map[string]string{
		"TRIBUTARY_LISTEN": ":8080", "TRIBUTARY_OPS_LISTEN": ":9090",
		"TRIBUTARY_DATABASE_URL_FILE": "/etc/tributary/database_url", "TRIBUTARY_KEYSET_FILE": "/etc/tributary/keyset",
	}
	maps.Copy(env, differs)
	return env
}

// splitEnv is likewise that of the pods of the case split.
func splitEnv(differs map[string]string) map[string]string {
	env := map[string]string{
		"TRIBUTARY_PUBLIC_URL": "https://hub.example.com:8443/", "TRIBUTARY_LIMIT_BODY_BYTES": "2097152",
		"TRIBUTARY_RETENTION": "168h", "TRIBUTARY_TRUSTED_PROXIES": "10.0.0.0/8",
		"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318", "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
		"OTEL_TRACES_SAMPLER_ARG":            "0.25",
		"TRIBUTARY_DIRECT_DATABASE_URL_FILE": "/etc/tributary/direct_database_url",
		"OTEL_EXPORTER_OTLP_HEADERS_FILE":    "/etc/tributary/collector_headers",
	}
	maps.Copy(env, differs)
	return hubEnv(env)
}

var (
	ownerEnv = map[string]string{"TRIBUTARY_OWNER_DATABASE_URL_FILE": "/etc/tributary/owner_database_url"}
	hubFiles = map[string]string{
		"/etc/tributary/database_url": "tributary database_url", "/etc/tributary/keyset": "tributary keyset",
	}
	splitFiles = map[string]string{
		"/etc/tributary/database_url": "tributary-database pooled", "/etc/tributary/direct_database_url": "tributary-database direct",
		"/etc/tributary/keyset": "tributary keyset", "/etc/tributary/collector_headers": "collector token",
	}
	ownerFiles = map[string]string{"/etc/tributary/owner_database_url": "tributary-owner owner_database_url"}
)

var serve = []string{"serve"}

// pods are all that the chart makes of each case's values.
var pods = map[string]map[string]pod{
	"plain": {
		"tributary-hub": {2, serve, hubEnv(map[string]string{
			"TRIBUTARY_PUBLIC_URL": "https://hub.example.com", "TRIBUTARY_ROLES": "ingest,api,worker,stream",
		}), hubFiles, hubPorts, "1Gi", ""},
		"tributary-migrate": {0, []string{"migrate", "up", "--login", "tributary_hub"}, ownerEnv, ownerFiles, nil, "256Mi", "OnFailure"},
	},
	"paired": {
		"tributary-hub": {1, serve, hubEnv(map[string]string{
			"TRIBUTARY_PUBLIC_URL": "http://hub.internal", "TRIBUTARY_ROLES": "ingest,api,stream",
		}), hubFiles, hubPorts, "1Gi", ""},
		"tributary-worker": {1, serve, hubEnv(map[string]string{
			"TRIBUTARY_PUBLIC_URL": "http://hub.internal", "TRIBUTARY_ROLES": "worker",
		}), hubFiles, hubPorts, "1Gi", ""},
	},
	"split": {
		"tributary-ingest":  {3, serve, splitEnv(map[string]string{"TRIBUTARY_ROLES": "ingest", "GOMEMLIMIT": "900MiB"}), splitFiles, hubPorts, "1Gi", ""},
		"tributary-api":     {2, serve, splitEnv(map[string]string{"TRIBUTARY_ROLES": "api"}), splitFiles, hubPorts, "512Mi", ""},
		"tributary-worker":  {2, serve, splitEnv(map[string]string{"TRIBUTARY_ROLES": "worker", "TRIBUTARY_DATABASE_CONNECTIONS": "40"}), splitFiles, hubPorts, "1Gi", ""},
		"tributary-stream":  {4, serve, splitEnv(map[string]string{"TRIBUTARY_ROLES": "stream"}), splitFiles, hubPorts, "1Gi", ""},
		"tributary-migrate": {0, []string{"migrate", "up", "--login", "hub"}, ownerEnv, map[string]string{"/etc/tributary/owner_database_url": "owners url"}, nil, "256Mi", "OnFailure"},
	},
}

// Each pod runs what it should, with the variables, files and ports that this takes and no others. Settings reach it as
// they are written: a number of seven digits is not one with an exponent.
func TestPods(t *testing.T) {
	t.Parallel()
	for name, want := range pods {
		r := newRelease(t, cases(t)[name])
		got := map[string]pod{}
		for at, template := range r.pods() {
			got[at] = described(t, at, template.Spec)
		}
		for _, d := range r.deployments {
			p := got[d.Name]
			p.Replicas = *d.Spec.Replicas
			got[d.Name] = p
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func described(t *testing.T, name string, spec corev1.PodSpec) pod {
	t.Helper()
	box := spec.Containers[0]
	p := pod{
		Args: box.Args, Ports: box.Ports, Files: mounted(t, name, spec), Env: map[string]string{},
		Memory: box.Resources.Limits.Memory().String(), Restart: spec.RestartPolicy,
	}
	for _, v := range box.Env {
		if _, twice := p.Env[v.Name]; twice || v.ValueFrom != nil {
			t.Errorf("%s: %s is set twice, or is no plain value", name, v.Name)
		}
		p.Env[v.Name] = v.Value
	}
	return p
}

// mounted are the files that the pod's container finds, each with its secret and the key in that.
func mounted(t *testing.T, name string, spec corev1.PodSpec) map[string]string {
	t.Helper()
	secrets := map[string][]corev1.SecretProjection{}
	for _, v := range spec.Volumes {
		var mode *int32
		switch {
		case v.Projected != nil:
			mode = v.Projected.DefaultMode
			for _, source := range v.Projected.Sources {
				if source.Secret == nil {
					t.Fatalf("%s: the volume %s has what is no secret: %+v", name, v.Name, source)
				}
				secrets[v.Name] = append(secrets[v.Name], *source.Secret)
			}
		case v.Secret != nil:
			mode = v.Secret.DefaultMode
			secrets[v.Name] = []corev1.SecretProjection{{
				LocalObjectReference: corev1.LocalObjectReference{Name: v.Secret.SecretName}, Items: v.Secret.Items, Optional: v.Secret.Optional,
			}}
		default:
			t.Errorf("%s: the volume %s is not of secrets", name, v.Name)
		}
		if mode == nil || *mode != 0o440 {
			t.Errorf("%s: the files of %s are not for their user and group alone", name, v.Name)
		}
	}
	files := map[string]string{}
	for _, m := range spec.Containers[0].VolumeMounts {
		if diff := cmp.Diff(corev1.VolumeMount{Name: m.Name, MountPath: m.MountPath, ReadOnly: true}, m); diff != "" {
			t.Errorf("%s: mounts %s (-want +got):\n%s", name, m.MountPath, diff)
		}
		for _, s := range secrets[m.Name] {
			if len(s.Items) == 0 || s.Optional != nil {
				t.Errorf("%s: mounts all of the secret %s, or does without", name, s.Name)
			}
			for _, item := range s.Items {
				files[m.MountPath+"/"+item.Path] = s.Name + " " + item.Key
			}
		}
		delete(secrets, m.Name)
	}
	for unused := range secrets {
		t.Errorf("%s: mounts %s nowhere", name, unused)
	}
	return files
}

// Each file that a variable names is one that the pod has, no secret is in plain sight, and the rest the hub itself
// reads and finds good.
func TestPods_Environment(t *testing.T) {
	t.Parallel()
	forEach(t, func(t *testing.T, r release) {
		t.Helper()
		for name, template := range r.pods() {
			p := described(t, name, template.Spec)
			for variable, value := range p.Env {
				if secretFiles[variable+"_FILE"] != "" {
					t.Errorf("%s: %s is a secret, and not a file", name, variable)
				}
				if strings.HasSuffix(variable, "_FILE") && p.Files[value] == "" {
					t.Errorf("%s: %s names %s, of %v", name, variable, value, slices.Sorted(maps.Keys(p.Files)))
				}
			}
			accepts(t, p.Env)
		}
	})
}

// Where a pod may run, and what its image is pulled with, is as the values say: for the migration's too.
func TestPods_Scheduling(t *testing.T) {
	t.Parallel()
	split := newRelease(t, cases(t)["split"])
	for name, template := range split.pods() {
		s := template.Spec
		if s.NodeSelector["kubernetes.io/os"] != "linux" || len(s.Tolerations) != 1 || s.Tolerations[0].Key != "hub" || s.Affinity == nil ||
			s.PriorityClassName != "high" || len(s.ImagePullSecrets) != 1 || s.ImagePullSecrets[0].Name != "registry" {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for name, template := range newRelease(t, cases(t)["plain"]).pods() {
		s := template.Spec
		if len(s.NodeSelector)+len(s.Tolerations)+len(s.ImagePullSecrets) != 0 || s.Affinity != nil || s.PriorityClassName != "" {
			t.Errorf("%s: nobody asked for %+v", name, s)
		}
	}
}
