// Package problem turns errors into RFC 9457 problems: one table from code to status and title, one writer. It is
// the edge that answers, so it decides what of an error may be seen; it does not log, but leaves the error where
// the access record finds it. What an error is called, and where it arises, is not its matter.
package problem

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/tributary-hub/tributary/internal/hub"
)

// ContentType is the media type of a problem.
const ContentType = "application/problem+json"

// A Problem is the body of every answer that says no. It never repeats what was sent.
type Problem struct {
	Type      string       `json:"type"` // /docs/problems#{code}, a place that exists
	Title     string       `json:"title"`
	Status    int          `json:"status"`
	Detail    string       `json:"detail,omitempty"`
	Code      hub.Code     `json:"code"`
	RequestID string       `json:"request_id,omitempty"`
	Cause     hub.Cause    `json:"cause,omitempty"` // of signature_invalid
	Limit     string       `json:"limit,omitempty"` // of limit_exceeded
	Errors    []FieldError `json:"errors,omitempty"`

	retryAfter time.Duration // of 429 and 503
	rate       *hub.Rate     // of 429, where the limit is a rate
}

// A FieldError says what is wrong where: location is a path such as body.match or query.limit.
type FieldError struct {
	Location string `json:"location"`
	Message  string `json:"message"`
}

// From is what may be said of err, which is not nil. An error without a code is internal, and nothing of its text is
// shown. What the runtime itself says is understood: a body above its cap is body_too_large, a request that ended
// or took too long before its answer is unavailable.
func From(err error, requestID string) Problem {
	e := coded(err)
	entry := lookup(e.Code)
	p := Problem{
		Type:       "/docs/problems#" + string(entry.Code),
		Title:      entry.Title,
		Status:     entry.Status,
		Code:       entry.Code,
		RequestID:  requestID,
		Cause:      e.Cause,
		Limit:      e.Limit,
		rate:       e.Rate,
		retryAfter: entry.retryAfter,
	}
	if entry.Code != hub.Internal {
		p.Detail = cut(e.Message, detailMost)
	}
	if p.retryAfter > 0 && e.RetryAfter > 0 {
		p.retryAfter = e.RetryAfter
	}
	for _, f := range e.Fields[:min(len(e.Fields), errorsMost)] {
		p.Errors = append(p.Errors, FieldError{Location: cut(f.Location, textMost), Message: cut(f.Message, textMost)})
	}
	if more := len(e.Fields) - errorsMost; more > 0 {
		p.Detail += fmt.Sprintf(" (and %d more than the %d errors listed)", more, errorsMost)
	}
	return p
}

// What a problem has room for: a place is named by what was sent, and a request can be wrong in thousands of them.
const (
	errorsMost = 20
	textMost   = 200 // bytes of a location, and of a message
	detailMost = 500 // bytes: a location and a message, or a sentence
)

// cut shortens s to so many bytes, between two characters, and shows that it did.
func cut(s string, most int) string {
	const ellipsis = "…"
	if len(s) <= most {
		return s
	}
	end := most - len(ellipsis)
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + ellipsis
}

// CodeOf is the code that an answer to err has, for who tells of the answer.
func CodeOf(err error) hub.Code { return lookup(coded(err).Code).Code }

// coded is the first hub.Error of err's chain, or the one that stands for it.
func coded(err error) *hub.Error {
	if e, ok := errors.AsType[*hub.Error](err); ok {
		return e
	}
	if e, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return hub.Errorf(hub.TooLarge, "the body is larger than %d bytes", e.Limit)
	}
	switch {
	case errors.Is(err, context.Canceled):
		return hub.Errorf(hub.Unavailable, "the request ended before it was answered")
	case errors.Is(err, context.DeadlineExceeded):
		return hub.Errorf(hub.Unavailable, "the request took too long")
	}
	return &hub.Error{Code: hub.Internal}
}

// Header has the fields that go with the problem.
func (p Problem) Header() http.Header {
	h := http.Header{
		"Content-Type":           {ContentType},
		"Cache-Control":          {"no-store"},
		"X-Content-Type-Options": {"nosniff"},
	}
	if p.retryAfter > 0 {
		seconds := max(1, int64((p.retryAfter+time.Second-1)/time.Second))
		h.Set("Retry-After", strconv.FormatInt(seconds, 10))
		if p.rate != nil { // as draft-ietf-httpapi-ratelimit-headers-10 has them: nothing remains, and when there is more
			h.Set("RateLimit", fmt.Sprintf("%q;r=0;t=%d", p.rate.Name, seconds))
			h.Set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=1", p.rate.Name, p.rate.PerSecond))
		}
	}
	if p.Code == hub.Unauthenticated {
		h.Set("WWW-Authenticate", "Bearer")
	}
	return h
}

// Write answers r with what may be said of err, and notes err for the access record. Call it before anything else of
// the answer is written; what was set for another body is taken back.
func Write(w http.ResponseWriter, r *http.Request, err error) {
	Note(r.Context(), err)
	p := From(err, RequestID(r.Context()))
	body, err := json.Marshal(p)
	if err != nil {
		panic("problem: " + err.Error()) // strings and numbers: cannot fail
	}
	header := w.Header()
	for _, name := range []string{"Content-Length", "Content-Encoding", "Content-Disposition", "ETag", "Last-Modified"} {
		header.Del(name)
	}
	maps.Copy(header, p.Header())
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n')) // nobody is left to be told
}
