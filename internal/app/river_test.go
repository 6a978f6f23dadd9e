package app_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/app"
	"github.com/tributary-hub/tributary/internal/worker"
)

// A job that goes on when the process ends is told to end while there is time left to write that down, and none is
// taken for lost while it may still be worked.
func TestRiver_Times(t *testing.T) {
	t.Parallel()
	c, stopTime := app.RiverConfig(worker.New(worker.Options{Metrics: prometheus.NewRegistry()}))
	if c.SoftStopTimeout > stopTime/2 {
		t.Errorf("jobs are told to end after %s, and the process has %s", c.SoftStopTimeout, stopTime)
	}
	if c.RescueStuckJobsAfter < 2*c.JobTimeout {
		t.Errorf("jobs have %s, and are taken for lost after %s", c.JobTimeout, c.RescueStuckJobsAfter)
	}
}

// On the terminal, which shows no debug, River says only what went wrong.
func TestQuieted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		level slog.Level // of the handler behind
		want  []string
	}{
		{slog.LevelInfo, []string{"level=ERROR msg=failed"}},
		{slog.LevelDebug, []string{"level=DEBUG msg=counted", `level=DEBUG msg="stepping down" service=elector`, "level=ERROR msg=failed"}},
	} {
		var out bytes.Buffer
		log := slog.New(app.Quieted(slog.NewTextHandler(&out, &slog.HandlerOptions{
			Level: c.level,
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		})))
		log.Info("counted")
		log.With("service", "elector").Warn("stepping down")
		log.Error("failed")
		if diff := cmp.Diff(c.want, strings.Split(strings.TrimSpace(out.String()), "\n")); diff != "" {
			t.Errorf("%s: %s", c.level, diff)
		}
	}
}
