package app_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/tributary-hub/tributary/internal/app"
	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/storetest"
)

var update = flag.Bool("update", false, "write the table of metrics")

// metricsFile is the table that the page /docs/metrics shows.
const metricsFile = "../docs/metrics.md"

// TestMetricsTable compares what a process with all roles counts with the table of the pages; -update writes it. All
// of it is there from the start: a rate over what appears with its first count begins too late.
func TestMetricsTable(t *testing.T) {
	t.Parallel()
	var out strings.Builder
	out.WriteString("| metric | type | labels | what |\n| --- | --- | --- | --- |\n")
	for _, family := range gather(t) {
		if !strings.HasPrefix(family.GetName(), "tributary_") {
			continue
		}
		var labels []string
		for _, l := range family.GetMetric()[0].GetLabel() {
			labels = append(labels, "`"+l.GetName()+"`")
		}
		fmt.Fprintf(&out, "| `%s` | %s | %s | %s |\n",
			family.GetName(), strings.ToLower(family.GetType().String()), strings.Join(labels, ", "), family.GetHelp())
		if help := family.GetHelp(); !strings.HasSuffix(help, ".") || strings.Contains(help, "|") {
			t.Errorf("%s: its help is no sentence that fits into a table: %q", family.GetName(), help)
		}
	}
	if *update {
		if err := os.WriteFile(metricsFile, []byte(out.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(metricsFile)
	must(t, err)
	if diff := cmp.Diff(string(want), out.String()); diff != "" {
		t.Errorf("the table is out of date: go test ./internal/app -run TestMetricsTable -update\n%s", diff)
	}
}

// gather reads the registry of a process with all roles.
func gather(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	db := storetest.New(t)
	ctx := context.WithoutCancel(t.Context())
	process, err := app.New(ctx, app.Options{Config: whole(t, db), Log: canary.Logger(t), Version: "test"})
	must(t, err)
	must(t, process.Start(ctx))
	defer func() { must(t, process.Stop(ctx)) }()
	families, err := process.Registry().Gather()
	must(t, err)
	slices.SortFunc(families, func(a, b *dto.MetricFamily) int { return strings.Compare(a.GetName(), b.GetName()) })
	return families
}
