// Package tracetest is a collector for tests: it takes spans by OTLP over HTTP, as the real one does, and gives them
// as they came. It knows nothing of who sends them.
package tracetest

import (
	"compress/gzip"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/encoding/prototext"
	"google.golang.org/protobuf/proto"
)

// A Span is one that the collector was sent.
type Span struct {
	Trace, ID, Parent string // hex; Parent is "" for a root
	Name, Kind        string
	Process           map[string]string // the attributes of who sent it
	Attributes        map[string]string
	Links             []string // trace-id
	Failed            bool
	Message           string // of its status
}

// Ref names the span as links do.
func (s Span) Ref() string { return s.Trace + "-" + s.ID }

// A Collector takes spans until its test ends.
type Collector struct {
	URL string // to be followed by /v1/traces

	mu       sync.Mutex // guards what follows
	taken    []*tracepb.TracesData
	headers  []http.Header
	answer   func(w http.ResponseWriter) bool
	attempts int
	arrived  chan struct{} // closed and renewed at each request
}

// New starts a Collector.
func New(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{arrived: make(chan struct{})}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.URL = server.URL
	return c
}

// Answer has each request answered by fn, whose result says whether the spans are taken. nil: all are.
func (c *Collector) Answer(fn func(w http.ResponseWriter) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.answer = fn
}

func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	data, err := decode(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.attempts++
	c.headers = append(c.headers, r.Header)
	switch {
	case r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf":
		http.Error(w, "not OTLP over HTTP", http.StatusNotFound)
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case c.answer == nil || c.answer(w):
		c.taken = append(c.taken, data)
	}
	close(c.arrived)
	c.arrived = make(chan struct{})
}

func decode(r *http.Request) (*tracepb.TracesData, error) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		z, err := gzip.NewReader(r.Body)
		if err != nil {
			return nil, err
		}
		body = z
	}
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	var data tracepb.TracesData // on the wire what an ExportTraceServiceRequest is
	return &data, proto.UnmarshalOptions{}.Unmarshal(raw, &data)
}

func spansOf(data *tracepb.TracesData) []Span {
	var all []Span
	for _, resource := range data.GetResourceSpans() {
		process := attributes(resource.GetResource().GetAttributes())
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				span := Span{
					Trace: hex.EncodeToString(s.GetTraceId()), ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
					Name: s.GetName(), Kind: strings.ToLower(strings.TrimPrefix(s.GetKind().String(), "SPAN_KIND_")),
					Process: process, Attributes: attributes(s.GetAttributes()),
					Failed: s.GetStatus().GetCode() == tracepb.Status_STATUS_CODE_ERROR, Message: s.GetStatus().GetMessage(),
				}
				for _, l := range s.GetLinks() {
					span.Links = append(span.Links, hex.EncodeToString(l.GetTraceId())+"-"+hex.EncodeToString(l.GetSpanId()))
				}
				all = append(all, span)
			}
		}
	}
	return all
}

func attributes(all []*commonpb.KeyValue) map[string]string {
	out := map[string]string{}
	for _, a := range all {
		switch v := a.GetValue().GetValue().(type) {
		case *commonpb.AnyValue_StringValue:
			out[a.GetKey()] = v.StringValue
		case *commonpb.AnyValue_IntValue:
			out[a.GetKey()] = fmt.Sprint(v.IntValue)
		default:
			out[a.GetKey()] = fmt.Sprintf("of a %T", v)
		}
	}
	return out
}

// Spans are those that were taken so far.
func (c *Collector) Spans() []Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all []Span
	for _, data := range c.taken {
		all = append(all, spansOf(data)...)
	}
	return all
}

// Text is all that was taken, in words: whatever a span carries is in it.
func (c *Collector) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var all strings.Builder
	for _, data := range c.taken {
		all.WriteString(prototext.Format(data))
	}
	return all.String()
}

// Headers are those of each request.
func (c *Collector) Headers() []http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.headers)
}

// Await waits until that many requests have come, for a minute.
func (c *Collector) Await(t testing.TB, requests int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		c.mu.Lock()
		attempts, arrived := c.attempts, c.arrived
		c.mu.Unlock()
		if attempts >= requests {
			return
		}
		select {
		case <-arrived:
		case <-ctx.Done():
			t.Fatalf("%d requests came to the collector, want %d", attempts, requests)
		}
	}
}

// Named are the spans of that name.
func Named(spans []Span, name string) []Span {
	return slices.DeleteFunc(slices.Clone(spans), func(s Span) bool { return s.Name != name })
}
