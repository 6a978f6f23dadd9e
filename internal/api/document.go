package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/danielgtaylor/huma/v2/yaml"
)

// devURL is the server that the checked-in documents name.
const devURL = "http://127.0.0.1:8080"

// Document is the OpenAPI document. Version is 3.1 or 3.0, format yaml or json.
func Document(version, format string) ([]byte, error) {
	return build(Options{}, http.NewServeMux()).document(version, format)
}

func (a *API) document(version, format string) ([]byte, error) {
	doc := a.huma.OpenAPI()
	var encoded []byte
	var err error
	switch version {
	case "3.1":
		encoded, err = doc.MarshalJSON()
	case "3.0":
		encoded, err = doc.Downgrade()
	default:
		return nil, fmt.Errorf("there is no OpenAPI document of version %q, only 3.1 and 3.0", version)
	}
	if err != nil {
		return nil, fmt.Errorf("encode the document: %w", err)
	}
	var out bytes.Buffer
	switch format {
	case "json":
		err = json.Indent(&out, encoded, "", "  ")
	case "yaml":
		err = yaml.Convert(&out, bytes.NewReader(encoded))
	default:
		return nil, fmt.Errorf("the document comes as yaml or json, not as %q", format)
	}
	return out.Bytes(), err
}

// serveDocuments serves the documents to everybody, with this hub as their server.
func (a *API) serveDocuments(mux *http.ServeMux) {
	a.huma.OpenAPI().Servers = servers(a.o.PublicURL)
	for _, d := range []struct{ path, version, format, kind string }{
		{"/openapi.yaml", "3.1", "yaml", "application/yaml"},
		{"/openapi.json", "3.1", "json", "application/json"},
		{"/openapi-3.0.yaml", "3.0", "yaml", "application/yaml"},
	} {
		document, err := a.document(d.version, d.format)
		if err != nil {
			panic("api: " + err.Error()) // the same at every start, so that a test has seen it
		}
		mux.HandleFunc("GET "+d.path, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", d.kind)
			w.Header().Set("X-Content-Type-Options", "nosniff")
			_, _ = w.Write(document) // nobody is left to be told
		})
	}
}

func servers(public *url.URL) []*huma.Server {
	if public == nil {
		return []*huma.Server{{URL: devURL, Description: "What `tributary dev` listens on; elsewhere the hub's public URL"}}
	}
	return []*huma.Server{{URL: strings.TrimSuffix(public.String(), "/"), Description: "This hub"}}
}

func newHuma(mux *http.ServeMux) huma.API {
	setHuma()
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title:       "Tributary",
				Version:     "1.0.0",
				Description: aboutDocument,
				Contact:     &huma.Contact{Name: "Tributary", URL: "https://github.com/tributary-hub/tributary"},
				License:     &huma.License{Name: "Apache-2.0", URL: "https://www.apache.org/licenses/LICENSE-2.0"},
			},
			Servers:  servers(nil),
			Tags:     tags(),
			Security: []map[string][]string{{keyScheme: {}}},
			Components: &huma.Components{
				Schemas:         registry,
				Responses:       problemResponses(registry),
				Parameters:      sharedParameters(),
				Headers:         sharedHeaders(),
				SecuritySchemes: securitySchemes(),
			},
		},
		Formats:                      huma.DefaultFormats,
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
	api := humago.New(mux, config)
	addStrangers(api.OpenAPI())
	return api
}

const aboutDocument = `Tributary is a self-hosted, multi-tenant hub: providers' webhooks flow in, are verified, stored and routed, and flow out to browsers as Server-Sent Events.

This is its admin API, and the two paths that are not for administrators: where webhooks come in and where streams go out.

- **Keys.** ` + "`Authorization: Bearer trb_…`" + `. A key has scopes; each operation says which it needs. Another tenant's object is 404.
- **Names.** ` + "`{tenant}`" + ` takes an id or a slug; endpoints, routes and issuers are named by their id or their name, and PUT at a name creates or replaces.
- **Lists** are ` + "`{\"items\", \"next_cursor\"}`" + `, with ` + "`limit`" + ` and ` + "`cursor`" + `.
- **Idempotency-Key**, on every POST, makes sending it again safe for 24 hours. An answer that holds a secret is kept for 10 minutes.
- **ETag and If-Match** keep two changes from overwriting each other: 412 where the object has changed in between.
- **Problems** are RFC 9457; ` + "`code`" + ` says which, and each has its place at ` + "`/docs/problems`" + `.`

func tags() []*huma.Tag {
	return []*huma.Tag{
		{Name: "Providers", Description: "Who signs webhooks, and how: the catalogue that this build knows."},
		{Name: "Keys", Description: "API keys of a tenant, within the scopes and expiry of the key that makes them."},
		{Name: "Tenants", Description: "The operator's: who uses this hub, with which limits."},
		{Name: "Settings", Description: "What a tenant decides about its browsers."},
		{Name: "Endpoints", Description: "Where one provider sends one tenant's webhooks."},
		{Name: "Secrets", Description: "Signing secrets of an endpoint. Several are active while one is rotated out."},
		{Name: "Rejections", Description: "Webhooks that were refused, with the cause. A bounded ring per endpoint keeps them."},
		{Name: "Routes", Description: "Which events become messages, on which channels, with which data."},
		{Name: "Issuers", Description: "The OIDC issuers that a tenant trusts, and what their tokens may read."},
		{Name: "Events", Description: "Accepted webhooks, and what became of them."},
		{Name: "Webhooks", Description: "For providers: where webhooks come in."},
		{Name: "Streams", Description: "For browsers and backends: where messages go out."},
	}
}
