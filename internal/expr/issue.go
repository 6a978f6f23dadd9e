package expr

import (
	"fmt"
	"strings"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/operators"

	"github.com/tributary-hub/tributary/internal/hub"
)

// issue makes one error of what the compiler found: the first, with its line and column.
func (e *Env) issue(at place, found []*common.Error) *hub.Error {
	first := found[0]
	for _, next := range found[1:] {
		if before(next, first) {
			first = next
		}
	}
	line, column := first.Location.Line(), first.Location.Column()+1
	if line < 1 {
		line, column = 1, 1
	}
	if line == 1 {
		column = max(column+at.column, 1)
	}
	return at.errorf("%d:%d: %s", line, column, shortened(e.plain(first.Message)))
}

func before(a, b *common.Error) bool {
	if a.Location.Line() != b.Location.Line() {
		return a.Location.Line() < b.Location.Line()
	}
	return a.Location.Column() < b.Location.Column()
}

// plain says a compiler's message in words that need no knowledge of the compiler. What stands in the expression is
// not repeated, for it may be a secret that was pasted by mistake: the column says where it is. Only what is known
// without it passes: types, operators, and names that exist.
func (e *Env) plain(message string) string {
	message, _, _ = strings.Cut(message, "\n")
	message = strings.TrimPrefix(message, "Syntax error: ")
	switch {
	case strings.Contains(message, "recursion"):
		return "the expression nests too deep"
	case strings.HasPrefix(message, "undeclared reference to "):
		return "an unknown name" + suggestion(message)
	case strings.HasPrefix(message, "undefined field "):
		return "an unknown field: " + e.fields
	case strings.HasPrefix(message, "unable to unescape "):
		return "a string has an unknown escape"
	case strings.HasPrefix(message, "mismatched input '<EOF>'"):
		return "the expression ends too early"
	}
	if call, ok := strings.CutPrefix(message, "found no matching overload for '"); ok {
		name, types, _ := strings.Cut(strings.TrimSuffix(call, "'"), "' applied to '")
		if symbol, ok := operators.FindReverse(name); ok && symbol != "" {
			name = symbol
		}
		return fmt.Sprintf("'%s' does not take %s", name, types)
	}
	for _, misplaced := range []string{"mismatched input ", "extraneous input "} {
		if token, ok := strings.CutPrefix(message, misplaced); ok {
			token, _, _ = strings.Cut(token, " expecting ")
			return "unexpected " + symbolOr(token, "text")
		}
	}
	for _, known := range knownIssues {
		if strings.HasPrefix(message, known) {
			return message
		}
	}
	return "not understood"
}

// suggestion is what the compiler knows to be like an unknown name: names that exist.
func suggestion(message string) string {
	const begins = " (did you mean "
	at := strings.LastIndex(message, begins)
	if at < 0 || !strings.HasSuffix(message, "?)") {
		return ""
	}
	return message[at:]
}

// symbolOr is the token of the grammar, in its quotes, where it is made of signs alone: a word or a string is not
// repeated.
func symbolOr(token, other string) string {
	if len(token) > 5 || strings.ContainsFunc(strings.Trim(token, "'"), func(r rune) bool { return r > '~' || isWordByte(byte(r)) || r == '"' || r == '\'' }) {
		return other
	}
	return token
}

// shortened cuts a message that has grown with the expression: types can nest.
func shortened(message string) string {
	const most = 200
	if len(message) <= most {
		return message
	}
	return strings.ToValidUTF8(message[:most], "") + "…"
}

// knownIssues begin what the compiler and our own checks say without a word of the expression but those of the
// language.
var knownIssues = []string{
	"a regular expression ",
	"argument is not an identifier",
	"argument must be a simple name",
	"cel.bind() ",
	"expected type '",
	"expected type of field '",
	"expression count exceeds limit of ",
	"expression of type '",
	"invalid argument to has() macro",
	"invalid double literal",
	"invalid duration argument",
	"invalid int literal",
	"invalid timestamp argument",
	"invalid uint literal",
	"invalid unicode code point",
	"iteration variable overwrites accumulator variable",
	"math.greatest() ",
	"math.least() ",
	"optFlatMap() ",
	"optMap() ",
	"reserved identifier: ",
	"the regular expression ",
	"type '",
	"unsupported syntax '",
}
