package storetest

import (
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// Metric is what a counter, a gauge or a histogram's count stands at, of the series that has these label values among
// its own. It is a fault of the test where there is none.
func Metric(t testing.TB, g prometheus.Gatherer, name string, values ...string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			has := map[string]bool{}
			for _, l := range m.GetLabel() {
				has[l.GetValue()] = true
			}
			if !slices.ContainsFunc(values, func(v string) bool { return !has[v] }) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("no metric %s of %v", name, values)
	return 0
}

// Metrics compares metrics whose names begin with the prefix, as Metric reads them: each is wanted by the rest of its
// name and, after a space, the value of a label.
func Metrics(t testing.TB, g prometheus.Gatherer, prefix string, want map[string]float64) {
	t.Helper()
	for series, n := range want {
		name, label, labelled := strings.Cut(series, " ")
		values := []string{label}
		if !labelled {
			values = nil
		}
		if got := Metric(t, g, prefix+name, values...); got != n {
			t.Errorf("%s%s: %v, want %v", prefix, series, got, n)
		}
	}
}
