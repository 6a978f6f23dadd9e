package docs

import (
	"fmt"
	"io/fs"
	"path"
	"strings"
)

// A runbook is what to do about one alert of deploy/prometheus/alerts.yaml: a page of its own, whose name stands in the
// alert's runbook_url.
type runbook struct{ name, title, source string }

// runbooks are the pages in the folder, by name.
func runbooks() ([]runbook, error) {
	names, err := fs.Glob(files, "pages/runbooks/*.md")
	if err != nil {
		return nil, err
	}
	var all []runbook
	for _, name := range names {
		source, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		heading, _, _ := strings.Cut(string(source), "\n")
		title, ok := strings.CutPrefix(heading, "# ")
		if !ok {
			return nil, fmt.Errorf("%s does not begin with its title", name)
		}
		all = append(all, runbook{strings.TrimSuffix(path.Base(name), ".md"), title, string(source)})
	}
	return all, nil
}

func linksTo(all []runbook) []link {
	links := make([]link, len(all))
	for i, r := range all {
		links[i] = link{Href: place("runbooks/" + r.name), Title: r.title}
	}
	return links
}

// runbookTable says of each the first sentence: what its alert means.
func runbookTable(all []runbook) string {
	var out strings.Builder
	out.WriteString("| alert | means |\n| --- | --- |\n")
	for _, r := range all {
		_, text, _ := strings.Cut(r.source, "\n\n")
		means, _, _ := strings.Cut(text, "\n\n")
		fmt.Fprintf(&out, "| [%s](%s) | %s |\n", r.title, place("runbooks/"+r.name), cell(means))
	}
	return out.String()
}
