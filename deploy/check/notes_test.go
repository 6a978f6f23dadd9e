package check_test

import (
	"maps"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/labels"
)

// What `helm install` prints at its end names what is there, and the pod that it makes runs the release's image with
// the release's secret, where the release's network policy lets it reach Postgres.
func TestNotes(t *testing.T) {
	t.Parallel()
	own := cases(t)["plain"]
	set(own, "migration.secret", "owners")
	set(own, "migration.key", "url")
	set(own, "image.tag", "1.2.3")
	all := cases(t)
	all["own"] = own
	for name, values := range all {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files, err := renderAs(t.Context(), "blue", "tributary", values)
			if err != nil {
				t.Fatal(err)
			}
			notes := files["NOTES.txt"]
			if strings.Contains(notes, "$") {
				t.Errorf("a variable that nobody sets:\n%s", notes)
			}
			for _, path := range regexp.MustCompile(`\bdeploy/[\w./-]*\w`).FindAllString(notes, -1) {
				read(t, root+"/"+path)
			}
			line := regexp.MustCompile(`(?m)^ +(sed .*) \| kubectl create `).FindStringSubmatch(notes)
			if line == nil {
				t.Fatalf("no line makes the pod:\n%s", notes)
			}
			cmd := exec.CommandContext(t.Context(), "bash", "-c", line[1])
			cmd.Dir = root
			out, err := cmd.Output()
			if err != nil {
				t.Fatalf("%s: %v", line[1], err)
			}
			object, err := decode(string(out))
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			pod, ok := object.(*corev1.Pod)
			if !ok || !strings.Contains(notes, "kubectl logs pod/"+pod.Name+" ") {
				t.Fatalf("the notes lead to no pod:\n%s", notes)
			}
			judgeNotes(t, pod, values, files)
		})
	}
	if names := slices.Sorted(maps.Keys(all)); len(names) < 4 {
		t.Errorf("only %v", names)
	}
}

func judgeNotes(t *testing.T, pod *corev1.Pod, values map[string]any, files map[string]string) {
	t.Helper()
	if got := pod.Spec.Containers[0].Image; !strings.Contains(files["deployment.yaml"], "image: "+got+"\n") {
		t.Errorf("its image is %s, and not the release's", got)
	}
	mount := pod.Spec.Volumes[0].Secret
	if migration, ok := values["migration"].(map[string]any); ok && len(documents(files["migration.yaml"])) > 0 {
		if want := migration["secret"].(string) + " " + migration["key"].(string); mount.SecretName+" "+mount.Items[0].Key != want {
			t.Errorf("it mounts %s %s, want %s", mount.SecretName, mount.Items[0].Key, want)
		}
	}
	for _, document := range documents(files["networkpolicy.yaml"]) {
		object, err := decode(document)
		if err != nil {
			t.Fatal(err)
		}
		policy, ok := object.(*networkingv1.NetworkPolicy)
		if !ok || !selector(t, &policy.Spec.PodSelector).Matches(labels.Set(pod.Labels)) {
			t.Errorf("the network policy is not for it: %v", pod.Labels)
		}
	}
}
