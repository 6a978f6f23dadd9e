package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/e2e"
)

// TestPromtool has the rules checked and run against the series of their test, and the configuration that the page
// shows read.
func TestPromtool(t *testing.T) {
	t.Parallel()
	e2e.Needs(t, "promtool")
	promtool := func(dir string, args ...string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "promtool", args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
			return
		}
		t.Logf("promtool %s: %s", strings.Join(args, " "), bytes.TrimSpace(out))
	}
	promtool("../../deploy/prometheus", "check", "rules", "alerts.yaml")
	promtool("../../deploy/prometheus", "test", "rules", "alerts_test.yaml")
	for i, part := range fenced(t, "../docs/pages/metrics.md", "yaml prometheus") {
		dir := t.TempDir()
		rules, err := os.ReadFile("../../deploy/prometheus/alerts.yaml")
		if err != nil {
			t.Fatal(err)
		}
		for name, content := range map[string][]byte{"prometheus.yaml": []byte(part), "alerts.yaml": rules} {
			if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		t.Logf("configuration %d of the page", i+1)
		promtool(dir, "check", "config", "prometheus.yaml")
	}
}

// TestMonitoring has a hub under some traffic scraped by a real Prometheus, and asks it everything that the dashboards,
// the alerts and the runbooks ask.
func TestMonitoring(t *testing.T) {
	t.Parallel()
	e2e.Needs(t, "prometheus")
	h := newHub(t)
	ops := freeAddress(t)
	h.env = []string{"TRIBUTARY_OPS_LISTEN=" + ops}
	h.start(t)
	p := startPrometheus(t, ops)
	traffic(t, h)
	more := 0
	eventually(t, time.Minute, "rates of what was delivered", func(ctx context.Context) error {
		more++ // so that the rates stay above zero while Prometheus gathers enough of them
		if status, _, err := postStripe(ctx, h, payment(fmt.Sprintf("evt_more_%d", more), more, "cus_1")); err != nil || status != http.StatusOK {
			return fmt.Errorf("webhook: %d, %w", status, err)
		}
		found, err := p.query(ctx, `histogram_quantile(0.99, sum by (le) (rate(tributary_stream_delivery_age_seconds_bucket[1m]))) > 0
			and on () sum(rate(tributary_ingest_answers_total{answer="accepted"}[1m])) > 0 and on () max(tributary_nodes) > 0
			and on () max(tributary_partitions_ahead) > 0`)
		if err == nil && len(found) == 0 {
			err = errors.New("no data yet")
		}
		return err
	})
	askDashboards(t, p)
	askAlerts(t, p)
	followRunbooks(t, p, ops)
	checkLabels(t, h, ops)
}

// traffic is a little of everything: accepted webhooks whose messages are delivered, a duplicate, a bad signature.
func traffic(t *testing.T, h *hub) {
	t.Helper()
	sub := subscribe(t, h, h.token(t, "watched", nil), "demo:*")
	sub.ready(t)
	for i := range 20 {
		body := payment(fmt.Sprintf("evt_metrics_%d", i/2), i, "cus_1") // each twice
		if status, _, err := postStripe(t.Context(), h, body); err != nil || status != http.StatusOK {
			t.Fatalf("webhook %d: %d, %v", i, status, err)
		}
	}
	res, err := http.Post(h.dev.Endpoints["stripe"].URL, "application/json", strings.NewReader(`{}`))
	if err != nil || res.StatusCode != http.StatusUnauthorized {
		t.Fatalf("a webhook without signature: %v, %v", res, err)
	}
	_ = res.Body.Close()
	sub.await(t, 20*time.Second, "ten messages", func(seen []string, _ map[string]int) bool { return len(seen) >= 10 })
}

// Panels that are empty while all is well.
var quiet = []string{
	"Errors", // 5xx
}

func askDashboards(t *testing.T, p *prometheus) {
	t.Helper()
	files, err := filepath.Glob("../../deploy/grafana/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("dashboards: %v, %v", files, err)
	}
	variables := strings.NewReplacer("$job", ".*", "$instance", ".*", "$__rate_interval", "1m")
	for _, file := range files {
		for _, panel := range panels(t, file) {
			for _, target := range panel.Targets {
				found, err := p.query(t.Context(), variables.Replace(target.Expr))
				name := filepath.Base(file) + ": " + panel.Title
				if err != nil {
					t.Errorf("%s: %v\n%s", name, err, target.Expr)
					continue
				}
				values := make([]string, 0, len(found))
				numbers := 0
				for _, s := range found {
					if !math.IsNaN(s.value) {
						numbers++
					}
					values = append(values, fmt.Sprintf("%.4g", s.value))
				}
				t.Logf("%s: %s = %s", name, target.LegendFormat, strings.Join(values, " "))
				if numbers == 0 && !slices.Contains(quiet, panel.Title) {
					t.Errorf("%s: no number\n%s", name, target.Expr)
				}
			}
		}
	}
}

// A panel is one of a dashboard.
type panel struct {
	Type, Title, Description string
	Targets                  []struct{ Expr, LegendFormat string }
	FieldConfig              struct{ Defaults struct{ Unit string } }
}

// panels are those that ask something. Each has words for who looks at it at night.
func panels(t *testing.T, file string) []panel {
	t.Helper()
	source, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title, UID string
		Panels     []panel
		Templating struct{ List []struct{ Name string } }
	}
	if err := json.Unmarshal(source, &dashboard); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	var variables []string
	for _, v := range dashboard.Templating.List {
		variables = append(variables, v.Name)
	}
	if !slices.Equal(variables, []string{"datasource", "job", "instance"}) {
		t.Errorf("%s: variables %v", file, variables)
	}
	var asking []panel
	for _, panel := range dashboard.Panels {
		if panel.Type == "row" {
			continue
		}
		if panel.Title == "" || panel.Description == "" || panel.FieldConfig.Defaults.Unit == "" || len(panel.Targets) == 0 {
			t.Errorf("%s: panel %q lacks words, a unit or a query", file, panel.Title)
		}
		asking = append(asking, panel)
	}
	return asking
}

// askAlerts asks Prometheus how its rules do: none fails, and none fires for a hub that is well.
func askAlerts(t *testing.T, p *prometheus) {
	t.Helper()
	var data struct {
		Groups []struct {
			Rules []struct{ Name, Query, Health, LastError, State string }
		}
	}
	if err := p.get(t.Context(), "/api/v1/rules", nil, &data); err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, group := range data.Groups {
		for _, rule := range group.Rules {
			n++
			t.Logf("%s: %s, %s", rule.Name, rule.Health, rule.State)
			if rule.Health != "ok" || rule.LastError != "" || rule.State == "firing" {
				t.Errorf("%s: %s %s, %s\n%s", rule.Name, rule.Health, rule.LastError, rule.State, rule.Query)
			}
			if _, err := p.query(t.Context(), rule.Query); err != nil {
				t.Errorf("%s: %v", rule.Name, err)
			}
		}
	}
	if n < 20 {
		t.Errorf("%d rules", n)
	}
}

// followRunbooks pastes what the pages say: into a shell, into Prometheus.
func followRunbooks(t *testing.T, p *prometheus, ops string) {
	t.Helper()
	pages, err := filepath.Glob("../docs/pages/runbooks/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("runbooks: %v, %v", pages, err)
	}
	for _, page := range pages {
		for _, text := range fenced(t, page, "promql") {
			if _, err := p.query(t.Context(), text); err != nil {
				t.Errorf("%s: %v\n%s", page, err, text)
			}
		}
		for _, text := range fenced(t, page, "sh ops") {
			cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", strings.ReplaceAll(text, "127.0.0.1:9090", ops))
			if out, err := cmd.CombinedOutput(); err != nil || len(out) == 0 {
				t.Errorf("%s: %v\n%s\n%s", page, err, text, out)
			}
		}
	}
}

// nothingToSee are the runbooks whose SQL has no rows while all is well.
var nothingToSee = []string{"events-given-up.md", "messages-missing.md", "verification-failing.md"}

// TestRunbooks_SQL asks what the runbooks ask, as the owner that the page on installing makes, of a database with a node
// and with somebody who is idle in a transaction. Postgres hides others' sessions from most logins without an error, so
// it is the rows that count.
func TestRunbooks_SQL(t *testing.T) {
	t.Parallel()
	e2e.Needs(t, "psql")
	e2e.Needs(t, "openssl")
	o := newOperator(t)
	o.serve(t)
	t.Cleanup(func() { o.stop(t) })
	connect := func(url string) *pgx.Conn {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) }) // one of them has been ended
		return conn
	}
	owner, idle := connect(o.owner), connect(o.hub+"&application_name=tributary+and+idle")
	const lock = `SELECT pg_advisory_xact_lock(1)`
	if _, err := idle.Exec(t.Context(), `BEGIN; `+lock); err != nil {
		t.Fatal(err)
	}
	waits := connect(o.hub)
	waited := make(chan error, 1)
	go func() {
		_, err := waits.Exec(t.Context(), lock)
		waited <- err
	}()
	gone := "tributary.events_" + time.Now().UTC().AddDate(0, 0, 6).Format("20060102")
	holds := func(ctx context.Context, what string, args ...any) error {
		var is bool
		if err := owner.QueryRow(ctx, `SELECT `+what, args...).Scan(&is); err != nil || !is {
			return fmt.Errorf("%s %v: %t, %w", what, args, is, err)
		}
		return nil
	}
	eventually(t, time.Minute, "partitions, which the node makes at its start", func(ctx context.Context) error {
		return holds(ctx, `EXISTS (SELECT FROM tributary_river.river_job WHERE kind = 'retention' AND state = 'completed')`)
	})
	if _, err := owner.Exec(t.Context(), `DROP TABLE `+gone); err != nil {
		t.Fatal(err)
	}

	pages, err := filepath.Glob("../docs/pages/runbooks/*.md")
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	for _, page := range pages {
		for _, text := range fenced(t, page, "sql") {
			asked++
			eventually(t, 30*time.Second, page+"\n"+text, func(ctx context.Context) error {
				rows, _ := owner.Query(ctx, text)
				found, err := pgx.CollectRows(rows, pgx.RowToMap)
				if err == nil && len(found) == 0 && !slices.Contains(nothingToSee, filepath.Base(page)) {
					err = errors.New("no row")
				}
				if said := fmt.Sprint(found); err == nil && strings.Contains(said, "insufficient privilege") {
					err = errors.New(said)
				}
				return err
			})
		}
	}
	if asked < 10 {
		t.Errorf("%d questions only", asked)
	}
	if err := holds(t.Context(), `to_regclass($1) IS NOT NULL`, gone); err != nil {
		t.Errorf("after the runbook for partitions: %v", err)
	}
	// What runbooks and the page on upgrading say of a session that is in the way.
	if err := holds(t.Context(), `pg_terminate_backend($1)`, idle.PgConn().PID()); err != nil {
		t.Errorf("the owner ends a session: %v", err)
	}
	if err := <-waited; err != nil {
		t.Errorf("who waited for that session: %v", err)
	}
	if err := idle.Ping(t.Context()); err == nil {
		t.Error("that session answers still")
	}
}

// fenced are the blocks of a page that are marked so.
func fenced(t *testing.T, page, info string) []string {
	t.Helper()
	source, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, part := range strings.Split(string(source), "```"+info+"\n")[1:] {
		text, _, _ := strings.Cut(part, "```")
		all = append(all, text)
	}
	return all
}

// labels are all that the hub's metrics may have: none that a tenant, a channel or a stranger could fill.
var labels = []string{
	"answer", "check", "chore", "code", "for", "kind", "le", "method", "pool", "reason", "result", "route", "server", "state", "status",
	"verdict", "version",
}

// checkLabels asks whether what strangers and tenants choose makes series: after more of the same there are no more.
func checkLabels(t *testing.T, h *hub, ops string) {
	t.Helper()
	strange(t, h, 0)
	before := series(t, h, ops)
	for n := range 5 {
		strange(t, h, n+1)
	}
	after := series(t, h, ops)
	for name, n := range after {
		if most := 1500; n > most || n > before[name] {
			t.Errorf("%s has %d series, and had %d before more strangers came", name, n, before[name])
		}
	}
	if len(after) < 90 {
		t.Errorf("%d metrics", len(after))
	}
}

// strange asks for what is not there, by names of its own.
func strange(t *testing.T, h *hub, n int) {
	t.Helper()
	for _, r := range []struct{ method, path string }{
		{"GET", "/in/strange%d"},
		{"POST", "/in/strange%d"},
		{"STRANGE%d", "/"},
		{"GET", "/strange%d"},
		{"GET", "/stream/strange%d"},
		{"GET", "/v1/tenants/strange%d/endpoints"},
		{"GET", "/stream/demo?channel=strange%d"},
		{"GET", "/docs/strange%d"},
	} {
		fill := func(s string) string { return strings.ReplaceAll(s, "%d", fmt.Sprint(n)) }
		req, err := http.NewRequestWithContext(t.Context(), fill(r.method), h.dev.URL+fill(r.path), nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
}

// series counts those of each of the hub's metrics, and looks at their labels.
func series(t *testing.T, h *hub, ops string) map[string]int {
	t.Helper()
	res, err := http.Get("http://" + ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	counts := map[string]int{}
	label := regexp.MustCompile(`([a-z_]+)="((?:[^"\\]|\\.)*)"`)
	for line := range strings.Lines(string(text)) {
		if !strings.HasPrefix(line, "tributary_") {
			continue
		}
		name := line[:strings.IndexAny(line, "{ ")]
		counts[name]++
		for _, l := range label.FindAllStringSubmatch(line, -1) {
			if !slices.Contains(labels, l[1]) {
				t.Errorf("%s has the label %s", name, l[1])
			}
			for _, private := range []string{h.dev.Tenant, "strange", "cus_1", "127.0.0.1", "ten_", "evt_"} {
				if strings.Contains(l[2], private) {
					t.Errorf("%s has %s: %q", name, l[1], l[2])
				}
			}
		}
	}
	return counts
}
