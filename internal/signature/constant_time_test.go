package signature_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strings"
	"testing"
)

// What a signature is compared by cannot be seen from outside, so the source is read: hmac.Equal, for each candidate,
// and nothing that stops at the first difference.
func TestCompare_ConstantTime(t *testing.T) {
	t.Parallel()
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	compares := 0
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				switch from, ok := n.X.(*ast.Ident); {
				case !ok:
				case from.Name == "hmac" && n.Sel.Name == "Equal":
					compares++
				case (from.Name == "bytes" || from.Name == "slices" || from.Name == "reflect") && (strings.Contains(n.Sel.Name, "Equal") || n.Sel.Name == "Compare"):
					t.Errorf("%s: %s.%s tells by its time where two values differ", set.Position(n.Pos()), from.Name, n.Sel.Name)
				}
			case *ast.BinaryExpr:
				if (n.Op == token.EQL || n.Op == token.NEQ) && (madeString(n.X) || madeString(n.Y)) {
					t.Errorf("%s: bytes are compared as strings, which tells by its time where they differ", set.Position(n.Pos()))
				}
			case *ast.FuncDecl:
				if n.Name.Name == "MadeBy" {
					checkNoWayOut(t, set, n)
				}
			}
			return true
		})
	}
	if compares != 1 {
		t.Errorf("%d calls of hmac.Equal, want the one of MadeBy", compares)
	}
}

// madeString says whether the expression is a conversion to string.
func madeString(e ast.Expr) bool {
	call, ok := e.(*ast.CallExpr)
	if !ok {
		return false
	}
	to, ok := call.Fun.(*ast.Ident)
	return ok && to.Name == "string"
}

// checkNoWayOut refuses a loop that ends at a match.
func checkNoWayOut(t *testing.T, set *token.FileSet, f *ast.FuncDecl) {
	t.Helper()
	ast.Inspect(f, func(n ast.Node) bool {
		loop, ok := n.(*ast.ForStmt)
		if !ok {
			return true
		}
		ast.Inspect(loop.Body, func(n ast.Node) bool {
			switch n.(type) {
			case *ast.ReturnStmt, *ast.BranchStmt:
				t.Errorf("%s: candidates behind a match are not compared", set.Position(n.Pos()))
			}
			return true
		})
		return false
	})
}
