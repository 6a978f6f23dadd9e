package api_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/tributary-hub/tributary/internal/hub"
)

// TestProblems_RepeatNothing puts what could be a secret, pasted by mistake, wherever an operation takes a text: no
// problem says it again.
func TestProblems_RepeatNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := w.furnish(t, "acme")
	own.ids["tenant"] = "acme"
	delete(own.ids, "rejection") // none has it
	texts := []string{
		"sk_live_canary", "sk-live canary(", "'sk_live_canary", "{sk_live_canary}", "x:{claims.sk_live_canary + }", "x:sk live canary", "hub:sk_live_canary", "hub.sk_live_canary",
		"ep_sk_live_canary", "https://u:sk_live_canary@example.com/?sk_live_canary", strings.Repeat("sk_live_canary", 400),
	}
	problems, canary := 0, ""
	try := func(op documented, path string, body any, headers ...string) {
		t.Helper()
		r := w.send(t, op.method, path, w.acme, body, headers...)
		if r.status < 400 {
			return
		}
		problems++
		if strings.Contains(string(r.raw), canary) || r.status >= 500 {
			t.Errorf("%s %s %v: %d %s", op.method, path, body, r.status, r.raw)
		}
	}
	n := 0
	next := func() { // what an earlier try has made exists, and may be named
		n++
		canary = fmt.Sprintf("canary%d_", n)
	}
	for _, op := range operations(t, w.served(t)) {
		if !strings.HasPrefix(op.path, "/v1/tenants/{tenant}") || op.method == "DELETE" {
			continue
		}
		path, body := op.path, own.bodies[op.body["operationId"].(string)]
		for name, id := range own.ids {
			path = strings.ReplaceAll(path, "{"+name+"}", id)
		}
		for _, id := range own.ids {
			next()
			try(op, strings.ReplaceAll(path, id, canary), body)
		}
		next()
		try(op, path+"?limit="+canary, nil)
		try(op, path+"?cursor="+canary+"&after="+canary+"&state="+canary, nil)
		try(op, path, `{"name": `+canary)
		try(op, path, `"`+canary+`"`, "Content-Type", "x/"+canary, "If-Match", canary)
		for _, text := range texts {
			next()
			spoil(body, strings.ReplaceAll(text, "canary", canary), func(body any) { try(op, path, body) })
		}
	}
	if problems < 200 {
		t.Errorf("only %d problems", problems)
	}
}

// spoil gives use the value as often as it has texts, each time with one of them replaced.
func spoil(value any, text string, use func(any)) {
	switch value := value.(type) {
	case string:
		use(text)
	case object:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			spoil(value[name], text, func(part any) {
				whole := maps.Clone(value)
				whole[name] = part
				use(whole)
			})
		}
	case []any:
		for i := range value {
			spoil(value[i], text, func(part any) {
				whole := slices.Clone(value)
				whole[i] = part
				use(whole)
			})
		}
	case []string:
		for i := range value {
			whole := slices.Clone(value)
			whole[i] = text
			use(whole)
		}
	}
}

// A route's expression is a place where much is pasted.
func TestProblems_RepeatNoExpression(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, match := range []string{"sk_live_canary == event.type", "event.sk_live_canary", "event.type == 'sk_live_canary"} {
		body := payments(object{"match": match})
		for _, r := range []reply{
			w.refused(t, hub.Invalid, "POST", routes, w.acme, body),
			w.refused(t, hub.Invalid, "PUT", routes+"/payments", w.acme, body),
			w.refused(t, hub.Invalid, "POST", routes+"/test", w.acme, object{"route": body, "event": object{"body": "{}"}}),
		} {
			if strings.Contains(string(r.raw), "canary") || !strings.Contains(r.text(t, "detail"), "match: 1:") {
				t.Errorf("%s: %s", match, r.raw)
			}
		}
	}
}
