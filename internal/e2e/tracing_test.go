package e2e_test

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/tracetest"
)

// The lines of the page switch tracing on: one webhook, from its POST to the append, is one trace at the collector, and
// a stream's span is among those that are sent last, when the hub has drained. No span and no line has a secret.
func TestTracing(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	h := newHub(t)
	h.env = append(pageLines(t, "http://localhost:4318", collector.URL), "OTEL_TRACES_SAMPLER_ARG=1", "TRIBUTARY_LOG_LEVEL=debug", "TRIBUTARY_LOG_FORMAT=json")
	h.start(t)
	token := h.token(t, "ann", nil)
	reader := subscribe(t, h, token, "demo:stripe")
	reader.ready(t)
	status, receipt, err := postStripe(t.Context(), h, payment("evt_traced", 1, "cus_traced"))
	if err != nil || status != http.StatusOK {
		t.Fatalf("webhook: %d, %v", status, err)
	}
	reader.await(t, time.Minute, "the message", func(seen []string, _ map[string]int) bool { return len(seen) == 1 })
	h.terminate(t)

	spans := collector.Spans()
	below := map[string]string{}
	name := map[string]string{}
	traces := map[string]bool{}
	for _, s := range spans {
		name[s.ID] = s.Name
	}
	for _, s := range spans {
		if s.Attributes["http.route"] == "/in/{token}" || name[s.Parent] != "" {
			below[s.Name] = name[s.Parent]
			traces[s.Trace] = true
		}
		if s.Process["service.name"] != "tributary" || s.Process["deployment.environment.name"] != "production" {
			t.Errorf("a span's process is %v", s.Process)
		}
	}
	want := map[string]string{
		"POST /in/{token}": "", "verify webhook": "POST /in/{token}", "commit event": "POST /in/{token}", "insert events": "commit event",
		"work event": "commit event", "load event": "work event", "run routes": "work event", "append messages": "work event", "append units": "append messages",
	}
	if diff := cmp.Diff(want, below); diff != "" || len(traces) != 1 {
		t.Errorf("%d traces: %s", len(traces), diff)
	}

	streams := slices.DeleteFunc(tracetest.Named(spans, "GET /stream/{tenant}"), func(s tracetest.Span) bool {
		return s.Attributes["tributary.connection"] == "" // the reader came back while the hub was stopping, and was refused
	})
	if len(streams) != 1 || streams[0].Attributes["tributary.ended"] != "drain" {
		t.Fatalf("the stream's span: %+v", streams)
	}
	if frames, _ := strconv.Atoi(streams[0].Attributes["tributary.frames"]); frames < 3 { // ready, the message, bye
		t.Errorf("the stream had %d frames", frames)
	}
	said := h.out.String()
	for what, text := range map[string]string{
		"the stream's record":  `"tenant":"` + streams[0].Attributes["tributary.tenant"] + `","connection":"` + streams[0].Attributes["tributary.connection"] + `","frames":` + streams[0].Attributes["tributary.frames"] + `,"ended":"drain"`,
		"the webhook's record": `"event":"` + receipt.Event + `"`,
	} {
		if !strings.Contains(said, text) {
			t.Errorf("%s is missing: %s", what, text)
		}
	}
	endpoint := h.dev.Endpoints["stripe"]
	_, inToken, _ := strings.Cut(endpoint.URL, "/in/")
	for what, secret := range map[string]string{
		"the endpoint's token": inToken, "the signing secret": endpoint.Secret, "the user's token": token, "the operator's key": h.dev.OperatorKey,
		"a payload": "cus_traced", "a channel": "demo:stripe",
	} {
		if strings.Contains(collector.Text(), secret) {
			t.Errorf("the spans have %s:\n%s", what, collector.Text())
		}
		if strings.Contains(records(t, said), secret) {
			t.Errorf("the log has %s", what)
		}
	}
}

// records are the lines of the log: what else the hub prints is for whoever started it.
func records(t *testing.T, said string) string {
	t.Helper()
	var all strings.Builder
	for line := range strings.Lines(said) {
		if json.Valid([]byte(line)) && strings.HasPrefix(line, "{") {
			all.WriteString(line)
		}
	}
	if all.Len() == 0 {
		t.Error("there is no log")
	}
	return all.String()
}

// pageLines are the first that the page on tracing says to set, for another collector.
func pageLines(t *testing.T, shown, collector string) []string {
	t.Helper()
	page, err := os.ReadFile("../docs/pages/tracing.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, ok := strings.Cut(string(page), "```env\n")
	text, _, closed := strings.Cut(text, "```")
	if !ok || !closed || !strings.Contains(text, shown) {
		t.Fatalf("the page shows %q", text)
	}
	return strings.Split(strings.TrimSpace(strings.Replace(text, shown, collector, 1)), "\n")
}
