package canary

import (
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"
)

// Logger makes a logger of everything, without the net that hides secrets in a process's log, for what a test tries:
// the test fails if a line has what looks like a secret. Lines go to the other handlers too. It is made before what logs
// with it, so that it looks last.
func Logger(t testing.TB, also ...slog.Handler) *slog.Logger {
	t.Helper()
	w := &watch{}
	t.Cleanup(func() {
		for _, line := range w.suspicious() {
			t.Errorf("the log has what looks like a secret: %s", line)
		}
	})
	handlers := append([]slog.Handler{slog.NewJSONHandler(w, &slog.HandlerOptions{Level: slog.LevelDebug})}, slices.Clone(also)...)
	return slog.New(slog.NewMultiHandler(handlers...))
}

// A watch keeps the lines that have what looks like a secret.
type watch struct {
	mu    sync.Mutex // guards lines
	lines []string
}

func (w *watch) Write(line []byte) (int, error) {
	if len(Suspects(line)) > 0 {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.lines = append(w.lines, string(line))
	}
	return len(line), nil
}

func (w *watch) suspicious() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.lines)
}

// forms are how secrets look: keys of the hub, signing secrets, tokens of users, keysets, private keys, credentials of
// headers and of URLs, tokens of endpoints, and the canary of other tests. The word itself is in the names of files.
var forms = regexp.MustCompile(`trb_[0-9A-Za-z]{8,}|(?:whsec|shpss|[sr]k_live|[sr]k_test)_[0-9A-Za-z+/=_-]+|eyJ[0-9A-Za-z_-]{6,}\.[0-9A-Za-z_-]+|eyJwcmltYXJ5S2V5SWQ|primaryKeyId` +
	`|PRIVATE KEY-----|(?i:bearer|basic) [0-9A-Za-z+/=._-]{6,}|://[^/\s"@]*:[^/\s"@]+@|/in/[^{\s"]+|(?i:c4n4ry)|\b[0-9A-Za-z]{26}\b|\b[0-9A-Za-z]{32}\b`)

// example is how the hub itself shows what a URL with credentials is like.
const example = "://user:password@"

// Suspects are the parts of a text that look like secrets.
func Suspects(text []byte) []string {
	var all []string
	for _, found := range forms.FindAll(text, -1) {
		if part := string(found); part != example && (len(part) != 26 && len(part) != 32 || !isWord(part) || isRandom(part)) {
			all = append(all, part)
		}
	}
	return all
}

func isWord(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// isRandom tells what rand.Text and the hub make from ids of traces, which are small letters and digits, and from words.
func isRandom(s string) bool {
	return strings.ContainsFunc(s, unicode.IsUpper) && strings.ContainsFunc(s, unicode.IsDigit)
}
