package app_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

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

// On the terminal, which shows no debug, River says only what went wrong, and that once a minute, but for jobs.
func TestQuieted(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		level slog.Level // of the handler behind
		want  []string
	}{
		{slog.LevelInfo, []string{
			"level=ERROR msg=failed", "level=ERROR msg=other service=elector", "level=ERROR msg=failed job_id=1", "level=ERROR msg=failed job_id=2", "level=ERROR msg=failed",
		}},
		{slog.LevelDebug, []string{
			"level=DEBUG msg=counted", `level=DEBUG msg="stepping down" service=elector`, "level=ERROR msg=failed", "level=DEBUG msg=failed service=elector",
			"level=ERROR msg=other service=elector", "level=ERROR msg=failed job_id=1", "level=ERROR msg=failed job_id=2", "level=ERROR msg=failed",
		}},
	} {
		var out bytes.Buffer
		now := time.Now()
		log := slog.New(app.Quieted(slog.NewTextHandler(&out, &slog.HandlerOptions{
			Level: c.level,
			ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			},
		}), func() time.Time { return now }))
		log.Info("counted")
		elector := log.With("service", "elector")
		elector.Warn("stepping down")
		log.Error("failed")
		elector.Error("failed")
		elector.Error("other")
		log.Error("failed", "job_id", 1)
		log.Error("failed", "job_id", 2)
		now = now.Add(time.Minute)
		log.Error("failed")
		if diff := cmp.Diff(c.want, strings.Split(strings.TrimSpace(out.String()), "\n")); diff != "" {
			t.Errorf("%s: %s", c.level, diff)
		}
	}
}
