package e2e_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/canary"
)

type object = map[string]any

// A visitor calls every operation of the document with canaries: as it should be called, and in every way in which a
// secret gets where it does not belong.
type visitor struct {
	*birdcage

	document *document
	calls    []documentedCall
	key      string            // of the tenant, with every scope
	rival    string            // a key of another tenant
	revoked  string            // a key that was one
	token    string            // of an endpoint of Stripe's that nobody changes
	stripe   string            // its secret
	ids      map[string]string // of what there is, by the names of the parameters in paths
	issuer   *canaryIssuer
	n        int
}

// unique is another name at each call.
func (v *visitor) unique() string {
	v.n++
	return fmt.Sprintf("n%d", v.n)
}

// bodies are what each operation that takes JSON is called with.
func (v *visitor) bodies(t *testing.T) map[string]object {
	t.Helper()
	note := func() object { return object{"note": v.mislay(t, "metadata")} }
	endpoint := func() object {
		return object{"provider": "stripe", "secret": v.secret(t, "an endpoint's secret", "whsec_"+canary.Text()), "metadata": note()}
	}
	issuer := func() object {
		return object{"issuer": v.issuer.URL, "audiences": []any{"hub"}, "grants": []any{v.unique() + ":{sub}"}, "internal": true, "metadata": note()}
	}
	route := func() object {
		return object{"match": "event.type != '" + v.mislay(t, "an expression") + "'", "channels": []any{"all:{event.provider}"}, "data": "{'as_number': int(event.body.text)}", "metadata": note()}
	}
	named := func(body object) object {
		body["name"] = v.unique()
		return body
	}
	pasted := func() object {
		return object{
			"Authorization": "Bearer " + v.secret(t, "a pasted Authorization", canary.Text()), "Cookie": []any{"a=" + v.secret(t, "a pasted Cookie", canary.Text())},
			"Stripe-Signature": "t=1,v1=00",
		}
	}
	return map[string]object{
		"createTenant":   {"slug": v.unique(), "name": v.mislay(t, "a tenant's name"), "metadata": note()},
		"updateTenant":   {"name": v.mislay(t, "a tenant's name")},
		"updateSettings": {"ticket_seconds": 30},
		"createKey":      {"name": v.mislay(t, "a key's name"), "scopes": []any{"config:read"}, "metadata": note()},
		"createEndpoint": named(endpoint()),
		"putEndpoint":    endpoint(),
		"updateEndpoint": {"metadata": note()},
		"addSecret":      {"secret": v.secret(t, "a further secret", "whsec_"+canary.Text())},
		"updateSecret":   {"state": "active"},
		"verifyWebhook": {
			"headers": pasted(), "body": `{"text":"` + v.secret(t, "a pasted body", canary.Text()) + `"}`, "query": "token=" + v.secret(t, "a pasted query", canary.Text()),
		},
		"createIssuer": named(issuer()),
		"putIssuer":    issuer(),
		"updateIssuer": {"session_seconds": 60},
		"checkIssuers": {"token": v.secret(t, "a token that is checked", v.issuer.token(t, "checked"))},
		"createRoute":  named(route()),
		"putRoute":     route(),
		"updateRoute":  {"metadata": note()},
		"testRoute": {
			"route": object{"match": "true", "channels": []any{"x"}, "data": "{'b': event.body, 'h': event.headers}"},
			"event": object{"provider": "slack", "headers": pasted(), "body": object{"token": v.secret(t, "a pasted token of Slack's", canary.Text())}},
		},
	}
}

// refusedAnyway are operations that are right to refuse what the visitor asks.
var refusedAnyway = map[string]int{
	"armEndpoint":    http.StatusUnprocessableEntity, // Stripe sets no secret
	"retryRejection": http.StatusConflict,            // it is still as wrong as it was
}

// path fills the operation's with what there is.
func (v *visitor) path(t *testing.T, c documentedCall) string {
	t.Helper()
	path := c.path
	for name, id := range v.ids {
		path = strings.ReplaceAll(path, "{"+name+"}", id)
	}
	if strings.Contains(path, "{") {
		t.Fatalf("%s: the canary has nothing for %s", c.id, path)
	}
	return path
}

// admin are the operations of the API: the others are called by what sends webhooks and reads streams.
func (v *visitor) admin(t *testing.T) []documentedCall {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(v.calls), func(c documentedCall) bool {
		if strings.HasPrefix(c.path, "/v1/") {
			return false
		}
		if c.id != "receiveWebhook" && c.id != "openStream" && c.id != "openSelftest" {
			t.Errorf("the canary does not call %s", c.id)
		}
		return true
	})
}

// callRightly calls every operation as it should be, each POST twice with the same Idempotency-Key, and wants it done
// where the hub can.
func (v *visitor) callRightly(t *testing.T, ending, can bool) {
	t.Helper()
	bodies := v.bodies(t)
	for _, c := range v.admin(t) {
		if (c.method == http.MethodDelete) != ending {
			continue
		}
		body, ok := bodies[c.id]
		if ok != (c.body != nil) {
			t.Fatalf("%s: the canary has a body for it: %v; it takes one: %v", c.id, ok, c.body != nil)
		}
		v.wantFilled(t, c, body)
		text := ""
		if ok {
			text = encodedJSON(t, body)
		}
		key := v.key
		if !strings.Contains(c.path, "/{tenant}/") || strings.Contains(c.path, "/issuers") {
			key = v.operator
		}
		var headers []string
		times := 1
		if c.method == http.MethodPost {
			headers, times = []string{"Idempotency-Key", v.unique()}, 2
		}
		for range times {
			status, answer := v.call(t, c, v.path(t, c), key, text, headers...)
			if want := refusedAnyway[c.id]; can && (status >= 300 || want != 0) && status != want {
				t.Errorf("%s: %d %v", c.id, status, answer)
			}
		}
	}
}

// wantFilled fails where an operation takes a secret that its body does not have.
func (v *visitor) wantFilled(t *testing.T, c documentedCall, body object) {
	t.Helper()
	for _, m := range v.document.members(c.body) {
		writeOnly, _ := m.schema["writeOnly"].(bool)
		harm := true
		for place := range harmless {
			_, name, _ := strings.Cut(place, ".")
			harm = harm && name != m.name
		}
		if !writeOnly && (!harm || !secretNames.MatchString(m.name)) {
			continue
		}
		var held any = body
		for name := range strings.SplitSeq(strings.TrimPrefix(m.path, "body."), ".") {
			within, _ := held.(object)
			held = within[name]
		}
		if text, _ := held.(string); len(v.secrets.Search([]byte(text))) == 0 {
			t.Errorf("%s: the canary does not fill %s", c.id, m.path)
		}
	}
}

func encodedJSON(t *testing.T, value any) string {
	t.Helper()
	encoded, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(encoded)
}

// call sends a request, with secrets in the headers that clients and proxies add, and keeps what is answered without
// what the contract gives there.
func (b *birdcage) call(t *testing.T, c documentedCall, path, key, body string, headers ...string) (int, object) {
	t.Helper()
	var in io.Reader
	if body != "" {
		in = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(t.Context(), c.method, b.url+path, in)
	if err != nil {
		t.Fatalf("%s: %v", c.id, err)
	}
	if key != "" {
		r.Header.Set("Authorization", "Bearer "+key)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for name, value := range b.strayHeaders(t) {
		r.Header.Set(name, value)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	res, err := b.client.Do(r)
	if err != nil {
		t.Fatalf("%s: %v", c.id, err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", c.id, err)
	}
	var answer object
	_ = json.Unmarshal(raw, &answer) // what is no object has none
	b.keepAnswer(t, c, res, raw, answer, body)
	return res.StatusCode, answer
}

// strayHeaders are made once: many requests carry them.
func (b *birdcage) strayHeaders(t *testing.T) map[string]string {
	t.Helper()
	if b.stray == nil {
		basic := base64.StdEncoding.EncodeToString([]byte("user:" + b.secret(t, "a proxy's password", canary.Text())))
		b.stray = map[string]string{
			"Cookie":              "__Host-tributary-x=" + b.secret(t, "a cookie", canary.Text()),
			"Proxy-Authorization": "Basic " + basic,
			"Referer":             "https://example.com/?ticket=" + b.secret(t, "a ticket in a referer", canary.Text()),
			"X-Request-Id":        "no id: " + b.secret(t, "a junk request id", canary.Text()),
			"Baggage":             "session=" + b.secret(t, "baggage", canary.Text()),
			"Tracestate":          "vendor=" + b.secret(t, "a trace state", strings.ToLower(canary.Text())),
			"User-Agent":          "client/1 (" + b.secret(t, "a user agent", canary.Text()) + ")",
			"X-Original-Url":      "/in/" + b.secret(t, "a path in a header", canary.Text()),
		}
	}
	return b.stray
}

// keepAnswer keeps headers and body. What the contract gives is taken out, and known from then on.
func (b *birdcage) keepAnswer(t *testing.T, c documentedCall, res *http.Response, raw []byte, answer object, sent string) {
	t.Helper()
	if res.StatusCode == http.StatusTemporaryRedirect {
		b.heard("redirects", raw)
		return
	}
	b.heard("answers' headers", []byte(fmt.Sprint(c.id, " ", res.Status, " ", res.Header)))
	switch {
	case res.StatusCode >= 300:
		b.heard("problems", fmt.Appendf(nil, "%s %d %s", c.id, res.StatusCode, raw))
	case c.id == "getEventBody": // it gives the original to whoever has events:raw
	case answer != nil && c.answer != nil:
		var copied object
		_ = json.Unmarshal(raw, &copied)
		b.takeGiven(t, b.described, c.answer, copied, sent)
		b.heard("answers", []byte(c.id+" "+encodedJSON(t, copied)))
	default:
		b.heard("answers", append([]byte(c.id+" "), raw...))
	}
}

// takeGiven takes out of an answer what it was asked for: what the hub has made, never what the caller has sent.
func (b *birdcage) takeGiven(t *testing.T, d *document, schema object, value any, sent string) {
	t.Helper()
	name := ""
	if ref, ok := schema["$ref"].(string); ok {
		name = ref[strings.LastIndexByte(ref, '/')+1:]
		schema = d.Components.Schemas[name]
	}
	switch value := value.(type) {
	case []any:
		items, _ := schema["items"].(object)
		for _, item := range value {
			b.takeGiven(t, d, items, item, sent)
		}
	case object:
		properties, _ := schema["properties"].(object)
		for _, member := range slices.Sorted(maps.Keys(value)) {
			text, _ := value[member].(string)
			place := name + "." + member
			if given[place] == "" || text == "" || strings.Contains(sent, text) {
				of, _ := properties[member].(object)
				b.takeGiven(t, d, of, value[member], sent)
				continue
			}
			delete(value, member)
			if u, err := url.Parse(text); err == nil && u.IsAbs() {
				text = strings.TrimPrefix(u.Path, "/in/")
			}
			b.secret(t, "what "+place+" gave", text)
		}
	}
}
