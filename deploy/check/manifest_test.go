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

// byHand are the pods that are created by hand: each ends once it has printed what it was made for. One makes an
// operator's key with the owner's login and nothing else, one takes a step of a change of the keyset.
var byHand = map[string]pod{
	"operator-key": {
		Args: []string{"key", "create", "--operator", "--name", "first"},
		Env:  ownerEnv, Files: ownerFiles, Memory: "256Mi", Restart: corev1.RestartPolicyNever,
	},
	"keyset": {
		Args:  []string{"keyset", "promote"},
		Env:   map[string]string{"TRIBUTARY_OWNER_DATABASE_URL_FILE": "/etc/tributary/owner_database_url", "TRIBUTARY_KEYSET_FILE": "/etc/tributary/keyset"},
		Files: map[string]string{"/etc/tributary/owner_database_url": "tributary-owner owner_database_url", "/etc/tributary/keyset": "tributary keyset"}, Memory: "256Mi", Restart: corev1.RestartPolicyNever,
	},
}

// They are confined as the others are, run the same image, and are no part of the hub.
func TestByHand(t *testing.T) {
	t.Parallel()
	r := newRelease(t, cases(t)["plain"])
	for name, want := range byHand {
		object, err := decode(read(t, "../kubernetes/"+name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		made, ok := object.(*corev1.Pod)
		if !ok {
			t.Fatalf("%s: a %T", name, object)
		}
		confined(t, made.Name, made.Spec)
		if got, want := made.Spec.Containers[0].Image, r.jobs[0].Spec.Template.Spec.Containers[0].Image; got != want {
			t.Errorf("%s: image %s, want %s", name, got, want)
		}
		if diff := cmp.Diff(want, described(t, made.Name, made.Spec)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		accepts(t, want.Env)
		for _, p := range r.policies {
			if !selector(t, &p.Spec.PodSelector).Matches(labels.Set(made.Labels)) {
				t.Errorf("%s: the network policy is not for it", name)
			}
		}
		for _, s := range r.services {
			if labels.SelectorFromSet(s.Spec.Selector).Matches(labels.Set(made.Labels)) {
				t.Errorf("%s: service %s leads to it", name, s.Name)
			}
		}
	}
}
