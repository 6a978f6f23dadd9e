package problem_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
)

func TestWrite(t *testing.T) {
	t.Parallel()
	secret := errors.New("dial postgres://tributary:hunter2@db.internal:5432: refused")
	signature := hub.Errorf(hub.SignatureInvalid, "no signature header")
	signature.Cause = hub.NoSignature
	limit := hub.Errorf(hub.LimitExceeded, "this tenant's limit is reached")
	limit.Limit, limit.RetryAfter = "webhooks_per_second", 1200*time.Millisecond
	rate := hub.Errorf(hub.LimitExceeded, "too many")
	rate.Limit, rate.RetryAfter, rate.Rate = "webhooks_per_second", 1200*time.Millisecond, &hub.Rate{Name: "webhooks", PerSecond: 5}
	soon := hub.Errorf(hub.Unavailable, "the queue is full")
	soon.RetryAfter = time.Millisecond
	tests := []struct {
		name   string
		err    error
		status int
		body   string
		header map[string]string
	}{
		{
			"a code with its message",
			fmt.Errorf("open endpoint: %w", hub.Errorf(hub.NotFound, "no endpoint of that name")),
			404, `{"type":"/docs/problems#not_found","title":"Not found","status":404,"detail":"no endpoint of that name","code":"not_found","request_id":"req_1"}`,
			nil,
		},
		{
			"fields",
			hub.FieldErrorf("body.match", "column 3: unknown name"),
			422, `{"type":"/docs/problems#invalid","title":"Invalid","status":422,"detail":"column 3: unknown name","code":"invalid","request_id":"req_1","errors":[{"location":"body.match","message":"column 3: unknown name"}]}`,
			nil,
		},
		{
			"a cause", signature,
			401, `{"type":"/docs/problems#signature_invalid","title":"Signature invalid","status":401,"detail":"no signature header","code":"signature_invalid","request_id":"req_1","cause":"no_signature"}`,
			nil,
		},
		{
			"no credential", hub.Errorf(hub.Unauthenticated, "no credential"),
			401, `{"type":"/docs/problems#unauthenticated","title":"Not authenticated","status":401,"detail":"no credential","code":"unauthenticated","request_id":"req_1"}`,
			map[string]string{"WWW-Authenticate": "Bearer"},
		},
		{
			"a limit, its time rounded up", limit,
			429, `{"type":"/docs/problems#limit_exceeded","title":"Limit exceeded","status":429,"detail":"this tenant's limit is reached","code":"limit_exceeded","request_id":"req_1","limit":"webhooks_per_second"}`,
			map[string]string{"Retry-After": "2"},
		},
		{
			"a rate says which, and when there is more of it", rate,
			429, `{"type":"/docs/problems#limit_exceeded","title":"Limit exceeded","status":429,"detail":"too many","code":"limit_exceeded","request_id":"req_1","limit":"webhooks_per_second"}`,
			map[string]string{"Retry-After": "2", "RateLimit": `"webhooks";r=0;t=2`, "RateLimit-Policy": `"webhooks";q=5;w=1`},
		},
		{
			"less than a second is one", soon,
			503, `{"type":"/docs/problems#unavailable","title":"Unavailable","status":503,"detail":"the queue is full","code":"unavailable","request_id":"req_1"}`,
			map[string]string{"Retry-After": "1"},
		},
		{
			"no time named", hub.Errorf(hub.Unavailable, "draining"),
			503, `{"type":"/docs/problems#unavailable","title":"Unavailable","status":503,"detail":"draining","code":"unavailable","request_id":"req_1"}`,
			map[string]string{"Retry-After": "2"},
		},
		{
			"an error without a code says nothing", secret,
			500, `{"type":"/docs/problems#internal","title":"Internal error","status":500,"code":"internal","request_id":"req_1"}`,
			nil,
		},
		{
			"nor does one that is called internal", hub.Errorf(hub.Internal, "flush: %w", secret),
			500, `{"type":"/docs/problems#internal","title":"Internal error","status":500,"code":"internal","request_id":"req_1"}`,
			nil,
		},
		{
			"a code that nobody knows", hub.Errorf("odd", "text"),
			500, `{"type":"/docs/problems#internal","title":"Internal error","status":500,"code":"internal","request_id":"req_1"}`,
			nil,
		},
		{
			"a body above its cap", fmt.Errorf("read body: %w", &http.MaxBytesError{Limit: 10}),
			413, `{"type":"/docs/problems#body_too_large","title":"Body too large","status":413,"detail":"the body is larger than 10 bytes","code":"body_too_large","request_id":"req_1"}`,
			nil,
		},
		{
			"a request that ended", fmt.Errorf("query: %w", context.Canceled),
			503, `{"type":"/docs/problems#unavailable","title":"Unavailable","status":503,"detail":"the request ended before it was answered","code":"unavailable","request_id":"req_1"}`,
			map[string]string{"Retry-After": "2"},
		},
		{
			"a request that took too long", fmt.Errorf("query: %w", context.DeadlineExceeded),
			503, `{"type":"/docs/problems#unavailable","title":"Unavailable","status":503,"detail":"the request took too long","code":"unavailable","request_id":"req_1"}`,
			map[string]string{"Retry-After": "2"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			record := &problem.Record{RequestID: "req_1"}
			r := httptest.NewRequestWithContext(problem.WithRecord(t.Context(), record), http.MethodGet, "/", nil)
			w := httptest.NewRecorder()
			w.Header().Set("Content-Length", "5")
			w.Header().Set("Content-Encoding", "gzip")
			w.Header().Set("ETag", `"x"`)

			problem.Write(w, r, tt.err)

			if w.Code != tt.status {
				t.Errorf("status %d, want %d", w.Code, tt.status)
			}
			if diff := cmp.Diff(tt.body+"\n", w.Body.String()); diff != "" {
				t.Error(diff)
			}
			want := http.Header{
				"Content-Type":           {"application/problem+json"},
				"Cache-Control":          {"no-store"},
				"X-Content-Type-Options": {"nosniff"},
			}
			for name, value := range tt.header {
				want.Set(name, value)
			}
			if diff := cmp.Diff(want, w.Header()); diff != "" {
				t.Error(diff)
			}
			if !errors.Is(record.Err(), tt.err) {
				t.Errorf("noted %v", record.Err())
			}
		})
	}
}

// TestFrom_Bounded makes problems of errors that are as long as a request could make them.
func TestFrom_Bounded(t *testing.T) {
	t.Parallel()
	long := hub.Errorf(hub.Invalid, "%s", strings.Repeat("é", 5000))
	for i := range 1000 {
		long.Fields = append(long.Fields, hub.FieldError{Location: "body." + strings.Repeat("é", i), Message: strings.Repeat("€", i)})
	}
	p := problem.From(long, "req_1")
	if len(p.Errors) != 20 || !strings.HasSuffix(p.Detail, " (and 980 more than the 20 errors listed)") {
		t.Errorf("%d errors; %q", len(p.Errors), p.Detail)
	}
	long.Fields = long.Fields[500:520]
	p = problem.From(long, "req_1")
	if len(p.Detail) > 500 || !strings.HasSuffix(p.Detail, "é…") || !utf8.ValidString(p.Detail) {
		t.Errorf("detail %q", p.Detail)
	}
	if len(p.Errors) != 20 {
		t.Errorf("%d errors", len(p.Errors))
	}
	for _, e := range p.Errors {
		for text, end := range map[string]string{e.Location: "é…", e.Message: "€…"} {
			if len(text) > 200 || len(text) < 190 || !strings.HasSuffix(text, end) || !utf8.ValidString(text) {
				t.Errorf("%d bytes: %q", len(text), text)
			}
		}
	}
	fits := strings.Repeat("x", 200)
	if p := problem.From(hub.FieldErrorf(fits, "%s", fits), ""); p.Detail != fits || p.Errors[0] != (problem.FieldError{Location: fits, Message: fits}) {
		t.Errorf("what fits is changed: %+v", p)
	}
}

func TestWrite_OutsideOfARequest(t *testing.T) {
	t.Parallel()
	w := httptest.NewRecorder()
	problem.Write(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil), errors.New("boom"))
	var got problem.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil || got.RequestID != "" || got.Status != 500 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestNote_FirstStands(t *testing.T) {
	t.Parallel()
	record := &problem.Record{RequestID: "req_1"}
	ctx := problem.WithRecord(t.Context(), record)
	first := errors.New("first")
	problem.Note(ctx, first)
	problem.Note(ctx, errors.New("second"))
	if !errors.Is(record.Err(), first) {
		t.Errorf("noted %v", record.Err())
	}
	if id := problem.RequestID(ctx); id != "req_1" {
		t.Errorf("request id %q", id)
	}
}
