package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/tributary-hub/tributary/internal/e2e"
	"github.com/tributary-hub/tributary/internal/logtest"
)

// A prometheus is a real one, which scrapes one hub each second with the alert rules of deploy.
type prometheus struct{ url string }

func startPrometheus(t *testing.T, target string) *prometheus {
	t.Helper()
	e2e.Needs(t, "prometheus")
	dir := t.TempDir()
	rules, err := filepath.Abs("../../deploy/prometheus/alerts.yaml")
	if err != nil {
		t.Fatal(err)
	}
	config := fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s, external_labels: {tributary_url: "https://hub.example.com"}}
rule_files: [%q]
scrape_configs:
  - job_name: tributary
    static_configs: [{targets: [%q]}]
`, rules, target)
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	listen := freeAddress(t)
	out := &logtest.Buffer{}
	cmd := exec.Command("prometheus", "--config.file="+filepath.Join(dir, "prometheus.yaml"), "--storage.tsdb.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+listen, "--log.level=warn")
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatalf("start prometheus: %v", err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("prometheus said:\n%s", out.Tail(4000))
		}
	})
	p := &prometheus{url: "http://" + listen}
	eventually(t, time.Minute, "prometheus to be ready", func(ctx context.Context) error { return p.get(ctx, "/api/v1/status/config", nil, &struct{}{}) })
	return p
}

// eventually tries until there is no error.
func eventually(t *testing.T, within time.Duration, what string, try func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		err := try(ctx)
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("after %s still waiting for %s: %v", within, what, err)
		}
	}
}

func (p *prometheus) get(ctx context.Context, path string, query url.Values, data any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	answer := struct {
		Status, Error string
		Data          any
	}{Data: data}
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s: %w", res.Status, err)
	}
	if answer.Status != "success" {
		return fmt.Errorf("%s: %s", res.Status, answer.Error)
	}
	return nil
}

// A sample is one series of an instant query's answer.
type sample struct {
	labels map[string]string
	value  float64
}

func (p *prometheus) query(ctx context.Context, expr string) ([]sample, error) {
	var data struct {
		Result     json.RawMessage
		ResultType string
	}
	if err := p.get(ctx, "/api/v1/query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	var series []struct {
		Metric map[string]string
		Value  [2]any
	}
	if data.ResultType == "scalar" {
		return nil, fmt.Errorf("%s is a number, and no series", expr)
	}
	if err := json.Unmarshal(data.Result, &series); err != nil {
		return nil, err
	}
	samples := make([]sample, len(series))
	for i, s := range series {
		text, _ := s.Value[1].(string)
		value, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return nil, err
		}
		samples[i] = sample{s.Metric, value}
	}
	return samples, nil
}
