package check_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

const manifest = "../kubernetes/tributary.yaml"

const manifestHead = `# Tributary for a cluster without Helm. Made of the chart by ` + "`make generate-deploy`" + `: do not edit it, but copy it.
# Yours to change are the image and TRIBUTARY_PUBLIC_URL; the secrets that it names are made first, as the page on
# installing says.
#
#   kubectl apply --namespace tributary --filename deploy/kubernetes/tributary.yaml
#
# The job migrates the database; the hub's pods start anew until it has. It removes itself after ten minutes; an upgrade
# within that time first needs: kubectl delete job tributary-migrate --namespace tributary
`

// plain is the chart's output for kubectl: without what Helm alone reads.
func plain(t *testing.T) string {
	t.Helper()
	files, err := render(t.Context(), cases(t)["plain"])
	if err != nil {
		t.Fatal(err)
	}
	out := manifestHead
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if filepath.Ext(name) != ".yaml" {
			continue
		}
		for _, document := range documents(files[name]) {
			out += "---\n" + withoutHelm(document)
		}
	}
	return out
}

func withoutHelm(document string) string {
	var kept []string
	for line := range strings.Lines(document) {
		text := strings.TrimSpace(line)
		if text == "" || strings.HasPrefix(text, "helm.sh/") || strings.HasPrefix(text, "app.kubernetes.io/managed-by:") {
			continue
		}
		if last := len(kept) - 1; last >= 0 && strings.TrimSpace(kept[last]) == "annotations:" && indent(line) <= indent(kept[last]) {
			kept = kept[:last] // all of them were Helm's
		}
		kept = append(kept, line)
	}
	return strings.Join(kept, "")
}

func indent(line string) int { return len(line) - len(strings.TrimLeft(line, " ")) }

func TestManifest(t *testing.T) {
	t.Parallel()
	want := plain(t)
	if *update {
		if err := os.WriteFile(manifest, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if read(t, manifest) != want {
		t.Errorf("%s is not what the chart makes; run make generate-deploy, look at it and commit it", manifest)
	}
	if strings.Contains(strings.ToLower(want[len(manifestHead):]), "helm") {
		t.Error("the manifest speaks of Helm")
	}
	var r release
	for _, document := range documents(want) {
		object, err := decode(document)
		if err != nil {
			t.Fatalf("%v\n%s", err, document)
		}
		r.add(object)
	}
	if len(r.deployments) != 1 || len(r.jobs) != 1 || len(r.services) != 2 || len(r.objects) != 7 {
		t.Errorf("%d objects: %d deployments, %d jobs, %d services", len(r.objects), len(r.deployments), len(r.jobs), len(r.services))
	}
}

// podOfKey ends once it has printed the key of an operator, with the owner's login and nothing else.
var podOfKey = pod{
	Args: []string{"key", "create", "--operator", "--name", "first"},
	Env:  ownerEnv, Files: ownerFiles, Memory: "256Mi", Restart: corev1.RestartPolicyNever,
}

// The pod that makes the first operator's key is confined as the others are, and runs the same image.
func TestOperatorKey(t *testing.T) {
	t.Parallel()
	object, err := decode(read(t, "../kubernetes/operator-key.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	key, ok := object.(*corev1.Pod)
	if !ok {
		t.Fatalf("a %T", object)
	}
	confined(t, key.Name, key.Spec)
	r := newRelease(t, cases(t)["plain"])
	job := r.jobs[0].Spec.Template.Spec
	if got, want := key.Spec.Containers[0].Image, job.Containers[0].Image; got != want {
		t.Errorf("image %s, want %s", got, want)
	}
	if diff := cmp.Diff(podOfKey, described(t, key.Name, key.Spec)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	accepts(t, podOfKey.Env)
	for _, p := range r.policies {
		if !selector(t, &p.Spec.PodSelector).Matches(labels.Set(key.Labels)) {
			t.Error("the network policy is not for it")
		}
	}
	for _, s := range r.services {
		if labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(key.Labels)) {
			t.Errorf("service %s leads to it", s.Name)
		}
	}
}
