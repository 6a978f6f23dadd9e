package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// everywhere is the longest that a change may take to count at every process. The hub promises 10 s; what is over that
// is for a machine that is busy with something else.
const everywhere = 20 * time.Second

// An elsewhere is what the tests of changes need: a process A where changes are made, a process B where they must count,
// and a third one that works what either takes in; these two reach Postgres by a relay.
type elsewhere struct {
	*fleet
	own    *tenant
	a, b   *node
	relays []*relay
	issuer *issuer
}

const tenantBase = "/v1/tenants/" + tenantSlug

// TestElsewhere: what is changed at one process counts at the others, whether they hear the signals or their listeners
// are cut for good.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	for _, deaf := range []bool{false, true} {
		t.Run(fmt.Sprintf("listener cut %t", deaf), func(t *testing.T) {
			t.Parallel()
			e := newElsewhere(t)
			if deaf {
				for _, r := range e.relays {
					r.deafen(t)
				}
			}
			e.routes(t)
			e.secrets(t)
			e.keys(t)
			e.endpoints(t)
			e.issuers(t)
			e.tenants(t)
			if heard := e.b.heard(t); deaf == heard {
				t.Errorf("B's listener is connected: %t", heard)
			}
		})
	}
}

func newElsewhere(t *testing.T) *elsewhere {
	t.Helper()
	s := newFleet(t)
	e := &elsewhere{fleet: s, relays: []*relay{newRelay(t, s.pg), newRelay(t, s.pg)}, issuer: newIssuer(t)}
	env := e.issuer.env(t)
	e.a = s.serve(t, "ingest,api,stream", env...)
	e.b = s.serve(t, "ingest,api,stream", append(env, "TRIBUTARY_DIRECT_DATABASE_URL="+e.relays[0].url("hub_b"))...)
	s.serve(t, "worker", append(env, "TRIBUTARY_DIRECT_DATABASE_URL="+e.relays[1].url("hub_b"))...)
	e.own = s.newTenant(t)
	e.post(t, e.own.secret, http.StatusOK) // B knows the tenant as it is now, with all that it has
	waitUntil(t, func() bool {
		return count(t, s.pg.pool(t, databaseName), `SELECT count(*) FROM tributary.outcomes`) == 1
	})
	return e
}

// heard says whether the process's listener is connected, by its own account.
func (n *node) heard(t *testing.T) bool {
	t.Helper()
	return n.metric(t, "tributary_backplane_connected") == "1"
}

// metric is what stands behind a name, labels included, at the process's operator's port.
func (n *node) metric(t *testing.T, name string) string {
	t.Helper()
	res, err := http.Get("http://" + n.ops + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	metrics, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(metrics, []byte("\n"+name+" "))
	value, _, _ := bytes.Cut(rest, []byte("\n"))
	return string(value)
}

// post sends a webhook to B and wants that status.
func (e *elsewhere) post(t *testing.T, secret string, want int) {
	t.Helper()
	if status, body := e.tryPost(t, secret); status != want {
		t.Errorf("a webhook at B: %d %s, want %d", status, body, want)
	}
}

func (e *elsewhere) tryPost(t *testing.T, secret string) (int, string) {
	t.Helper()
	id := fmt.Sprintf("evt_%d", time.Now().UnixNano())
	res, err := postSigned(t.Context(), http.DefaultClient, e.b.url()+e.own.path, secret, payment(id, 1, "cus_1"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(body)
}

// within waits until it is so, and logs how long that took.
func (e *elsewhere) within(t *testing.T, what string, so func() bool) {
	t.Helper()
	began := time.Now()
	waitWhile(began.Add(everywhere), func() bool { return !so() })
	took := time.Since(began).Round(time.Millisecond)
	t.Logf("%-44s %s", what, took)
	if took >= everywhere {
		t.Errorf("%s: not after %s", what, took)
	}
}

// routes: the webhook that follows a change of the route, without a moment between them, is worked by the new one.
func (e *elsewhere) routes(t *testing.T) {
	t.Helper()
	w := newWatcher(t, e.own.key, e.b)
	w.await(t, "hub.ready", func() bool { return w.kinds["hub.ready"] > 0 })
	for i := range 20 {
		e.api(t, e.a, http.MethodPut, tenantBase+"/routes/all", map[string]any{
			"match": "true", "channels": []string{"payments"}, "data": fmt.Sprintf("{'route': %d}", i),
		}, http.StatusOK)
		e.post(t, e.own.secret, http.StatusOK)
		want := fmt.Sprintf(`{"route":%d}`, i)
		var got string
		w.await(t, "a message", func() bool {
			if len(w.seen) > i {
				got = w.seen[i].data
			}
			return len(w.seen) > i
		})
		if got != want {
			t.Errorf("worked by another route than the newest: %s, want %s", got, want)
		}
	}
	w.stop()
}

// secrets: the webhook that follows a new secret is taken by it; a secret that was deleted verifies nothing.
func (e *elsewhere) secrets(t *testing.T) {
	t.Helper()
	const all = tenantBase + "/endpoints/stripe/secrets"
	second := newStripeSecret()
	made := e.api(t, e.a, http.MethodPost, all, map[string]any{"secret": second}, http.StatusCreated)
	e.post(t, second, http.StatusOK)
	e.post(t, e.own.secret, http.StatusOK)
	e.api(t, e.a, http.MethodDelete, all+"/"+made["id"].(string), nil, http.StatusNoContent)
	e.within(t, "a deleted secret is refused", func() bool {
		status, body := e.tryPost(t, second)
		return status == http.StatusUnauthorized && strings.Contains(body, "signature_mismatch")
	})
	e.post(t, e.own.secret, http.StatusOK)
}

// keys: a revoked key is refused, and its stream ends.
func (e *elsewhere) keys(t *testing.T) {
	t.Helper()
	key := e.api(t, e.a, http.MethodPost, tenantBase+"/keys", map[string]any{"name": "brief", "scopes": []string{"messages:read"}}, http.StatusCreated)
	value := key["key"].(string)
	w := newWatcher(t, value, e.b)
	w.await(t, "hub.ready", func() bool { return w.kinds["hub.ready"] > 0 })
	e.api(t, e.a, http.MethodDelete, tenantBase+"/keys/"+key["id"].(string), nil, http.StatusNoContent)
	e.within(t, "a revoked key is refused", func() bool {
		status, _ := callAPI(t, e.b.url(), value, http.MethodGet, "/v1/me", nil)
		return status == http.StatusUnauthorized
	})
	e.within(t, "and its stream ends", func() bool { return w.said("closed") })
	w.stop()
}

func (w *watcher) said(bye string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.byes[bye] > 0
}

// endpoints: a disabled one takes nothing, and one that was enabled takes the next webhook.
func (e *elsewhere) endpoints(t *testing.T) {
	t.Helper()
	state := func(state string) {
		e.api(t, e.a, http.MethodPatch, tenantBase+"/endpoints/stripe", map[string]any{"state": state}, http.StatusOK)
	}
	state("disabled")
	e.within(t, "a disabled endpoint takes nothing", func() bool {
		status, body := e.tryPost(t, e.own.secret)
		return status == http.StatusForbidden && strings.Contains(body, "endpoint_disabled")
	})
	e.pauseBetweenLooks(t)
	state("enabled")
	e.post(t, e.own.secret, http.StatusOK)
}

// pauseBetweenLooks lets the second pass within which B does not ask Postgres again before it refuses: the webhooks
// above have just had it asked.
func (e *elsewhere) pauseBetweenLooks(t *testing.T) {
	t.Helper()
	pass(t, 1100*time.Millisecond)
}

// issuers: a stream ends when its issuer no longer grants what it reads.
func (e *elsewhere) issuers(t *testing.T) {
	t.Helper()
	e.api(t, e.a, http.MethodPost, tenantBase+"/issuers", map[string]any{
		"name": "login", "issuer": e.issuer.URL, "audiences": []string{"app"}, "grants": []string{"payments"}, "internal": true,
	}, http.StatusCreated)
	token := e.issuer.token(t, "alice")
	w := newWatcher(t, token, e.b)
	w.await(t, "hub.ready", func() bool { return w.kinds["hub.ready"] > 0 })
	e.api(t, e.a, http.MethodPatch, tenantBase+"/issuers/login", map[string]any{"grants": []string{"user:{sub}"}}, http.StatusOK)
	e.within(t, "a stream ends whose issuer grants less", func() bool { return w.said("closed") })
	w.stop()
	again := newWatcher(t, token, e.b)
	e.within(t, "and none begins", func() bool {
		again.mu.Lock()
		defer again.mu.Unlock()
		return again.refused > 0
	})
	again.stop()
}

// tenants: a suspended one's webhooks are refused and its streams end; active again, its next webhook is taken.
func (e *elsewhere) tenants(t *testing.T) {
	t.Helper()
	w := newWatcher(t, e.own.key, e.b)
	w.await(t, "hub.ready", func() bool { return w.kinds["hub.ready"] > 0 })
	state := func(state string) {
		e.api(t, e.a, http.MethodPatch, tenantBase, map[string]any{"state": state}, http.StatusOK)
	}
	state("suspended")
	e.within(t, "a suspended tenant's webhooks are refused", func() bool {
		status, body := e.tryPost(t, e.own.secret)
		return status == http.StatusForbidden && strings.Contains(body, "tenant_suspended")
	})
	e.within(t, "and its streams end", func() bool { return w.said("closed") })
	w.stop()
	e.pauseBetweenLooks(t)
	state("active")
	e.post(t, e.own.secret, http.StatusOK)
}
