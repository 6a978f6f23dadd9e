package e2e_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestRevocation: what a key or a grant no longer gives is taken from the streams that are open, also from those that
// never said which channels they want.
func TestRevocation(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	status, key := h.api(t, http.MethodPost, "/v1/tenants/demo/keys", map[string]any{"name": "reader", "scopes": []string{"messages:read"}})
	if status != http.StatusCreated {
		t.Fatalf("create a key: %d %v", status, key)
	}
	byKey := subscribe(t, h, key["key"].(string))
	byToken := subscribe(t, h, h.token(t, "alice", nil))
	kept := subscribe(t, h, h.token(t, "alice", nil), "user:alice")
	for _, s := range []*subscriber{byKey, byToken, kept} {
		s.ready(t)
	}

	if status, answer := h.api(t, http.MethodDelete, "/v1/tenants/demo/keys/"+key["id"].(string), nil); status != http.StatusNoContent {
		t.Fatalf("revoke the key: %d %v", status, answer)
	}
	ended := func(_ []string, kinds map[string]int) bool { return kinds["hub.bye"] > 0 }
	byKey.await(t, 10*time.Second, "the end of the revoked key's stream", ended)

	if status, answer := h.api(t, http.MethodPatch, "/v1/tenants/demo/issuers/dev", map[string]any{"grants": []string{"user:{sub}"}}); status != http.StatusOK {
		t.Fatalf("take grants away: %d %v", status, answer)
	}
	byToken.await(t, 10*time.Second, "the end of the stream whose grants shrank", ended)
	kept.mu.Lock()
	defer kept.mu.Unlock()
	if kept.kinds["hub.bye"] > 0 {
		t.Error("a stream whose channel is still granted was ended")
	}
}

// TestSuspension: a suspended tenant's streams end, whoever reads them, and no new one begins; only who has a credential
// of the tenant is told why.
func TestSuspension(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	alice := h.token(t, "alice", nil)
	byKey, byToken, byOperator := subscribe(t, h, h.dev.TenantKey), subscribe(t, h, alice), subscribe(t, h, h.dev.OperatorKey, "demo:a")
	for _, s := range []*subscriber{byKey, byToken, byOperator} {
		s.ready(t)
	}
	if status, answer := h.apiAs(t, h.dev.OperatorKey, http.MethodPatch, "/v1/tenants/demo", map[string]any{"state": "suspended"}); status != http.StatusOK {
		t.Fatalf("suspend: %d %v", status, answer)
	}
	for _, s := range []*subscriber{byKey, byToken, byOperator} {
		s.await(t, 10*time.Second, "the end of a suspended tenant's stream", func(_ []string, kinds map[string]int) bool { return kinds["hub.bye"] > 0 })
	}
	wantCodes(t, h, "demo", map[string]string{
		alice: "403 tenant_suspended", h.dev.TenantKey: "403 tenant_suspended", h.dev.OperatorKey: "403 tenant_suspended",
		forged(alice): "401 unauthenticated", "": "401 unauthenticated",
	})

	if status, answer := h.apiAs(t, h.dev.OperatorKey, http.MethodPatch, "/v1/tenants/demo", map[string]any{"state": "active"}); status != http.StatusOK {
		t.Fatalf("make active again: %d %v", status, answer)
	}
	subscribe(t, h, alice).ready(t)
}

// TestStream_UnknownTenant: to whoever has no credential of it, a tenant that exists and one that does not look the
// same.
func TestStream_UnknownTenant(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	if status, answer := h.apiAs(t, h.dev.OperatorKey, http.MethodPost, "/v1/tenants", map[string]any{"slug": "other", "name": "Other"}); status != http.StatusCreated {
		t.Fatalf("create a tenant: %d %v", status, answer)
	}
	alice := h.token(t, "alice", nil)
	for _, tenant := range []string{"other", "nobody", "ten_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05", "no%20slug"} {
		wantCodes(t, h, tenant, map[string]string{
			alice: "401 unauthenticated", "": "401 unauthenticated", "trb_nonsense": "401 unauthenticated", h.dev.TenantKey: "404 not_found",
		})
	}
	wantCodes(t, h, "nobody", map[string]string{h.dev.OperatorKey: "404 not_found"})
}

// forged is the token with another signature.
func forged(token string) string {
	last := strings.LastIndexByte(token, '.')
	return token[:last+1] + strings.Repeat("A", len(token)-last-1)
}

// wantCodes asks for the tenant's stream by each credential and compares what is answered.
func wantCodes(t *testing.T, h *hub, tenant string, want map[string]string) {
	t.Helper()
	for credential, answer := range want {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.dev.URL+"/stream/"+tenant, nil)
		if err != nil {
			t.Fatal(err)
		}
		if credential != "" {
			req.Header.Set("Authorization", "Bearer "+credential)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		var problem struct{ Code string }
		if res.StatusCode != http.StatusOK { // else the body has no end
			err = json.NewDecoder(res.Body).Decode(&problem)
		}
		_ = res.Body.Close()
		if got := strconv.Itoa(res.StatusCode) + " " + problem.Code; err != nil || got != answer {
			t.Errorf("%s by a credential of %d characters: %s, %v; want %s", tenant, len(credential), got, err, answer)
		}
	}
}

// TestStream_HalfAQuery: what cannot be read is refused, or a stream that asked for one channel would have them all.
func TestStream_HalfAQuery(t *testing.T) {
	t.Parallel()
	h := startHub(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.dev.URL+"/stream/demo?channel=100%", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.dev.TenantKey)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusBadRequest {
		t.Errorf("half a query: %s, want 400", res.Status)
	}
}
