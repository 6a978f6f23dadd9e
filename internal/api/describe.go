package api

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
)

// keyScheme is how the document calls API keys.
const keyScheme = "key"

// describe is what huma and the document know of an operation.
func describe[O any](registry huma.Registry, op *operation) huma.Operation {
	described := huma.Operation{
		OperationID:   op.id,
		Method:        op.method,
		Path:          op.path,
		Tags:          []string{op.tag},
		Summary:       op.summary,
		Description:   strings.TrimSpace(op.about + "\n\n" + needs(op.scopes)),
		DefaultStatus: op.status,
		MaxBodyBytes:  op.body + 1, // the guard has seen to it
		Security:      []map[string][]string{{keyScheme: {}}},
		Responses:     map[string]*huma.Response{},

		SkipValidateBody: op.ownForm,
	}
	for _, status := range []int{op.status, op.or} {
		if status != 0 {
			described.Responses[strconv.Itoa(status)] = success[O](registry, status)
		}
	}
	for _, status := range statuses(op) {
		described.Responses[strconv.Itoa(status)] = problemRef(responseName(status))
	}
	if op.method == http.MethodPost {
		described.Parameters = append(described.Parameters, &huma.Param{Ref: "#/components/parameters/IdempotencyKey"})
	}
	if changes(op.method) {
		described.Parameters = append(described.Parameters, &huma.Param{Ref: "#/components/parameters/IfMatch"})
	}
	return described
}

func needs(scopes []hub.Scope) string {
	if len(scopes) == 0 {
		return "Any key will do."
	}
	names := make([]string, len(scopes))
	for i, s := range scopes {
		names[i] = "`" + string(s) + "`"
	}
	return "Needs " + strings.Join(names, ", ") + "."
}

// changes says whether a method changes one object, which If-Match can name a version of.
func changes(method string) bool {
	return method == http.MethodPut || method == http.MethodPatch || method == http.MethodDelete
}

// statuses are those of the problems that an operation can answer with.
func statuses(op *operation) []int {
	codes := append([]hub.Code{
		hub.Malformed, hub.Unauthenticated, hub.ScopeMissing, hub.TooLarge, hub.UnsupportedMedia, hub.Invalid, hub.Internal, hub.Unavailable,
	}, op.refuses...)
	if strings.Contains(op.path, "{") {
		codes = append(codes, hub.NotFound)
	}
	if op.method == http.MethodPost {
		codes = append(codes, hub.IdempotencyInFlight)
	}
	if changes(op.method) {
		codes = append(codes, hub.PreconditionFailed)
	}
	var all []int
	for _, code := range codes {
		if status := problem.From(hub.Errorf(code, ""), "").Status; !slices.Contains(all, status) {
			all = append(all, status)
		}
	}
	return all
}

func success[O any](registry huma.Registry, status int) *huma.Response {
	r := &huma.Response{
		Description: http.StatusText(status),
		Headers:     map[string]*huma.Param{"X-Request-Id": {Ref: "#/components/headers/RequestId"}},
	}
	t := reflect.TypeFor[O]()
	if _, ok := any(*new(O)).(tagged); ok {
		r.Headers["ETag"] = &huma.Param{Ref: "#/components/headers/ETag"}
	}
	switch {
	case t == reflect.TypeFor[nothing]():
	case t.Implements(reflect.TypeFor[encoder]()):
		r.Content = map[string]*huma.MediaType{"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}}}
	default:
		r.Content = map[string]*huma.MediaType{"application/json": {Schema: registry.Schema(t, true, "")}}
	}
	return r
}

// responseName is the component of a problem's status.
func responseName(status int) string {
	return strings.NewReplacer(" ", "", "-", "").Replace(http.StatusText(status))
}

// unverified is the component of what a webhook's sender is told with 401: nobody else is, and it is told nothing else.
const unverified = "Unverified"

// problemResponses has one response a status, with the codes that it can mean.
func problemResponses(registry huma.Registry) map[string]*huma.Response {
	schema := registry.Schema(reflect.TypeFor[Problem](), true, "")
	documentProblem(registry)
	responses := map[string]*huma.Response{}
	for _, entry := range problem.Codes() {
		if entry.Status == http.StatusMisdirectedRequest {
			continue // of the listener, not of an operation
		}
		name := responseName(entry.Status)
		if entry.Code == hub.SignatureInvalid {
			name = unverified
		}
		line := fmt.Sprintf("- `%s`: %s", entry.Code, entry.Meaning)
		if r := responses[name]; r != nil {
			r.Description += "\n" + line
			continue
		}
		responses[name] = &huma.Response{
			Description: line,
			Headers:     map[string]*huma.Param{"X-Request-Id": {Ref: "#/components/headers/RequestId"}},
			Content: map[string]*huma.MediaType{problem.ContentType: {Schema: schema, Example: map[string]any{
				"type": "/docs/problems#" + string(entry.Code), "title": entry.Title, "status": entry.Status, "code": entry.Code,
				"detail": entry.Meaning, "request_id": "req_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05",
			}}},
		}
		if entry.Status == http.StatusTooManyRequests || entry.Status == http.StatusServiceUnavailable {
			responses[name].Headers["Retry-After"] = &huma.Param{Ref: "#/components/headers/RetryAfter"}
		}
		if entry.Status == http.StatusTooManyRequests {
			responses[name].Headers["RateLimit"] = &huma.Param{Ref: "#/components/headers/RateLimit"}
			responses[name].Headers["RateLimit-Policy"] = &huma.Param{Ref: "#/components/headers/RateLimitPolicy"}
		}
	}
	return responses
}

func documentProblem(registry huma.Registry) {
	p := registry.Map()["Problem"]
	p.Description = "Why the request was refused (RFC 9457). What was sent is never repeated."
	codes := make([]any, 0, len(problem.Codes()))
	for _, entry := range problem.Codes() {
		codes = append(codes, string(entry.Code))
	}
	p.Properties["code"].Enum = codes
	for name, text := range map[string]string{
		"type":       "Where the code is explained, relative to the hub.",
		"title":      "The code in words.",
		"status":     "The HTTP status.",
		"detail":     "What is wrong with this request.",
		"code":       "What is wrong, for programs.",
		"request_id": "Names the request in the hub's log.",
		"cause":      "Why a webhook did not verify; of `signature_invalid`.",
		"limit":      "Which limit is reached; of `limit_exceeded`.",
		"errors":     "What is wrong where; `location` is a path such as `body.match`.",
	} {
		p.Properties[name].Description = text
	}
}

func sharedParameters() map[string]*huma.Param {
	return map[string]*huma.Param{
		"IdempotencyKey": {
			Name: "Idempotency-Key", In: "header",
			Description: "Makes sending the request again safe: the answer of the first one comes back, for 24 hours.",
			Schema:      text(1, 255), Example: "order-4711",
		},
		"IfMatch": {
			Name: "If-Match", In: "header",
			Description: "An `ETag`: 412 where the object has changed since.",
			Schema:      text(1, 200), Example: `"vV0b8bJ9Yw2Yq0mC8h1y5A"`,
		},
	}
}

func sharedHeaders() map[string]*huma.Param {
	return map[string]*huma.Param{
		"ETag":       {Description: "The object's version, for `If-Match`. Counters are not part of it.", Schema: text(1, 200), Example: `"vV0b8bJ9Yw2Yq0mC8h1y5A"`},
		"RequestId":  {Description: "Names the request in the hub's log.", Schema: text(1, 64), Example: "req_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"},
		"RetryAfter": {Description: "Seconds to wait.", Schema: &huma.Schema{Type: huma.TypeInteger}, Example: 2},
		"RateLimit": {
			Description: "Where the limit is a rate: what remains of it, and in how many seconds there is more.",
			Schema:      text(1, 200), Example: `"webhooks";r=0;t=1`,
		},
		"RateLimitPolicy": {
			Description: "Where the limit is a rate: how many in how many seconds.",
			Schema:      text(1, 200), Example: `"webhooks";q=100;w=1`,
		},
	}
}

func text(least, most int) *huma.Schema {
	return &huma.Schema{Type: huma.TypeString, MinLength: &least, MaxLength: &most}
}

func securitySchemes() map[string]*huma.SecurityScheme {
	return map[string]*huma.SecurityScheme{
		keyScheme: {Type: "http", Scheme: "bearer", BearerFormat: "trb_…", Description: "An API key of a tenant or an operator."},
		"token":   {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "An end user's OIDC token of an issuer that the tenant trusts."},
	}
}
