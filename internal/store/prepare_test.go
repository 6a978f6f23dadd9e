package store_test

import (
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/storetest"
)

// A statement is a constant of the package that is SQL.
type statement struct {
	at  token.Position
	sql string
}

// TestStatements_Prepare prepares every SQL constant of the package against the migrated schema: a column that is not
// there, or a type that does not fit, shows here and not when somebody first needs the statement.
func TestStatements_Prepare(t *testing.T) {
	t.Parallel()
	all := statements(t)
	if len(all) < 100 {
		t.Fatalf("found %d statements: the search no longer finds them", len(all))
	}
	db := storetest.New(t)
	conn, err := pgx.Connect(t.Context(), db.OwnerURL)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close(t.Context()) }()
	for _, s := range all {
		if _, err := conn.Prepare(t.Context(), "", s.sql); err != nil {
			t.Errorf("%s: %v\n%s", s.at, err, s.sql)
		}
	}
}

// begins is how a statement that can be prepared begins; fragments that others are built of are left out by being
// part of a larger constant, or by not being read as one.
var begins = regexp.MustCompile(`^\s*((SELECT|INSERT INTO|UPDATE|DELETE FROM)\s|WITH\s+(RECURSIVE\s+)?\w+ AS )`)

// statements finds the largest constant string expressions that are SQL, in the places where one is run or handed on:
// arguments of calls, and constants that no other constant is built of.
func statements(t *testing.T) []statement {
	t.Helper()
	fset := token.NewFileSet()
	var files []*ast.File
	entries, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if !strings.HasSuffix(entry.Name(), ".go") || strings.HasSuffix(entry.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, entry.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	// Imports are not resolved: the package's own constants are all that is wanted, and they need none.
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}}
	config := types.Config{Error: func(error) {}, Importer: nil}
	_, _ = config.Check("store", fset, files, info)

	var found []statement
	for _, file := range files {
		ast.Inspect(file, func(node ast.Node) bool {
			var candidates []ast.Expr
			switch node := node.(type) {
			case *ast.CallExpr:
				candidates = node.Args
			case *ast.AssignStmt:
				candidates = node.Rhs
			}
			for _, expr := range candidates {
				value := info.Types[expr].Value
				if value == nil || value.Kind() != constant.String {
					continue
				}
				if sql := constant.StringVal(value); begins.MatchString(sql) {
					found = append(found, statement{at: fset.Position(expr.Pos()), sql: sql})
				}
			}
			return true
		})
	}
	return found
}
