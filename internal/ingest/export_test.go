package ingest

import (
	"context"
	"net/http"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/secret"
)

// Bodies are what a handler reads.
type Bodies struct{ bodies }

// Read reads a request's body as the handler does.
func (b *Bodies) Read(w http.ResponseWriter, r *http.Request, limit int) (body []byte, release func(), err error) {
	return b.read(w, r, limit)
}

// StartIntake starts an Intake with that insert, and stops it with the test.
func StartIntake(t *testing.T, keeper *secret.Keeper, insert InsertFunc) *Intake {
	t.Helper()
	return StartCountedIntake(t, prometheus.NewRegistry(), keeper, insert)
}

// StartCountedIntake is StartIntake with its metrics on that registry.
func StartCountedIntake(t *testing.T, metrics prometheus.Registerer, keeper *secret.Keeper, insert InsertFunc) *Intake {
	t.Helper()
	i := NewIntake(IntakeOptions{Insert: insert, Keeper: keeper, Metrics: metrics, Log: canary.Logger(t)})
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
