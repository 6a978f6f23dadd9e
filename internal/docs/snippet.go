package docs

import (
	"io/fs"
	"strings"
)

// A Snippet is a fenced block of a page.
type Snippet struct{ Page, Text string }

// Snippets are the blocks marked `sh run`, in the order of the pages: what a reader pastes. They are run against a
// development hub in tests, with TRIBUTARY_URL, TRIBUTARY_API_KEY and TRIBUTARY_DATA_DIR set and tributary in PATH.
func Snippets() []Snippet { return Fenced("sh run") }

// Fenced are the blocks whose fence says info.
func Fenced(info string) []Snippet {
	names, err := fs.Glob(files, "pages/*.md")
	if err != nil {
		return nil // the pattern is good
	}
	var all []Snippet
	for _, name := range names {
		source, err := fs.ReadFile(files, name)
		if err != nil {
			return nil // it was just listed
		}
		for _, part := range strings.Split(string(source), "```"+info+"\n")[1:] {
			text, _, _ := strings.Cut(part, "```")
			all = append(all, Snippet{Page: strings.TrimPrefix(name, "pages/"), Text: text})
		}
	}
	return all
}
