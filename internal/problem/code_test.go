package problem_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/problem"
)

// Every code of package hub is in the table, with the status that its comment says, and none besides.
func TestCodes(t *testing.T) {
	t.Parallel()
	want := declared(t)
	got := map[string]int{}
	for _, e := range problem.Codes() {
		if _, twice := got[string(e.Code)]; twice {
			t.Errorf("%s is there twice", e.Code)
		}
		got[string(e.Code)] = e.Status
		if http.StatusText(e.Status) == "" {
			t.Errorf("%s: no such status %d", e.Code, e.Status)
		}
		if e.Title == "" || !strings.HasSuffix(e.Meaning, ".") || !strings.HasSuffix(e.Remedy, ".") {
			t.Errorf("%s: the page needs a title, a meaning and a remedy in whole sentences", e.Code)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("codes (-hub +table):\n%s", diff)
	}
	if !slices.IsSortedFunc(problem.Codes(), func(a, b problem.Entry) int { return a.Status - b.Status }) {
		t.Error("the table is not by status")
	}
}

// declared reads the constants of type Code in package hub, with the status at the head of each one's comment.
func declared(t *testing.T) map[string]int {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../hub/error.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	codes := map[string]int{}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for _, spec := range group.Specs {
			value := spec.(*ast.ValueSpec)
			if kind, ok := value.Type.(*ast.Ident); !ok || kind.Name != "Code" {
				continue
			}
			text, err := strconv.Unquote(value.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			number, _, _ := strings.Cut(strings.TrimSpace(value.Comment.Text()), ":")
			codes[text], err = strconv.Atoi(number)
			if err != nil {
				t.Fatalf("%s: no status in its comment %q", text, value.Comment.Text())
			}
		}
	}
	if len(codes) < 20 {
		t.Fatalf("found only %d codes: the parser no longer fits the file", len(codes))
	}
	return codes
}
