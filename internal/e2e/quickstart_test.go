package e2e_test

import (
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// run runs a command of the binary against the hub and gives what it printed.
func (h *hub) run(t *testing.T, args ...string) string {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, args...)
	cmd.Env = append(os.Environ(), "TRIBUTARY_DATA_DIR="+h.dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("tributary %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// TestQuickstart is what a newcomer does: a sample of each provider comes into the demo stream.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	sub := subscribe(t, h, h.token(t, "newcomer", nil), "demo:*")
	sub.ready(t)
	providers := []string{"stripe", "github", "shopify", "slack", "standard-webhooks", "generic-hmac"}
	for i, provider := range providers {
		h.run(t, "send", provider)
		sub.await(t, 10*time.Second, provider+"'s message", func(seen []string, _ map[string]int) bool { return len(seen) == i+1 })
	}
	h.run(t, "send", "stripe", "payment_intent.succeeded", "--count", "3")
	sub.await(t, 10*time.Second, "three payments", func(_ []string, kinds map[string]int) bool { return kinds["payment_intent.succeeded"] >= 3 })
}

// TestSeedCase brings a payment to its customer's browser and to nobody else.
func TestSeedCase(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	status, answer := h.api(t, http.MethodPost, "/v1/tenants/demo/routes", map[string]any{
		"name":     "payments",
		"match":    "event.type == 'payment_intent.succeeded'",
		"channels": []string{"customer:{event.body.data.object.customer}"},
		"type":     "payment_success",
		"data":     "{'amount': event.body.data.object.amount}",
	})
	if status != http.StatusCreated {
		t.Fatalf("create the route: %d %v", status, answer)
	}
	payer := subscribe(t, h, h.token(t, "alice", map[string]any{"customer": "cus_alice"}), "customer:cus_alice")
	other := subscribe(t, h, h.token(t, "bob", map[string]any{"customer": "cus_bob"}), "customer:cus_bob")
	all := subscribe(t, h, h.dev.TenantKey)
	for _, s := range []*subscriber{payer, other, all} {
		s.ready(t)
	}
	if status, _, err := postStripe(t.Context(), h, payment("evt_seed", 2000, "cus_alice")); err != nil || status != http.StatusOK {
		t.Fatalf("post: %d, %v", status, err)
	}
	payer.await(t, 10*time.Second, "the payment", func(_ []string, kinds map[string]int) bool { return kinds["payment_success"] == 1 })
	all.await(t, 10*time.Second, "both messages", func(seen []string, _ map[string]int) bool { return len(seen) == 2 })
	if got := payer.messages(); len(got) != 1 || got[0] != `{"amount":2000}` {
		t.Errorf("the customer saw %q, want the amount", got)
	}
	if got := other.messages(); len(got) != 0 {
		t.Errorf("another customer saw %q", got)
	}
	if status, problem := h.stream(t, h.token(t, "bob", map[string]any{"customer": "cus_bob"}), "customer:cus_alice"); status != http.StatusForbidden || problem["code"] != "channel_not_granted" {
		t.Errorf("another customer's channel: %d %v, want 403 channel_not_granted", status, problem)
	}
}

// TestRestart starts again on the same data after a crash and after an orderly end; a browser misses nothing.
func TestRestart(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	sub := subscribe(t, h, h.token(t, "patient", nil), "demo:stripe")
	sub.ready(t)
	post := func(id string) {
		t.Helper()
		if status, _, err := postStripe(t.Context(), h, payment(id, 1, "cus_1")); err != nil || status != http.StatusOK {
			t.Fatalf("post %s: %d, %v", id, status, err)
		}
	}
	post("evt_before")
	h.kill()
	h.start(t)
	post("evt_between")
	h.terminate(t)
	h.start(t)
	post("evt_after")
	sub.await(t, 20*time.Second, "three messages", func(seen []string, _ map[string]int) bool { return len(seen) >= 3 })
	var ids []string
	for _, data := range sub.messages() {
		ids = append(ids, idOf(t, data))
	}
	if got := strings.Join(ids, " "); got != "evt_before evt_between evt_after" {
		t.Errorf("saw %s", got)
	}
	status, r, err := postStripe(t.Context(), h, payment("evt_before", 1, "cus_1"))
	if err != nil || status != http.StatusOK || !r.Duplicate {
		t.Errorf("the first webhook again: %d %+v %v, want a duplicate", status, r, err)
	}
}
