package docs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A document is what the reference shows of an OpenAPI document.
type document struct {
	Tags []struct {
		Name        string `json:"name"`
		Description string `json:"description"`
	} `json:"tags"`
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas map[string]schema `json:"schemas"`
	} `json:"components"`
}

type operation struct {
	Tags        []string `json:"tags"`
	Summary     string   `json:"summary"`
	Description string   `json:"description"`
	OperationID string   `json:"operationId"` //nolint:tagliatelle // as OpenAPI has it
	Parameters  []struct {
		Name        string `json:"name"`
		In          string `json:"in"`
		Required    bool   `json:"required"`
		Description string `json:"description"`
	} `json:"parameters"`
	RequestBody struct {
		Content map[string]struct {
			Schema schema `json:"schema"`
		} `json:"content"`
	} `json:"requestBody"` //nolint:tagliatelle // as OpenAPI has it
	Responses map[string]struct {
		Description string `json:"description"`
	} `json:"responses"`
}

type schema struct {
	Ref         string            `json:"$ref"`
	Type        any               `json:"type"`
	Description string            `json:"description"`
	Properties  map[string]schema `json:"properties"`
	Items       *schema           `json:"items"`
	Required    []string          `json:"required"`
}

// methods in the order of the reference.
var methods = []string{"get", "post", "put", "patch", "delete"}

// apiReference lists each operation under its tag: parameters, the body's fields, answers.
func apiReference(openAPI []byte) (string, error) {
	var d document
	if err := json.Unmarshal(openAPI, &d); err != nil {
		return "", fmt.Errorf("read the API's document: %w", err)
	}
	byTag := map[string][]string{}
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range methods {
			raw, ok := d.Paths[path][method]
			if !ok {
				continue
			}
			var op operation
			if err := json.Unmarshal(raw, &op); err != nil {
				return "", fmt.Errorf("read %s %s: %w", method, path, err)
			}
			tag := strings.Join(op.Tags, ", ")
			byTag[tag] = append(byTag[tag], d.describe(method, path, op))
		}
	}
	var out strings.Builder
	for _, tag := range d.order(byTag) {
		fmt.Fprintf(&out, "## %s\n\n", tag)
		for _, t := range d.Tags {
			if t.Name == tag {
				out.WriteString(t.Description + "\n\n")
			}
		}
		for _, text := range byTag[tag] {
			out.WriteString(text)
		}
	}
	return out.String(), nil
}

// order is the document's own, then whatever it forgot.
func (d *document) order(byTag map[string][]string) []string {
	var order []string
	for _, t := range d.Tags {
		if len(byTag[t.Name]) > 0 {
			order = append(order, t.Name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(byTag)) {
		if !slices.Contains(order, name) {
			order = append(order, name)
		}
	}
	return order
}

func (d *document) describe(method, path string, op operation) string {
	var out strings.Builder
	fmt.Fprintf(&out, "### %s {#%s}\n\n`%s %s`\n\n%s\n\n", op.Summary, op.OperationID, strings.ToUpper(method), path, op.Description)
	if len(op.Parameters) > 0 {
		out.WriteString("| parameter | in | what |\n| --- | --- | --- |\n")
		for _, p := range op.Parameters {
			fmt.Fprintf(&out, "| `%s`%s | %s | %s |\n", p.Name, required(p.Required), p.In, cell(p.Description))
		}
		out.WriteString("\n")
	}
	for _, media := range slices.Sorted(maps.Keys(op.RequestBody.Content)) {
		out.WriteString(d.fields(op.RequestBody.Content[media].Schema))
	}
	var answers []string
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		answers = append(answers, strings.TrimSpace(status+" "+op.Responses[status].Description))
	}
	fmt.Fprintf(&out, "Answers: %s ([problems](/docs/problems)).\n\n", strings.Join(answers, ", "))
	return out.String()
}

// fields are the body's own, one level deep: what is deeper is in the document.
func (d *document) fields(s schema) string {
	s = d.resolve(s)
	if len(s.Properties) == 0 {
		return ""
	}
	var out strings.Builder
	out.WriteString("| field | type | what |\n| --- | --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		field := s.Properties[name]
		what := field.Description
		if what == "" {
			what = d.resolve(field).Description
		}
		fmt.Fprintf(&out, "| `%s`%s | %s | %s |\n", name, required(slices.Contains(s.Required, name)), d.typeOf(field), cell(what))
	}
	out.WriteString("\n")
	return out.String()
}

func (d *document) resolve(s schema) schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/components/schemas/"); ok {
		return d.Components.Schemas[name]
	}
	return s
}

func (d *document) typeOf(s schema) string {
	s = d.resolve(s)
	switch t := s.Type.(type) {
	case string:
		if t == "array" && s.Items != nil {
			return "list of " + d.typeOf(*s.Items)
		}
		return t
	case []any:
		names := make([]string, len(t))
		for i, name := range t {
			names[i] = fmt.Sprint(name)
		}
		return strings.Join(names, " or ")
	default:
		return "any"
	}
}

func required(yes bool) string {
	if yes {
		return ", required"
	}
	return ""
}
