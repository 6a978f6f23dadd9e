package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func TestClaim(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	q := store.Question{Caller: hub.NewID[hub.KeyID](), Hash: [32]byte{1}, Request: [32]byte{2}}
	claim := func(q store.Question) (*store.Answer, error) {
		t.Helper()
		return db.Pipeline.Claim(t.Context(), q, time.Minute, time.Hour)
	}
	mustClaim := func(q store.Question) {
		t.Helper()
		if a, err := claim(q); a != nil || err != nil {
			t.Fatalf("claim: %+v, %v", a, err)
		}
	}
	otherBody := q
	otherBody.Request = [32]byte{3}

	mustClaim(q)
	_, err := claim(q)
	wantCode(t, err, hub.IdempotencyInFlight)
	_, err = claim(otherBody)
	wantCode(t, err, hub.IdempotencyReused)

	if err := db.Pipeline.ReleaseClaim(t.Context(), q); err != nil {
		t.Fatal(err)
	}
	mustClaim(q)

	until := time.Now().Add(10 * time.Minute).Truncate(time.Microsecond)
	want := store.Answer{Status: 201, Header: map[string]string{"ETag": `"x"`}, Body: []byte("sealed"), SecretUntil: &until}
	if err := db.Pipeline.SaveAnswer(t.Context(), q, want); err != nil {
		t.Fatal(err)
	}
	got, err := claim(q)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, *got, cmp.Comparer(time.Time.Equal)); diff != "" {
		t.Error(diff)
	}
	_, err = claim(otherBody)
	wantCode(t, err, hub.IdempotencyReused)
	if err := db.Pipeline.ReleaseClaim(t.Context(), q); err != nil { // answered: not to be released
		t.Fatal(err)
	}
	if got, err = claim(q); err != nil || got == nil {
		t.Errorf("after a late release: %+v, %v", got, err)
	}
	stranger := q
	stranger.Caller = hub.NewID[hub.KeyID]()
	mustClaim(stranger)
}

func TestClaim_OfAProcessThatDied(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	q := store.Question{Caller: hub.NewID[hub.KeyID](), Hash: [32]byte{1}, Request: [32]byte{2}}
	if a, err := db.Pipeline.Claim(t.Context(), q, -time.Second, time.Hour); a != nil || err != nil {
		t.Fatalf("claim: %+v, %v", a, err)
	}
	if a, err := db.Pipeline.Claim(t.Context(), q, time.Minute, time.Hour); a != nil || err != nil {
		t.Errorf("claim of what nobody works on any more: %+v, %v", a, err)
	}
	_, err := db.Pipeline.Claim(t.Context(), q, time.Minute, time.Hour)
	wantCode(t, err, hub.IdempotencyInFlight)
}

func TestClaim_AfterItsTime(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	q := store.Question{Caller: hub.NewID[hub.KeyID](), Hash: [32]byte{1}, Request: [32]byte{2}}
	if _, err := db.Pipeline.Claim(t.Context(), q, time.Minute, -time.Second); err != nil {
		t.Fatal(err)
	}
	if err := db.Pipeline.SaveAnswer(t.Context(), q, store.Answer{Status: 201}); err != nil {
		t.Fatal(err)
	}
	q.Request = [32]byte{3}
	if a, err := db.Pipeline.Claim(t.Context(), q, time.Minute, time.Hour); a != nil || err != nil {
		t.Errorf("a key that has expired, with another body: %+v, %v", a, err)
	}
}
