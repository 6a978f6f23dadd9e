package docs_test

import (
	"encoding/json"
	"html"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/routing"
)

// A block is what stands between fences in a page.
type block struct{ page, info, text string }

// blocks are those of all pages, as they are written.
func blocks(t *testing.T) []block {
	t.Helper()
	names, err := filepath.Glob("pages/*.md")
	if err != nil {
		t.Fatal(err)
	}
	runbooks, err := filepath.Glob("pages/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	names = append(names, runbooks...)
	fence := regexp.MustCompile("(?ms)^```([^\n]*)\n(.*?)^```$")
	var all []block
	for _, name := range names {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range fence.FindAllStringSubmatch(string(source), -1) {
			all = append(all, block{filepath.Base(name), match[1], match[2]})
		}
	}
	return all
}

// Each block is checked by somebody. Those marked "sh run" are run by e2e against a hub of dev, which also compares
// what one prints with the block "json output" below it, those marked "sh operate" beside a node of serve, those marked
// "sh keyset" by cli beside processes that it restarts, those of the page on installing by e2e with stand-ins for
// systemd, Docker and Kubernetes; frames are made by the code.
func TestSnippets(t *testing.T) {
	t.Parallel()
	events, err := expr.NewEvents()
	if err != nil {
		t.Fatal(err)
	}
	claims, err := expr.NewClaims()
	if err != nil {
		t.Fatal(err)
	}
	checked := map[string]int{}
	for _, b := range blocks(t) {
		var err error
		switch b.info {
		case "json route":
			err = compileRoute(events, b.text)
		case "json issuer":
			err = compileGrants(claims, b.text)
		case "cel event":
			_, err = events.Condition("cel", strings.TrimSpace(b.text))
		case "cel claims":
			_, err = claims.Condition("cel", strings.TrimSpace(b.text))
		case "sse", "json":
			if !regexp.MustCompile(`^\{\{[a-z]+\}\}\n$`).MatchString(b.text) {
				t.Errorf("%s: what the code writes is made by the code:\n%s", b.page, b.text)
			}
		case "json output", "json token", "json channels": // app opens a stream with each token, and compares the channels
			if !json.Valid([]byte(b.text)) {
				t.Errorf("%s: not JSON:\n%s", b.page, b.text)
			}
		case "env":
			_, err = config.Load(strings.Split(strings.TrimSpace(b.text), "\n"))
		case "sh run", "sh operate", "sh keyset", "sh systemd", "sh compose", "sh kubernetes", "sh first", "text":
		case "sh ops", "sql", "promql", "yaml prometheus": // e2e runs them beside a real Prometheus
		case "nginx": // e2e has a real one pass streams on by it
		default:
			t.Errorf("%s: nobody checks blocks of %q", b.page, b.info)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", b.page, err, b.text)
		}
		checked[b.info]++
	}
	for info, least := range map[string]int{"json route": 2, "json issuer": 9, "json token": 14, "json channels": 14, "cel event": 3, "cel claims": 1, "sse": 4, "json": 1, "json output": 1, "sh run": 12, "sh operate": 7, "sh keyset": 5, "sh systemd": 4, "sh first": 3, "sh compose": 1, "sh kubernetes": 5, "env": 2, "nginx": 1} {
		if checked[info] < least {
			t.Errorf("%d blocks of %q, want %d at least", checked[info], info, least)
		}
	}
}

// The owner's login is in $OWNER, which each page that uses it defines, and no page leaves it in the shell of a reader,
// where serve and doctor would meet it.
func TestSnippets_Owner(t *testing.T) {
	t.Parallel()
	used := 0
	for _, b := range blocks(t) {
		if strings.Contains(b.text, "export TRIBUTARY_OWNER_DATABASE_URL") {
			t.Errorf("%s: the owner's login stays in the shell:\n%s", b.page, b.text)
		}
		if !strings.Contains(b.text, "$OWNER") {
			continue
		}
		used++
		source, err := os.ReadFile(filepath.Join("pages", b.page))
		if err != nil {
			t.Fatal(err)
		}
		if before, _, _ := strings.Cut(string(source), b.text); !strings.Contains(before, "`$OWNER` is ") {
			t.Errorf("%s: nothing says what $OWNER is before it is used:\n%s", b.page, b.text)
		}
	}
	if used < 5 {
		t.Errorf("only %d blocks use it", used)
	}
}

func compileRoute(env *expr.Env, text string) error {
	var route struct {
		Name, Endpoint, Match, Type, Data, Key, Version string
		Channels                                        []string
	}
	if err := strict(text, &route); err != nil {
		return err
	}
	_, err := routing.Compile(env, hub.Route{
		Match: route.Match, Channels: route.Channels, Type: route.Type, Data: route.Data, Key: route.Key, Version: route.Version,
	})
	return err
}

func compileGrants(env *expr.Env, text string) error {
	var issuer struct {
		Name, Issuer      string
		Audiences         []string
		AuthorizedParties []string       `json:"authorized_parties"`
		RequiredClaims    map[string]any `json:"required_claims"`
		Grants            []json.RawMessage
		SessionSeconds    int  `json:"session_seconds"`
		SharesChannels    bool `json:"shares_channels"`
	}
	if err := strict(text, &issuer); err != nil {
		return err
	}
	for i, raw := range issuer.Grants {
		var grant hub.Grant
		if json.Unmarshal(raw, &grant.Pattern) != nil {
			if err := strict(string(raw), &grant); err != nil {
				return err
			}
		}
		if _, err := env.Grant("grants["+strconv.Itoa(i)+"]", grant, issuer.Name); err != nil {
			return err
		}
	}
	return nil
}

func strict(text string, into any) error {
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// What a page shows as JSON is JSON, and a heredoc or an argument of curl too.
func TestSnippets_JSON(t *testing.T) {
	t.Parallel()
	h := handler(t)
	shown := regexp.MustCompile(`(?s)<code class="language-json">(.*?)</code>`)
	sent := regexp.MustCompile(`(?ms)<<'JSON'\n(.*?)^JSON$| -d '([^']*)'`)
	n := 0
	for at, page := range crawl(t, h) {
		for _, match := range shown.FindAllStringSubmatch(page, -1) {
			n++
			if text := html.UnescapeString(match[1]); !json.Valid([]byte(text)) {
				t.Errorf("%s: not JSON:\n%s", at, text)
			}
		}
	}
	for _, b := range blocks(t) {
		for _, match := range sent.FindAllStringSubmatch(b.text, -1) {
			n++
			if !json.Valid([]byte(match[1] + match[2])) {
				t.Errorf("%s: not JSON:\n%s", b.page, match[1]+match[2])
			}
		}
	}
	if n < 10 {
		t.Errorf("only %d were looked at", n)
	}
}
