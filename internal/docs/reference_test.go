package docs_test

import (
	"regexp"
	"strings"
	"testing"
)

const openAPI = `{
"tags": [{"name": "Routes", "description": "Rules."}, {"name": "Streams", "description": "Out."}, {"name": "Empty", "description": "Nothing."}],
"paths": {
	"/v1/tenants/{tenant}/routes/{route}": {
		"put": {
			"tags": ["Routes"], "summary": "Create or replace a route", "operationId": "putRoute", "description": "Compiles it.\n\nNeeds ` + "`config:write`" + `.",
			"security": [{"key": []}],
			"parameters": [
				{"name": "tenant", "in": "path", "required": true, "description": "Id or slug.", "schema": {"type": "string", "maxLength": 100}},
				{"$ref": "#/components/parameters/IfMatch"}
			],
			"requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/RoutePut"}}}},
			"responses": {
				"201": {"description": "Created", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Route"}}}},
				"204": {"description": "No Content"},
				"422": {"$ref": "#/components/responses/Unprocessable"},
				"409": {"$ref": "#/components/responses/Unprocessable"}
			}
		},
		"get": {"tags": ["Routes"], "summary": "Get a route", "operationId": "getRoute", "responses": {"200": {"description": "OK"}}, "security": []}
	},
	"/stream/{tenant}": {"get": {
		"tags": ["Streams"], "summary": "Open a <stream>", "operationId": "openStream", "security": [{"token": []}, {"key": []}],
		"responses": {"200": {"description": "The stream.", "content": {"text/event-stream": {"schema": {"type": "string"}}}}}
	}}
},
"components": {
	"parameters": {"IfMatch": {"name": "If-Match", "in": "header", "description": "An ETag | a version.", "schema": {"type": "string"}}},
	"responses": {"Unprocessable": {"description": "no", "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}}},
	"schemas": {
		"Problem": {"type": "object", "required": ["code"], "properties": {"code": {"type": "string"}}},
		"RoutePut": {"type": "object", "required": ["match"], "properties": {
			"match": {"type": "string", "description": "CEL | a boolean", "examples": ["true"]},
			"channels": {"type": "array", "maxItems": 10, "items": {"type": "string"}},
			"state": {"type": "string", "enum": ["enabled", "disabled"], "default": "enabled"},
			"grants": {"type": "array", "items": {"oneOf": [{"type": "string"}, {"type": "object", "required": ["pattern"], "properties": {"pattern": {"type": "string", "description": "A pattern."}}}]}},
			"metadata": {"type": "object", "additionalProperties": {"type": "string"}, "maxProperties": 50},
			"limit": {"type": ["integer", "null"], "minimum": 1, "maximum": 100},
			"data": {"description": "Whatever."}
		}},
		"Route": {"type": "object", "properties": {"failures": {"$ref": "#/components/schemas/Failures"}, "at": {"type": "string", "format": "date-time"}}},
		"Failures": {"type": "object", "description": "What failed.", "properties": {"last": {"type": "array", "items": {"$ref": "#/components/schemas/Failure"}}}},
		"Failure": {"type": "object", "properties": {"error": {"type": "string"}}},
		"Unused": {"type": "object", "properties": {"nothing": {"type": "string"}}}
	}
}}`

// What a reader sees of the document, without tags.
func TestReference(t *testing.T) {
	t.Parallel()
	html := text(t, handler(t), "/docs/api")
	_, main, _ := strings.Cut(html, "<main")
	seen := strings.Join(strings.Fields(regexp.MustCompile(`<[^>]*>`).ReplaceAllString(main, " ")), " ")
	for name, want := range map[string]string{
		"the list of a tag":               "Routes # Rules. GET /v1/tenants/{tenant}/routes/{route} Get a route PUT /v1/tenants/{tenant}/routes/{route} Create or replace a route",
		"an operation":                    "Create or replace a route # PUT /v1/tenants/{tenant}/routes/{route} Compiles it. Needs config:write .",
		"a parameter":                     "tenant path required string Id or slug. At most 100 characters.",
		"a parameter that is a $ref":      "If-Match header string An ETag | a version.",
		"required members first":          "Body application/json name type what match required string CEL | a boolean Such as true . channels",
		"a list":                          "channels list of string At most 10 items.",
		"an enumeration":                  "state string One of enabled , disabled . Default enabled .",
		"one of several":                  "grants list of string or list of object",
		"members of a nameless object":    "grants[].pattern required string A pattern.",
		"a map":                           "metadata map of string At most 50 members.",
		"a type that may be null":         "limit integer or null 1 to 100.",
		"a value of no type":              "data any JSON Whatever.",
		"an answer":                       "201 Created application/json name type what at time",
		"an answer's object":              "failures Failures What failed.",
		"an answer without a body":        "204 No Content",
		"problems":                        "Problems : 409 422",
		"no credential":                   "Get a route # GET /v1/tenants/{tenant}/routes/{route} No credential.",
		"an end user's token":             "Takes an end user's token, or an API key.",
		"an answer that is no object":     "200 The stream. text/event-stream string",
		"text is text":                    "Open a &lt;stream&gt;",
		"objects, and theirs, by name":    "Objects # Failure # name type what error string Failures # What failed. name type what last list of Failure Problem #",
		"the problem is always an object": "Problem # name type what code required string",
	} {
		if !strings.Contains(strings.ReplaceAll(seen, "&#39;", "'"), want) {
			t.Errorf("%s: no %q", name, want)
		}
	}
	for name, unwanted := range map[string]string{"a tag of no operation": "Nothing.", "an object that nothing leads to": "Unused"} {
		if strings.Contains(seen, unwanted) {
			t.Errorf("%s is shown", name)
		}
	}
	for _, want := range []string{`<h3 id="putRoute">`, `href="/docs/problems#status-409"`, `<a href="#object-Failures">Failures</a>`, `<h3 id="object-Failures">`} {
		if !strings.Contains(html, want) {
			t.Errorf("no %s", want)
		}
	}
	if t.Failed() {
		t.Log(seen)
	}
}
