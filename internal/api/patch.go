package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A patch is a JSON merge patch (RFC 7396) of a T, the body that creates or replaces the resource: what is absent
// stays, null takes away, objects are merged, lists replaced.
type patch[T any] struct {
	merge map[string]any
}

// UnmarshalJSON keeps the patch as it came; huma has checked it by its schema.
func (p *patch[T]) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &p.merge)
}

// Schema is T's with nothing required, and null wherever something can be taken away. It is the component that is
// named after T, with Patch for Input.
func (p patch[T]) Schema(r huma.Registry) *huma.Schema {
	t := reflect.TypeFor[T]()
	name := strings.TrimSuffix(strings.TrimSuffix(t.Name(), "Create"), "Input") + "Patch"
	ref := &huma.Schema{Ref: "#/components/schemas/" + name}
	if r.Map()[name] != nil {
		return ref
	}
	whole := r.Schema(t, false, "")
	s := &huma.Schema{
		Type: huma.TypeObject, AdditionalProperties: false, Properties: map[string]*huma.Schema{},
		Description: "A JSON merge patch (RFC 7396): what is absent stays, null takes away, objects are merged.",
	}
	for property, schema := range whole.Properties {
		s.Properties[property] = removable(schema, slices.Contains(whole.Required, property))
	}
	s.PrecomputeMessages()
	r.Map()[name] = s
	return ref
}

// removable is a property's schema in a patch.
func removable(schema *huma.Schema, required bool) *huma.Schema {
	s := *schema
	s.Default = nil // absent is not the default here
	if values, ok := s.AdditionalProperties.(*huma.Schema); ok && values.Ref == "" && values.Type != "" {
		nullable := *values
		nullable.Nullable = true
		s.AdditionalProperties = &nullable
	}
	if !required && s.Ref == "" && s.Type != "" && s.Enum == nil {
		s.Nullable = true
	}
	return &s
}

// patched applies p to what the resource is now and checks the result as if it had been sent whole.
func patched[T any](a *API, current T, p patch[T]) (T, error) {
	var none T
	encoded, err := json.Marshal(current)
	if err != nil {
		return none, fmt.Errorf("encode what is patched: %w", err)
	}
	var whole map[string]any
	if err := json.Unmarshal(encoded, &whole); err != nil {
		return none, fmt.Errorf("decode what is patched: %w", err)
	}
	whole = merge(whole, p.merge)

	if err := a.checkForm(a.huma.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[T](), false, ""), whole); err != nil {
		return none, err
	}
	if encoded, err = json.Marshal(whole); err != nil {
		return none, fmt.Errorf("encode what was patched: %w", err)
	}
	var out T
	if err := json.Unmarshal(encoded, &out); err != nil {
		return none, hub.FieldErrorf("body", "has a value that does not fit")
	}
	return out, nil
}

// checkForm checks a body by its schema, as huma does with those that it reads itself.
func (a *API) checkForm(schema *huma.Schema, body any) error {
	var result huma.ValidateResult
	place := huma.NewPathBuffer([]byte("body"), len("body"))
	huma.Validate(a.huma.OpenAPI().Components.Schemas, schema, place, huma.ModeWriteToServer, body, &result)
	if len(result.Errors) > 0 {
		return formError(http.StatusUnprocessableEntity, "", result.Errors)
	}
	return nil
}

// merge is MergePatch of RFC 7396.
func merge(target, patch map[string]any) map[string]any {
	out := maps.Clone(target)
	if out == nil {
		out = map[string]any{}
	}
	for name, value := range patch {
		switch value := value.(type) {
		case nil:
			delete(out, name)
		case map[string]any:
			inner, _ := out[name].(map[string]any)
			out[name] = merge(inner, value)
		default:
			out[name] = value
		}
	}
	return out
}

// fields names what the patch says something about, for the audit. Values stay out of it: some are secret.
func (p patch[T]) fields() map[string]any {
	return map[string]any{"changed": slices.Sorted(maps.Keys(p.merge))}
}

// component is the schema of T as a component of its own.
func component[T any](r huma.Registry) *huma.Schema {
	return r.Schema(reflect.TypeFor[T](), true, "")
}
