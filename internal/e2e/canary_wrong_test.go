package e2e_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/canary"
)

// callWrongly calls every operation with secrets where something else belongs: in the path, the query, headers, in each
// member of the body and beside it, in a body that cannot be read; and with credentials that are none.
func (v *visitor) callWrongly(t *testing.T) {
	t.Helper()
	problems := 0
	for _, c := range v.admin(t) {
		if c.id == "deleteTenant" {
			continue // its path has nothing else
		}
		path := v.path(t, c)
		body := v.bodies(t)[c.id]
		try := func(what, path, key, body string, headers ...string) {
			t.Helper()
			if c.method == http.MethodDelete {
				headers = append([]string{"If-Match", `"another"`}, headers...) // what there is stays
			}
			status, _ := v.call(t, c, path, key, body, headers...)
			if status >= 400 {
				problems++
			}
			if status >= 500 {
				t.Errorf("%s with %s: %d", c.id, what, status)
			}
		}
		junk := func(what string) string { return v.mislay(t, c.id+": "+what) }
		name := func(what string) string { return v.misname(t, c.id+": "+what) }
		if test, ok := body["event"].(object); ok {
			test["body"] = object{"token": junk("a token of nobody's")} // where the provider is another, it is not one of Slack's
		}

		for kind, id := range v.ids {
			if strings.Contains(c.path, "{"+kind+"}") {
				try(kind, strings.Replace(path, id, junk("the "+kind+" of the path"), 1), v.key, "")
				try(kind, strings.Replace(path, id, url.PathEscape("'"+junk("the "+kind+" of the path")+"/\x00"), 1), v.key, "")
			}
		}
		try("a longer path", path+"/"+junk("a longer path"), v.key, "")
		try("a path with slashes", "/"+path+"//"+junk("a path with slashes"), v.key, "")
		for _, p := range c.parameters {
			in, called, _ := strings.Cut(p, ": ")
			switch in {
			case "query":
				try(p, path+"?"+called+"="+junk(p), v.key, "")
			case "header":
				try(p, path, v.key, "", called, junk(p)+" \xe9")
			}
		}
		try("an unknown parameter", path+"?"+name("a parameter's name")+"="+junk("a parameter"), v.key, "")
		try("a query that cannot be read", path+"?a=%zz"+junk("half a query"), v.key, "")
		try("a method", path, v.key, "", "X-HTTP-Method-Override", junk("a method"))
		for what, key := range v.badKeys(t) {
			try(what, path, key, encodedJSON(t, body))
		}
		try("basic credentials", path, "", encodedJSON(t, body), "Authorization", "Basic "+v.secret(t, "basic credentials", canary.Text()))
		try("no scheme", path, "", encodedJSON(t, body), "Authorization", v.secret(t, "a credential without a scheme", canary.Text()))
		if c.body == nil {
			try("a body", path, v.key, `{"`+name("a body that is not asked for")+`":1}`)
			continue
		}
		try("half a body", path, v.key, `{"name": "`+junk("half a body"))
		try("a body that is no JSON", path, v.key, junk("a body that is no JSON"))
		try("a body that is a text", path, v.key, `"`+junk("a body that is a text")+`"`)
		try("a body in another form", path, v.key, encodedJSON(t, body), "Content-Type", "application/"+junk("a content type"))
		try("a body that is packed", path, v.key, encodedJSON(t, body), "Content-Encoding", junk("a content encoding"))
		more := maps.Clone(body)
		more[name("a member's name")] = junk("a further member")
		try("more members", path, v.key, encodedJSON(t, more))
		for _, m := range v.document.members(c.body) {
			within := junk
			if m.name == "name" { // problems name a tenant's objects
				within = name
			}
			for kind, value := range misfits(within, name) {
				whole := maps.Clone(body)
				if !place(whole, strings.Split(m.path, ".")[1:], value(m.path+" as "+kind)) {
					continue
				}
				try(m.path+" as "+kind, path, v.operator, encodedJSON(t, whole))
			}
		}
	}
	if problems < 1000 {
		t.Errorf("only %d problems", problems)
	}
}

// misfits are forms in which a secret gets into a member that is not for it, or in which a member is not what it should be.
func misfits(junk, name func(string) string) map[string]func(what string) any {
	return map[string]func(string) any{
		"a text":           func(what string) any { return junk(what) },
		"a text of a form": func(what string) any { return "{" + junk(what) + " + 'x" },
		"a URL":            func(what string) any { return "https://user:" + junk(what) + "@example.com/?token=" + junk(what) },
		"a list":           func(what string) any { return []any{junk(what), 1} },
		"an object":        func(what string) any { return object{name(what): object{"x": junk(what)}} },
		"a long text":      func(what string) any { return strings.Repeat(junk(what)+" ", 600) },
	}
}

// place puts a value where the names lead to, in copies of what is on the way. It says whether there is such a place.
func place(into object, names []string, value any) bool {
	if len(names) == 1 {
		into[names[0]] = value
		return true
	}
	within, ok := into[names[0]].(object)
	if !ok {
		return false
	}
	within = maps.Clone(within)
	into[names[0]] = within
	return place(within, names[1:], value)
}

// badKeys are credentials that are refused.
func (v *visitor) badKeys(t *testing.T) map[string]string {
	t.Helper()
	return map[string]string{
		"a key cut short":       v.secret(t, "a key cut short", v.key[:len(v.key)-3]),
		"a key that is none":    v.secret(t, "a key that is none", "trb_"+canary.Text()),
		"a revoked key":         v.revoked,
		"a token":               v.secret(t, "a token at the API", v.issuer.token(t, "api")),
		"a secret":              v.secret(t, "a secret as a key", "whsec_"+canary.Text()),
		"another tenant's key":  v.rival,
		"two keys":              v.key + ", " + v.operator,
		"a key of another form": v.secret(t, "a key of another form", "x"+canary.Text()+`"'{}`),
	}
}

// readStreams opens streams with every credential and with junk wherever the request has room.
func (v *visitor) readStreams(t *testing.T, can bool) {
	t.Helper()
	c := v.calls[slices.IndexFunc(v.calls, func(c documentedCall) bool { return c.id == "openStream" })]
	selftest := v.calls[slices.IndexFunc(v.calls, func(c documentedCall) bool { return c.id == "openSelftest" })]
	good := v.secret(t, "a user's token", v.issuer.token(t, "ann"))
	for what, key := range map[string]string{
		"a good token": good, "the tenant's key": v.key, "an expired token": v.secret(t, "an expired token", v.issuer.expired(t)),
		"a forged token":        v.secret(t, "a forged token", v.issuer.forged(t)),
		"no algorithm":          v.secret(t, "a token without a signature", v.issuer.unsigned(t)),
		"a stranger's token":    v.secret(t, "a stranger's token", strangerToken(t, "https://login.invalid/"+v.mislay(t, "a stranger's issuer"))),
		"an unknown key of it":  v.secret(t, "a token of an unknown key", strangerToken(t, v.issuer.URL)),
		"another tenant's key":  v.rival,
		"nothing like a token":  v.secret(t, "nothing like a token", canary.Text()+"."+canary.Text()+"."+canary.Text()),
		"a revoked key":         v.revoked,
		"a token in two pieces": v.secret(t, "a token in two pieces", canary.Text()) + " " + good,
	} {
		status := v.stream(t, c, "/stream/acme?last=10", key, "Accept", "application/json")
		if can && (what == "a good token" || what == "the tenant's key") != (status == http.StatusOK) {
			t.Errorf("a stream with %s: %d", what, status)
		}
		if tested := v.stream(t, selftest, "/stream/acme/selftest", key, "Accept", "application/json"); can && tested != status {
			t.Errorf("a self-test with %s: %d, and a stream %d", what, tested, status)
		}
	}
	junk := func(what string) string { return v.mislay(t, "openStream: "+what) }
	for _, query := range []string{
		"channel=" + junk("a channel"), "channel={" + junk("a pattern"), "last=" + junk("last"), "since=" + junk("since"), "last_event_id=" + junk("last_event_id"),
		"ticket=" + v.secret(t, "a ticket in a URL", canary.Text()), "access_token=" + v.secret(t, "a token in a URL", canary.Text()), "envelope=" + junk("envelope"), "a=%zz" + junk("half a query"),
	} {
		v.stream(t, c, "/stream/acme?"+query, v.key, "Accept", "application/json")
	}
	v.stream(t, c, "/stream/acme", v.key, "Last-Event-ID", junk("Last-Event-ID"))
	v.stream(t, c, "/stream/acme", good, "Origin", "https://"+junk("an origin"))
	v.stream(t, c, "/stream/"+junk("a tenant"), v.key)
	v.stream(t, c, "/stream/acme?ticket="+v.secret(t, "a ticket alone", canary.Text()), "")
}

// visitElsewhere asks what is not in the document, with tokens in paths and queries.
func (v *visitor) visitElsewhere(t *testing.T) {
	t.Helper()
	for i, path := range []string{"/", "/docs", "/docs/api", "/healthz", "/favicon.ico", "/nothing/%s", "/docs/%s", "//in/%s", "/in/%s", "/in//%s/", "/in/%s/../x", "/stream/%s", "/in/" + v.token + "/%s", "/in/%%zz%s"} {
		for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodOptions, "BREW"} {
			filled := path
			if strings.Contains(path, "%s") {
				filled = fmt.Sprintf(path, v.secret(t, "a path of strangers", canary.Text()))
			}
			if strings.Contains(filled, "%zz") {
				continue // no client sends it
			}
			v.call(t, documentedCall{id: fmt.Sprint("elsewhere ", i), method: method}, filled+"?token="+v.secret(t, "a query of strangers", canary.Text()), "", "")
		}
	}
}
