package expr

import (
	"regexp"
	"regexp/syntax"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/interpreter"
)

// RE2 takes time in proportion to program times text, so both are bounded: each alone and their product.
const (
	maxPattern      = 1 << 10    // bytes
	maxRegexProgram = 1_000      // instructions
	maxRegexWork    = 20_000_000 // instructions times bytes of text: at worst some 100 ms
)

const matchFunction = "@matches"

// boundedMatch replaces a call of matches by one that keeps the bounds and compiles a constant pattern once.
func boundedMatch(call interpreter.InterpretableCall) (interpreter.InterpretableV2, error) {
	args := call.Args()
	if len(args) != 2 {
		return call, nil
	}
	match := func(values ...ref.Val) ref.Val {
		pattern, ok := values[1].(types.String)
		if !ok {
			return types.MaybeNoSuchOverloadErr(values[1])
		}
		compiled, err := compilePattern(string(pattern))
		if err != nil {
			return types.WrapErr(err)
		}
		return compiled.match(values[0])
	}
	if constant, ok := args[1].(interpreter.InterpretableConst); ok {
		if pattern, ok := constant.Value().(types.String); ok {
			compiled, err := compilePattern(string(pattern))
			if err != nil {
				return nil, err
			}
			match = func(values ...ref.Val) ref.Val { return compiled.match(values[0]) }
		}
	}
	// Another name, lest CEL's own optimisation take the call for the one that it replaces without bounds.
	return interpreter.NewCall(call.ID(), matchFunction, call.OverloadID(), args, match), nil
}

type pattern struct {
	re           *regexp.Regexp
	instructions int
}

func compilePattern(text string) (pattern, error) {
	if len(text) > maxPattern {
		return pattern{}, fault("a regular expression is too long")
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return pattern{}, fault("the regular expression is not valid")
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxRegexProgram {
		return pattern{}, fault("a regular expression is too complex")
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return pattern{}, fault("the regular expression is not valid")
	}
	return pattern{re: re, instructions: len(program.Inst)}, nil
}

func (p pattern) match(value ref.Val) ref.Val {
	text, ok := value.(types.String)
	if !ok {
		return types.MaybeNoSuchOverloadErr(value)
	}
	if len(text)*p.instructions > maxRegexWork {
		return types.WrapErr(fault("a text is too long for this regular expression"))
	}
	return types.Bool(p.re.MatchString(string(text)))
}
