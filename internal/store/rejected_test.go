package store_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// rejected makes a rejection as ingest writes it, with a body of so many bytes.
func rejected(tenant hub.TenantID, endpoint hub.EndpointID, cause hub.Cause, size int) store.Rejected {
	return store.Rejected{Tenant: tenant, Rejection: hub.Rejection{
		ID: hub.NewID[hub.RejectionID](), Endpoint: endpoint, Cause: cause, Detail: "the sentence", ReceivedAt: time.Now().UTC().Truncate(time.Microsecond),
		Header: []byte{}, Body: bytes.Repeat([]byte("x"), size),
	}}
}

// What is written is what the tenant reads; of a batch, only that is passed over whose endpoint is gone.
func TestInsertRejections(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	one, two := db.Tenant(t), db.Tenant(t)
	mine, theirs := db.Endpoint(t, one, "stripe").ID, db.Endpoint(t, two, "stripe").ID
	plain, strange := rejected(one, mine, hub.NoSignature, 3), rejected(one, mine, hub.SignatureMismatch, 0)
	strange.Header, strange.Body, strange.Sealed, strange.Truncated = []byte("A: \xff\r\n"), []byte("\x00\xff"), []byte{1}, true
	none := rejected(one, mine, hub.NoActiveSecret, 0)
	none.Header, none.Body = nil, nil
	err := db.Pipeline.InsertRejections(t.Context(), []store.Rejected{
		none, plain, rejected(one, hub.NewID[hub.EndpointID](), hub.NoSignature, 1), rejected(one, theirs, hub.NoSignature, 1), strange, rejected(two, theirs, hub.NoSignature, 1),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Pipeline.InsertRejections(t.Context(), nil); err != nil {
		t.Errorf("none: %v", err)
	}
	none.Header, none.Body = []byte{}, []byte{}
	want := map[hub.RejectionID]store.Rejected{none.ID: none, plain.ID: plain, strange.ID: strange}
	rows, _ := db.Owner.Query(t.Context(), `
		SELECT tenant_id, endpoint_id, id, cause, detail, received_at, header, sealed, body, truncated FROM tributary.rejections WHERE tenant_id = $1`, one)
	got := map[hub.RejectionID]store.Rejected{}
	var r store.Rejected
	_, err = pgx.ForEachRow(rows, []any{&r.Tenant, &r.Endpoint, &r.ID, &r.Cause, &r.Detail, &r.ReceivedAt, &r.Header, &r.Sealed, &r.Body, &r.Truncated}, func() error {
		got[r.ID] = r
		r = store.Rejected{}
		return nil
	})
	if diff := cmp.Diff(want, got, cmp.Comparer(time.Time.Equal)); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if n := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.rejections WHERE tenant_id = $1`, two); n != 1 {
		t.Errorf("the other tenant has %d", n)
	}
}
