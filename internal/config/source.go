package config

import (
	"io"
	"os"
	"strings"
	"syscall"
)

// maxSecretFile bounds a …_FILE: nothing that belongs there is larger.
const maxSecretFile = 64 << 10

// A source is the environment as envconfig looks into it. A variable that is empty is not set, as compose files and
// shells leave them; a secret is taken from its …_FILE where it has one.
type source struct {
	values   map[string]string
	secrets  map[string]bool
	aliases  map[string]string // names of ours, and those of the platform's that stand in where ours are not set
	problems *Problems
}

func newSource(environ []string, problems *Problems) *source {
	s := &source{values: map[string]string{}, secrets: map[string]bool{}, aliases: map[string]string{}, problems: problems}
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if _, twice := s.values[name]; !twice && value != "" {
			s.values[name] = value
		}
	}
	for _, v := range Variables() {
		if v.Secret {
			s.secrets[v.Name] = true
		}
	}
	return s
}

// alias lets another name, which platforms set, stand in for ours where that is not set in either form.
func (s *source) alias(name, other string) {
	_, set := s.values[name]
	_, inFile := s.values[name+"_FILE"]
	if !set && !inFile {
		s.aliases[name] = other
	}
}

// called is the name under which a variable is given, for problems.
func (s *source) called(name string) string {
	if other, ok := s.aliases[name]; ok {
		return other
	}
	return name
}

// Lookup is envconfig's: the value of a name, and whether it is set.
func (s *source) Lookup(name string) (string, bool) {
	isSecret := s.secrets[name]
	name = s.called(name)
	value, set := s.values[name]
	if !isSecret {
		return value, set
	}
	file, inFile := s.values[name+"_FILE"]
	switch {
	case set && inFile:
		s.problems.addf("%s: set, and %s_FILE as well; use one of them", name, name)
	case inFile:
		return s.read(name+"_FILE", file), true
	}
	return value, set
}

// read gives a file's content without the line end that editors add.
func (s *source) read(name, path string) string {
	file, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that nobody writes to must not keep us
	if err != nil {
		s.problems.addf("%s: the file cannot be read: %v", name, failure(err))
		return ""
	}
	defer func() { _ = file.Close() }() // only read
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		s.problems.addf("%s: it names no file but a folder, a pipe or a device", name)
		return ""
	}
	content, err := io.ReadAll(io.LimitReader(file, maxSecretFile+1))
	value := strings.TrimRight(string(content), "\r\n")
	switch {
	case err != nil:
		s.problems.addf("%s: the file cannot be read: %v", name, failure(err))
	case len(content) > maxSecretFile:
		s.problems.addf("%s: the file is larger than %d bytes", name, maxSecretFile)
	case value == "":
		s.problems.addf("%s: the file is empty", name)
	}
	return value
}

// checkNames finds names that look like ours and are not: a misspelt one would be ignored in silence.
func (s *source) checkNames(environ []string) {
	known := map[string]bool{}
	for _, v := range Variables() {
		known[v.Name] = true
		if v.Secret {
			known[v.Name+"_FILE"] = true
		}
	}
	for _, pair := range environ {
		name, _, _ := strings.Cut(pair, "=")
		switch {
		case !strings.HasPrefix(name, "TRIBUTARY_") || known[name] || injected(name):
		default:
			s.problems.addf("%s: no such variable; did you mean %s?", name, Nearest(name, known))
		}
	}
}

// injected says whether Kubernetes sets the name in every pod beside a service called tributary.
func injected(name string) bool {
	return name == "TRIBUTARY_PORT" || strings.HasPrefix(name, "TRIBUTARY_PORT_") || strings.HasPrefix(name, "TRIBUTARY_SERVICE_")
}

// Nearest is the known name that the fewest edits make of name, to suggest it; the first in the alphabet of several.
func Nearest(name string, known map[string]bool) string {
	best, fewest := "", -1
	for candidate := range known {
		edits := distance(name, candidate)
		if fewest < 0 || edits < fewest || edits == fewest && candidate < best {
			best, fewest = candidate, edits
		}
	}
	return best
}

// distance is Levenshtein's, in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(replace, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}
