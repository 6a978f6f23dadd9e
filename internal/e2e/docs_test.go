package e2e_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/e2e"
)

// TestDocs runs every snippet of the pages that a reader would paste, in their order, and follows every link of the
// pages as the hub serves them.
func TestDocs(t *testing.T) {
	t.Parallel()
	e2e.Needs(t, "curl")
	h := startHub(t)
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	all := append([]snippet{{page: "an event that pages look at", text: "tributary send github push"}}, snippets(t, "sh run")...)
	for _, s := range all {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", s.text)
		cmd.Env = append(os.Environ(),
			"PATH="+filepath.Dir(path)+":"+os.Getenv("PATH"), "TRIBUTARY_DATA_DIR="+h.dir,
			"TRIBUTARY_URL="+h.dev.URL, "TRIBUTARY_TENANT="+h.dev.Tenant, "TRIBUTARY_API_KEY="+h.dev.TenantKey)
		var said strings.Builder
		cmd.Stderr = &said
		out, err := cmd.Output()
		cancel()
		if err != nil {
			t.Errorf("%s: %v\n%s\n%s%s", s.page, err, s.text, out, said.String())
		}
		if s.output != "" {
			if diff := cmp.Diff(decoded(t, s.output), decoded(t, string(out))); diff != "" {
				t.Errorf("%s: it prints something else (-page +hub):\n%s\n%s", s.page, s.text, diff)
			}
		}
	}
	crawl(t, h.dev.URL)

	// A browser that is given the hub's address alone lands on the pages, and finds no fault.
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]string{"/": "303 See Other /docs", "/favicon.ico": "204 No Content ", "/nothing": "404 Not Found "} {
		res, err := client.Get(h.dev.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if got := res.Status + " " + res.Header.Get("Location"); got != want {
			t.Errorf("GET %s: %s, want %s", path, got, want)
		}
	}
}

func decoded(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := json.Unmarshal([]byte(text), &value); err != nil {
		t.Errorf("%v: %s", err, text)
	}
	return value
}

// crawl follows every link that stays on the hub, anchors too: the pages are made of the real API's document here.
func crawl(t *testing.T, hub string) {
	t.Helper()
	hrefs := regexp.MustCompile(` href="([^"]*)"`)
	seen := map[string]string{}
	for queue := []string{"/docs"}; len(queue) > 0; queue = queue[1:] {
		at := queue[0]
		if _, done := seen[at]; done {
			continue
		}
		res, err := http.Get(hub + at)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, %v", at, res.Status, err)
		}
		seen[at] = string(body)
		for _, match := range hrefs.FindAllStringSubmatch(seen[at], -1) {
			if path, _, _ := strings.Cut(match[1], "#"); strings.HasPrefix(path, "/") {
				queue = append(queue, path)
			}
		}
	}
	for at, html := range seen {
		for _, match := range hrefs.FindAllStringSubmatch(html, -1) {
			path, anchor, hasAnchor := strings.Cut(match[1], "#")
			if path == "" {
				path = at
			}
			if hasAnchor && !strings.Contains(seen[path], ` id="`+anchor+`"`) {
				t.Errorf("%s: there is no place %s", at, match[1])
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("the links of the pages lead to %d places only", len(seen))
	}
}

// A snippet is a command of a page, and what the page says that it prints, as JSON; "": nothing is said.
type snippet struct{ page, text, output string }

// snippets are the blocks of the pages that are marked so, such as "sh run": what a reader would paste.
func snippets(t *testing.T, mark string) []snippet {
	t.Helper()
	names, err := filepath.Glob("../docs/pages/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var all []snippet
	for _, name := range names {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range strings.Split(string(source), "```"+mark+"\n")[1:] {
			text, after, _ := strings.Cut(part, "```")
			s := snippet{page: filepath.Base(name), text: text}
			if below, ok := strings.CutPrefix(after, "\n\n```json output\n"); ok {
				s.output, _, _ = strings.Cut(below, "```")
			}
			all = append(all, s)
		}
	}
	if len(all) < 4 {
		t.Fatalf("%d snippets in %d pages", len(all), len(names))
	}
	return all
}

// TestDocs_Issuers: the issuers that the pages show are asked when they are saved, and fit beside the demo tenant's own.
// Nobody answers at their addresses; the hub's own issuer does.
func TestDocs_Issuers(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	source, err := os.ReadFile("../docs/pages/authentication.md")
	if err != nil {
		t.Fatal(err)
	}
	examples := strings.Split(string(source), "```json issuer\n")[1:]
	if len(examples) == 0 {
		t.Fatal("the page shows no issuer")
	}
	for _, part := range examples {
		text, _, _ := strings.Cut(part, "```")
		issuer, ok := decoded(t, text).(map[string]any)
		if !ok {
			t.Fatalf("no issuer: %s", text)
		}
		issuer["issuer"] = "https://login.invalid"
		if status, answer := h.api(t, http.MethodPost, "/v1/tenants/demo/issuers", issuer); status != http.StatusUnprocessableEntity || answer["code"] != "issuer_unreachable" {
			t.Errorf("where nobody answers: %d %v", status, answer)
		}
		issuer["issuer"], issuer["internal"] = h.dev.Issuer, true
		if status, answer := h.apiAs(t, h.dev.OperatorKey, http.MethodPost, "/v1/tenants/demo/issuers", issuer); status != http.StatusCreated {
			t.Errorf("where the hub itself answers: %d %v", status, answer)
		}
	}
}
