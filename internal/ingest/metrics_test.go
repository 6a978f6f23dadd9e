package ingest_test

import (
	"net/http"
	"os"
	"regexp"
	"testing"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// Each webhook is counted at each step of its way, by what was decided there.
func TestMetrics(t *testing.T) {
	t.Parallel()
	d := openQuietDoor(t)
	to := d.endpoint(t, "stripe")
	closed := d.endpoint(t, "stripe", func(e *hub.Endpoint) { e.State = hub.Disabled })
	header, body := to.signed(t)
	d.post(t, to.Token, header, body)
	d.post(t, to.Token, header, body)
	for range 22 { // a sender's share is 20
		d.post(t, to.Token, http.Header{}, body)
	}
	d.post(t, closed.Token, header, body)
	d.post(t, "nobody", header, body)
	storetest.Metrics(t, d.metrics, "tributary_", map[string]float64{
		"ingest_verdicts_total ok":               2,
		"ingest_verdicts_total no_signature":     22,
		"ingest_verdicts_total fault":            0,
		"ingest_answers_total accepted":          1,
		"ingest_answers_total duplicate":         1,
		"ingest_answers_total signature_invalid": 22,
		"ingest_answers_total endpoint_disabled": 1,
		"ingest_answers_total not_found":         1,
		"intake_events_total new":                1,
		"intake_events_total duplicate":          1,
		"intake_flushes_total ok":                2,
		"notebook_rejections_total muted":        2,
		"ingest_received_total":                  24, "ingest_verify_seconds": 24, "ingest_answer_seconds": 24, "intake_commit_seconds": 2, "intake_flush_seconds": 2,
		"intake_flush_events": 2, "intake_capacity": 8192, "intake_waiting": 0, "ingest_bodies_bytes": 0, "notebook_waiting": 20, "notebook_capacity": 256,
		"notebook_waiting_bytes": 20 * float64(len(body)),
	})
}

// A cause that the metrics do not know would be counted nowhere, and panic.
func TestMetrics_EachCause(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("../hub/endpoint.go")
	if err != nil {
		t.Fatal(err)
	}
	d := openQuietDoor(t)
	causes := regexp.MustCompile(`(?m)^\t\w+ +Cause += "([a-z_]+)"`).FindAllStringSubmatch(string(source), -1)
	if len(causes) < 10 {
		t.Fatalf("%d causes: the expression no longer fits the file", len(causes))
	}
	for _, cause := range causes {
		if n := storetest.Metric(t, d.metrics, "tributary_ingest_verdicts_total", cause[1]); n != 0 {
			t.Errorf("%s: %v", cause[1], n)
		}
	}
}
