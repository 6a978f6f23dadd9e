package directory_test

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// A tenant whose newer configuration cannot be read counts as behind until it is read, and the last complete look
// stands where it was.
func TestMetrics_Behind(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	w := newTown(t, func(o *directory.Options) { o.Metrics, o.Interval = registry, 20*time.Millisecond })
	if _, err := w.directory.Tenant(t.Context(), w.tenant); err != nil {
		t.Fatal(err)
	}
	must(t, w.directory.Start(t.Context()))
	t.Cleanup(func() { must(t, w.directory.Stop(context.WithoutCancel(t.Context()))) })
	metric := func(name string, labels ...string) float64 {
		t.Helper()
		return storetest.Metric(t, registry, "tributary_directory_"+name, labels...)
	}
	storetest.Await(t, "a complete look", func() bool { return metric("looks_total", "ok") >= 1 })
	if n := metric("tenants"); n != 1 {
		t.Errorf("%v tenants known", n)
	}
	w.Exec(t, `REVOKE SELECT ON tributary.routes FROM tributary_pipeline`)
	w.setState(t, hub.Suspended)
	storetest.Await(t, "the tenant to be behind", func() bool { return metric("behind_tenants") == 1 && metric("loads_total", "error") >= 1 })
	stood := metric("look_timestamp_seconds")
	failed := metric("looks_total", "error")
	w.clock.pass(time.Minute)
	storetest.Await(t, "more looks that fail", func() bool { return metric("looks_total", "error") > failed+1 })
	if now := metric("look_timestamp_seconds"); now != stood {
		t.Errorf("the last complete look moved from %v to %v", stood, now)
	}
	w.Exec(t, `GRANT SELECT ON tributary.routes TO tributary_pipeline`)
	storetest.Await(t, "nobody to be behind", func() bool { return metric("behind_tenants") == 0 && metric("look_timestamp_seconds") > stood })
}
