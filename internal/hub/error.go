package hub

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Code says what kind of failure an error is. It is given once, where the cause arises, and becomes the
// problem's code, status and title at the edge that answers. Each has a place in /docs/problems.
type Code string

// The codes of failures that a caller can be told about. What has none is Internal.
const (
	Malformed           Code = "malformed_request"      // 400: not what the protocol says: JSON, headers, ids
	UnknownParameter    Code = "unknown_parameter"      // 400: a query parameter that the operation does not have
	Unauthenticated     Code = "unauthenticated"        // 401: no credential, or one that is not good
	SignatureInvalid    Code = "signature_invalid"      // 401: a webhook that did not verify; Cause says why
	ScopeMissing        Code = "scope_missing"          // 403: the key is good and may not do this
	EndpointDisabled    Code = "endpoint_disabled"      // 403
	TenantSuspended     Code = "tenant_suspended"       // 403
	NoGrants            Code = "no_grants"              // 403: a good token that grants no channel
	ChannelNotGranted   Code = "channel_not_granted"    // 403: names the channel
	OriginNotAllowed    Code = "origin_not_allowed"     // 403: a page of an origin that may not ask for this
	NotFound            Code = "not_found"              // 404: absent, or another tenant's
	MethodNotAllowed    Code = "method_not_allowed"     // 405
	Conflict            Code = "conflict"               // 409: taken names, objects in use
	IdempotencyInFlight Code = "idempotency_in_flight"  // 409: the first request with that key is not done
	AnswerExpired       Code = "answer_expired"         // 409: the first answer held a secret and is gone
	PreconditionFailed  Code = "precondition_failed"    // 412: If-Match names another version
	TooLarge            Code = "body_too_large"         // 413
	CompressedBody      Code = "compressed_body"        // 415: bodies are taken as they are, uncompressed
	UnsupportedMedia    Code = "unsupported_media_type" // 415
	Misdirected         Code = "misdirected_request"    // 421: a Host that this listener does not serve
	Invalid             Code = "invalid"                // 422: understood and not acceptable; Fields say where
	IdempotencyReused   Code = "idempotency_key_reused" // 422: same key, another body
	GrantsOverlap       Code = "grants_overlap"         // 422
	IssuerUnreachable   Code = "issuer_unreachable"     // 422: when an issuer is saved
	LimitExceeded       Code = "limit_exceeded"         // 429: Limit names it
	Internal            Code = "internal"               // 500: a fault of ours; the log has the rest
	Unavailable         Code = "unavailable"            // 503: ours and passing: come back after RetryAfter
	KeyUnavailable      Code = "key_unavailable"        // 503: a key of a provider or issuer cannot be fetched
)

// An Error is a failure with its code. Message is for whoever asked: it names no secret and no address of ours.
type Error struct {
	Code       Code
	Message    string
	Cause      Cause         // of SignatureInvalid
	Fields     []FieldError  // of Invalid: where in the request
	Limit      string        // of LimitExceeded: the limit's name
	Rate       *Rate         // of LimitExceeded, where the limit is a rate and not a number of things
	RetryAfter time.Duration // of LimitExceeded, Unavailable, KeyUnavailable; zero: the edge chooses
	err        error         // what %w wrapped
}

// A Rate is what may be done in a second, by the name that the RateLimit headers give it.
type Rate struct {
	Name      string
	PerSecond int
}

// A FieldError says what is wrong where: Location is a path such as body.match or query.limit.
type FieldError struct {
	Location string
	Message  string
}

// Errorf makes an Error. %w keeps its operand for errors.Is and for the log, and its text in the message: wrap
// nothing whose text must not be seen.
func Errorf(code Code, format string, args ...any) *Error {
	wrapped := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: wrapped.Error(), err: errors.Unwrap(wrapped)}
}

// FieldErrorf is an Invalid error about one place of the request.
func FieldErrorf(location, format string, args ...any) *Error {
	message := fmt.Sprintf(format, args...)
	return &Error{Code: Invalid, Message: message, Fields: []FieldError{{Location: location, Message: message}}}
}

func (e *Error) Error() string { return string(e.Code) + ": " + e.Message }

// Unwrap gives what the error was made of.
func (e *Error) Unwrap() error { return e.err }

// Plain is what err says, without the code that is for programs.
func Plain(err error) string {
	text := err.Error()
	if coded, ok := errors.AsType[*Error](err); ok {
		text = strings.Replace(text, coded.Error(), coded.Message, 1)
	}
	return text
}

// CodeOf is the code of the first Error in err's chain: Internal where there is none, "" for nil.
func CodeOf(err error) Code {
	if err == nil {
		return ""
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return Internal
}
