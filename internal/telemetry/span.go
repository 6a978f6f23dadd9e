package telemetry

import (
	"context"
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/tributary-hub/tributary/internal/hub"
)

// Whether something is traced is decided once, where a request comes in; what follows is traced if that was. Spans
// carry routes' patterns, ids, counts and codes: never a path, a query, a header, a payload, a channel or an error's
// text.

// Request begins the trace of a request, by the pattern of its route. What the sender says of traces is not looked
// at: strangers neither choose ids nor decide what is sampled.
func (t *Tracer) Request(ctx context.Context, method, route string) (context.Context, trace.Span) {
	if t == nil {
		return ctx, noop.Span{}
	}
	return t.tracer.Start(ctx, method+" "+route, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route)))
}

// Continue goes on, in a job, with the trace that traceparent names; where it names none, nothing is traced.
func (t *Tracer) Continue(ctx context.Context, traceparent, name string) (context.Context, trace.Span) {
	if t == nil || traceparent == "" {
		return ctx, noop.Span{}
	}
	parent := parse(traceparent)
	if !parent.IsValid() {
		return ctx, noop.Span{}
	}
	return t.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, parent), name, trace.WithSpanKind(trace.SpanKindConsumer))
}

// Flush begins the span of one flush that serves n callers. It stands below the first of those that are traced and is
// linked to each of them: a flush belongs to several traces. Where none is traced, it is not either.
func (t *Tracer) Flush(ctx context.Context, name string, n int, traceparent func(i int) string) (context.Context, trace.Span) {
	if t == nil {
		return ctx, noop.Span{}
	}
	var links []trace.Link
	for i := 0; i < n && len(links) < maxLinks; i++ {
		if text := traceparent(i); text != "" {
			if caller := parse(text); caller.IsValid() {
				links = append(links, trace.Link{SpanContext: caller})
			}
		}
	}
	if len(links) == 0 {
		return ctx, noop.Span{}
	}
	return t.tracer.Start(trace.ContextWithSpanContext(ctx, links[0].SpanContext), name, trace.WithLinks(links...),
		trace.WithAttributes(attribute.Int("tributary.items", n)))
}

// Begin begins the span of a step below the one that ctx has. Where that is not recorded, it costs a look.
func Begin(ctx context.Context, name string) (context.Context, trace.Span) {
	above := trace.SpanFromContext(ctx)
	if !above.IsRecording() {
		return ctx, noop.Span{}
	}
	return above.TracerProvider().Tracer(scope).Start(ctx, name)
}

// LinkCaller notes in the span of ctx which trace the request's sender was in, by its traceparent header. It is for
// senders that are known: they can find our trace from theirs, and decide nothing in it.
func LinkCaller(ctx context.Context, header http.Header) {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return
	}
	if caller := parse(header.Get("Traceparent")); caller.IsValid() {
		span.AddLink(trace.Link{SpanContext: caller})
	}
}

// Fail marks a span as failed, by err's code alone: texts name channels and addresses.
func Fail(span trace.Span, err error) {
	if err == nil || !span.IsRecording() {
		return
	}
	code := string(hub.CodeOf(err))
	span.SetStatus(codes.Error, code)
	span.SetAttributes(attribute.String("error.type", code))
}

// Traceparent names the span of ctx, in the form of W3C's header; "" where it is not recorded.
func Traceparent(ctx context.Context) string {
	span := trace.SpanFromContext(ctx)
	if !span.IsRecording() {
		return ""
	}
	c := span.SpanContext()
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-" + c.TraceFlags().String()
}

// TraceID is the id of the trace that ctx is in; "" where it is not recorded.
func TraceID(ctx context.Context) string {
	if c := trace.SpanContextFromContext(ctx); c.IsSampled() {
		return c.TraceID().String()
	}
	return ""
}

// parse reads a traceparent and nothing beside it: what else a sender may say of its trace is not carried on.
func parse(traceparent string) trace.SpanContext {
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": traceparent})
	return trace.SpanContextFromContext(ctx)
}
