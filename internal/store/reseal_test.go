package store_test

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// unsealed are the columns that could hold something sealed by their type or name, and do not.
var unsealed = []string{
	"dedup.hash", "endpoints.token_hash", "events.body", "events.header", "idempotency.hash", "idempotency.request",
	"idempotency.sealed", // says whether the answer is
	"keys.hash", "messages.data", "operator_keys.hash", "rejections.body", "rejections.header", "state.data",
	"keyset_keys.proof", // sealed by the key that it proves, and goes with it
}

// Whoever adds a column with something sealed in it adds it to what is sealed anew, or it is lost with the key.
func TestReseal_KnowsEverySealedColumn(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	ask := func() []string {
		return storetest.Values[string](t, db, `
			SELECT c.relname || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
			 WHERE c.relnamespace = 'tributary'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
			   AND a.attnum > 0 AND NOT a.attisdropped
			   AND (a.atttypid IN ('bytea'::regtype, 'bytea[]'::regtype) OR a.attname ~ 'seal')`)
	}
	want := slices.Sorted(slices.Values(slices.Concat(store.SealedColumns(), unsealed)))
	if diff := cmp.Diff(want, slices.Sorted(slices.Values(ask()))); diff != "" {
		t.Errorf("add it to sealedColumns where something sealed is in it, else here (-known +schema):\n%s", diff)
	}
	db.Exec(t, `ALTER TABLE tributary.issuers ADD COLUMN token_sealed text`)
	db.Exec(t, `ALTER TABLE tributary.events ADD COLUMN extra bytea`)
	if n := len(ask()); n != len(want)+2 {
		t.Errorf("of two new columns %d are seen", n-len(want))
	}
}

// What is read, sealed and locked at once is bounded in rows and in bytes, and one value is always taken.
func TestReseal_AtOnce(t *testing.T) {
	t.Parallel()
	const mega = 1 << 20
	for name, tt := range map[string]struct {
		sizes []int
		want  int
	}{
		"few":             {[]int{1, 2, 3}, 3},
		"many":            {make([]int, 250), 100},
		"large":           {[]int{mega, mega, mega, mega, 1, 1}, 4},
		"one too large":   {[]int{9 * mega, 1}, 1},
		"the second is":   {[]int{1, 9 * mega, 1}, 1},
		"one by itself":   {[]int{9 * mega}, 1},
		"exactly as many": {make([]int, 100), 100},
	} {
		if n := store.UpTo(tt.sizes...); n != tt.want {
			t.Errorf("%s: %d, want %d", name, n, tt.want)
		}
	}
}
