package expr

import (
	"regexp"
	"regexp/syntax"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// RE2 takes time in proportion to program times text, so both are bounded, and their product is paid for before
// the match: all that one expression can match takes some 100 ms.
const (
	maxPattern      = 1 << 10 // bytes
	maxRegexProgram = 1_000   // instructions
	regexWorkPrice  = 20      // instructions times bytes of text that cost one
	maxRegexWork    = maxCost * regexWorkPrice
)

const matchFunction = "@matches"

// boundedMatch replaces a call of matches by one that keeps the bounds and compiles a constant pattern once.
func boundedMatch(call interpreter.InterpretableCall) (interpreter.InterpretableV2, error) {
	args := call.Args()
	if len(args) != 2 {
		return call, nil
	}
	m := match{InterpretableCall: call, text: args[0], pattern: args[1]}
	if constant, ok := args[1].(interpreter.InterpretableConst); ok {
		if text, ok := constant.Value().(types.String); ok {
			compiled, err := compilePattern(string(text))
			if err != nil {
				return nil, err
			}
			m.compiled = &compiled
		}
	}
	return m, nil
}

type match struct {
	interpreter.InterpretableCall
	text, pattern interpreter.InterpretableV2
	compiled      *pattern // of a constant pattern
}

// Function has another name than matches, lest CEL's own optimisation put an unbounded call in its place.
func (m match) Function() string { return matchFunction }

func (m match) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	text := m.text.Exec(frame)
	if types.IsUnknownOrError(text) {
		return text
	}
	compiled := m.compiled
	if compiled == nil {
		value := m.pattern.Exec(frame)
		source, ok := value.(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(value)
		}
		fresh, err := compilePattern(string(source))
		prepay(frame, m.ID(), uint64(fresh.instructions))
		if err != nil {
			return types.WrapErr(err)
		}
		compiled = &fresh
	}
	return compiled.match(frame, m.ID(), text)
}

func (m match) Eval(vars interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(vars, m.Exec)
}

type pattern struct {
	re           *regexp.Regexp
	instructions int
}

// compilePattern says how large a pattern is, which the expression pays for, with an error too.
func compilePattern(text string) (pattern, error) {
	if len(text) > maxPattern {
		return pattern{}, fault("a regular expression is too long")
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return pattern{}, fault("the regular expression is not valid")
	}
	p := pattern{instructions: instructions(parsed)}
	if p.instructions > maxRegexProgram {
		return p, fault("a regular expression is too complex")
	}
	if p.re, err = regexp.Compile(text); err != nil {
		return p, fault("the regular expression is not valid")
	}
	return p, nil
}

// instructions counts those of a pattern's program from its syntax: a{1000} is seven bytes of text and a thousand
// instructions, and making the program only to see that would take what the bound is to save.
func instructions(re *syntax.Regexp) int {
	n := 0
	switch re.Op {
	case syntax.OpLiteral:
		n = len(re.Rune)
	case syntax.OpConcat, syntax.OpRepeat:
		// as much as their parts
	case syntax.OpCapture:
		n = 2
	case syntax.OpAlternate:
		n = len(re.Sub) - 1
	default:
		n = 1
	}
	for _, sub := range re.Sub {
		n = min(n+instructions(sub), maxRegexProgram+1)
	}
	if re.Op == syntax.OpRepeat {
		if re.Min != re.Max {
			n++
		}
		n *= max(re.Min, re.Max, 1)
	}
	return min(n, maxRegexProgram+1)
}

// patternValidator finds bad constant patterns when an expression is compiled, and says where they stand.
type patternValidator struct{}

// Name is the validator's, among CEL's.
func (patternValidator) Name() string { return "tributary.pattern" }

// Validate looks at each call of matches.
func (patternValidator) Validate(_ *cel.Env, _ cel.ValidatorConfig, tree *ast.AST, issues *cel.Issues) {
	for _, call := range ast.MatchDescendants(ast.NavigateAST(tree), ast.FunctionMatcher(overloads.Matches)) {
		args := call.AsCall().Args()
		last := args[len(args)-1]
		if last.Kind() != ast.LiteralKind {
			continue
		}
		if text, ok := last.AsLiteral().(types.String); ok {
			if _, err := compilePattern(string(text)); err != nil {
				issues.ReportErrorAtID(last.ID(), "%s", err.Error())
			}
		}
	}
}

func (p pattern) match(frame *interpreter.ExecutionFrame, id int64, value ref.Val) ref.Val {
	text, ok := value.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(value)
	}
	work := len(text) * p.instructions
	if work > maxRegexWork {
		return types.WrapErr(fault("a text is too long for this regular expression"))
	}
	prepay(frame, id, uint64(1+work/regexWorkPrice))
	return types.Bool(p.re.MatchString(string(text)))
}
