package e2e_test

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// A documentedCall is an operation of the hub's OpenAPI document.
type documentedCall struct {
	id, method, path string
	parameters       []string       // in: name
	body             map[string]any // the schema of its JSON body; nil: it has none
	answer           map[string]any // the schema of what it gives; nil: nothing, or no JSON
}

// A document is the hub's OpenAPI document.
type document struct {
	Paths      map[string]map[string]json.RawMessage `json:"paths"`
	Components struct {
		Schemas         map[string]map[string]any `json:"schemas"`
		Parameters      map[string]parameter      `json:"parameters"`
		SecuritySchemes map[string]map[string]any `json:"securitySchemes"` //nolint:tagliatelle // OpenAPI's own
	} `json:"components"`
}

type parameter struct {
	Ref  string `json:"$ref"`
	Name string `json:"name"`
	In   string `json:"in"`
}

func (b *birdcage) document(t *testing.T) *document {
	t.Helper()
	res, err := b.client.Get(b.url + "/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return &d
}

// calls are all operations, those that end something last, and what they end before what it belongs to.
func (d *document) calls(t *testing.T) []documentedCall {
	t.Helper()
	var all []documentedCall
	for path, methods := range d.Paths {
		for method, raw := range methods {
			if method == "parameters" {
				continue
			}
			var op struct {
				OperationID string      `json:"operationId"` //nolint:tagliatelle // OpenAPI's own
				Parameters  []parameter `json:"parameters"`
				RequestBody struct {
					Content map[string]struct {
						Schema map[string]any `json:"schema"`
					} `json:"content"`
				} `json:"requestBody"` //nolint:tagliatelle // OpenAPI's own
				Responses map[string]struct {
					Content map[string]struct {
						Schema map[string]any `json:"schema"`
					} `json:"content"`
				} `json:"responses"`
			}
			if err := json.Unmarshal(raw, &op); err != nil {
				t.Fatalf("%s %s: %v", method, path, err)
			}
			c := documentedCall{id: op.OperationID, method: strings.ToUpper(method), path: path}
			for _, p := range op.Parameters {
				if p.Ref != "" {
					p = d.Components.Parameters[p.Ref[strings.LastIndexByte(p.Ref, '/')+1:]]
				}
				c.parameters = append(c.parameters, p.In+": "+p.Name)
			}
			c.body = op.RequestBody.Content["application/json"].Schema
			for status, response := range op.Responses {
				if strings.HasPrefix(status, "2") && response.Content["application/json"].Schema != nil {
					c.answer = response.Content["application/json"].Schema
				}
			}
			all = append(all, c)
		}
	}
	if len(all) < 50 {
		t.Fatalf("the document has %d operations", len(all))
	}
	slices.SortFunc(all, func(a, b documentedCall) int {
		if ends := a.method == http.MethodDelete; ends != (b.method == http.MethodDelete) {
			return map[bool]int{true: 1, false: -1}[ends]
		} else if ends && len(a.path) != len(b.path) {
			return len(b.path) - len(a.path)
		}
		return strings.Compare(a.path+a.method, b.path+b.method)
	})
	return all
}

// A member is one of a body, by the names that lead to it.
type member struct {
	path   string // body.a.b
	name   string
	schema map[string]any
}

// members are all of a schema, at every depth.
func (d *document) members(schema map[string]any) []member {
	var all []member
	var walk func(path string, schema map[string]any, depth int)
	walk = func(path string, schema map[string]any, depth int) {
		if ref, ok := schema["$ref"].(string); ok {
			schema = d.Components.Schemas[ref[strings.LastIndexByte(ref, '/')+1:]]
		}
		if depth > 6 {
			return
		}
		for _, form := range []string{"oneOf", "anyOf", "allOf"} {
			forms, _ := schema[form].([]any)
			for _, one := range forms {
				walk(path, one.(map[string]any), depth+1)
			}
		}
		if items, ok := schema["items"].(map[string]any); ok {
			walk(path, items, depth+1)
		}
		properties, _ := schema["properties"].(map[string]any)
		for _, name := range slices.Sorted(maps.Keys(properties)) {
			property := properties[name].(map[string]any)
			all = append(all, member{path + "." + name, name, property})
			walk(path+"."+name, property, depth+1)
		}
	}
	walk("body", schema, 0)
	return all
}

// secretNames are how members are called that hold secrets. An id of the same name is among the harmless.
var secretNames = regexp.MustCompile(`(?i)secret|token|passw|credential|ticket|cookie|authorization|(^|_)key$|(^|_)url$`)

// harmless are members that are called so and hold none.
var harmless = map[string]string{
	"Event.secret": "an id", "EventSummary.secret": "an id", "Trail.secret": "an id", "WebhookVerdict.secret": "an id",
	"Provider.user_sets_secret": "whether it does",
	"Settings.ticket_seconds":   "a number", "Settings.credential_seconds": "a number", "Settings.ticket_reuse": "a word of two",
	"SettingsPatch.ticket_seconds": "a number", "SettingsPatch.credential_seconds": "a number", "SettingsPatch.ticket_reuse": "a word of two",
	"Me.key": "what a key is called and may", "Route.key": "an expression", "RouteInput.key": "an expression", "RoutePatch.key": "an expression", "RoutePut.key": "an expression",
	"TestedMessage.key": "a name within a channel", "TrailMessage.key": "a name within a channel",
}

// given are the members of answers that the contract gives a secret in; each was just made by the hub, or may be read
// again by whoever configures the tenant.
var given = map[string]string{
	"NewKey.key":         "a key is shown once, to whoever made it",
	"NewSecret.secret":   "one that the hub made is shown once",
	"NewEndpoint.secret": "one that the hub made is shown once",
	"NewEndpoint.url":    "it is pasted at the provider",
	"Endpoint.url":       "config:read may see it again",
}

// wantKnown fails where a schema has a member that looks like a secret and nobody has said what it is.
func (d *document) wantKnown(t *testing.T) {
	t.Helper()
	seen := map[string]bool{}
	for name, schema := range d.Components.Schemas {
		properties, _ := schema["properties"].(map[string]any)
		for property, of := range properties {
			place := name + "." + property
			writeOnly, _ := of.(map[string]any)["writeOnly"].(bool)
			if writeOnly || !secretNames.MatchString(property) {
				continue
			}
			seen[place] = true
			if harmless[place] == "" && given[place] == "" {
				t.Errorf("%s: a secret? Say so in the table of what is given or of what is harmless, or mark it writeOnly", place)
			}
		}
	}
	for place := range harmless {
		if !seen[place] {
			t.Errorf("%s is not in the document", place)
		}
	}
	for place := range given {
		if !seen[place] {
			t.Errorf("%s is not in the document", place)
		}
	}
}

// notYet are what security.md has the canary cover and this build does not have: where one comes, a way to it does.
func (b *birdcage) wantNotYet(t *testing.T, d *document) {
	t.Helper()
	for name, scheme := range d.Components.SecuritySchemes {
		if scheme["type"] != "http" {
			t.Errorf("there is a credential %s (%v) now: have the canary make, send and search for one", name, scheme)
		}
	}
	for what, route := range map[string]string{
		"tickets of a tenant's backend": "POST /v1/tenants/acme/tickets", "tickets of browsers": "POST /stream/acme/tickets",
		"session cookies": "POST /stream/acme/session", "renewal": "POST /stream/acme/renew",
	} {
		method, path, _ := strings.Cut(route, " ")
		status, _ := b.call(t, documentedCall{id: what, method: method, path: path}, path, b.operator, "{}")
		if _, documented := d.Paths[strings.ReplaceAll(path, "acme", "{tenant}")]; documented || status != http.StatusNotFound {
			t.Errorf("there are %s now (%s: %d): have the canary make, send and search for one", what, route, status)
		}
	}
}
