package api_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/api"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// reject is rejectIn for acme.
func (w *world) reject(t *testing.T, endpoint, value, body string, at time.Time, changes ...func(*store.Rejected)) string {
	t.Helper()
	return w.rejectIn(t, "acme", endpoint, value, body, at, changes...)
}

// rejectIn keeps a webhook as ingest would, signed with a secret.
func (w *world) rejectIn(t *testing.T, slug, endpoint, value, body string, at time.Time, changes ...func(*store.Rejected)) string {
	t.Helper()
	tenant, _ := hub.ParseID[hub.TenantID](w.ids[slug])
	e, err := hub.ParseID[hub.EndpointID](endpoint)
	if err != nil {
		t.Fatal(err)
	}
	r := store.Rejected{Tenant: tenant, Rejection: hub.Rejection{
		ID: hub.NewID[hub.RejectionID](), Endpoint: e, Cause: hub.SignatureMismatch, Detail: "No.", ReceivedAt: at,
		Header: store.EncodeHeader(signed(t, "stripe", value, []byte(body), at)), Body: []byte(body),
	}}
	for _, change := range changes {
		change(&r)
	}
	if err := w.db.Pipeline.InsertRejections(t.Context(), []store.Rejected{r}); err != nil {
		t.Fatal(err)
	}
	return r.ID.String()
}

func (w *world) stripe(t *testing.T) string {
	t.Helper()
	return w.must(t, http.StatusCreated, "POST", endpoints, w.acme, object{"name": "stripe", "provider": "stripe", "secret": "whsec_old"}).text(t, "id")
}

const rejections = endpoints + "/stripe/rejections"

func TestRejections(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.stripe(t)
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	first := w.reject(t, e, "whsec_new", `{"id":"evt_1"}`, at)
	second := w.reject(t, e, "whsec_new", strings.Repeat("ä", 1000), at)
	third := w.reject(t, e, "whsec_new", "\xff\xfe", at, func(r *store.Rejected) { r.Truncated = true })
	list := w.must(t, http.StatusOK, "GET", rejections, w.acme, nil)
	if diff := cmp.Diff([]string{third, second, first}, list.names(t, "id")); diff != "" {
		t.Error(diff)
	}
	items := list.body["items"].([]any)
	if bytes := items[0].(object); bytes["body_base64"] != "//4=" || bytes["body"] != nil || !yes(bytes["truncated"]) {
		t.Errorf("bytes: %v", bytes)
	}
	if long := items[1].(object); long["body"] != strings.Repeat("ä", 512) {
		t.Errorf("long: %v", long["body"])
	}
	short := items[2].(object)
	if short["body"] != `{"id":"evt_1"}` || short["cause"] != "signature_mismatch" || short["detail"] != "No." || short["received_at"] != at.Format(time.RFC3339) || short["headers"].(object)["Stripe-Signature"] == nil {
		t.Errorf("short: %v", short)
	}
	page := w.must(t, http.StatusOK, "GET", rejections+"?limit=2", w.acme, nil)
	rest := w.must(t, http.StatusOK, "GET", rejections+"?limit=2&cursor="+page.text(t, "next_cursor"), w.acme, nil)
	if diff := cmp.Diff([]string{first}, rest.names(t, "id")); diff != "" {
		t.Error(diff)
	}
	w.refused(t, hub.ScopeMissing, "GET", rejections, w.key(t, "acme", hub.ConfigRead), nil)
}

func TestRejections_RetryAfterTheSecretIsMended(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.stripe(t)
	at := time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	const body = `{"id":"evt_1","type":"charge.refunded"}`
	id := w.reject(t, e, "whsec_new", body, at, func(r *store.Rejected) {
		sealed, err := w.keeper.Seal(secret.EventHeaders, []byte("Authorization: Basic x\r\n"), r.Tenant[:], r.ID[:])
		if err != nil {
			t.Fatal(err)
		}
		r.Sealed = sealed
	})
	path := rejections + "/" + id + "/retry"
	r := w.refused(t, hub.Conflict, "POST", path, w.acme, nil)
	if r.body["cause"] != "signature_mismatch" {
		t.Errorf("before: %s", r.raw)
	}
	w.must(t, http.StatusCreated, "POST", endpoints+"/stripe/secrets", w.acme, object{"secret": "whsec_new"})
	first := w.must(t, http.StatusOK, "POST", path, w.acme, nil)
	if !no(first.body["duplicate"]) {
		t.Errorf("first: %s", first.raw)
	}
	second := w.must(t, http.StatusOK, "POST", path, w.acme, nil)
	if !yes(second.body["duplicate"]) || second.text(t, "event") != first.text(t, "event") {
		t.Errorf("second: %s", second.raw)
	}
	event, _ := hub.ParseID[hub.EventID](first.text(t, "event"))
	tenant, _ := hub.ParseID[hub.TenantID](w.ids["acme"])
	var got hub.Event
	err := w.db.InTenant(t.Context(), tenant, func(tx *store.Tx) (err error) {
		got, err = tx.Event(t.Context(), event, hub.EventID{})
		return err
	})
	if err != nil || !got.ReceivedAt.Equal(at) || !got.Verified || got.Type != "charge.refunded" || string(got.Body) != body || got.Header.Get("Authorization") != "Basic x" {
		t.Errorf("event: %+v, %v", got, err)
	}
	if shown := w.must(t, http.StatusOK, "GET", rejections, w.acme, nil).names(t, "event"); cmp.Diff([]string{event.String()}, shown) != "" {
		t.Errorf("shown: %v", shown)
	}
	if n := storetest.Value[int](t, w.db, `SELECT count(*) FROM tributary.audit WHERE action = 'rejection.retry'`); n != 1 {
		t.Errorf("%d audit entries", n)
	}
	w.refused(t, hub.ScopeMissing, "POST", path, w.key(t, "acme", hub.EventsRead), nil)
	w.refused(t, hub.NotFound, "POST", rejections+"/rej_x/retry", w.acme, nil)
}

func TestRejections_RetryOfATruncatedOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.reject(t, w.stripe(t), "whsec_old", "{", time.Now(), func(r *store.Rejected) { r.Truncated = true })
	w.refused(t, hub.Conflict, "POST", rejections+"/"+id+"/retry", w.acme, nil)
}

func TestRejections_RetryAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.reject(t, w.stripe(t), "whsec_old", `{"id":"evt_1"}`, time.Now())
	var group sync.WaitGroup
	replies := make([]reply, 6)
	for i := range replies {
		group.Go(func() { replies[i] = w.send(t, "POST", rejections+"/"+id+"/retry", w.acme, nil) })
	}
	group.Wait()
	for _, r := range replies {
		if r.status != http.StatusOK || r.body["event"] != replies[0].body["event"] {
			t.Errorf("%d %s", r.status, r.raw)
		}
	}
	if n := storetest.Value[int](t, w.db, `SELECT count(*) FROM tributary.events`); n != 1 {
		t.Errorf("%d events", n)
	}
}

// TestRejections_RetryFails covers what can happen between the two commits of a retry: that of the event's id, and
// that of the event.
func TestRejections_RetryFails(t *testing.T) {
	t.Parallel()
	away := hub.Errorf(hub.Unavailable, "away")
	tests := []struct {
		name   string
		accept func(next api.Accept) api.Accept
	}{
		{"not done", func(api.Accept) api.Accept {
			return func(context.Context, hub.Event) (hub.Receipt, error) { return hub.Receipt{}, away }
		}},
		{"done and nobody heard", func(next api.Accept) api.Accept {
			return func(ctx context.Context, e hub.Event) (hub.Receipt, error) {
				if _, err := next(ctx, e); err != nil {
					return hub.Receipt{}, err
				}
				return hub.Receipt{}, away
			}
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			failing := true
			w := newWorld(t, func(o *api.Options) {
				next := o.Accept
				broken := test.accept(next)
				o.Accept = func(ctx context.Context, e hub.Event) (hub.Receipt, error) {
					if failing {
						return broken(ctx, e)
					}
					return next(ctx, e)
				}
			})
			id := w.reject(t, w.stripe(t), "whsec_old", `{"id":"evt_1"}`, time.Now())
			first := w.send(t, "POST", rejections+"/"+id+"/retry", w.acme, nil)
			failing = false
			second := w.must(t, http.StatusOK, "POST", rejections+"/"+id+"/retry", w.acme, nil)
			noted := storetest.Value[hub.EventID](t, w.db, `SELECT event_id FROM tributary.rejections`)
			stored := storetest.Values[hub.EventID](t, w.db, `SELECT id FROM tributary.events`)
			if second.text(t, "event") != noted.String() || cmp.Diff([]hub.EventID{noted}, stored) != "" {
				t.Errorf("first %d %s, second %s, noted %s, stored %v", first.status, first.raw, second.raw, noted, stored)
			}
		})
	}
}

// TestRejections_RetryOfADuplicate: the provider's own retry came through in between.
func TestRejections_RetryOfADuplicate(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	e := w.stripe(t)
	one := w.reject(t, e, "whsec_old", `{"id":"evt_1"}`, time.Now())
	two := w.reject(t, e, "whsec_old", `{"id":"evt_1"}`, time.Now())
	first := w.must(t, http.StatusOK, "POST", rejections+"/"+one+"/retry", w.acme, nil)
	second := w.must(t, http.StatusOK, "POST", rejections+"/"+two+"/retry", w.acme, nil)
	if !yes(second.body["duplicate"]) || second.text(t, "event") != first.text(t, "event") {
		t.Errorf("%s %s", first.raw, second.raw)
	}
	again := w.must(t, http.StatusOK, "POST", rejections+"/"+two+"/retry", w.acme, nil)
	if again.text(t, "event") != first.text(t, "event") {
		t.Errorf("again: %s", again.raw)
	}
}
