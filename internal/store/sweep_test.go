package store_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// The ring keeps the newest, and of one cause at most half, in number and in bytes: a flood of one cause pushes out
// nothing but itself.
func TestTrimRejections(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	const mib = 1 << 20
	tests := []struct {
		name string
		came string // causes in the order they came, each with how many and of how many MiB: "a*3*1"
		want string // cause, how many are left
	}{
		{"room for all", "a*10 b*10", "a*10 b*10"},
		{"half for one cause", "a*60", "a*50"},
		{"a flood after others", "b*10 a*500", "a*50 b*10"},
		{"a flood before others", "a*500 b*10", "a*50 b*10"},
		{"two floods", "a*80 b*80", "a*50 b*50"},
		{"two floods in turn", "a*40 b*40 a*40 b*40", "a*50 b*50"},
		{"the oldest go", "a*50 b*50 c*30", "a*20 b*50 c*30"},
		{"what a flood had pushed out makes room", "c*30 a*60 b*20", "a*50 b*20 c*30"},
		{"half of the bytes for one cause", "a*5*1", "a*2"},
		{"bytes of two causes", "a*3*1 b*3*1", "a*2 b*2"},
		{"the oldest bytes go", "a*2*1 b*2*1 c*1*1", "a*1 b*2 c*1"},
		{"small ones beside large ones", "b*20 a*5*1", "a*2 b*20"},
	}
	tenant := db.Tenant(t)
	other := db.Endpoint(t, tenant, "stripe").ID
	batch := []store.Rejected{rejected(tenant, other, "a", 1)}
	endpoints := make([]hub.EndpointID, len(tests))
	for i, tt := range tests {
		endpoints[i] = db.Endpoint(t, tenant, "stripe").ID
		for _, text := range fields(tt.came, " ") {
			var n, size int
			cause, rest, _ := strings.Cut(text, "*")
			_, _ = fmt.Sscanf(rest+"*0", "%d*%d", &n, &size)
			for range n {
				batch = append(batch, rejected(tenant, endpoints[i], hub.Cause(cause), size*mib))
			}
		}
	}
	if err := db.Pipeline.InsertRejections(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Pipeline.TrimRejections(t.Context()); err != nil {
		t.Fatal(err)
	}
	left := map[hub.RejectionID]bool{}
	for _, id := range storetest.Values[hub.RejectionID](t, db, `SELECT id FROM tributary.rejections`) {
		left[id] = true
	}
	if !left[batch[0].ID] {
		t.Error("another endpoint's ring lost what it had")
	}
	for i, tt := range tests {
		counts, newest := map[hub.Cause]int{}, map[hub.Cause]bool{}
		for _, r := range batch {
			if r.Endpoint != endpoints[i] {
				continue
			}
			if left[r.ID] {
				counts[r.Cause]++
			} else if newest[r.Cause] {
				t.Errorf("%s: of cause %s an older one is left", tt.name, r.Cause)
			}
			newest[r.Cause] = left[r.ID]
		}
		var got []string
		for _, cause := range slices.Sorted(maps.Keys(counts)) {
			got = append(got, fmt.Sprintf("%s*%d", cause, counts[cause]))
		}
		if diff := cmp.Diff(tt.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: %s", tt.name, diff)
		}
	}
}

// What carries credentials fills the ring too, be it a header or the body.
func TestTrimRejections_CountsWhatIsSealed(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	for name, seal := range map[string]func(*store.Rejected){
		"a header": func(r *store.Rejected) { r.Sealed = make([]byte, 1<<20) },
		"the body": func(r *store.Rejected) { r.SealedBody = make([]byte, 1<<20) },
	} {
		endpoint := db.Endpoint(t, tenant, "stripe").ID
		for range 5 {
			r := rejected(tenant, endpoint, hub.NoSignature, 0)
			seal(&r)
			if err := db.Pipeline.InsertRejections(t.Context(), []store.Rejected{r}); err != nil {
				t.Fatal(err)
			}
		}
		if n, err := db.Pipeline.TrimRejections(t.Context()); n != 3 || err != nil {
			t.Errorf("%s: trimmed %d, %v; want 3", name, n, err)
		}
		if n, err := db.Pipeline.TrimRejections(t.Context()); n != 0 || err != nil {
			t.Errorf("%s: trimmed again %d, %v", name, n, err)
		}
	}
}

// Expired keys go in batches, held ones stay, and a key that somebody holds is passed over, not waited for.
func TestSweepDedup(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	db.Exec(t, `
		INSERT INTO tributary.dedup (tenant_id, endpoint_id, hash, event_id, expires_at)
		SELECT gen_random_uuid(), gen_random_uuid(), decode(md5(i::text), 'hex'), gen_random_uuid(), now() - (6000 - i) * interval '1 second'
		  FROM generate_series(1, 6010) AS i`)
	tx, err := db.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), `SELECT FROM tributary.dedup WHERE hash = decode(md5('1'), 'hex') FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	sweep := func(want int64) {
		t.Helper()
		if n, err := db.Pipeline.SweepDedup(t.Context()); n != want || err != nil {
			t.Errorf("swept %d, %v; want %d", n, err, want)
		}
	}
	sweep(5000)
	sweep(storetest.Value[int64](t, db, `SELECT count(*) - 1 FROM tributary.dedup WHERE expires_at < now()`))
	sweep(0)
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	sweep(1)
	if held := storetest.Value[bool](t, db, `SELECT count(*) > 0 AND min(expires_at) > now() - interval '1 minute' FROM tributary.dedup`); !held {
		t.Error("keys that were held are gone")
	}
}

// The secret in an answer is forgotten when its time is over, the answer later.
func TestSweepIdempotency(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ask := func(name string, a store.Answer) store.Question {
		q := store.Question{Caller: hub.NewID[hub.KeyID](), Hash: hub.HashToken(name), Request: hub.HashToken("body")}
		if _, err := db.Pipeline.KeepAnswer(t.Context(), q, a, time.Hour); err != nil {
			t.Fatal(err)
		}
		return q
	}
	over, later := time.Now().Add(-time.Minute), time.Now().Add(time.Minute)
	plain := ask("plain", store.Answer{Status: 201, Body: []byte("plain")})
	sealed := ask("sealed", store.Answer{Status: 201, Body: []byte("sealed"), SecretUntil: &later})
	forgotten := ask("forgotten", store.Answer{Status: 201, Body: []byte("sealed"), SecretUntil: &over})
	expired := ask("expired", store.Answer{Status: 201, Body: []byte("old")})
	db.Exec(t, `UPDATE tributary.idempotency SET expires_at = now() - interval '1 second' WHERE caller = $1`, expired.Caller)

	if n, err := db.Pipeline.SweepIdempotency(t.Context()); n != 1 || err != nil {
		t.Errorf("swept %d, %v; want 1", n, err)
	}
	for _, tt := range []struct {
		q    store.Question
		want []byte
	}{{plain, []byte("plain")}, {sealed, []byte("sealed")}, {forgotten, nil}} {
		a, err := db.Pipeline.Answer(t.Context(), tt.q)
		if err != nil || a == nil || a.Status != 201 || !cmp.Equal(tt.want, a.Body) {
			t.Errorf("answer %+v, %v; want %q", a, err, tt.want)
		}
	}
	if storetest.Value[bool](t, db, `SELECT EXISTS (SELECT FROM tributary.idempotency WHERE caller = $1)`, expired.Caller) {
		t.Error("the expired answer is there still")
	}
}

func TestSweepTombstones(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	for _, key := range []string{"old", "new", "live"} {
		m := write(t, "1>null")
		m.Key = key
		if key == "live" {
			m.Data = []byte("1")
		}
		appendAll(t, db, hub.Unit{Tenant: tenant, Messages: []hub.Message{m}})
	}
	db.Exec(t, `UPDATE tributary.state SET at = at - interval '30 days' WHERE key <> 'new'`)
	if n, err := db.Pipeline.SweepTombstones(t.Context(), 29*24*time.Hour); n != 1 || err != nil {
		t.Errorf("swept %d, %v; want 1", n, err)
	}
	if diff := cmp.Diff([]string{"live", "new"}, storetest.Values[string](t, db, `SELECT key FROM tributary.state ORDER BY key`)); diff != "" {
		t.Error(diff)
	}
}
