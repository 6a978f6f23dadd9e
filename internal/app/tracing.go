package app

import (
	"fmt"
	"maps"
	"net/http"

	"github.com/tributary-hub/tributary/internal/telemetry"
)

// startTracing begins the sending of spans, where a collector is named. It is the first thing that is made and the
// last that is stopped: what the others do while they drain is traced too.
func (a *App) startTracing() error {
	t := a.o.Config.Tracing
	if t.Endpoint == nil {
		return nil
	}
	headers := http.Header{}
	for name, value := range t.Headers {
		headers.Set(name, value.Reveal())
	}
	attributes := map[string]string{"service.version": a.o.Version, "service.instance.id": a.nodeID}
	maps.Copy(attributes, t.Attributes)
	tracer, err := telemetry.NewTracer(telemetry.TraceOptions{
		Endpoint: t.Endpoint, Headers: headers, Gzip: t.Gzip, Certificates: t.Certificates, Timeout: t.Timeout,
		Sampler: t.Sampler, Ratio: t.Ratio, Attributes: attributes, Log: a.o.Log,
	})
	if err != nil {
		return fmt.Errorf("prepare tracing: %w", err)
	}
	a.tracer = tracer
	a.onStop("tracing", tracer.Stop)
	return nil
}
