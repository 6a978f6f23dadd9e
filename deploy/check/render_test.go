package check_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	"helm.sh/helm/v4/pkg/chart/v2/loader"
	"helm.sh/helm/v4/pkg/engine"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

// kinds are the objects that the chart may make, each with its own Go type: a field that the type lacks is an error.
var kinds = map[string]func() metav1.Object{
	"v1 Service":                              func() metav1.Object { return &corev1.Service{} },
	"v1 ServiceAccount":                       func() metav1.Object { return &corev1.ServiceAccount{} },
	"v1 Pod":                                  func() metav1.Object { return &corev1.Pod{} },
	"apps/v1 Deployment":                      func() metav1.Object { return &appsv1.Deployment{} },
	"batch/v1 Job":                            func() metav1.Object { return &batchv1.Job{} },
	"networking.k8s.io/v1 Ingress":            func() metav1.Object { return &networkingv1.Ingress{} },
	"networking.k8s.io/v1 NetworkPolicy":      func() metav1.Object { return &networkingv1.NetworkPolicy{} },
	"policy/v1 PodDisruptionBudget":           func() metav1.Object { return &policyv1.PodDisruptionBudget{} },
	"monitoring.coreos.com/v1 ServiceMonitor": func() metav1.Object { return &monitoringv1.ServiceMonitor{} },
	"monitoring.coreos.com/v1 PrometheusRule": func() metav1.Object { return &monitoringv1.PrometheusRule{} },
}

// decode reads one document into the type of its kind. Unknown fields, fields in the wrong case and keys that stand
// twice are errors.
func decode(document string) (metav1.Object, error) {
	asJSON, err := yaml.YAMLToJSONStrict([]byte(document))
	if err != nil {
		return nil, err
	}
	var meta metav1.TypeMeta
	if err := kjson.UnmarshalCaseSensitivePreserveInts(asJSON, &meta); err != nil {
		return nil, err
	}
	kind := meta.APIVersion + " " + meta.Kind
	construct, known := kinds[kind]
	if !known {
		return nil, fmt.Errorf("the chart makes no %q", kind)
	}
	object := construct()
	strict, err := kjson.UnmarshalStrict(asJSON, object)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", kind, err)
	}
	if len(strict) > 0 {
		return nil, fmt.Errorf("%s: %w", kind, strict[0])
	}
	return object, nil
}

// documents splits a stream of YAML; those of comments alone are left out.
func documents(text string) []string {
	var all []string
	for document := range strings.SplitSeq("\n"+text, "\n---") {
		for line := range strings.Lines(document) {
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
				all = append(all, strings.Trim(document, "\n")+"\n")
				break
			}
		}
	}
	return all
}

// render is `helm template`: the text of each template that makes something, by its file's name.
func render(ctx context.Context, values map[string]any) (map[string]string, error) {
	return renderAs(ctx, "tributary", "tributary", values)
}

// renderAs does the same for a release of another name, or elsewhere.
func renderAs(ctx context.Context, release, namespace string, values map[string]any) (map[string]string, error) {
	c, err := loader.LoadDir(chart)
	if err != nil {
		return nil, err
	}
	all, err := util.ToRenderValues(c, values, common.ReleaseOptions{Name: release, Namespace: namespace, Revision: 1, IsInstall: true}, nil)
	if err != nil {
		return nil, err
	}
	rendered, err := engine.Engine{Strict: true}.RenderWithContext(ctx, c, all)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for path, text := range rendered {
		files[filepath.Base(path)] = text
	}
	return files, nil
}

// cases are the values that the chart is rendered with: ci/NAME-values.yaml.
func cases(t *testing.T) map[string]map[string]any {
	t.Helper()
	paths, err := filepath.Glob(chart + "/ci/*-values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]map[string]any{}
	for _, path := range paths {
		all[strings.TrimSuffix(filepath.Base(path), "-values.yaml")] = load(t, path)
	}
	for _, name := range []string{"plain", "split", "paired"} {
		if all[name] == nil {
			t.Fatalf("no values %s among %v", name, slices.Collect(maps.Keys(all)))
		}
	}
	return all
}

func load(t *testing.T, path string) map[string]any {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	values, err := loader.LoadValues(bytes.NewReader(content))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return values
}

// A release is all that the chart makes of some values.
type release struct {
	objects     []metav1.Object
	deployments []*appsv1.Deployment
	services    []*corev1.Service
	accounts    []*corev1.ServiceAccount
	budgets     []*policyv1.PodDisruptionBudget
	policies    []*networkingv1.NetworkPolicy
	ingresses   []*networkingv1.Ingress
	jobs        []*batchv1.Job
	monitors    []*monitoringv1.ServiceMonitor
	rules       []*monitoringv1.PrometheusRule
}

func newRelease(t *testing.T, values map[string]any) release {
	t.Helper()
	files, err := render(t.Context(), values)
	if err != nil {
		t.Fatal(err)
	}
	var r release
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		for _, document := range documents(files[name]) {
			object, err := decode(document)
			if err != nil {
				t.Fatalf("%s: %v\n%s", name, err, document)
			}
			r.add(object)
		}
	}
	return r
}

func (r *release) add(object metav1.Object) {
	r.objects = append(r.objects, object)
	switch o := object.(type) {
	case *appsv1.Deployment:
		r.deployments = append(r.deployments, o)
	case *corev1.Service:
		r.services = append(r.services, o)
	case *corev1.ServiceAccount:
		r.accounts = append(r.accounts, o)
	case *policyv1.PodDisruptionBudget:
		r.budgets = append(r.budgets, o)
	case *networkingv1.NetworkPolicy:
		r.policies = append(r.policies, o)
	case *networkingv1.Ingress:
		r.ingresses = append(r.ingresses, o)
	case *batchv1.Job:
		r.jobs = append(r.jobs, o)
	case *monitoringv1.ServiceMonitor:
		r.monitors = append(r.monitors, o)
	case *monitoringv1.PrometheusRule:
		r.rules = append(r.rules, o)
	}
}

func TestDecode_IsStrict(t *testing.T) {
	t.Parallel()
	const service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"
	for name, document := range map[string]string{
		"unknown field":    service + "spec: {clusterIp: None}\n",
		"field twice":      service + "spec: {}\nspec: {}\n",
		"wrong type":       service + "spec: {ports: [{port: http}]}\n",
		"unknown kind":     "apiVersion: v1\nkind: Gadget\n",
		"unknown in a CRD": "apiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nspec: {endpoint: []}\n",
	} {
		if _, err := decode(document); err == nil {
			t.Errorf("%s: decoded", name)
		}
	}
	if _, err := decode(service); err != nil {
		t.Error(err)
	}
}
