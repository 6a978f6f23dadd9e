package api

import (
	"errors"
	"net/http"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/validation"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/problem"
)

// A Problem is the body of every answer that says no, as RFC 9457 has it.
//
//nolint:errname // the document calls it by the type's name
type Problem struct {
	problem.Problem
}

// Error is for huma, which wants an error; nobody reads it.
func (p *Problem) Error() string { return p.Title }

// GetStatus is the status that huma answers with.
func (p *Problem) GetStatus() int { return p.Status }

// ContentType is what huma answers as.
func (p *Problem) ContentType(string) string { return problem.ContentType }

// setHuma sets what huma keeps in package variables, once: its errors become our problems, names of fields are
// compared as they are, and lists are never null.
//
//nolint:gochecknoglobals // huma's own are: they are set once for the process
var setHuma = sync.OnceFunc(func() {
	huma.NewError = func(status int, message string, errs ...error) huma.StatusError {
		return &Problem{problem.From(formError(status, message, errs), "")}
	}
	huma.NewErrorWithContext = func(ctx huma.Context, status int, message string, errs ...error) huma.StatusError {
		err := formError(status, message, errs)
		problem.Note(ctx.Context(), err)
		p := problem.From(err, problem.RequestID(ctx.Context()))
		for name, values := range p.Header() {
			ctx.SetHeader(name, values[0])
		}
		return &Problem{p}
	}
	setRules()
	huma.ValidateStrictCasing = true
	huma.DefaultArrayNullable = false
})

// setRules says the rules of forms in words for people. They are set before the schemas are made, which keep some.
func setRules() {
	validation.MsgUnexpectedProperty = "there is no such member"
	validation.MsgExpectedRequiredProperty = missing + "%s"
	validation.MsgExpectedBoolean = "must be true or false"
	validation.MsgExpectedNumber = "must be a number"
	validation.MsgExpectedInteger = "must be a whole number"
	validation.MsgExpectedString = "must be text"
	validation.MsgExpectedArray = "must be a list"
	validation.MsgExpectedObject = "must be an object"
	validation.MsgExpectedOneOf = `must be one of "%s"`
	validation.MsgExpectedRFC3339DateTime = "must be a time as RFC 3339 has it, such as 2026-01-31T12:00:00Z"
	validation.MsgExpectedMinimumNumber = "must be %v or more"
	validation.MsgExpectedMaximumNumber = "must be %v or less"
	validation.MsgExpectedMinLength = "is too short: its length is at least %d"
	validation.MsgExpectedMaxLength = "is too long: its length is at most %d"
	validation.MsgExpectedMinItems = "at least %d is needed"
	validation.MsgExpectedMaxItems = "at most %d are allowed"
	validation.MsgExpectedMinProperties = "at least %d is needed"
	validation.MsgExpectedMaxProperties = "at most %d are allowed"
	validation.MsgExpectedMatchPattern = "must match the pattern %s"
	validation.MsgExpectedMatchExactlyOneSchema = "has none of the forms that it may have"
}

// missing begins the rule that a member is required; the member's name follows.
const missing = "required: "

// formError says what huma found wrong with a request's form. What was sent is not repeated: of a detail only its
// place and its rule are taken.
func formError(status int, message string, errs []error) *hub.Error {
	fields := make([]hub.FieldError, 0, len(errs))
	unknown := false
	for _, err := range errs {
		detail, ok := errors.AsType[*huma.ErrorDetail](err)
		if !ok {
			continue
		}
		unknown = unknown || detail.Message == unknownParameter
		field := hub.FieldError{Location: detail.Location, Message: rule(detail.Message)}
		if name, ok := strings.CutPrefix(detail.Message, missing); ok {
			field = hub.FieldError{Location: detail.Location + "." + name, Message: "is required"}
		}
		fields = append(fields, field)
	}
	switch {
	case unknown:
		return about(hub.UnknownParameter, "this operation does not have that parameter", fields)
	case status == http.StatusBadRequest:
		return hub.Errorf(hub.Malformed, "%s", firstOf(message, "the request cannot be read"))
	case status == http.StatusUnprocessableEntity:
		return about(hub.Invalid, "the request is not valid", fields)
	default:
		return hub.Errorf(hub.Internal, "form check failed with status %d", status)
	}
}

// unknownParameter is how huma says it.
const unknownParameter = "unknown query parameter"

// rule drops what encoding/json and time say: it repeats the input.
func rule(message string) string {
	for _, start := range []string{"json:", "parsing time", "invalid value"} {
		if strings.HasPrefix(message, start) {
			return "has a value that does not fit"
		}
	}
	return message
}

func about(code hub.Code, message string, fields []hub.FieldError) *hub.Error {
	if len(fields) > 0 {
		message = fields[0].Location + ": " + fields[0].Message
	}
	err := hub.Errorf(code, "%s", message)
	err.Fields = fields
	return err
}

// placed says in the sentence of an error about a field which field it is, where it does not say so yet.
func placed(err error) error {
	e, ok := asCoded(err)
	if !ok || len(e.Fields) == 0 || e.Message != e.Fields[0].Message {
		return err
	}
	return about(e.Code, e.Message, e.Fields)
}

func firstOf(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

func asCoded(err error) (*hub.Error, bool) { return errors.AsType[*hub.Error](err) }
