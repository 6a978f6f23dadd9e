package expr

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/operators"

	"github.com/tributary-hub/tributary/internal/hub"
)

// issue makes one error of what the compiler found in source: the first, with its line and column. A text that is not
// closed shows only where the next quote opens one, and what stands before that is then said in vain.
func (e *Env) issue(at place, source string, found []*common.Error) *hub.Error {
	first := slices.MinFunc(found, inOrder)
	if strings.HasPrefix(first.Message, "Syntax error: extraneous input ") {
		if i := slices.IndexFunc(found, isUnclosed); i >= 0 {
			first = found[i]
		}
	}
	line, column := first.Location.Line(), first.Location.Column()+1
	if line < 1 {
		line, column = 1, 1
	}
	if line == 1 {
		column = max(column+at.column, 1)
	}
	return at.errorf("%d:%d: %s", line, column, shortened(e.plain(first.Message, around(source, first.Location))))
}

func inOrder(a, b *common.Error) int {
	return cmp.Or(cmp.Compare(a.Location.Line(), b.Location.Line()), cmp.Compare(a.Location.Column(), b.Location.Column()))
}

// noToken begins what the lexer says of a sign with which nothing begins; the sign follows, and what it ate with it.
const noToken = "token recognition error at: '"

func isUnclosed(e *common.Error) bool {
	rest, ok := strings.CutPrefix(e.Message, "Syntax error: "+noToken)
	return ok && strings.IndexAny(rest, `'"`) == 0
}

// surroundings are what stands before a place of the source, and from there on.
type surroundings struct{ before, after string }

func around(source string, l common.Location) surroundings {
	lines := strings.SplitAfter(source, "\n")
	if l.Line() < 1 || l.Line() > len(lines) {
		return surroundings{before: source}
	}
	line := []rune(lines[l.Line()-1])
	at := min(max(l.Column(), 0), len(line))
	return surroundings{
		before: strings.Join(lines[:l.Line()-1], "") + string(line[:at]),
		after:  string(line[at:]) + strings.Join(lines[l.Line():], ""),
	}
}

// isCall says whether the arguments of a call begin here: that is where the compiler misses a function.
func (s surroundings) isCall() bool { return strings.HasPrefix(s.after, "(") }

// isMember says whether a name stands here as the key in a map.
func (s surroundings) isMember() bool {
	before := strings.TrimSpace(s.before)
	after := strings.TrimLeftFunc(s.after, func(r rune) bool { return r < utf8.RuneSelf && isWordByte(byte(r)) })
	return (strings.HasSuffix(before, "{") || strings.HasSuffix(before, ",")) && strings.HasPrefix(strings.TrimSpace(after), ":")
}

// plain says a compiler's message in words that need no knowledge of the compiler. What stands in the expression is
// not repeated, for it may be a secret that was pasted by mistake: the column says where it is. Only what is known
// without it passes: types, operators, and names that exist.
func (e *Env) plain(message string, where surroundings) string {
	message, _, _ = strings.Cut(message, "\n")
	message = strings.TrimPrefix(message, "Syntax error: ")
	switch {
	case strings.Contains(message, "recursion"):
		return "the expression nests too deep"
	case strings.HasPrefix(message, "undeclared reference to "):
		return e.unknown(message, where)
	case strings.HasPrefix(message, "undefined field "):
		return "an unknown field: " + e.fields
	case strings.HasPrefix(message, "unable to unescape "):
		return "a string has an unknown escape"
	case strings.HasPrefix(message, "mismatched input '<EOF>'"):
		return "the expression ends too early"
	case strings.HasPrefix(message, "mismatched input ") && strings.HasSuffix(message, " expecting ':'"):
		return "a colon is missing"
	}
	if sign, ok := strings.CutPrefix(message, noToken); ok {
		return e.stray(sign)
	}
	if token, ok := strings.CutPrefix(message, "missing "); ok {
		token, _, _ = strings.Cut(token, " at ")
		if token == "':'" {
			return "a colon is missing"
		}
		return symbolOr(token, "something") + " is missing"
	}
	if call, ok := strings.CutPrefix(message, "found no matching overload for '"); ok {
		name, types, _ := strings.Cut(strings.TrimSuffix(call, "'"), "' applied to '")
		if symbol, ok := operators.FindReverse(name); ok && symbol != "" {
			name = symbol
		}
		hint := ""
		if strings.Contains(types, "type(type)") { // the function of that name, where the field was meant
			hint = ": " + e.begin()
		}
		return fmt.Sprintf("'%s' does not take %s%s", name, types, hint)
	}
	for _, misplaced := range []string{"mismatched input ", "extraneous input "} {
		if token, ok := strings.CutPrefix(message, misplaced); ok {
			token, _, _ = strings.Cut(token, " expecting ")
			switch token {
			case "'and'":
				return "unexpected text: join with &&"
			case "'or'":
				return "unexpected text: join with ||"
			}
			return "unexpected " + symbolOr(token, "text")
		}
	}
	for _, known := range knownIssues {
		if strings.HasPrefix(message, known) {
			return message
		}
	}
	return e.fallback()
}

func (e *Env) fallback() string { return "not understood here; see " + e.page }

func (e *Env) begin() string { return "what an expression sees begins with " + e.root }

// unknown says what may have been meant by a name that is not known.
func (e *Env) unknown(message string, where surroundings) string {
	hint := suggestion(message)
	switch {
	case where.isCall():
		return "an unknown function" + hint
	case where.isMember():
		return "an unknown name: the name of a member is quoted"
	case strings.HasPrefix(hint, likeness+e.root+"'"):
		return "an unknown name" + hint
	}
	return "an unknown name: " + e.begin() // the compiler knows only functions that are like it
}

// stray says what is probably meant by a sign with which nothing begins.
func (e *Env) stray(sign string) string {
	switch first, _ := utf8.DecodeRuneInString(sign); first {
	case '=':
		return "compare with =="
	case '&':
		return "join with &&"
	case '|':
		return "join with ||"
	case '\'', '"':
		return "a text is not closed"
	case '“', '”', '‘', '’', '„':
		return "a text stands in straight quotes"
	}
	return e.fallback()
}

// likeness begins the compiler's own suggestion.
const likeness = " (did you mean '"

// suggestion is what the compiler knows to be like an unknown name: names that exist.
func suggestion(message string) string {
	at := strings.LastIndex(message, likeness)
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
