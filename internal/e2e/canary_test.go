package e2e_test

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/e2e"
)

// TestCanary puts secrets of known value everywhere where one can get to, by right or by mistake, into a hub that logs
// all it can, traces everything and loses its Postgres in between; then it searches whatever the hub has said or written.
func TestCanary(t *testing.T) {
	t.Parallel()
	e2e.Needs(t, "pg_dump")
	b := newBirdcage(t)
	issuer := b.startIssuer(t)
	b.serve(t)
	d := b.document(t)
	b.described = d
	v := &visitor{birdcage: b, document: d, calls: d.calls(t), issuer: issuer}
	d.wantKnown(t)
	b.wantNotYet(t, d)

	v.furnish(t)
	v.sendWebhooks(t, true)
	v.callRightly(t, false, true)
	v.callWrongly(t)
	v.readStreams(t, true)
	v.visitElsewhere(t)
	b.look(t)

	b.collector.Answer(func(w http.ResponseWriter) bool { // one that repeats what it was sent
		http.Error(w, strings.Join(b.env, "\n"), http.StatusUnauthorized)
		return false
	})
	b.stopPostgres(t)
	v.callRightly(t, false, false)
	v.sendWebhooks(t, false)
	if n := v.sendTo(t, stripeProvider(t), "/in/"+v.token, v.stripe); n > 0 {
		t.Errorf("%d webhooks were accepted without Postgres", n)
	}
	v.readStreams(t, false)
	b.look(t)
	b.startPostgres(t)
	b.collector.Answer(nil)
	b.stop(t)

	b.serve(t)
	if n := v.sendTo(t, stripeProvider(t), "/in/"+v.token, v.stripe); n < 3 {
		t.Errorf("%d webhooks were accepted", n)
	}
	v.callRightly(t, false, true)
	b.runCommands(t, v)
	v.waitWorked(t)
	b.keepDatabase(t)
	b.wantTried(t)
	v.callRightly(t, true, true)
	b.keepDatabase(t)
	b.stop(t)
	b.heard("the spans", []byte(b.collector.Text()))
	b.search(t)
}

// keepDatabase keeps what is stored, as a backup has it, and what River's tables say.
func (b *birdcage) keepDatabase(t *testing.T) {
	t.Helper()
	program := filepath.Join(b.server.BinDir(), "pg_dump")
	if _, err := os.Stat(program); err != nil {
		program = "pg_dump" // some builds of the server come without
	}
	cmd := exec.CommandContext(t.Context(), program, "--dbname="+b.server.URL(birdcageDatabase))
	var said strings.Builder
	cmd.Stderr = &said
	dump, err := cmd.Output()
	if err != nil {
		t.Fatalf("pg_dump: %v\n%s", err, said.String())
	}
	b.heard("the dump", dump)
	var jobs string
	b.sql(t, `SELECT 1`, func(conn *pgx.Conn) {
		if err := conn.QueryRow(t.Context(), `SELECT coalesce(string_agg(to_jsonb(j)::text, E'\n'), '') FROM tributary_river.river_job j`).Scan(&jobs); err != nil {
			t.Fatal(err)
		}
	})
	b.heard("River's jobs", []byte(jobs))
}

// wantTried fails where what is to be searched cannot have a secret, since none came there.
func (b *birdcage) wantTried(t *testing.T) {
	t.Helper()
	b.sql(t, `SELECT 1`, func(conn *pgx.Conn) {
		for what, sql := range map[string]string{
			"events with sealed headers":     `SELECT count(*) FROM tributary.events WHERE sealed IS NOT NULL`,
			"events with sealed bodies":      `SELECT count(*) FROM tributary.events WHERE sealed_body IS NOT NULL`,
			"unverified events":              `SELECT count(*) FROM tributary.events WHERE NOT verified`,
			"rejections with sealed headers": `SELECT count(*) FROM tributary.rejections WHERE sealed IS NOT NULL`,
			"rejections with sealed bodies":  `SELECT count(*) FROM tributary.rejections WHERE sealed_body IS NOT NULL`,
			"sealed answers":                 `SELECT count(*) FROM tributary.idempotency WHERE sealed`,
			"answers that are not":           `SELECT count(*) FROM tributary.idempotency WHERE NOT sealed`,
			"failures of routes":             `SELECT coalesce(sum(failures), 0) FROM tributary.routes`,
			"messages":                       `SELECT count(*) FROM tributary.messages`,
			"audit entries":                  `SELECT count(*) FROM tributary.audit`,
		} {
			if n := count(t, conn, sql); n < 4 {
				t.Errorf("%s: %d", what, n)
			}
		}
	})
	for status, least := range map[string]int{"400": 100, "401": 200, "403": 1, "404": 100, "409": 2, "412": 5, "415": 5, "422": 300, "503": 50} {
		if n := strings.Count(string(b.media["problems"]), `"status":`+status+`,`); n < least {
			t.Errorf("%d problems with status %s", n, status)
		}
	}
}

// A medium is where something was said, and what may not be found there besides secrets. What was pasted into a wrong place
// is stored, and shown to whoever may see it, as what it was taken for: a name, an expression. It goes nowhere else.
type medium struct {
	name      string
	misplaced bool   // what was misplaced is a leak there too
	names     bool   // and what stands where a name does
	least     int    // bytes without which nothing was tried
	exempt    string // why nothing is searched
}

// media are all; what commands say is added to them.
var media = []medium{
	{name: "the log", misplaced: true, names: true, least: 500 << 10},
	{name: "the spans", misplaced: true, names: true, least: 500 << 10},
	{name: "the operator's port", misplaced: true, names: true, least: 50 << 10},
	{name: "problems", misplaced: true, least: 300 << 10},
	{name: "answers' headers", misplaced: true, names: true, least: 100 << 10},
	{name: "answers", least: 50 << 10},
	{name: "streams", least: 200},
	{name: "the dump", least: 500 << 10},
	{name: "River's jobs", misplaced: true, names: true, least: 10 << 10},
	{name: "the log of Postgres", names: true, least: 200 << 10}, // a role that there is not is named there
	{name: "redirects", exempt: "whoever asks for a path with double slashes is told the same path without them"},
}

func (b *birdcage) search(t *testing.T) {
	t.Helper()
	statements, err := os.ReadFile(filepath.Join(b.dir, "pg", "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	b.heard("the log of Postgres", statements)
	const planted = "what was planted"
	plant := canary.Text() // a search that finds nothing must be one that can
	for _, finder := range []*canary.Finder{b.secrets, b.misplaced, b.names} {
		finder.Add(t, planted, plant)
	}
	all := slices.Clone(media)
	for name := range b.media {
		if strings.HasPrefix(name, "stderr of ") || strings.HasPrefix(name, "stdout of ") {
			all = append(all, medium{name: name, misplaced: true, names: true})
		} else if !slices.ContainsFunc(media, func(m medium) bool { return m.name == name }) {
			t.Errorf("%s is not among the media", name)
		}
	}
	for _, m := range all {
		text := b.media[m.name]
		finders := map[string]*canary.Finder{"a secret": b.secrets}
		if m.misplaced {
			finders["a misplaced secret"] = b.misplaced
		}
		if m.names {
			finders["a secret as a name"] = b.names
		}
		if m.exempt != "" {
			continue
		}
		for what, finder := range finders {
			hits := finder.Search(append(slices.Clone(text), plant...))
			if !slices.ContainsFunc(hits, func(h canary.Hit) bool { return h.Name == planted }) {
				t.Errorf("%s: %s that was planted there was not found", m.name, what)
			}
			for _, hit := range hits[:min(len(hits), 10)] {
				if hit.Name != planted {
					t.Errorf("%s has %s: %s", m.name, what, hit)
				}
			}
		}
		if len(text) < m.least {
			t.Errorf("%s has %d bytes only", m.name, len(text))
		}
		if m.least > 0 {
			t.Logf("%s: %d bytes", m.name, len(text))
		}
	}
	if n := strings.Count(string(b.media["the log"]), "REDACTED"); n > 0 {
		t.Errorf("%d times a secret came as far as the net of the log, which hid it", n)
	}
	t.Logf("%d secrets, %d misplaced ones", len(b.secrets.Names()), len(b.misplaced.Names()))
}
