package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// A rotation is a hub of two nodes whose keyset is changed as the page on it says.
type rotation struct {
	db   *storetest.DB
	dir  string
	old  *node // restarted after
	next *node // restarted first
	key  string
}

// A node is one `tributary serve`.
type node struct {
	cmd  *exec.Cmd
	url  string
	said chan string // what it said from then on, when it has ended
}

func newRotation(t *testing.T) *rotation {
	t.Helper()
	r := &rotation{db: storetest.New(t), dir: t.TempDir()}
	t.Cleanup(func() { wantNoSecrets(t, filepath.Join(r.dir, ".said")) })
	return r
}

// environ is what every process has; keyset is the file's name.
func (r *rotation) environ(keyset string) []string {
	return append(os.Environ(), "TRIBUTARY_LOG_LEVEL=debug", saidTo+"="+filepath.Join(r.dir, ".said"), "TRIBUTARY_DATABASE_URL="+r.db.URL, "TRIBUTARY_KEYSET_FILE="+filepath.Join(r.dir, keyset),
		"TRIBUTARY_PUBLIC_URL=https://hub.example.com", "TRIBUTARY_LISTEN=127.0.0.1:0", "TRIBUTARY_OPS_LISTEN=127.0.0.1:0",
		"TRIBUTARY_DATABASE_CONNECTIONS=11", "TRIBUTARY_LOG_FORMAT=json")
}

// serve starts a node and waits until it serves, or says what it ended with.
func (r *rotation) serve(t *testing.T, keyset string) (*node, string) {
	t.Helper()
	n := &node{cmd: exec.CommandContext(context.WithoutCancel(t.Context()), "tributary", "serve"), said: make(chan string, 1)}
	n.cmd.Env = r.environ(keyset)
	stderr, err := n.cmd.StderrPipe()
	must(t, err)
	must(t, n.cmd.Start())
	var said strings.Builder
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		var line struct{ Msg, Listen string }
		if json.Unmarshal(lines.Bytes(), &line) == nil && line.Msg == "serving" {
			n.url = "http://" + line.Listen
			whole := n.said // of this process: the node may be another by then
			go func() {
				rest, _ := io.ReadAll(stderr)
				whole <- string(rest)
			}()
			t.Cleanup(func() { n.stop(t) })
			return n, ""
		}
		said.WriteString(lines.Text() + "\n")
	}
	if err := n.cmd.Wait(); err == nil {
		t.Errorf("it ended as if all were well")
	}
	return nil, said.String()
}

func (n *node) stop(t *testing.T) {
	t.Helper()
	if n.cmd.ProcessState == nil {
		must(t, n.cmd.Process.Signal(syscall.SIGTERM))
		_ = n.cmd.Wait()
	}
}

// restart gives a node the keyset as it is now.
func (r *rotation) restart(t *testing.T, n *node) {
	t.Helper()
	n.stop(t)
	again, said := r.serve(t, "keyset")
	if again == nil {
		t.Fatalf("it does not start again: %s", said)
	}
	*n = *again
}

// run runs a command of an operator and gives what it printed, and what it said.
func (r *rotation) run(t *testing.T, command string) (printed, said string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", command)
	cmd.Dir, cmd.Env = r.dir, append(r.environ("keyset"), "OWNER="+r.db.OwnerURL)
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err = cmd.Run()
	return out.String(), errs.String(), err
}

// ask sends a request to a node and gives its answer.
func (r *rotation) ask(t *testing.T, want int, n *node, method, path string, body any, header ...string) []byte {
	t.Helper()
	content, raw := body.([]byte)
	if !raw && body != nil {
		var err error
		content, err = json.Marshal(body)
		must(t, err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, n.url+path, bytes.NewReader(content))
	must(t, err)
	request.Header.Set("Content-Type", "application/json")
	if !raw {
		request.Header.Set("Authorization", "Bearer "+r.key)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := http.DefaultClient.Do(request)
	must(t, err)
	answer, err := io.ReadAll(response.Body)
	_ = response.Body.Close()
	must(t, err)
	if response.StatusCode != want {
		t.Fatalf("%s %s: %s, want %d\n%s", method, path, response.Status, want, answer)
	}
	return answer
}

func field(t *testing.T, answer []byte, name string) string {
	t.Helper()
	var fields map[string]any
	must(t, json.Unmarshal(answer, &fields))
	value, ok := fields[name].(string)
	if !ok {
		t.Fatalf("no %s in %s", name, answer)
	}
	return value
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A holding is what a tenant has in a hub that is sealed there: all of it is asked for again after each step.
type holding struct {
	slug, path string // path of the endpoint, /in/…
	event      string // whose body is sealed
	body       []byte
	answer     []byte // to the request for a key
}

const slackSecret, otherSecret = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"

// fill makes a holding by way of a node.
func (r *rotation) fill(t *testing.T, n *node, slug string) holding {
	t.Helper()
	h := holding{slug: slug}
	r.ask(t, 201, n, "POST", "/v1/tenants", map[string]any{"slug": slug, "name": slug})
	made := r.ask(t, 201, n, "POST", h.at("/endpoints"), map[string]any{"name": "slack", "provider": "slack", "secret": slackSecret})
	at, err := url.Parse(field(t, made, "url"))
	must(t, err)
	h.path = at.Path
	h.body = r.webhook(t, 200, n, h.path, slackSecret, func(answer []byte) { h.event = field(t, answer, "event") })
	r.webhook(t, 401, n, h.path, otherSecret, func([]byte) {})
	h.answer = r.askKey(t, n, h)
	return h
}

func (h holding) at(path string) string { return "/v1/tenants/" + h.slug + path }

func (r *rotation) askKey(t *testing.T, n *node, h holding) []byte {
	t.Helper()
	return r.ask(t, 201, n, "POST", h.at("/keys"), map[string]any{"name": "ci", "scopes": []string{"config:read"}}, "Idempotency-Key", "once")
}

// webhook sends one that carries a credential in its body, and one in a header.
func (r *rotation) webhook(t *testing.T, want int, n *node, path, secret string, seen func(answer []byte)) []byte {
	t.Helper()
	p, _ := provider.Get("slack")
	body, id, err := provider.Sample("slack", "", time.Now())
	must(t, err)
	signed, err := p.Sign(secret, body, time.Now(), provider.SignOptions{ID: id})
	must(t, err)
	header := []string{"Cookie", "session=hush"}
	for name := range signed {
		header = append(header, name, signed.Get(name))
	}
	seen(r.ask(t, want, n, "POST", path, body, header...))
	return body
}

// verify asks a node for all that a holding has.
func (r *rotation) verify(t *testing.T, n *node, h holding) {
	t.Helper()
	if shown := field(t, r.ask(t, 200, n, "GET", h.at("/endpoints/slack"), nil), "url"); !strings.HasSuffix(shown, h.path) {
		t.Errorf("%s: the endpoint's URL is %s, was %s", h.slug, shown, h.path)
	}
	if body := r.ask(t, 200, n, "GET", h.at("/events/"+h.event+"/body"), nil); !bytes.Equal(body, h.body) {
		t.Errorf("%s: the event's body has changed", h.slug)
	}
	if answer := r.askKey(t, n, h); !bytes.Equal(answer, h.answer) {
		t.Errorf("%s: asked again it answers %s", h.slug, answer)
	}
	r.webhook(t, 200, n, h.path, slackSecret, func([]byte) {})
}

// retry has the holding's rejection verified again: it was signed with what becomes a secret only now.
func (r *rotation) retry(t *testing.T, n *node, h holding) {
	t.Helper()
	r.ask(t, 201, n, "POST", h.at("/endpoints/slack/secrets"), map[string]any{"secret": otherSecret})
	var list struct{ Items []struct{ ID string } }
	must(t, json.Unmarshal(r.ask(t, 200, n, "GET", h.at("/endpoints/slack/rejections"), nil), &list))
	if len(list.Items) != 1 {
		t.Fatalf("%s: %d rejections", h.slug, len(list.Items))
	}
	r.ask(t, 200, n, "POST", h.at("/endpoints/slack/rejections/"+list.Items[0].ID+"/retry"), nil)
}

// commands are those of the page, in their order.
func commands(t *testing.T) []string {
	t.Helper()
	page, err := os.ReadFile("../docs/pages/keyset.md")
	must(t, err)
	var all []string
	for _, part := range strings.Split(string(page), "```sh keyset\n")[1:] {
		text, _, _ := strings.Cut(part, "```")
		all = append(all, text)
	}
	if len(all) != 5 {
		t.Fatalf("the page has %d commands", len(all))
	}
	return all
}

// TestKeyset_Rotation does what the page says, beside two nodes that are restarted one after the other: at each
// moment each of them has all that either has stored, what comes too early is refused, and in the end the old keyset
// opens nothing.
func TestKeyset_Rotation(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	page := commands(t)
	do := func(command string) {
		t.Helper()
		if _, said, err := r.run(t, command); err != nil {
			t.Fatalf("%s: %v\n%s", command, err, said)
		}
	}
	refused := func(command, why string) {
		t.Helper()
		if printed, said, err := r.run(t, command); err == nil || printed != "" || !strings.Contains(said, why) {
			t.Errorf("%s: %v, printed %q; want it refused, %q:\n%s", command, err, printed, why, said)
		}
	}
	start := func() *node {
		n, said := r.serve(t, "keyset")
		if n == nil {
			t.Fatalf("it does not start: %s", said)
		}
		return n
	}
	do(page[0])
	do("cp keyset keyset.first")
	key, _, err := r.run(t, `TRIBUTARY_OWNER_DATABASE_URL="$OWNER" tributary key create --operator --name test`)
	must(t, err)
	r.key = strings.TrimSpace(key)
	r.old, r.next = start(), start()
	holdings := []holding{r.fill(t, r.old, "first")}
	everywhere := func() {
		t.Helper()
		for _, h := range holdings {
			r.verify(t, r.old, h)
			r.verify(t, r.next, h)
		}
	}
	everywhere()

	do(page[1]) // rotate
	refused(`TRIBUTARY_OWNER_DATABASE_URL="$OWNER" tributary keyset promote`, "do not have: ")
	r.restart(t, r.next)
	refused(`TRIBUTARY_OWNER_DATABASE_URL="$OWNER" tributary keyset promote`, "do not have: ") // one of them does not
	holdings = append(holdings, r.fill(t, r.old, "old-beside-rotated"), r.fill(t, r.next, "rotated-beside-old"))
	everywhere()
	r.restart(t, r.old)

	do(page[2]) // promote
	r.restart(t, r.next)
	holdings = append(holdings, r.fill(t, r.old, "rotated-beside-promoted"), r.fill(t, r.next, "promoted-beside-rotated"))
	everywhere()
	refused(`TRIBUTARY_OWNER_DATABASE_URL="$OWNER" tributary keyset prune`, "still seals with key ")
	if n, said := r.serve(t, "keyset.first"); n != nil || !strings.Contains(said, "it lacks key ") {
		t.Errorf("with the keyset of before it all: %s", said)
	}
	r.restart(t, r.old)
	refused(`TRIBUTARY_OWNER_DATABASE_URL="$OWNER" tributary keyset prune`, "run `tributary keyset reseal` first")

	do(page[3]) // reseal
	everywhere()
	do(page[4]) // prune
	r.restart(t, r.next)
	everywhere()
	r.restart(t, r.old)
	everywhere()
	for _, h := range holdings {
		r.retry(t, r.next, h)
	}
	if n, said := r.serve(t, "keyset.first"); n != nil || !strings.Contains(said, "which `tributary keyset prune` has retired") {
		t.Errorf("with the keyset of before it all, in the end: %s", said)
	}
	first, last := storetest.Value[int64](t, r.db, `SELECT key_id FROM tributary.keyset_keys WHERE retired_at IS NOT NULL`),
		storetest.Value[int64](t, r.db, `SELECT key_id FROM tributary.keyset_keys WHERE retired_at IS NULL`)
	sealedBy := storetest.Values[int64](t, r.db, `
		SELECT DISTINCT ('x' || encode(substring(v FROM 2 FOR 4), 'hex'))::bit(32)::bigint FROM (
			SELECT token_sealed FROM tributary.endpoints UNION ALL SELECT sealed FROM tributary.secrets
			UNION ALL SELECT answer FROM tributary.idempotency WHERE sealed
			UNION ALL SELECT unnest(ARRAY[sealed, sealed_body]) FROM tributary.events
			UNION ALL SELECT unnest(ARRAY[sealed, sealed_body]) FROM tributary.rejections) AS s(v) WHERE v IS NOT NULL`)
	if diff := cmp.Diff([]int64{last}, sealedBy); diff != "" {
		t.Errorf("what is stored is sealed by (-want +got; the old key is %d):\n%s", first, diff)
	}
	for _, column := range []string{"events.sealed", "events.sealed_body", "rejections.sealed", "rejections.sealed_body"} {
		table, name, _ := strings.Cut(column, ".")
		if n := storetest.Value[int](t, r.db, `SELECT count(`+name+`) FROM tributary.`+table); n < len(holdings) {
			t.Errorf("%s has %d values: the test tries nothing with it", column, n)
		}
	}
}

// Where the login is not the owner's, and where the schema is not there, it says so.
func TestKeyset_NotTheOwner(t *testing.T) {
	t.Parallel()
	r := newRotation(t)
	bare := storetest.New(t, storetest.Bare())
	for _, command := range []string{"tributary keyset new > keyset", "tributary keyset rotate > rotated"} {
		if _, said, err := r.run(t, command); err != nil {
			t.Fatalf("%v\n%s", err, said)
		}
	}
	for _, tt := range []struct{ command, want string }{
		{"tributary keyset reseal", "the login may not do this"},
		{"TRIBUTARY_KEYSET_FILE=rotated TRIBUTARY_OWNER_DATABASE_URL='" + bare.OwnerURL + "' tributary keyset promote", "`tributary migrate up` brings it there"},
	} {
		if _, said, err := r.run(t, tt.command); err == nil || !strings.Contains(said, tt.want) {
			t.Errorf("%s: %v; want %q:\n%s", tt.command, err, tt.want, said)
		}
	}
}

// Where a value stays as it is, since no key opens it, the command has failed: prune is not to follow.
func TestKeyset_ResealLeavesSome(t *testing.T) {
	t.Parallel()
	r := &rotation{db: storetest.New(t), dir: t.TempDir()}
	if _, said, err := r.run(t, "tributary keyset new > keyset"); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	n, said := r.serve(t, "keyset")
	if n == nil {
		t.Fatalf("it does not start: %s", said)
	}
	n.stop(t)
	r.db.Endpoint(t, r.db.Tenant(t), "stripe") // no keyset opens its token
	const want = "1 values do not open with any key of this keyset and stay as they are, 0 were sealed anew"
	if _, said, err := r.run(t, `TRIBUTARY_OWNER_DATABASE_URL="$OWNER" tributary keyset reseal`); err == nil || !strings.Contains(said, want) {
		t.Errorf("%v; want %q:\n%s", err, want, said)
	}
}
