package expr

import (
	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/overloads"
)

// widen makes every variable that an expression binds itself (x in list.map(x, …), a in cel.bind(a, …)) dynamic for
// the type checker. A variable that is used twice doubles the type that it stands in: in two hundred characters of
// cel.bind(a, {a: a}, …) one inside the other, types become so large that the checker is never done with them.
// With dynamic variables no type is larger than the text that it comes from. What is lost is little: nearly all
// that such variables hold is of the body, which is dynamic anyway.
func widen(parsed *cel.Ast) {
	tree := parsed.NativeRep()
	w := widener{make: ast.NewExprFactory(), source: tree.SourceInfo(), lastID: ast.MaxID(tree)}
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(w.visit))
}

type widener struct {
	make   ast.ExprFactory
	source *ast.SourceInfo
	lastID int64
}

func (w *widener) visit(node ast.Expr) {
	if node.Kind() != ast.ComprehensionKind {
		return
	}
	// Macros become comprehensions. Those that loop take their variable from a range; cel.bind and optMap bind theirs
	// as the accumulator of a loop over nothing.
	c := node.AsComprehension()
	over, initial := c.IterRange(), c.AccuInit()
	if over.Kind() == ast.ListKind && over.AsList().Size() == 0 {
		initial = w.dynamic(initial)
	} else {
		over = w.dynamic(over)
	}
	node.SetKindCase(w.make.NewComprehensionTwoVar(node.ID(), over, c.IterVar(), c.IterVar2(), c.AccuVar(),
		initial, c.LoopCondition(), c.LoopStep(), c.Result()))
}

func (w *widener) dynamic(node ast.Expr) ast.Expr {
	w.lastID++
	if at, ok := w.source.GetOffsetRange(node.ID()); ok {
		w.source.SetOffsetRange(w.lastID, at)
	}
	return w.make.NewCall(w.lastID, overloads.TypeConvertDyn, node)
}
