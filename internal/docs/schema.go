package docs

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// A schema is what the reference shows of one.
type schema struct {
	Ref                  string            `json:"$ref"`
	Type                 any               `json:"type"` // a name, or a list of them
	Format               string            `json:"format"`
	Description          string            `json:"description"`
	Enum                 []any             `json:"enum"`
	Default              any               `json:"default"`
	Examples             []any             `json:"examples"`
	Minimum              *float64          `json:"minimum"`
	Maximum              *float64          `json:"maximum"`
	MinLength            *int              `json:"minLength"`     //nolint:tagliatelle // as JSON Schema has it
	MaxLength            *int              `json:"maxLength"`     //nolint:tagliatelle // as JSON Schema has it
	MinItems             *int              `json:"minItems"`      //nolint:tagliatelle // as JSON Schema has it
	MaxItems             *int              `json:"maxItems"`      //nolint:tagliatelle // as JSON Schema has it
	MaxProperties        *int              `json:"maxProperties"` //nolint:tagliatelle // as JSON Schema has it
	OneOf                []schema          `json:"oneOf"`         //nolint:tagliatelle // as JSON Schema has it
	Properties           map[string]schema `json:"properties"`
	AdditionalProperties json.RawMessage   `json:"additionalProperties"` //nolint:tagliatelle // false, or a schema
	Items                *schema           `json:"items"`
	Required             []string          `json:"required"`
}

const schemaPrefix = "#/components/schemas/"

// name is the schema's own where it is one of the document's objects.
func (s *schema) name() string {
	name, _ := strings.CutPrefix(s.Ref, schemaPrefix)
	return name
}

// A field is one line of a table: a parameter, or a member of an object by its path, such as grants[].when.
type field struct {
	Name     string
	In       string // of a parameter: path, query, header
	Required bool
	Types    []kind // any one of them
	What     string // markdown
}

// A kind is a type in words, or one of the document's objects; Before is such as "list of".
type kind struct{ Before, Text, Object string }

// fields are the members of an object, required ones first, and below each those of an object that has no name.
func (d *document) fields(s schema, prefix string) []field {
	s = d.resolve(s)
	var all []field
	names := slices.Sorted(maps.Keys(s.Properties))
	slices.SortStableFunc(names, func(a, b string) int { return order(s.Required, a) - order(s.Required, b) })
	for _, name := range names {
		member := s.Properties[name]
		all = append(all, field{
			Name:     prefix + name,
			Required: slices.Contains(s.Required, name),
			Types:    d.kinds(member, ""),
			What:     d.about(member),
		})
		for _, inner := range nameless(member, prefix+name) {
			all = append(all, d.fields(inner.schema, inner.prefix)...)
		}
	}
	return all
}

func order(required []string, name string) int {
	if slices.Contains(required, name) {
		return 0
	}
	return 1
}

type innerObject struct {
	schema schema
	prefix string
}

// nameless are the objects inside of a member that stand nowhere else.
func nameless(s schema, at string) []innerObject {
	switch {
	case s.Ref != "":
		return nil
	case len(s.Properties) > 0:
		return []innerObject{{s, at + "."}}
	case s.Items != nil:
		return nameless(*s.Items, at+"[]")
	}
	var all []innerObject
	for _, one := range s.OneOf {
		all = append(all, nameless(one, at)...)
	}
	return all
}

func (d *document) resolve(s schema) schema {
	if name := s.name(); name != "" {
		return d.Components.Schemas[name]
	}
	return s
}

// kinds says in words which types a value may have.
func (d *document) kinds(s schema, before string) []kind {
	if name := s.name(); name != "" {
		d.mention(name)
		return []kind{{Before: before, Object: name}}
	}
	if len(s.OneOf) > 0 {
		var all []kind
		for _, one := range s.OneOf {
			all = append(all, d.kinds(one, before)...)
		}
		return all
	}
	if s.Items != nil {
		return d.kinds(*s.Items, before+"list of ")
	}
	var additional schema
	if json.Unmarshal(s.AdditionalProperties, &additional) == nil && len(s.Properties) == 0 && s.isType("object") {
		return d.kinds(additional, before+"map of ")
	}
	return []kind{{Before: before, Text: s.typeName()}}
}

func (s *schema) isType(name string) bool {
	return slices.Contains(s.typeNames(), name)
}

func (s *schema) typeNames() []string {
	switch t := s.Type.(type) {
	case string:
		return []string{t}
	case []any:
		names := make([]string, len(t))
		for i, name := range t {
			names[i] = fmt.Sprint(name)
		}
		return names
	}
	return nil
}

func (s *schema) typeName() string {
	names := s.typeNames()
	switch {
	case len(names) == 0:
		return "any JSON"
	case s.Format == "date-time":
		names[0] = "time"
	case s.Format == "binary":
		names[0] = "bytes"
	}
	return strings.Join(names, " or ")
}

// about is a value's description with its bounds.
func (d *document) about(s schema) string {
	parts := []string{s.Description}
	if s.Description == "" && s.Ref != "" {
		resolved := d.resolve(s)
		parts[0] = resolved.Description
	}
	inner := s
	if s.Items != nil {
		inner = *s.Items
	}
	if len(inner.Enum) > 0 {
		parts = append(parts, "One of "+values(inner.Enum)+".")
	}
	if s.Default != nil {
		parts = append(parts, "Default "+values([]any{s.Default})+".")
	}
	if bounds := s.bounds(); bounds != "" {
		parts = append(parts, bounds)
	}
	if len(s.Examples) > 0 && len(inner.Enum) == 0 {
		parts = append(parts, "Such as "+values(s.Examples[:1])+".")
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}

// bounds are those that a client runs into: of a length of 1 at least nothing is said.
func (s *schema) bounds() string {
	var parts []string
	say := func(format string, bound *int) {
		if bound != nil {
			parts = append(parts, fmt.Sprintf(format, *bound))
		}
	}
	switch {
	case s.Minimum != nil && s.Maximum != nil:
		parts = append(parts, fmt.Sprintf("%.0f to %.0f", *s.Minimum, *s.Maximum))
	case s.Minimum != nil && *s.Minimum != 0:
		parts = append(parts, fmt.Sprintf("at least %.0f", *s.Minimum))
	case s.Maximum != nil:
		parts = append(parts, fmt.Sprintf("at most %.0f", *s.Maximum))
	}
	say("at most %d characters", s.MaxLength)
	say("at most %d items", s.MaxItems)
	say("at most %d members", s.MaxProperties)
	if len(parts) == 0 {
		return ""
	}
	text := strings.Join(parts, ", ") + "."
	return strings.ToUpper(text[:1]) + text[1:]
}

// values are written as JSON, texts without their quotes.
func values(all []any) string {
	out := make([]string, len(all))
	for i, value := range all {
		text, isText := value.(string)
		if !isText {
			raw, err := json.Marshal(value)
			if err != nil {
				continue // it came from JSON
			}
			text = string(raw)
		}
		out[i] = "`" + text + "`"
	}
	return strings.Join(out, ", ")
}
