package browser_test

import (
	"html"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/browser"
)

// hub serves the pages as the process does.
func hub() *http.ServeMux {
	mux := http.NewServeMux()
	for pattern, page := range browser.Pages() {
		mux.Handle(pattern, page)
	}
	return mux
}

func get(t *testing.T, path string, header ...string) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	hub().ServeHTTP(w, r)
	return w
}

func TestPages(t *testing.T) {
	t.Parallel()
	for path, kind := range map[string]string{
		"/selftest": "text/html; charset=utf-8", "/selftest/page.js": "text/javascript; charset=utf-8", "/selftest/style.css": "text/css; charset=utf-8",
	} {
		w := get(t, path)
		want := map[string]string{
			"Content-Type": kind, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cache-Control": "no-cache", "Cross-Origin-Opener-Policy": "same-origin",
		}
		got := map[string]string{}
		for name := range want {
			got[name] = w.Header().Get(name)
		}
		if diff := cmp.Diff(want, got); diff != "" || w.Code != http.StatusOK {
			t.Errorf("%s: %d %s", path, w.Code, diff)
		}
		if again := get(t, path, "If-None-Match", w.Header().Get("ETag")); again.Code != http.StatusNotModified {
			t.Errorf("%s: %d for who has it", path, again.Code)
		}
	}
	for _, path := range []string{"/selftest/", "/selftest/index.html", "/selftest/nothing.js", "/selftest/../browser.go"} {
		if w := get(t, path); w.Code == http.StatusOK {
			t.Errorf("%s is served", path)
		}
	}
}

// The policy has no exception: nothing is said by whom a script may be but the hub itself, and a form goes nowhere.
func TestPolicy(t *testing.T) {
	t.Parallel()
	policy := get(t, "/selftest").Header().Get("Content-Security-Policy")
	want := []string{
		"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'", "img-src data:",
		"base-uri 'none'", "form-action 'none'", "frame-ancestors 'none'", "require-trusted-types-for 'script'",
	}
	if diff := cmp.Diff(want, strings.Split(policy, "; ")); diff != "" {
		t.Error(diff)
	}
}

// What the page and its scripts load is served here, and nothing else is loaded, run or kept.
func TestSelftest_Loads(t *testing.T) {
	t.Parallel()
	loads := regexp.MustCompile(`(?:src|href)="([^"]+)"|\bfrom '([^']+)'`)
	forbidden := regexp.MustCompile(`https?://[^\s']*|<script>|<style|\son[a-z]+=|\sstyle=|innerHTML|outerHTML|insertAdjacentHTML|\beval\b|localStorage|sessionStorage|indexedDB|document\.cookie|caches\b|history\.|console\.`)
	loaded := map[string]bool{"/selftest": true}
	for queue := []string{"/selftest"}; len(queue) > 0; queue = queue[1:] {
		w := get(t, queue[0])
		if w.Code != http.StatusOK {
			t.Errorf("%s: %d", queue[0], w.Code)
		}
		for _, found := range forbidden.FindAllString(w.Body.String(), -1) {
			if found != "http://www.w3.org/2000/svg" && !strings.HasPrefix(found, "http://127.0.0.1:8080") { // names, which nobody loads
				t.Errorf("%s has %q", queue[0], found)
			}
		}
		for _, match := range loads.FindAllStringSubmatch(w.Body.String(), -1) {
			name := strings.Replace(match[1]+match[2], "./", "/selftest/", 1)
			if strings.HasPrefix(name, "/docs") || name == "data:," || loaded[name] {
				continue
			}
			loaded[name] = true
			queue = append(queue, name)
		}
	}
	if diff := cmp.Diff(len(browser.Pages()), len(loaded)); diff != "" {
		t.Errorf("served, and loaded: %s", diff)
	}
	page := get(t, "/selftest").Body.String()
	script := get(t, "/selftest/page.js").Body.String()
	for _, match := range regexp.MustCompile(`getElementById\('([a-z]+)'\)`).FindAllStringSubmatch(script, -1) {
		if !strings.Contains(page, ` id="`+match[1]+`"`) {
			t.Errorf("the page has no %s", match[1])
		}
	}
	field := regexp.MustCompile(`<input id="token"[^>]*>`).FindString(page)
	if !strings.Contains(field, `autocomplete="off"`) || !strings.Contains(field, `spellcheck="false"`) || strings.Contains(field, " name=") {
		t.Errorf("browsers may keep, send or check what is typed into %s", field)
	}
}

// What the page says for nginx is what the page of the docs says, which is tried with a real one.
func TestSelftest_Nginx(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../docs/pages/streams.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(source), "```nginx\n")
	lines, _, found := strings.Cut(after, "\n```")
	if page := html.UnescapeString(get(t, "/selftest").Body.String()); !found || !strings.Contains(page, "<pre><code>"+lines+"</code></pre>") {
		t.Errorf("the page does not have the docs' lines:\n%s", lines)
	}
}

// TestVerdict has Node try what the page says of arrivals that are made up.
func TestVerdict(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("node"); err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal("node is not installed, and in CI nothing is skipped")
		}
		t.Skip("node is not installed")
	}
	dir := t.TempDir() // where a file says that scripts are modules, as the page does
	for _, pattern := range []string{"selftest/*.js", "testdata/*.mjs"} {
		names, err := fs.Glob(os.DirFS("."), pattern)
		if err != nil || len(names) == 0 {
			t.Fatal(pattern, err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, name), string(text))
		}
	}
	write(t, filepath.Join(dir, "package.json"), `{"type":"module"}`)
	cmd := exec.CommandContext(t.Context(), "node", "--test", filepath.Join("testdata", "verdict.test.mjs"))
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	passed := regexp.MustCompile(`(?m)^\S+ pass (\d+)$`).FindSubmatch(out)
	if passed == nil || slices.Contains([]string{"0", "1"}, string(passed[1])) {
		t.Errorf("nothing was tried:\n%s", out)
	}
}

func write(t *testing.T, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
