package store_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// Tables that are a row or a few by their nature, where an index would be no help.
var fewRows = []string{"epoch", "installation", "schema_version", "nodes", "keyset_keys"}

// No statement of the pipeline reads a table from end to end: neither planned while the tables were empty, nor with
// that plan once they are full, nor planned anew without statistics, nor with them.
//
// Each exported method of the Pipeline is called, what it asked Postgres is recorded, and each SQL constant of the
// pipeline must be among it: a statement that nobody has thought of here fails the test.
func TestPipelinePlans(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	fx := newPlanFixture(t, db)
	recorded := recordStatements(t, db, fx)
	for _, s := range pipelineStatements(t) {
		if _, ok := recorded[s.sql]; !ok {
			t.Errorf("%s: no call of planCalls runs this statement:\n%s", s.at, s.sql)
		}
	}
	names := slices.Sorted(maps.Keys(recorded))

	early := explainer(t, db)
	explainAll(t, "planned while empty", early, names, recorded)
	fx.fill(t, db)
	explainAll(t, "full, planned while empty", early, names, recorded)
	explainAll(t, "full, without statistics", explainer(t, db), names, recorded)
	db.Exec(t, `ANALYZE`)
	explainAll(t, "full, with statistics", explainer(t, db), names, recorded)
	fx.measure(t, db)
}

// pipelineStatements are the package's SQL constants but those of the other doors: what a tenant asks, what the owner
// does, what a login sees before it takes a role, and what runs as the river role.
func pipelineStatements(t *testing.T) []statement {
	t.Helper()
	var found []statement
	for _, s := range statements(t) {
		switch function := enclosing(t, s.at); {
		case strings.HasPrefix(function, "Tx."), strings.HasPrefix(function, "Change."), strings.HasPrefix(function, "Store."), strings.HasPrefix(function, "River."):
		case s.at.Filename == "migrate.go" && !strings.HasPrefix(function, "Pipeline."), s.at.Filename == "patience.go", s.at.Filename == "owner.go", s.at.Filename == "reseal.go", s.at.Filename == "survey.go", s.at.Filename == "pooler.go":
		default:
			found = append(found, s)
		}
	}
	if len(found) < 35 {
		t.Fatalf("found %d statements: the search no longer finds them", len(found))
	}
	return found
}

// enclosing names the function around a place, as Type.Method or Function.
func enclosing(t *testing.T, at token.Position) string {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, at.Filename, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	for _, decl := range file.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok || at.Line < fset.Position(fn.Pos()).Line || at.Line > fset.Position(fn.End()).Line {
			continue
		}
		if fn.Recv == nil {
			return fn.Name.Name
		}
		receiver := fn.Recv.List[0].Type
		if pointer, ok := receiver.(*ast.StarExpr); ok {
			receiver = pointer.X
		}
		return receiver.(*ast.Ident).Name + "." + fn.Name.Name
	}
	return ""
}

// recordStatements calls every exported method of the pipeline and says which statements ran, with the arguments of
// the last time.
func recordStatements(t *testing.T, db *storetest.DB, fx *planFixture) map[string][]any {
	t.Helper()
	rec := &recorder{seen: map[string][]any{}}
	traced := rewired(t, db, func(c *pgxpool.Config) { c.ConnConfig.Tracer = rec })
	calls := fx.calls()
	for method := range reflect.TypeFor[*store.Pipeline]().Methods() {
		if _, ok := calls[method.Name]; !ok && method.Name != "Close" {
			t.Errorf("planCalls does not call Pipeline.%s", method.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(calls)) {
		if err := calls[name](t.Context(), traced); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	return rec.seen
}

// A recorder remembers the statements that are sent.
type recorder struct {
	mu   sync.Mutex // guards seen
	seen map[string][]any
}

func (r *recorder) note(sql string, args []any) {
	if !begins.MatchString(sql) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen[sql] = args
}

func (r *recorder) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	r.note(data.SQL, data.Args)
	return ctx
}

func (r *recorder) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (r *recorder) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (r *recorder) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	r.note(data.SQL, data.Args)
}

func (r *recorder) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// explainer is a connection like the pipeline's.
func explainer(t *testing.T, db *storetest.DB) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(db.URL)
	if err != nil {
		t.Fatal(err)
	}
	maps.Copy(config.RuntimeParams, store.PipelineSettings())
	config.RuntimeParams["timezone"] = "UTC"
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

var seqScan = regexp.MustCompile(`Seq Scan on (\w+)`)

// explainAll looks at the plan of each statement; on a connection that has seen it before, at the plan it has kept.
func explainAll(t *testing.T, when string, conn *pgx.Conn, statements []string, args map[string][]any) {
	t.Helper()
	for _, sql := range statements {
		plan, err := explain(t.Context(), conn, "COSTS OFF", sql, args[sql])
		if err != nil {
			t.Errorf("%s: %v\n%s", when, err, sql)
			continue
		}
		for _, scan := range seqScan.FindAllStringSubmatch(plan, -1) {
			if !slices.Contains(fewRows, scan[1]) {
				t.Errorf("%s: a sequential scan on %s\n%s\n%s", when, scan[1], sql, plan)
			}
		}
		if strings.Contains(sql, "FROM tributary.events e") && !strings.Contains(plan, "Subplans Removed") {
			t.Errorf("%s: events are looked for on every day\n%s\n%s", when, sql, plan)
		}
	}
}

// explain gives the generic plan of a statement: EXECUTE of a prepared one, whose arguments are literals. A
// connection prepares each statement once.
func explain(ctx context.Context, conn *pgx.Conn, options, sql string, args []any) (string, error) {
	name := fmt.Sprintf("s%x", sha256.Sum224([]byte(sql)))
	prepared, err := conn.Prepare(ctx, name, sql)
	if err != nil {
		return "", fmt.Errorf("prepare: %w", err)
	}
	execute := "EXECUTE " + name
	if len(args) > 0 {
		literals := make([]string, len(args))
		for i, arg := range args {
			text, err := conn.TypeMap().Encode(prepared.ParamOIDs[i], pgx.TextFormatCode, arg, []byte{})
			if err != nil {
				return "", fmt.Errorf("encode argument %d: %w", i+1, err)
			}
			literals[i] = "NULL"
			if text != nil {
				literals[i] = "'" + strings.ReplaceAll(string(text), "'", "''") + "'"
			}
		}
		execute += " (" + strings.Join(literals, ", ") + ")"
	}
	rows, _ := conn.Query(ctx, "EXPLAIN ("+options+") "+execute, pgx.QueryExecModeSimpleProtocol)
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return strings.Join(lines, "\n"), err
}
