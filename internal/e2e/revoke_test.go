package e2e_test

import (
	"net/http"
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
