package store_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func newQuestion() store.Question {
	return store.Question{Caller: hub.NewID[hub.KeyID](), Hash: [32]byte{1}, Request: [32]byte{2}}
}

// answered is a change of that name that keeps its answer.
func answered(ctx context.Context, s *store.Store, tenant hub.TenantID, q store.Question, name string, a store.Answer) (before *store.Answer, err error) {
	_, err = s.ChangeTenant(ctx, hub.Principal{Kind: hub.PrincipalSystem}, tenant, func(c *store.Change) (err error) {
		if before, err = c.Claim(ctx, q); err != nil {
			return err
		}
		if before != nil {
			return errBefore
		}
		if err := c.Audit(ctx, "test.once", name, nil); err != nil {
			return err
		}
		return c.KeepAnswer(ctx, q, a, time.Hour)
	})
	return before, err
}

var errBefore = errors.New("answered before")

func TestAnswer(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	q := newQuestion()
	otherBody := q
	otherBody.Request = [32]byte{3}
	until := time.Now().Add(10 * time.Minute).Truncate(time.Microsecond)
	want := store.Answer{Status: 201, Header: map[string]string{"ETag": `"x"`}, Body: []byte("sealed"), SecretUntil: &until}

	if a, err := db.Pipeline.Answer(t.Context(), q); a != nil || err != nil {
		t.Fatalf("before: %+v, %v", a, err)
	}
	if _, err := answered(t.Context(), db.Store, tenant, q, "first", want); err != nil {
		t.Fatal(err)
	}
	got, err := db.Pipeline.Answer(t.Context(), q)
	if err != nil || got == nil {
		t.Fatalf("after: %+v, %v", got, err)
	}
	if diff := cmp.Diff(want, *got, cmp.Comparer(time.Time.Equal)); diff != "" {
		t.Error(diff)
	}
	_, err = db.Pipeline.Answer(t.Context(), otherBody)
	wantCode(t, err, hub.IdempotencyReused)
	got, err = answered(t.Context(), db.Store, tenant, q, "second", store.Answer{Status: 200})
	if !errors.Is(err, errBefore) || got == nil || got.Status != 201 {
		t.Errorf("claimed after: %+v, %v", got, err)
	}
	_, err = answered(t.Context(), db.Store, tenant, otherBody, "other", store.Answer{Status: 200})
	wantCode(t, err, hub.IdempotencyReused)
	got, err = db.Pipeline.KeepAnswer(t.Context(), q, store.Answer{Status: 200}, time.Hour)
	if err != nil || got == nil || got.Status != 201 {
		t.Errorf("kept after: %+v, %v", got, err)
	}
	stranger := q
	stranger.Caller = hub.NewID[hub.KeyID]()
	if got, err := db.Pipeline.KeepAnswer(t.Context(), stranger, store.Answer{Status: 200}, time.Hour); got != nil || err != nil {
		t.Errorf("another caller's: %+v, %v", got, err)
	}
	if diff := cmp.Diff([]string{"first"}, storetest.Values[string](t, db, `SELECT object FROM tributary.audit WHERE action = 'test.once'`)); diff != "" {
		t.Error(diff)
	}
}

// What is claimed is claimed until the transaction ends, and a change that fails leaves nothing behind.
func TestAnswer_InFlight(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant, other := db.Tenant(t), db.Tenant(t)
	q, failed := newQuestion(), errors.New("failed")
	_, err := db.ChangeTenant(t.Context(), hub.Principal{Kind: hub.PrincipalSystem}, tenant, func(c *store.Change) error {
		if a, err := c.Claim(t.Context(), q); a != nil || err != nil {
			t.Errorf("claim: %+v, %v", a, err)
		}
		if err := c.KeepAnswer(t.Context(), q, store.Answer{Status: 201}, time.Hour); err != nil {
			t.Error(err)
		}
		for _, tenant := range []hub.TenantID{tenant, other} {
			_, err := answered(t.Context(), db.Store, tenant, q, "second", store.Answer{Status: 201})
			wantCode(t, err, hub.IdempotencyInFlight)
		}
		if _, err := c.Tenant(t.Context()); err != nil { // the tenant's role is back
			t.Error(err)
		}
		return failed
	})
	if !errors.Is(err, failed) {
		t.Fatal(err)
	}
	if a, err := answered(t.Context(), db.Store, tenant, q, "third", store.Answer{Status: 201}); a != nil || err != nil {
		t.Errorf("after a failure: %+v, %v", a, err)
	}
}

// The role that reaches the answers is taken for them alone.
func TestAnswer_LeavesTheTenantConfined(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant, other := db.Tenant(t), db.Tenant(t)
	q := newQuestion()
	if _, err := answered(t.Context(), db.Store, tenant, q, "first", store.Answer{Status: 201}); err != nil {
		t.Fatal(err)
	}
	db.Endpoint(t, other, "stripe")
	again := q
	again.Request = [32]byte{9}
	_, err := db.ChangeTenant(t.Context(), hub.Principal{Kind: hub.PrincipalSystem}, tenant, func(c *store.Change) error {
		_, err := c.Claim(t.Context(), again)
		wantCode(t, err, hub.IdempotencyReused)
		endpoints, err := c.Endpoints(t.Context(), hub.EndpointID{}, 10)
		if len(endpoints) != 0 || err != nil {
			t.Errorf("sees %d endpoints of another tenant, %v", len(endpoints), err)
		}
		if role := store.RoleOf(t.Context(), c); role != "tributary_tenant" {
			t.Errorf("role %s", role)
		}
		return errBefore
	})
	if !errors.Is(err, errBefore) {
		t.Error(err)
	}
}

// TestAnswer_Failures asks again after each way in which a change can end: it is done once, and told of once.
func TestAnswer_Failures(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		cut  storetest.Cut
		done bool
	}{
		{"not done: the connection is lost before the commit arrives", storetest.CutBeforeCommit, false},
		{"done but reported failed: the commit's answer is lost", storetest.CutAfterCommit, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			tenant := db.Tenant(t)
			p := storetest.StartProxy(t, db.URL)
			s, err := store.Open(t.Context(), store.Options{URL: p.URL, DirectURL: db.URL, Tenant: 2, Pipeline: 2})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			q := newQuestion()
			p.Arm(tt.cut)
			if _, err := answered(t.Context(), s, tenant, q, "first", store.Answer{Status: 201}); !store.IsUnavailable(err) {
				t.Fatalf("first: %v", err)
			}
			if !p.Hit() {
				t.Fatal("no commit passed")
			}
			db.AwaitTrue(t, `SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`)
			before, err := answered(t.Context(), s, tenant, q, "second", store.Answer{Status: 202})
			if tt.done != (before != nil) || tt.done != errors.Is(err, errBefore) || !tt.done && err != nil {
				t.Errorf("second: %+v, %v", before, err)
			}
			kept, err := s.Pipeline.Answer(t.Context(), q)
			want, object := 202, "second"
			if tt.done {
				want, object = 201, "first"
			}
			if err != nil || kept == nil || kept.Status != want {
				t.Errorf("kept: %+v, %v; want %d", kept, err, want)
			}
			if diff := cmp.Diff([]string{object}, storetest.Values[string](t, db, `SELECT object FROM tributary.audit WHERE action = 'test.once'`)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A backend that is killed between the change and its commit has done nothing, and holds nothing.
func TestAnswer_KilledBetween(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant := db.Tenant(t)
	q := newQuestion()
	_, err := db.ChangeTenant(t.Context(), hub.Principal{Kind: hub.PrincipalSystem}, tenant, func(c *store.Change) error {
		if _, err := c.Claim(t.Context(), q); err != nil {
			return err
		}
		if err := c.Audit(t.Context(), "test.once", "first", nil); err != nil {
			return err
		}
		if err := c.KeepAnswer(t.Context(), q, store.Answer{Status: 201}, time.Hour); err != nil {
			return err
		}
		db.Exec(t, `SELECT pg_terminate_backend(pid, 10000) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`)
		return nil
	})
	if !store.IsUnavailable(err) {
		t.Fatalf("first: %v", err)
	}
	if before, err := answered(t.Context(), db.Store, tenant, q, "second", store.Answer{Status: 201}); before != nil || err != nil {
		t.Errorf("second: %+v, %v", before, err)
	}
	if diff := cmp.Diff([]string{"second"}, storetest.Values[string](t, db, `SELECT object FROM tributary.audit WHERE action = 'test.once'`)); diff != "" {
		t.Error(diff)
	}
}

// A key that has expired is as good as new.
func TestAnswer_AfterItsTime(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	tenant, q := db.Tenant(t), newQuestion()
	if _, err := answered(t.Context(), db.Store, tenant, q, "first", store.Answer{Status: 201}); err != nil {
		t.Fatal(err)
	}
	db.Exec(t, `UPDATE tributary.idempotency SET expires_at = now() - interval '1 second' WHERE caller = $1`, q.Caller)
	q.Request = [32]byte{3}
	if a, err := db.Pipeline.Answer(t.Context(), q); a != nil || err != nil {
		t.Errorf("with another body: %+v, %v", a, err)
	}
	if a, err := answered(t.Context(), db.Store, tenant, q, "second", store.Answer{Status: 202}); a != nil || err != nil {
		t.Errorf("claimed with another body: %+v, %v", a, err)
	}
	if a, err := db.Pipeline.Answer(t.Context(), q); err != nil || a == nil || a.Status != 202 {
		t.Errorf("and after that: %+v, %v", a, err)
	}
}
