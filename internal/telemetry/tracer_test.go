package telemetry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/logtest"
	"github.com/tributary-hub/tributary/internal/telemetry"
	"github.com/tributary-hub/tributary/internal/tracetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// newTracer sends to that collector soon, until the test ends.
func newTracer(t *testing.T, to string, change func(*telemetry.TraceOptions)) *telemetry.Tracer {
	t.Helper()
	endpoint, err := url.Parse(to + "/v1/traces")
	if err != nil {
		t.Fatal(err)
	}
	o := telemetry.TraceOptions{Endpoint: endpoint, Delay: time.Millisecond, Log: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&o)
	}
	tracer, err := telemetry.NewTracer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tracer.Stop(context.WithoutCancel(t.Context())) })
	return tracer
}

func stop(t *testing.T, tracer *telemetry.Tracer) {
	t.Helper()
	if err := tracer.Stop(t.Context()); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// The way of one webhook, by its spans: each step below the one before, a flush below its first caller and linked to
// all of them, the job of another process below the commit.
func TestTracer_OneTrace(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	first := newTracer(t, collector.URL, func(o *telemetry.TraceOptions) { o.Attributes = map[string]string{"service.instance.id": "one"} })
	second := newTracer(t, collector.URL, func(o *telemetry.TraceOptions) { o.Attributes = map[string]string{"service.instance.id": "two"} })

	ctx, request := first.Request(t.Context(), "POST", "/in/{token}")
	waiting, wait := telemetry.Begin(ctx, "wait")
	carried := telemetry.Traceparent(waiting)
	otherCtx, other := first.Request(t.Context(), "POST", "/in/{token}")
	callers := []string{"", carried, telemetry.Traceparent(otherCtx), "nonsense"}
	_, flush := first.Flush(t.Context(), "flush", len(callers), func(i int) string { return callers[i] })
	telemetry.Fail(flush, hub.Errorf(hub.Unavailable, "the database at 10.0.0.1 does not answer"))
	flush.End()
	wait.End()
	request.End()
	other.End()
	_, job := second.Continue(t.Context(), carried, "job")
	job.End()
	stop(t, first)
	stop(t, second)

	spans := collector.Spans()
	named := func(name string) tracetest.Span {
		all := tracetest.Named(spans, name)
		if len(all) == 0 {
			t.Fatalf("no span %s among %+v", name, spans)
		}
		return all[0]
	}
	root, waited, flushed, worked := named("POST /in/{token}"), named("wait"), named("flush"), named("job")
	type step struct{ Parent, Trace, Kind, Process string }
	want := []step{
		{"", root.Trace, "server", "one"},
		{root.ID, root.Trace, "internal", "one"},
		{waited.ID, root.Trace, "internal", "one"},
		{waited.ID, root.Trace, "consumer", "two"},
	}
	var got []step
	for _, s := range []tracetest.Span{root, waited, flushed, worked} {
		got = append(got, step{s.Parent, s.Trace, s.Kind, s.Process["service.instance.id"]})
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	_, otherTrace, _ := strings.Cut(callers[2], "-")
	if diff := cmp.Diff([]string{waited.Ref(), strings.TrimSuffix(otherTrace, "-01")}, flushed.Links); diff != "" {
		t.Errorf("links of the flush: %s", diff)
	}
	if !flushed.Failed || flushed.Message != "unavailable" || flushed.Attributes["error.type"] != "unavailable" || strings.Contains(collector.Text(), "10.0.0.1") {
		t.Errorf("the flush says of its failure: %+v", flushed)
	}
	if all := tracetest.Named(spans, "POST /in/{token}"); len(all) != 2 || all[0].Trace == all[1].Trace {
		t.Errorf("a request's trace is not its own: %+v", all)
	}
}

// Without a collector, without a trace to belong to and where nothing is sampled, there are no spans and nothing is
// carried on.
func TestTracer_Nothing(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	tracers := map[string]*telemetry.Tracer{
		"none":                        nil,
		"always_off":                  newTracer(t, collector.URL, func(o *telemetry.TraceOptions) { o.Sampler = "always_off" }),
		"parentbased_always_off":      newTracer(t, collector.URL, func(o *telemetry.TraceOptions) { o.Sampler = "parentbased_always_off" }),
		"traceidratio of 0":           newTracer(t, collector.URL, func(o *telemetry.TraceOptions) { o.Sampler = "traceidratio" }),
		"parentbased_traceidratio, 0": newTracer(t, collector.URL, func(o *telemetry.TraceOptions) { o.Sampler = "parentbased_traceidratio" }),
	}
	for name, tracer := range tracers {
		ctx, request := tracer.Request(t.Context(), "GET", "/")
		stepCtx, step := telemetry.Begin(ctx, "step")
		_, job := tracer.Continue(t.Context(), telemetry.Traceparent(stepCtx), "job")
		_, flush := tracer.Flush(t.Context(), "flush", 1, func(int) string { return "" })
		telemetry.Fail(step, errors.New("failed"))
		if request.IsRecording() || step.IsRecording() || job.IsRecording() || flush.IsRecording() || telemetry.Traceparent(stepCtx)+telemetry.TraceID(stepCtx) != "" {
			t.Errorf("%s: something is traced", name)
		}
		flush.End()
		job.End()
		step.End()
		request.End()
		stop(t, tracer)
	}
	if spans := collector.Spans(); len(spans) > 0 {
		t.Errorf("spans came: %+v", spans)
	}
}

// A panic passes a span without leaving its value in it.
func TestTracer_Panic(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	tracer := newTracer(t, collector.URL, nil)
	func() {
		defer func() { _ = recover() }()
		_, span := tracer.Request(t.Context(), "GET", "/")
		defer span.End()
		panic(canary)
	}()
	stop(t, tracer)
	if len(collector.Spans()) != 1 || strings.Contains(collector.Text(), canary) {
		t.Errorf("the collector has %s", collector.Text())
	}
}

func TestCollector_Headers(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	tracer := newTracer(t, collector.URL, func(o *telemetry.TraceOptions) {
		o.Headers, o.Gzip = http.Header{"Authorization": {"Bearer " + canary}}, true
	})
	_, span := tracer.Request(t.Context(), "GET", "/")
	span.End()
	stop(t, tracer)
	headers := collector.Headers()
	if len(headers) != 1 || headers[0].Get("Authorization") != "Bearer "+canary || headers[0].Get("Content-Encoding") != "gzip" || len(collector.Spans()) != 1 {
		t.Errorf("sent with %v: %+v", headers, collector.Spans())
	}
}

// What passes is tried again; a redirect is not followed, since the headers are for one collector.
func TestCollector_Again(t *testing.T) {
	t.Parallel()
	collector, elsewhere := tracetest.New(t), tracetest.New(t)
	statuses := []int{http.StatusServiceUnavailable, http.StatusOK}
	collector.Answer(func(w http.ResponseWriter) bool {
		status := statuses[0]
		statuses = statuses[1:]
		w.WriteHeader(status)
		return status == http.StatusOK
	})
	tracer := newTracer(t, collector.URL, nil)
	_, span := tracer.Request(t.Context(), "GET", "/")
	span.End()
	collector.Await(t, 2)
	stop(t, tracer)
	if n := len(collector.Spans()); n != 1 {
		t.Errorf("%d spans were taken", n)
	}

	redirecting := tracetest.New(t)
	redirecting.Answer(func(w http.ResponseWriter) bool {
		w.Header().Set("Location", elsewhere.URL+"/v1/traces")
		w.WriteHeader(http.StatusTemporaryRedirect)
		return false
	})
	tracer = newTracer(t, redirecting.URL, nil)
	_, span = tracer.Request(t.Context(), "GET", "/")
	span.End()
	stop(t, tracer)
	if len(redirecting.Headers()) != 1 || len(elsewhere.Headers()) != 0 {
		t.Error("a redirect was followed, or a refusal tried again")
	}
}

// While a collector is away, nobody waits for it, and the log says so once: when it begins, and when it is over.
func TestCollector_Away(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	refuse := func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusUnauthorized); return false }
	collector.Answer(refuse)
	log := &logtest.Buffer{}
	tracer := newTracer(t, collector.URL, func(o *telemetry.TraceOptions) {
		o.Headers = http.Header{"Authorization": {canary}}
		o.Log = telemetry.NewLogger(telemetry.LogOptions{Output: log})
	})
	for requests := range 3 {
		_, span := tracer.Request(t.Context(), "GET", "/")
		span.End()
		collector.Await(t, requests+1)
	}
	collector.Answer(nil)
	for requests := range 2 {
		_, span := tracer.Request(t.Context(), "GET", "/")
		span.End()
		collector.Await(t, requests+4)
	}
	stop(t, tracer)
	var said []string
	for line := range strings.Lines(log.String()) {
		var record struct{ Level, Msg, Error string }
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		said = append(said, strings.TrimSpace(record.Level+" "+record.Msg+" "+record.Error))
	}
	want := []string{"WARN spans cannot be sent, and are dropped traces export: the collector answers 401", "INFO spans are taken again"}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Error(diff)
	}
}

// A collector that takes connections and never answers holds nobody up, and the end of the process for 3 s at most.
func TestTracer_StopsWithoutCollector(t *testing.T) {
	t.Parallel()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	silent := "http://" + listener.Addr().String()
	accepted := make(chan struct{})
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { _, _ = io.Copy(io.Discard, conn); _ = conn.Close() })
			select {
			case <-accepted:
			default:
				close(accepted)
			}
		}
	})
	log := &logtest.Buffer{}
	tracer := newTracer(t, silent, func(o *telemetry.TraceOptions) {
		o.Timeout, o.Log = time.Hour, telemetry.NewLogger(telemetry.LogOptions{Output: log})
	})
	for range 20_000 { // more than the queue holds: the rest is dropped, not waited for
		_, span := tracer.Request(t.Context(), "GET", "/")
		span.End()
	}
	<-accepted
	began := time.Now()
	if err := tracer.Stop(t.Context()); err != nil {
		t.Errorf("a collector that hangs fails the stop of the hub: %v", err)
	}
	if !strings.Contains(log.String(), "the last spans could not be sent in time") {
		t.Errorf("nobody is told that spans were dropped: %s", log)
	}
	if took := time.Since(began); took > time.Minute {
		t.Errorf("stop took %s", took)
	}
	if n := strings.Count(log.String(), "spans cannot be sent"); n != 1 {
		t.Errorf("said %d times: %s", n, log)
	}
	_ = listener.Close()
	conns.Wait()
}

// A line names the request and the trace that it belongs to, once.
func TestNewLogger_Belongs(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	type key struct{}
	log := telemetry.NewLogger(telemetry.LogOptions{Output: &out, RequestID: func(ctx context.Context) string {
		id, _ := ctx.Value(key{}).(string)
		return id
	}}).With("server", "public")
	tracer := newTracer(t, tracetest.New(t).URL, nil)
	ctx, span := tracer.Request(context.WithValue(t.Context(), key{}, "req_1"), "GET", "/")
	defer span.End()
	log.InfoContext(ctx, "inside")
	log.InfoContext(ctx, "named already", "request_id", "req_2")
	log.InfoContext(t.Context(), "outside")

	var got []map[string]any
	for line := range strings.Lines(out.String()) {
		var record map[string]any
		if err := json.Unmarshal([]byte(line), &record); err != nil {
			t.Fatal(err)
		}
		delete(record, "time")
		delete(record, "level")
		if strings.Count(line, "request_id") > 1 {
			t.Errorf("twice in %s", line)
		}
		got = append(got, record)
	}
	id := span.SpanContext().TraceID().String()
	want := []map[string]any{
		{"msg": "inside", "server": "public", "request_id": "req_1", "trace_id": id},
		{"msg": "named already", "server": "public", "request_id": "req_2", "trace_id": id},
		{"msg": "outside", "server": "public"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
