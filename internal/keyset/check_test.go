package keyset_test

import (
	"context"
	"strings"
	"sync"
	"testing"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/keyset"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// ages are one keyset at the stations of its life.
type ages struct{ first, rotated, promoted, pruned secret.String }

func newAges(t *testing.T) ages {
	t.Helper()
	first, err := secret.NewKeyset()
	must(t, err)
	rotated, err := secret.Rotate(first)
	must(t, err)
	promoted, err := secret.Promote(rotated)
	must(t, err)
	pruned, err := secret.Prune(promoted)
	must(t, err)
	return ages{first, rotated, promoted, pruned}
}

func open(t *testing.T, encoded secret.String) *secret.Keeper {
	t.Helper()
	k, err := secret.Open(encoded)
	must(t, err)
	return k
}

// start does what a process does: it checks, joins, and beats under that name.
func start(t *testing.T, db *storetest.DB, name string, encoded secret.String) error {
	t.Helper()
	k := open(t, encoded)
	if err := keyset.Check(t.Context(), db.Pipeline, k); err != nil {
		return err
	}
	return join(t, db, name, k)
}

func join(t *testing.T, db *storetest.DB, name string, k *secret.Keeper) error {
	t.Helper()
	keys, err := keyset.Of(k)
	must(t, err)
	return db.Pipeline.Join(t.Context(), store.Node{ID: name, Roles: []string{"api"}, Version: "test", Keyset: keys})
}

// A process starts where it opens what is there and the others open what it seals, and is told why not elsewhere.
func TestCheck(t *testing.T) {
	t.Parallel()
	a, other := newAges(t), newAges(t)
	type started struct {
		name    string
		keyset  secret.String
		refused string // "": it starts
	}
	stop := func(name string) func(*testing.T, *storetest.DB) {
		return func(t *testing.T, db *storetest.DB) { t.Helper(); must(t, db.Pipeline.RemoveNode(t.Context(), name)) }
	}
	for name, tt := range map[string]struct {
		before []started
		then   func(t *testing.T, db *storetest.DB)
		last   started
	}{
		"an empty database":                {last: started{"n", a.first, ""}},
		"the same keyset again":            {before: []started{{"n", a.first, ""}}, last: started{"m", a.first, ""}},
		"another keyset":                   {before: []started{{"n", a.first, ""}}, then: stop("n"), last: started{"m", other.first, "it lacks key "}},
		"rotated, beside one that is not":  {before: []started{{"n", a.first, ""}}, last: started{"m", a.rotated, ""}},
		"not rotated, beside one that is":  {before: []started{{"n", a.rotated, ""}}, last: started{"m", a.first, ""}},
		"promoted, beside a rotated one":   {before: []started{{"n", a.rotated, ""}}, last: started{"m", a.promoted, ""}},
		"promoted too early":               {before: []started{{"old", a.first, ""}}, last: started{"m", a.promoted, "these running nodes do not have: old;"}},
		"promoted, the old one has ended":  {before: []started{{"old", a.first, ""}}, then: stop("old"), last: started{"m", a.promoted, ""}},
		"its own row does not stand in it": {before: []started{{"n", a.promoted, ""}}, last: started{"n", a.promoted, ""}},
		"promoted, beside one of the build before": {
			before: []started{{"n", a.first, ""}},
			then: func(t *testing.T, db *storetest.DB) {
				t.Helper()
				db.Exec(t, `UPDATE tributary.nodes SET key_ids = NULL, primary_key_id = NULL`)
			},
			last: started{"m", a.promoted, ""},
		},
		"promoted too early, but the old one is silent": {
			before: []started{{"old", a.first, ""}},
			then: func(t *testing.T, db *storetest.DB) {
				t.Helper()
				db.Exec(t, `UPDATE tributary.nodes SET beat_at = now() - interval '11 seconds'`)
			},
			last: started{"m", a.promoted, ""},
		},
		"not rotated, after a promoted one": {
			before: []started{{"n", a.rotated, ""}, {"m", a.promoted, ""}}, last: started{"o", a.first, "it lacks key "},
		},
		"back to the rotated one": {
			before: []started{{"n", a.promoted, ""}}, last: started{"m", a.rotated, ""},
		},
		"pruned by hand": {before: []started{{"n", a.rotated, ""}, {"n", a.promoted, ""}}, last: started{"n", a.pruned, "it lacks key "}},
		"pruned": {
			before: []started{{"n", a.rotated, ""}, {"n", a.promoted, ""}}, then: retireFirst, last: started{"m", a.pruned, ""},
		},
		"not pruned, after it was": {
			before: []started{{"n", a.rotated, ""}, {"n", a.promoted, ""}}, then: retireFirst, last: started{"m", a.promoted, ""},
		},
		"with the old key, after it was pruned": {
			before: []started{{"n", a.rotated, ""}, {"n", a.promoted, ""}}, then: retireFirst, last: started{"m", a.rotated, "which `tributary keyset prune` has retired"},
		},
		"never rotated, after it was pruned": {
			before: []started{{"n", a.rotated, ""}, {"n", a.promoted, ""}}, then: retireFirst, last: started{"m", a.first, "which `tributary keyset prune` has retired"},
		},
		"filled by a build that keeps no proofs": {then: endpointOf(a.first), last: started{"n", a.rotated, ""}},
		"filled by such a build, with another keyset": {
			then: endpointOf(other.first), last: started{"n", a.first, "use the one that it was filled with, which has key "},
		},
		"another key of the same id": {
			before: []started{{"n", a.first, ""}},
			then:   anotherKey(other.first),
			last:   started{"m", a.first, "is another one than the database's of that id"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			for _, s := range tt.before {
				must(t, start(t, db, s.name, s.keyset))
			}
			if tt.then != nil {
				tt.then(t, db)
			}
			err := start(t, db, tt.last.name, tt.last.keyset)
			switch {
			case tt.last.refused == "":
				must(t, err)
			case err == nil || hub.CodeOf(err) != hub.Conflict || !strings.Contains(err.Error(), tt.last.refused):
				t.Errorf("%v; want it refused: %q", err, tt.last.refused)
			}
		})
	}
}

// anotherKey makes the database's keys such as another keyset has under the same ids.
func anotherKey(encoded secret.String) func(*testing.T, *storetest.DB) {
	return func(t *testing.T, db *storetest.DB) {
		t.Helper()
		keys, err := keyset.Of(open(t, encoded))
		must(t, err)
		db.Exec(t, `UPDATE tributary.keyset_keys SET proof = $1`, keys.Proof)
	}
}

func retireFirst(t *testing.T, db *storetest.DB) {
	t.Helper()
	db.Exec(t, `UPDATE tributary.keyset_keys SET retired_at = now() WHERE made_at = (SELECT min(made_at) FROM tributary.keyset_keys)`)
}

// endpointOf makes an endpoint whose token is sealed with that keyset.
func endpointOf(encoded secret.String) func(*testing.T, *storetest.DB) {
	return func(t *testing.T, db *storetest.DB) {
		t.Helper()
		tenant := db.Tenant(t)
		id := db.Endpoint(t, tenant, "stripe").ID
		sealed, err := open(t, encoded).Seal(secret.EndpointToken, []byte("token"), tenant[:], id[:])
		must(t, err)
		db.Exec(t, `UPDATE tributary.endpoints SET token_sealed = $1`, sealed)
	}
}

// Of those that pass the check at once with keysets that do not fit, one joins and the others are refused: whoever
// is in opens what all who are in seal.
func TestJoin_AtOnce(t *testing.T) {
	t.Parallel()
	a, b := newAges(t), newAges(t)
	for name, keysets := range map[string][]secret.String{
		"two that are strangers":       {a.first, b.first},
		"one that is not rotated":      {a.first, a.promoted},
		"all of them and the stranger": {a.first, a.rotated, a.promoted, b.first},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			var group sync.WaitGroup
			keepers, errs := make([]*secret.Keeper, len(keysets)), make([]error, len(keysets))
			for i, encoded := range keysets {
				keepers[i] = open(t, encoded)
				must(t, keyset.Check(t.Context(), db.Pipeline, keepers[i]))
			}
			for i, k := range keepers {
				group.Go(func() { errs[i] = join(t, db, string(rune('a'+i)), k) })
			}
			group.Wait()
			var in []*secret.Keeper
			for i, err := range errs {
				if err == nil {
					in = append(in, keepers[i])
				} else if hub.CodeOf(err) != hub.Conflict {
					t.Errorf("%v; want it refused", err)
				}
			}
			if len(in) == 0 || len(in) == len(keysets) {
				t.Fatalf("%d of %d joined", len(in), len(keysets))
			}
			for _, one := range in {
				for _, two := range in {
					sealed, err := one.Seal(secret.Check, []byte("x"))
					must(t, err)
					if _, err := two.Open(secret.Check, sealed); err != nil {
						t.Error("two have joined that do not open what each other seals")
					}
				}
			}
		})
	}
}

// A node that was refused has left nothing: neither its row nor its key.
func TestJoin_RefusedLeavesNothing(t *testing.T) {
	t.Parallel()
	db, a, b := storetest.New(t), newAges(t), newAges(t)
	must(t, start(t, db, "n", a.first))
	if err := join(t, db, "m", open(t, b.first)); hub.CodeOf(err) != hub.Conflict {
		t.Fatalf("a stranger: %v", err)
	}
	must(t, keyset.Check(context.WithoutCancel(t.Context()), db.Pipeline, open(t, a.first)))
	if n := storetest.Value[int](t, db, `SELECT (SELECT count(*) FROM tributary.nodes) + (SELECT count(*) FROM tributary.keyset_keys)`); n != 2 {
		t.Errorf("%d rows of nodes and keys, want 2", n)
	}
}
