package api_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/api"
)

var update = flag.Bool("update", false, "rewrite the checked-in documents")

// TestDocument_CheckedIn compares the documents with those of the repository: whoever changes the API sees in the
// diff what users will see.
func TestDocument_CheckedIn(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ version, file string }{
		{"3.1", "../../openapi/openapi.yaml"},
		{"3.0", "../../openapi/openapi-3.0.yaml"},
	} {
		got, err := api.Document(test.version, "yaml")
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(test.file, got, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(test.file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), string(got)); diff != "" {
			t.Errorf("%s is not what the code says; run go test ./internal/api -update\n%s", test.file, diff)
		}
	}
}

func TestDocument_Served(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for path, kind := range map[string]string{"/openapi.yaml": "application/yaml", "/openapi.json": "application/json", "/openapi-3.0.yaml": "application/yaml"} {
		r := w.must(t, http.StatusOK, "GET", path, "", nil)
		if r.header.Get("Content-Type") != kind || !strings.Contains(string(r.raw), "https://hub.example.com") {
			t.Errorf("%s: %v", path, r.header)
		}
	}
	if _, err := api.Document("2.0", "yaml"); err == nil {
		t.Error("a document of version 2.0")
	}
	if _, err := api.Document("3.1", "xml"); err == nil {
		t.Error("a document in XML")
	}
}

// TestDocument_Lint asks of both documents what strict linters and generators of clients ask.
func TestDocument_Lint(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"3.1", "3.0"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			doc := document(t, version)
			used := map[string]bool{}
			walk(doc, "#", func(place string, o object) {
				ref, ok := o["$ref"].(string)
				if !ok {
					return
				}
				used[ref] = true
				if resolve(doc, ref) == nil {
					t.Errorf("%s: %s leads nowhere", place, ref)
				}
				if version == "3.0" && len(o) > 1 {
					t.Errorf("%s: something beside $ref", place)
				}
			})
			for kind, components := range doc["components"].(object) {
				for name := range components.(object) {
					if ref := "#/components/" + kind + "/" + name; !used[ref] && kind != "securitySchemes" {
						t.Errorf("%s is not used", ref)
					}
				}
			}
			ids := map[string]bool{}
			tags := map[string]bool{}
			for _, tag := range doc["tags"].([]any) {
				tags[tag.(object)["name"].(string)] = true
			}
			for _, op := range operations(t, doc) {
				lint(t, op, tags, ids)
			}
			if len(ids) < 50 {
				t.Errorf("%d operations", len(ids))
			}
		})
	}
}

// TestDocument_NoEffect asks for a word where what can be set does nothing in this version.
func TestDocument_NoEffect(t *testing.T) {
	t.Parallel()
	schemas := document(t, "3.1")["components"].(object)["schemas"].(object)
	browsers := []string{"allowed_origins", "same_site", "ticket_seconds", "ticket_reuse", "presence"}
	for schema, names := range map[string][]string{
		"Settings":      browsers,
		"SettingsPatch": browsers,
		"IssuerPatch":   {"session_seconds"},
		"IssuerInput":   {"session_seconds"},
		"IssuerPut":     {"session_seconds"},
		"Limits": {
			"connections", "connections_per_subject", "connections_per_address", "connects_per_second", "publishes_per_second", "state_keys", "generations_open",
		},
	} {
		for _, name := range names {
			property, _ := schemas[schema].(object)["properties"].(object)[name].(object)
			if said, _ := property["description"].(string); !strings.Contains(said, "no effect yet") {
				t.Errorf("%s.%s: %q", schema, name, said)
			}
		}
	}
}

// TestDocument_Stream asks whether the stream's parameters and refusals are told as they are.
func TestDocument_Stream(t *testing.T) {
	t.Parallel()
	op := document(t, "3.1")["paths"].(object)["/stream/{tenant}"].(object)["get"].(object)
	if op["responses"].(object)["422"] == nil {
		t.Error("last=101 is 422, and that is not said")
	}
	for _, p := range op["parameters"].([]any) {
		if p := p.(object); p["name"] == "last" && p["schema"].(object)["minimum"] != 0.0 {
			t.Errorf("last=0 is taken: %v", p)
		}
	}
}

func lint(t *testing.T, op documented, tags, ids map[string]bool) {
	t.Helper()
	for _, member := range []string{"operationId", "summary", "description"} {
		if s, _ := op.body[member].(string); s == "" {
			t.Errorf("%s has no %s", op, member)
		}
	}
	id, _ := op.body["operationId"].(string)
	if ids[id] {
		t.Errorf("%s: there is another %s", op, id)
	}
	ids[id] = true
	if of, _ := op.body["tags"].([]any); len(of) != 1 || !tags[of[0].(string)] {
		t.Errorf("%s: tags %v", op, of)
	}
	if _, ok := op.body["security"].([]any); !ok {
		t.Errorf("%s says nothing of security", op)
	}
	codes := slices.Collect(maps.Keys(op.body["responses"].(object)))
	for _, class := range []string{"2", "4", "5"} {
		if !slices.ContainsFunc(codes, func(code string) bool { return strings.HasPrefix(code, class) }) {
			t.Errorf("%s has no %sxx", op, class)
		}
	}
	named := map[string]bool{}
	params, _ := op.body["parameters"].([]any)
	for _, p := range params {
		p := p.(object)
		if p["in"] == "path" {
			named[p["name"].(string)] = true
		}
		if p["$ref"] == nil && p["description"] == nil {
			t.Errorf("%s: parameter %v is not described", op, p["name"])
		}
	}
	for part := range strings.SplitSeq(op.path, "/") {
		if name, ok := strings.CutPrefix(part, "{"); ok && !named[strings.TrimSuffix(name, "}")] {
			t.Errorf("%s: %s is not described", op, part)
		}
	}
}

// A documented operation of a document.
type documented struct {
	method, path string
	body         object
}

func (d documented) String() string { return d.method + " " + d.path }

func document(t *testing.T, version string) object {
	t.Helper()
	encoded, err := api.Document(version, "json")
	if err != nil {
		t.Fatal(err)
	}
	var doc object
	if err := json.Unmarshal(encoded, &doc); err != nil {
		t.Fatal(err)
	}
	return doc
}

// served is the document as the hub serves it.
func (w *world) served(t *testing.T) object {
	t.Helper()
	return w.must(t, http.StatusOK, "GET", "/openapi.json", "", nil).body
}

func operations(t *testing.T, doc object) []documented {
	t.Helper()
	var all []documented
	for path, item := range doc["paths"].(object) {
		for method, op := range item.(object) {
			all = append(all, documented{strings.ToUpper(method), path, op.(object)})
		}
	}
	slices.SortFunc(all, func(a, b documented) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	return all
}

func walk(v any, place string, visit func(string, object)) {
	switch v := v.(type) {
	case object:
		visit(place, v)
		for name, inner := range v {
			walk(inner, place+"/"+name, visit)
		}
	case []any:
		for i, inner := range v {
			walk(inner, fmt.Sprintf("%s/%d", place, i), visit)
		}
	}
}

func resolve(doc object, ref string) any {
	var at any = doc
	for part := range strings.SplitSeq(strings.TrimPrefix(ref, "#/"), "/") {
		o, ok := at.(object)
		if !ok {
			return nil
		}
		at = o[part]
	}
	return at
}
