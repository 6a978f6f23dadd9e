package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// An alert is a rule of deploy/prometheus/alerts.yaml.
type alert struct {
	Alert       string
	Expr        string
	Labels      map[string]string
	Annotations map[string]string
}

func alerts(t *testing.T) []alert {
	t.Helper()
	source, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Groups []struct{ Rules []alert } }
	if err := yaml.Unmarshal(source, &file); err != nil {
		t.Fatal(err)
	}
	var all []alert
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("%d alerts", len(all))
	}
	return all
}

// Each alert has a page that says what to do, each page has its alert, and the index has all of them.
func TestRunbooks(t *testing.T) {
	t.Parallel()
	h := handler(t)
	index := text(t, h, "/docs/runbooks")
	pages, err := filepath.Glob("pages/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range alerts(t) {
		if s := a.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: severity %q", a.Alert, s)
		}
		if a.Annotations["summary"] == "" || a.Annotations["description"] == "" {
			t.Errorf("%s lacks words", a.Alert)
		}
		path, ok := strings.CutPrefix(a.Annotations["runbook_url"], "{{ $externalLabels.tributary_url }}")
		if !ok {
			t.Errorf("%s: its runbook is at %q", a.Alert, a.Annotations["runbook_url"])
			continue
		}
		html := text(t, h, path)
		want := []string{"<h1", a.Alert + "</h1>", ">What users notice", ">Look", ">Do", ">When it is over"}
		for _, w := range want {
			if !strings.Contains(html, w) {
				t.Errorf("%s: the page lacks %q", path, w)
			}
		}
		if !strings.Contains(index, `<a href="`+path+`">`+a.Alert+`</a>`) {
			t.Errorf("the index lacks %s", a.Alert)
		}
		file := "pages/" + strings.TrimPrefix(path, "/docs/") + ".md"
		pages = slices.DeleteFunc(pages, func(p string) bool { return p == file })
	}
	if len(pages) > 0 {
		t.Errorf("no alert leads to %v", pages)
	}
}

// Whatever alerts, dashboards and pages name is counted by the hub: the table is made of its registry.
func TestMetrics_NamesAreThere(t *testing.T) {
	t.Parallel()
	table, err := os.ReadFile("metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([a-z]+) \\|").FindAllStringSubmatch(string(table), -1) {
		known[row[1]] = true
		if row[2] == "histogram" {
			known[row[1]+"_bucket"], known[row[1]+"_sum"], known[row[1]+"_count"] = true, true, true
		}
	}
	if len(known) < 100 {
		t.Fatalf("%d metrics in the table", len(known))
	}
	html := text(t, handler(t), "/docs/metrics")
	for name := range known {
		base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, "")
		if !strings.Contains(html, "<td><code>"+base+"</code></td>") {
			t.Errorf("the page lacks %s", base)
		}
	}
	// Not metrics: logins, roles and schemas of the database, the networks of compose.yaml, and the external label.
	other := regexp.MustCompile(`^tributary_(url|river|tenant|pipeline|owner|hub|outside|database)$`)
	places := []string{"../../deploy/prometheus/*.yaml", "../../deploy/grafana/*.json", "pages/*.md", "pages/runbooks/*.md"}
	named := map[string]bool{}
	for _, place := range places {
		files, err := filepath.Glob(place)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, %v", place, files, err)
		}
		for _, file := range files {
			source, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range regexp.MustCompile(`\btributary_[a-z_]*[a-z]\b`).FindAllString(string(source), -1) {
				named[name] = true
				if !known[name] && !other.MatchString(name) {
					t.Errorf("%s: nothing counts %s", file, name)
				}
			}
		}
	}
	if len(named) < 80 {
		t.Errorf("%d metrics are named: the expression no longer fits", len(named))
	}
}
