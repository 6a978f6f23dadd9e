package expr

import (
	"context"
	"math"

	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A Condition is an expression that is true or false: a route's match, a grant's when.
type Condition struct{ program *program }

// Condition compiles source, which stands at location in the request. What it gives must be a boolean, as far as
// that is known before it runs. The error is hub.Invalid and names line and column.
func (e *Env) Condition(location, source string) (*Condition, error) {
	at := place{location: location}
	p, err := e.compile(at, source)
	if err != nil {
		return nil, err
	}
	if !p.gives(types.BoolKind) {
		return nil, at.errorf("1:1: the expression must be true or false, not a %s", p.output)
	}
	return &Condition{p}, nil
}

// Holds runs the condition. Its error is a *Failure, or the context's cause.
func (c *Condition) Holds(ctx context.Context, in Input) (bool, error) {
	value, err := c.program.eval(ctx, in)
	if err != nil {
		return false, err
	}
	holds, ok := value.(types.Bool)
	if !ok {
		return false, failuref("the expression gave a %s, not true or false", value.Type().TypeName())
	}
	return bool(holds), nil
}

// Loops says whether the condition can run long and so wants a context with a deadline.
func (c *Condition) Loops() bool { return c.program.loops }

// A Value is an expression whose result becomes JSON: a route's data.
type Value struct{ program *program }

// Value compiles source, which stands at location in the request.
func (e *Env) Value(location, source string) (*Value, error) {
	p, err := e.compile(place{location: location}, source)
	if err != nil {
		return nil, err
	}
	return &Value{p}, nil
}

// JSON runs the expression and writes its result, at most hub.MaxMessageBytes.
func (v *Value) JSON(ctx context.Context, in Input) ([]byte, error) {
	value, err := v.program.eval(ctx, in)
	if err != nil {
		return nil, err
	}
	return writeJSON(value, hub.MaxMessageBytes)
}

// Loops says whether the expression can run long.
func (v *Value) Loops() bool { return v.program.loops }

// A Scalar is an expression that gives a string or an integer: a route's key or version.
type Scalar struct{ program *program }

// Scalar compiles source, which stands at location in the request.
func (e *Env) Scalar(location, source string) (*Scalar, error) {
	at := place{location: location}
	p, err := e.compile(at, source)
	if err != nil {
		return nil, err
	}
	if !p.gives(types.StringKind, types.IntKind, types.UintKind, types.NullTypeKind) {
		return nil, at.errorf("1:1: the expression must give a string or an integer, not a %s", p.output)
	}
	return &Scalar{p}, nil
}

// Get runs the expression. Null and an empty optional give the zero Version: there is none.
func (s *Scalar) Get(ctx context.Context, in Input) (hub.Version, error) {
	value, err := s.program.eval(ctx, in)
	if err != nil {
		return hub.Version{}, err
	}
	return scalar(value)
}

func scalar(value ref.Val) (hub.Version, error) {
	switch v := value.(type) {
	case types.String:
		return hub.Version{Text: new(string(v))}, nil
	case types.Int:
		return hub.Version{Number: new(int64(v))}, nil
	case types.Uint:
		if v > math.MaxInt64 {
			return hub.Version{}, failuref("an integer is too large for 64 bits with a sign")
		}
		return hub.Version{Number: new(int64(v))}, nil
	case types.Null:
		return hub.Version{}, nil
	case *types.Optional:
		if !v.HasValue() {
			return hub.Version{}, nil
		}
		return scalar(v.GetValue())
	}
	return hub.Version{}, failuref("the expression gave a %s, not a string or an integer", value.Type().TypeName())
}

// Loops says whether the expression can run long.
func (s *Scalar) Loops() bool { return s.program.loops }
