package telemetry

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// TraceOptions say where spans go and which are made.
type TraceOptions struct {
	Endpoint     *url.URL          // required: of the collector, path included
	Headers      http.Header       // sent with each request; they are credentials, and shown nowhere
	Gzip         bool              // compress what is sent
	Certificates []byte            // PEM, of the authorities that the collector's certificate is checked by; default the system's
	Timeout      time.Duration     // of one batch, repetitions included; default 10 s
	Delay        time.Duration     // how long a span waits for company; default 5 s
	Sampler      string            // as OTEL_TRACES_SAMPLER has them; default parentbased_always_on
	Ratio        float64           // of the samplers that have one
	Attributes   map[string]string // of the process: service.name and the like
	Log          *slog.Logger      // required
}

// scope is what OpenTelemetry calls the library that made a span.
const scope = "github.com/tributary-hub/tributary"

// The bounds of what waits to be sent. A span beyond them is dropped: nobody waits for a collector.
const (
	queueSpans = 8192
	batchSpans = 1024
	maxLinks   = 128 // of one span
	maxText    = 256 // bytes of one attribute
)

// stopTime bounds the sending of what is left when the process stops.
const stopTime = 3 * time.Second

// A Tracer begins the traces of one process and sends their spans to a collector. A nil one begins none.
type Tracer struct {
	provider  *sdktrace.TracerProvider
	tracer    trace.Tracer
	collector *collector
	exporter  *exporter
}

// NewTracer makes a Tracer, which sends in the background until Stop. The SDK reads OTEL_* from the process's own
// environment too, whatever whoever started the hub handed over; all that it finds there (sampler, limits, OTEL_BSP_*)
// is overruled here.
func NewTracer(o TraceOptions) (*Tracer, error) {
	sampler, err := sampler(o.Sampler, o.Ratio)
	if err != nil {
		return nil, err
	}
	collector, err := newCollector(o)
	if err != nil {
		return nil, err
	}
	to := &exporter{SpanExporter: otlptrace.NewUnstarted(collector), log: o.Log, ended: make(chan struct{})}
	if o.Delay <= 0 {
		o.Delay = 5 * time.Second
	}
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithSampler(sampler),
		sdktrace.WithResource(describe(o.Attributes)),
		sdktrace.WithRawSpanLimits(sdktrace.SpanLimits{
			AttributeValueLengthLimit: maxText, AttributeCountLimit: 32, LinkCountLimit: maxLinks, AttributePerLinkCountLimit: 1,
			EventCountLimit: 8, AttributePerEventCountLimit: 8, AttributeValueDepthLimit: 1,
		}),
		sdktrace.WithoutPanicRecording(), // a panic's value may hold what a stranger sent
		sdktrace.WithBatcher(to,
			sdktrace.WithMaxQueueSize(queueSpans), sdktrace.WithMaxExportBatchSize(batchSpans),
			sdktrace.WithBatchTimeout(o.Delay), sdktrace.WithExportTimeout(2*collector.timeout)),
	)
	return &Tracer{provider: provider, tracer: provider.Tracer(scope), collector: collector, exporter: to}, nil
}

// describe makes the resource of the process's attributes.
func describe(attributes map[string]string) *resource.Resource {
	all := []attribute.KeyValue{attribute.String("telemetry.sdk.language", "go"), attribute.String("telemetry.sdk.name", "opentelemetry")}
	for _, name := range slices.Sorted(maps.Keys(attributes)) {
		all = append(all, attribute.String(name, attributes[name]))
	}
	return resource.NewSchemaless(all...)
}

func sampler(name string, ratio float64) (sdktrace.Sampler, error) {
	switch name {
	case "always_on":
		return sdktrace.AlwaysSample(), nil
	case "always_off":
		return sdktrace.NeverSample(), nil
	case "traceidratio":
		return sdktrace.TraceIDRatioBased(ratio), nil
	case "", "parentbased_always_on":
		return sdktrace.ParentBased(sdktrace.AlwaysSample()), nil
	case "parentbased_always_off":
		return sdktrace.ParentBased(sdktrace.NeverSample()), nil
	case "parentbased_traceidratio":
		return sdktrace.ParentBased(sdktrace.TraceIDRatioBased(ratio)), nil
	}
	return nil, fmt.Errorf("there is no sampler %q", name)
}

// Stop sends what has ended, for at most 3 s, and ends the sending. Nothing is repeated any more, and what cannot be
// sent is dropped, and no error: the log says so. It may be called twice, and on a nil Tracer.
func (t *Tracer) Stop(ctx context.Context) error {
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, stopTime)
	defer cancel()
	t.collector.hurry()
	err := t.provider.Shutdown(ctx)
	t.collector.cut()
	<-t.exporter.ended // every request ends at once now
	t.collector.client.CloseIdleConnections()
	if errors.Is(err, context.DeadlineExceeded) {
		t.exporter.log.WarnContext(ctx, "the last spans could not be sent in time, and are dropped")
		return nil
	}
	return err
}

// An exporter keeps from the SDK that spans could not be sent: it would tell a global of its own. It says so in the
// log, once for each stretch.
type exporter struct {
	sdktrace.SpanExporter

	log     *slog.Logger
	failing Stretch
	ended   chan struct{} // closed by Shutdown, which the SDK calls once, when nothing will be exported any more
}

func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	switch {
	case err == nil && e.failing.Ends():
		e.log.InfoContext(ctx, "spans are taken again")
	case err != nil && e.failing.Begins():
		e.log.WarnContext(ctx, "spans cannot be sent, and are dropped", "error", err)
	}
	return nil
}

// Shutdown is called once.
func (e *exporter) Shutdown(context.Context) error {
	close(e.ended)
	return nil
}
