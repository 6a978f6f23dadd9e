package ingest

import (
	"context"
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/secret"
)

// StartIntake starts an Intake with that insert, and stops it with the test.
func StartIntake(t *testing.T, keeper *secret.Keeper, insert InsertFunc) *Intake {
	t.Helper()
	i := NewIntake(IntakeOptions{Insert: insert, Keeper: keeper, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler)})
	if err := i.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := i.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	return i
}
