package expr

import (
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/interpreter"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Failure says why an expression gave nothing usable for this event or token. Its text is for the tenant; it
// names what the expression says and never repeats a value that the expression saw.
//
//nolint:errname // it is no error of a program: it is told to the tenant
type Failure struct {
	Reason string
	absent bool // it reached for something that is not there
}

func (f *Failure) Error() string { return f.Reason }

func failuref(format string, args ...any) *Failure {
	return &Failure{Reason: fmt.Sprintf(format, args...)}
}

// absent says whether err is about a missing key or index: in the braces of a template that gives nothing.
func absent(err error) bool {
	var f *Failure
	return errors.As(err, &f) && f.absent
}

const noSuchKey = "no such key: "

func isAbsent(err error) bool {
	text := err.Error()
	return strings.HasPrefix(text, noSuchKey) || strings.HasPrefix(text, "index out of bounds: ") ||
		strings.HasPrefix(text, "index '") && strings.Contains(text, "' out of range")
}

// reason puts an error of CEL into a sentence. Texts of CEL can repeat a value (a conversion does, a missing key
// may), so only known ones pass, and a key only where the expression itself says it.
func reason(source string, err error) string {
	if fault, ok := errors.AsType[fault](err); ok {
		return string(fault)
	}
	if cancelled, ok := errors.AsType[interpreter.EvalCancelledError](err); ok && cancelled.Cause == interpreter.CostLimitExceeded {
		return "the expression does more work than it may"
	}
	text := err.Error()
	if key, ok := strings.CutPrefix(text, noSuchKey); ok {
		if strings.Contains(source, key) {
			return noSuchKey + key
		}
		return "no such key"
	}
	for _, known := range knownFaults {
		if strings.HasPrefix(text, known.prefix) {
			return known.sentence
		}
	}
	return "the expression failed on this value"
}

// knownFaults translates the texts that CEL gives at run time.
var knownFaults = []struct{ prefix, sentence string }{
	{"no such overload", "an operator or function got a value of a type that it does not take"},
	{"found no matching overload", "an operator or function got a value of a type that it does not take"},
	{"index out of bounds", "a list has no such index"},
	{"index '", "a list has no such index"},
	{"unsupported index type", "a list takes only a number as index"},
	{"division by zero", "division by zero"},
	{"modulus by zero", "modulus by zero"},
	{"integer overflow", "integer overflow"},
	{"unsigned integer overflow", "integer overflow"},
	{"duration overflow", "duration overflow"},
	{"timestamp overflow", "timestamp overflow"},
	{"range error converting", "a number is out of the range of the type that it is converted to"},
	{"optional.none() dereference", "value() of an optional that has none"},
	{"type conversion error", "a value cannot be converted to that type"},
	{"strconv.", "a string cannot be converted to a number"},
	{"unsupported key type", "a map has no keys of that type"},
	{"cannot initialize optional", "a value after ? is not an optional"},
	{"invalid RFC 3339 timestamp", "a string is not an RFC 3339 timestamp"},
	{"invalid UTF-8 in bytes", "bytes are not UTF-8"},
	{"NaN values cannot be ordered", "NaN has no order"},
	{"no such attribute", "a name is not known"},
	{"error parsing regexp", "the regular expression is not valid"},
}

// A fault is an error of one of our own functions: its text is a sentence and holds no value.
type fault string

func (f fault) Error() string { return string(f) }

// A place says where in the request an expression stands: Location such as body.match, and for one inside a
// template or behind a shorthand, how far its columns are shifted.
type place struct {
	location string
	column   int // added to columns of the first line; 0 for an expression that stands alone
}

func (p place) errorf(format string, args ...any) *hub.Error {
	return hub.FieldErrorf(p.location, format, args...)
}
