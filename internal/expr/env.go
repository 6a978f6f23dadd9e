package expr

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"

	"github.com/tributary-hub/tributary/internal/hub"
)

// The bounds of one expression, besides hub.MaxExpressionBytes.
const (
	maxNodes   = 5_000   // of the syntax tree, macros expanded
	maxNesting = 60      // of the text: parentheses, calls; the checker takes time by its third power
	maxCost    = 500_000 // about 50 ms on a slow core
)

// An Env is what expressions of one kind are compiled against. It is built once and safe for concurrent use.
type Env struct {
	cel    *cel.Env
	root   string // the variable
	fields string // what it has, for whoever misspells one
	page   string // of the documentation, for whoever is lost
}

// An Input is what an expression looks at: an *Event, or *Claims.
type Input interface {
	activation() cel.Activation
}

// NewEvents makes the environment of routes: one variable, event.
func NewEvents() (*Env, error) {
	return newEnv(Env{root: "event", fields: "event has " + strings.Join(eventDescriptor{}.FieldNames(), ", "), page: "/docs/routes"}, cel.Types(eventDescriptor{eventType}), cel.Variable("event", eventType))
}

// NewClaims makes the environment of grants: one variable, claims.
func NewClaims() (*Env, error) {
	return newEnv(Env{root: "claims", fields: "claims are read as they come", page: "/docs/authentication"}, cel.Variable("claims", cel.MapType(cel.StringType, cel.DynType)))
}

func newEnv(e Env, options ...cel.EnvOption) (*Env, error) {
	options = append(options,
		cel.OptionalTypes(),
		cel.CrossTypeNumericComparisons(true),
		cel.EnableIdentifierEscapeSyntax(),
		ext.Bindings(),
		ext.Math(),
		texts(),
		cel.ExpressionNodeLimit(maxNodes),
		cel.ParserRecursionLimit(maxNesting),
		cel.ParserErrorRecoveryLimit(4),
		cel.ASTValidators(patternValidator{}, cel.ValidateDurationLiterals(), cel.ValidateTimestampLiterals()),
	)
	var err error
	if e.cel, err = cel.NewEnv(options...); err != nil {
		return nil, fmt.Errorf("make the environment of %s: %w", e.root, err)
	}
	return &e, nil
}

// A program is one compiled expression.
type program struct {
	cel    cel.Program
	source string
	output *cel.Type
	loops  bool // it has a comprehension: only these can run long, and look at the context
}

// compile checks and plans an expression that stands at a place of the request. Planning runs constant parts, and
// CEL panics on some ({b'a': 1}): what a tenant writes must not end the process.
func (e *Env) compile(at place, source string) (p *program, err error) {
	defer func() {
		if recover() != nil {
			p, err = nil, at.errorf("1:%d: the expression cannot be worked out", at.column+1)
		}
	}()
	if len(source) > hub.MaxExpressionBytes {
		return nil, at.errorf("an expression has at most %d bytes", hub.MaxExpressionBytes)
	}
	if source == "" {
		return nil, at.errorf("1:%d: an expression is missing", at.column+1)
	}
	parsed, issues := e.cel.Parse(source)
	if issues.Err() != nil {
		return nil, e.issue(at, source, issues.Errors())
	}
	widen(parsed)
	checked, issues := e.cel.Check(parsed)
	if issues.Err() != nil {
		return nil, e.issue(at, source, issues.Errors())
	}
	p = &program{source: source, output: checked.OutputType(), loops: hasLoops(checked.NativeRep())}
	options := []cel.ProgramOption{
		cel.EvalOptions(cel.OptOptimize),
		cel.CostTracking(prices{}),
		cel.CostLimit(maxCost),
		cel.CustomDecoratorV2(charge),
	}
	if p.loops {
		options = append(options, cel.InterruptCheckFrequency(1))
	}
	planned, err := e.cel.Program(checked, options...)
	if err != nil {
		return nil, at.errorf("1:%d: %s", at.column+1, reason("", err))
	}
	p.cel = planned
	return p, nil
}

func hasLoops(tree *ast.AST) bool {
	found := false
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(node ast.Expr) {
		found = found || node.Kind() == ast.ComprehensionKind
	}))
	return found
}

// eval runs the program. Its error is a *Failure, or the context's.
func (p *program) eval(ctx context.Context, in Input) (ref.Val, error) {
	var value ref.Val
	var err error
	if p.loops {
		value, _, err = p.cel.ContextEval(ctx, in.activation())
	} else {
		value, _, err = p.cel.Eval(in.activation())
	}
	switch {
	case err == nil:
		return value, nil
	case errors.Is(err, interpreter.InterruptError{}):
		return nil, context.Cause(ctx)
	default:
		return nil, &Failure{Reason: reason(p.source, err), absent: isAbsent(err)}
	}
}

// gives says whether the program can give a value of one of the kinds; what is known only when it runs, can.
func (p *program) gives(kinds ...types.Kind) bool {
	return gives(p.output, kinds)
}

func gives(t *cel.Type, kinds []types.Kind) bool {
	if t.Kind() == types.OpaqueKind && t.TypeName() == types.OptionalType.TypeName() {
		return gives(t.Parameters()[0], kinds)
	}
	for _, kind := range kinds {
		if t.Kind() == kind {
			return true
		}
	}
	return t.Kind() == types.DynKind || t.Kind() == types.TypeParamKind || t.Kind() == types.AnyKind
}
