package expr

import (
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/common/types/traits"
	"cel.dev/cel-go/interpreter"
)

// CEL prices a step by what it touches at the surface: making [x, x] costs the same whatever x is, so a value that
// shares its parts can be written in a hundred characters and have 2^40 elements for whoever walks over it (an
// equality, a size, an error text). Here every list and map pays for all that it holds when it is made, and
// what walks over values pays for the walk: no value ever weighs more than the budget.

// charge is a decorator of the plan: it wraps what makes lists and maps, and takes over regular expressions.
func charge(node interpreter.InterpretableV2) (interpreter.InterpretableV2, error) {
	switch node := node.(type) {
	case interpreter.InterpretableConstructor:
		if constant(node) {
			return node, nil // as heavy as its text; folded into one value when planned
		}
		return paid{node}, nil
	case interpreter.InterpretableCall:
		switch node.Function() {
		case operators.Add:
			return paidCall{node}, nil
		case overloads.Matches:
			return boundedMatch(node)
		}
	}
	return node, nil
}

func constant(node interpreter.InterpretableConstructor) bool {
	for _, part := range node.InitVals() {
		if _, ok := part.(interpreter.InterpretableConst); !ok {
			return false
		}
	}
	return true
}

// paid is a list or map in braces or brackets.
type paid struct {
	interpreter.InterpretableConstructor
}

func (p paid) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return pay(frame, p.ID(), p.InterpretableConstructor.Exec(frame))
}

func (p paid) Eval(vars interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(vars, p.Exec)
}

// paidCall is an addition, which may be that of lists.
type paidCall struct {
	interpreter.InterpretableCall
}

func (p paidCall) Exec(frame *interpreter.ExecutionFrame) ref.Val {
	return pay(frame, p.ID(), p.InterpretableCall.Exec(frame))
}

func (p paidCall) Eval(vars interpreter.Activation) ref.Val {
	return interpreter.EvalActivation(vars, p.Exec)
}

// pay adds the weight of a new value to what the expression has cost.
func pay(frame *interpreter.ExecutionFrame, id int64, value ref.Val) ref.Val {
	switch value.(type) {
	case traits.MutableLister, traits.MutableMapper:
		return value // a macro's accumulator, which has paid for each element that it took in
	case traits.Lister, traits.Mapper, *types.Err: // an error may repeat a value in its text
		prepay(frame, id, weigh(value, maxCost+1))
	}
	return value
}

// prepay adds to what the expression has cost, and ends it there if that is too much. CEL folds constants without a
// budget: they are as small as the text that they stand in.
func prepay(frame *interpreter.ExecutionFrame, id int64, cost uint64) {
	if tracker := frame.CostTracker(); tracker != nil {
		tracker.EvalUnary(frame, id, weightCall{}, types.Uint(cost), types.Uint(cost))
	}
}

// weightCall is the call that the price list knows as a weight to be paid.
type weightCall struct{}

const weightFunction = "@weight"

func (weightCall) Function() string   { return weightFunction }
func (weightCall) OverloadID() string { return weightFunction }

// prices is the price list of calls whose cost is not what CEL takes it for.
type prices struct{}

// CallCost gives nil where CEL's own price is right.
func (prices) CallCost(function, _ string, args []ref.Val, result ref.Val) *uint64 {
	switch function {
	case weightFunction:
		return new(uint64(args[0].(types.Uint)))
	case operators.Equals, operators.NotEquals:
		if !aggregate(args[0]) || !aggregate(args[1]) {
			return nil
		}
		left := weigh(args[0], maxCost+1)
		return new(weigh(args[1], left))
	case operators.In, operators.OldIn:
		if _, ok := args[1].(traits.Lister); ok {
			return new(weigh(args[1], maxCost+1))
		}
	case "optional.unwrap", "unwrapOpt":
		return new(weigh(result, maxCost+1))
	case "contains", "endsWith", "startsWith":
		return nil
	}
	return textPrice(function, args, result)
}

// textPrice charges for the text that a function reads or makes, the text of an error included, which can repeat
// a value. CEL does so for some functions, and for those not where it learns the types only at run time.
func textPrice(function string, args []ref.Val, result ref.Val) *uint64 {
	measure := textWeight
	if ownFunction(function) {
		measure = func(value ref.Val) uint64 { return weigh(value, maxCost+1) }
	}
	cost := measure(result)
	for _, arg := range args {
		cost += measure(arg)
	}
	if cost == 0 {
		return nil
	}
	return new(cost + 1)
}

func textWeight(value ref.Val) uint64 {
	switch value.(type) {
	case types.String, types.Bytes, *types.Err:
		return weigh(value, maxCost+1) - 1
	}
	return 0
}

func aggregate(value ref.Val) bool {
	switch value.(type) {
	case traits.Lister, traits.Mapper, *types.Optional:
		return true
	}
	return false
}

// weigh counts what a walk over value touches, one for each value and for each ten bytes of text, and stops
// counting at limit.
func weigh(value any, limit uint64) uint64 {
	s := scale{left: limit}
	s.add(value)
	return limit - s.left
}

type scale struct{ left uint64 }

func (s *scale) add(value any) {
	s.take(1)
	switch v := value.(type) {
	case types.String:
		s.take(uint64(len(v)) / 10)
	case *types.Err:
		s.take(uint64(len(v.String())) / 10)
	case string:
		s.take(uint64(len(v)) / 10)
	case types.Bytes:
		s.take(uint64(len(v)) / 10)
	case *types.Optional:
		if v.HasValue() {
			s.add(v.GetValue())
		}
	case map[string]any:
		for key, element := range v {
			if !s.FoldEntry(key, element) {
				return
			}
		}
	case []any:
		for _, element := range v {
			if !s.FoldEntry(nil, element) {
				return
			}
		}
	case traits.Lister:
		types.ToFoldableList(v).Fold(s)
	case traits.Mapper:
		types.ToFoldableMap(v).Fold(s)
	}
}

// FoldEntry weighs one entry of a list or map; CEL calls it.
func (s *scale) FoldEntry(key, element any) bool {
	if text, ok := key.(string); ok {
		s.take(uint64(len(text)) / 10)
	} else if text, ok := key.(types.String); ok {
		s.take(uint64(len(text)) / 10)
	}
	s.add(element)
	return s.left > 0
}

func (s *scale) take(n uint64) {
	s.left -= min(n, s.left)
}
