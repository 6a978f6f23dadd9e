package ingest_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/ingest"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/server"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
	"github.com/tributary-hub/tributary/internal/telemetry"
)

// BenchmarkWebhook is the CPU of one webhook from the server to its answer: everything but the socket and the database.
func BenchmarkWebhook(b *testing.B) {
	for _, mode := range []struct{ name, sampler string }{{"untraced", ""}, {"traced=none", "always_off"}, {"traced=all", "always_on"}} {
		b.Run(mode.name, func(b *testing.B) {
			var tracer *telemetry.Tracer
			if mode.sampler != "" {
				tracer = benchTracer(b, mode.sampler)
			}
			benchmarkWebhook(b, tracer)
		})
	}
}

func benchTracer(b *testing.B, sampler string) *telemetry.Tracer {
	b.Helper()
	taking := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	b.Cleanup(taking.Close)
	collector, err := url.Parse(taking.URL + "/v1/traces")
	if err != nil {
		b.Fatal(err)
	}
	tracer, err := telemetry.NewTracer(telemetry.TraceOptions{Endpoint: collector, Sampler: sampler, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = tracer.Stop(context.WithoutCancel(b.Context())) })
	return tracer
}

func benchmarkWebhook(b *testing.B, tracer *telemetry.Tracer) {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	db := storetest.New(b)
	encoded, err := secret.NewKeyset()
	must(err)
	keeper, err := secret.Open(encoded)
	must(err)
	log, metrics, tenant := slog.New(slog.DiscardHandler), prometheus.NewRegistry(), db.Tenant(b)
	github, _ := provider.Get("github")
	e := hub.Endpoint{ID: hub.NewID[hub.EndpointID](), Name: "bench", Provider: "github", State: hub.Enabled, Mode: hub.ModeEnforce, Config: github.Example, Token: "bench"}
	key, value := hub.NewID[hub.SecretID](), github.NewSecret()
	token, err := keeper.Seal(secret.EndpointToken, []byte(e.Token), tenant[:], e.ID[:])
	must(err)
	sealed, err := keeper.Seal(secret.EndpointSecret, []byte(value), tenant[:], e.ID[:], key[:])
	must(err)
	_, err = db.ChangeTenant(b.Context(), hub.Principal{Kind: hub.PrincipalSystem, Name: "bench"}, tenant, func(c *store.Change) error {
		if _, err := c.CreateEndpoint(b.Context(), store.SealedEndpoint{Endpoint: e, TokenHash: hub.HashToken(e.Token), TokenSealed: token}); err != nil {
			return err
		}
		if _, err := c.CreateSecret(b.Context(), store.SealedSecret{Secret: hub.Secret{ID: key, Endpoint: e.ID, State: hub.SecretActive}, Sealed: sealed}); err != nil {
			return err
		}
		return c.Audit(b.Context(), "bench.prepared", "bench", nil)
	})
	must(err)

	tenants, err := directory.New(directory.Options{Pipeline: db.Pipeline, Keeper: keeper, Log: log})
	must(err)
	insert := func(_ context.Context, events []hub.Event) ([]hub.Receipt, error) {
		receipts := make([]hub.Receipt, len(events))
		for i := range events {
			receipts[i].Event = events[i].ID
		}
		return receipts, nil
	}
	intake := ingest.NewIntake(ingest.IntakeOptions{Insert: insert, Keeper: keeper, Metrics: metrics, Log: log, Tracer: tracer})
	must(intake.Start(b.Context()))
	b.Cleanup(func() { _ = intake.Stop(context.WithoutCancel(b.Context())) })
	notes := ingest.NewNotebook(ingest.NotebookOptions{Pipeline: db.Pipeline, Keeper: keeper, Log: log, Metrics: metrics})
	mux := http.NewServeMux()
	mux.Handle("/in/{token}", ingest.NewHandler(ingest.HandlerOptions{
		ClockSkewed: func() bool { return false },
		Directory:   tenants, Meter: meter.New(meter.Options{Pipeline: db.Pipeline, Log: log}), Intake: intake, Notes: notes, Metrics: metrics, Now: time.Now,
	}))
	s := server.New(server.Options{Name: "public", Listen: "127.0.0.1:0", Mux: mux, Log: log, Failed: make(chan error, 1), Tracer: tracer})

	body, id, err := provider.Sample("github", "push", time.Now())
	must(err)
	header, err := github.Sign(value, body, time.Now(), provider.SignOptions{Type: "push", ID: id})
	must(err)
	b.ReportAllocs()
	for b.Loop() {
		r := httptest.NewRequestWithContext(b.Context(), http.MethodPost, "/in/bench", bytes.NewReader(body))
		r.Header = header
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			b.Fatalf("%d %s", w.Code, w.Body)
		}
	}
}
