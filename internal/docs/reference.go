package docs

import (
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"slices"
	"strconv"
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
		Schemas    map[string]schema    `json:"schemas"`
		Parameters map[string]parameter `json:"parameters"`
		Responses  map[string]response  `json:"responses"`
	} `json:"components"`

	mentioned []string // the objects that a table leads to, in the order in which they were met
}

type operation struct {
	Tags        []string            `json:"tags"`
	Summary     string              `json:"summary"`
	Description string              `json:"description"`
	OperationID string              `json:"operationId"` //nolint:tagliatelle // as OpenAPI has it
	Parameters  []parameter         `json:"parameters"`
	RequestBody payload             `json:"requestBody"` //nolint:tagliatelle // as OpenAPI has it
	Responses   map[string]response `json:"responses"`
	Security    []map[string]any    `json:"security"`
}

type parameter struct {
	Ref         string `json:"$ref"`
	Name        string `json:"name"`
	In          string `json:"in"`
	Required    bool   `json:"required"`
	Description string `json:"description"`
	Schema      schema `json:"schema"`
}

type response struct {
	payload
	Ref string `json:"$ref"`
}

// payload is a body, by its media type.
type payload struct {
	Description string `json:"description"`
	Content     map[string]struct {
		Schema schema `json:"schema"`
	} `json:"content"`
}

// methods in the order of the reference.
var methods = []string{"get", "post", "put", "patch", "delete"}

// What the template shows.
type (
	referenceView struct {
		Tags    []tagView
		Objects []objectView
	}
	tagView struct {
		ID, Name, About string
		Operations      []operationView
	}
	operationView struct {
		ID, Method, Path, Summary, About, Credential string
		Parameters                                   []field
		Bodies, Answers                              []bodyView
		Problems                                     []string // statuses
	}
	bodyView struct {
		Status, About, Media string
		Kinds                []kind  // of what is no object
		Fields               []field // of an object
	}
	objectView struct {
		Name, About string
		Fields      []field
	}
)

// reference lists each operation under its tag, with its parameters, bodies and answers, and below them the objects
// that those are made of.
func (r *renderer) reference(openAPI []byte) (body, error) {
	var d document
	if err := json.Unmarshal(openAPI, &d); err != nil {
		return body{}, fmt.Errorf("read the API's document: %w", err)
	}
	view, err := d.view()
	if err != nil {
		return body{}, err
	}
	var out strings.Builder
	if err := r.operations.Execute(&out, view); err != nil {
		return body{}, fmt.Errorf("write the reference: %w", err)
	}
	var outline []link
	for _, t := range view.Tags {
		outline = append(outline, link{Href: "#" + t.ID, Title: t.Name})
	}
	outline = append(outline, link{Href: "#objects", Title: "Objects"})
	return body{html: template.HTML(out.String()), outline: outline}, nil //nolint:gosec // the template escapes
}

func (d *document) view() (referenceView, error) {
	byTag := map[string][]operationView{}
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		for _, method := range methods {
			raw, ok := d.Paths[path][method]
			if !ok {
				continue
			}
			var op operation
			if err := json.Unmarshal(raw, &op); err != nil {
				return referenceView{}, fmt.Errorf("read %s %s: %w", method, path, err)
			}
			tag := strings.Join(op.Tags, ", ")
			byTag[tag] = append(byTag[tag], d.operation(method, path, op))
		}
	}
	var v referenceView
	for _, t := range d.Tags {
		if operations := byTag[t.Name]; len(operations) > 0 {
			v.Tags = append(v.Tags, tagView{ID: "tag-" + t.Name, Name: t.Name, About: t.Description, Operations: operations})
			delete(byTag, t.Name)
		}
	}
	if len(byTag) > 0 {
		return v, fmt.Errorf("no tag of the document describes %v", slices.Sorted(maps.Keys(byTag)))
	}
	v.Objects = d.objects()
	return v, nil
}

func (d *document) operation(method, path string, op operation) operationView {
	v := operationView{
		ID: op.OperationID, Method: strings.ToUpper(method), Path: path, Summary: op.Summary, About: op.Description,
		Credential: credential(op.Security), Bodies: d.bodies("", op.RequestBody),
	}
	for _, p := range op.Parameters {
		if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
			p = d.Components.Parameters[name]
		}
		p.Schema.Description = p.Description
		v.Parameters = append(v.Parameters, field{Name: p.Name, In: p.In, Required: p.Required, Types: d.kinds(p.Schema, ""), What: d.about(p.Schema)})
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		answer := op.Responses[status]
		if name, ok := strings.CutPrefix(answer.Ref, "#/components/responses/"); ok {
			answer = d.Components.Responses[name]
		}
		if n, err := strconv.Atoi(status); err == nil && n >= 400 {
			v.Problems = append(v.Problems, status)
			continue
		}
		v.Answers = append(v.Answers, d.bodies(status, answer.payload)...)
	}
	return v
}

// credential names what the operation takes, where that is not an API key.
func credential(security []map[string]any) string {
	var names []string
	for _, one := range security {
		names = append(names, slices.Sorted(maps.Keys(one))...)
	}
	switch {
	case len(names) == 0:
		return "No credential."
	case slices.Contains(names, "token"):
		return "Takes an end user's token, or an API key."
	}
	return ""
}

func (d *document) bodies(status string, c payload) []bodyView {
	if len(c.Content) == 0 && status != "" {
		return []bodyView{{Status: status, About: c.Description}}
	}
	var all []bodyView
	for _, media := range slices.Sorted(maps.Keys(c.Content)) {
		s := c.Content[media].Schema
		v := bodyView{Status: status, About: c.Description, Media: media}
		if v.Fields = d.fields(s, ""); len(v.Fields) == 0 {
			v.Kinds = d.kinds(s, "")
		}
		all = append(all, v)
	}
	return all
}

func (d *document) mention(name string) {
	if !slices.Contains(d.mentioned, name) {
		d.mentioned = append(d.mentioned, name)
	}
}

// objects are those that the tables lead to; describing one may lead to another.
func (d *document) objects() []objectView {
	d.mention("Problem")
	var all []objectView
	for len(all) < len(d.mentioned) {
		name := d.mentioned[len(all)]
		s := d.Components.Schemas[name]
		all = append(all, objectView{Name: name, About: s.Description, Fields: d.fields(s, "")})
	}
	slices.SortFunc(all, func(a, b objectView) int { return strings.Compare(a.Name, b.Name) })
	return all
}
