package check_test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"helm.sh/helm/v4/pkg/strvals"
)

// The page on installing makes the secrets that the pods mount, no more and no less, and its values are the chart's.
func TestPage(t *testing.T) {
	t.Parallel()
	page := read(t, root+"/internal/docs/pages/install.md")
	made := map[string]bool{}
	for _, match := range regexp.MustCompile(`(?m)^kubectl create secret generic (\S+) (.*)$`).FindAllStringSubmatch(page, -1) {
		for _, file := range regexp.MustCompile(`--from-file=secrets/(\S+)`).FindAllStringSubmatch(match[2], -1) {
			made[match[1]+" "+file[1]] = true
		}
	}
	helm := regexp.MustCompile(`(?m)^helm install (.*)$`).FindString(page)
	values := map[string]any{}
	for _, match := range regexp.MustCompile(`--set=(\S+)`).FindAllStringSubmatch(helm, -1) {
		pair := strings.NewReplacer(`"`, "", "$host", "hub.example.com", "$image", "registry.example.com/tributary").Replace(match[1])
		if err := strvals.ParseInto(pair, values); err != nil {
			t.Errorf("%s: %v", pair, err)
		}
	}
	mounts := map[string]bool{}
	for _, pod := range newRelease(t, values).pods() {
		for _, v := range pod.Spec.Volumes {
			if v.Secret != nil {
				for _, item := range v.Secret.Items {
					mounts[v.Secret.SecretName+" "+item.Key] = true
				}
				continue
			}
			for _, source := range v.Projected.Sources {
				for _, item := range source.Secret.Items {
					mounts[source.Secret.Name+" "+item.Key] = true
				}
			}
		}
	}
	if !maps.Equal(made, mounts) {
		t.Errorf("it makes %v, and the pods mount %v", slices.Sorted(maps.Keys(made)), slices.Sorted(maps.Keys(mounts)))
	}
}
