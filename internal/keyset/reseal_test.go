package keyset_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/keyset"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// stored is where what the hub seals lies, with the parts that those who seal and open it give.
var stored = []struct {
	purpose secret.Purpose
	sql     string
}{
	{secret.EndpointToken, `SELECT token_sealed, ARRAY[uuid_send(tenant_id), uuid_send(id)] FROM tributary.endpoints`},
	{secret.EndpointSecret, `SELECT sealed, ARRAY[uuid_send(tenant_id), uuid_send(endpoint_id), uuid_send(id)] FROM tributary.secrets`},
	{secret.Answer, `SELECT answer, ARRAY[uuid_send(caller), hash] FROM tributary.idempotency WHERE secret_until IS NOT NULL`},
	{secret.EventHeaders, `SELECT sealed, ARRAY[uuid_send(tenant_id), uuid_send(id)] FROM tributary.rejections WHERE sealed IS NOT NULL`},
	{secret.EventBody, `SELECT sealed_body, ARRAY[uuid_send(tenant_id), uuid_send(id)] FROM tributary.rejections WHERE sealed_body IS NOT NULL`},
	{secret.EventHeaders, `SELECT sealed, ARRAY[uuid_send(tenant_id), uuid_send(id)] FROM tributary.events WHERE sealed IS NOT NULL`},
	{secret.EventBody, `SELECT sealed_body, ARRAY[uuid_send(tenant_id), uuid_send(id)] FROM tributary.events WHERE sealed_body IS NOT NULL`},
}

// opened is all that is stored as the keeper opens it, sorted; what does not open is a number at the end.
func opened(t *testing.T, db *storetest.DB, k *secret.Keeper) (values []string, closed int) {
	t.Helper()
	for _, s := range stored {
		rows, err := db.Owner.Query(t.Context(), s.sql)
		must(t, err)
		for rows.Next() {
			var sealed []byte
			var parts [][]byte
			must(t, rows.Scan(&sealed, &parts))
			value, err := k.Open(s.purpose, sealed, parts...)
			if err != nil {
				closed++
				continue
			}
			values = append(values, string(s.purpose)+" "+string(value))
		}
		must(t, rows.Err())
	}
	slices.Sort(values)
	return values, closed
}

// fill stores something sealed by the keeper wherever there can be, and as many events as are asked for.
func fill(t *testing.T, db *storetest.DB, k *secret.Keeper, events int) {
	t.Helper()
	seal := func(p secret.Purpose, value string, parts ...[]byte) []byte {
		sealed, err := k.Seal(p, []byte(value), parts...)
		must(t, err)
		return sealed
	}
	tenant := db.Tenant(t)
	endpoint := db.Endpoint(t, tenant, "gitlab")
	id := hub.NewID[hub.SecretID]()
	db.Exec(t, `UPDATE tributary.endpoints SET token_sealed = $2 WHERE id = $1`, endpoint.ID,
		seal(secret.EndpointToken, endpoint.Token, tenant[:], endpoint.ID[:]))
	db.Exec(t, `INSERT INTO tributary.secrets (tenant_id, endpoint_id, id, state, sealed) VALUES ($1, $2, $3, 'active', $4)`, tenant, endpoint.ID, id,
		seal(secret.EndpointSecret, "secret "+id.String(), tenant[:], endpoint.ID[:], id[:]))

	q := store.Question{Caller: hub.NewID[hub.KeyID](), Hash: hub.HashToken(id.String()), Request: hub.HashToken("body")}
	until := time.Now().Add(time.Hour)
	for _, answer := range []store.Answer{
		{Status: 201, Header: map[string]string{}, Body: seal(secret.Answer, "answer "+id.String(), q.Caller[:], q.Hash[:]), SecretUntil: &until},
		{Status: 201, Header: map[string]string{}, Body: []byte("an answer without a secret")},
	} {
		_, err := db.Pipeline.KeepAnswer(t.Context(), q, answer, time.Hour)
		must(t, err)
		q.Hash[0]++
	}

	r := store.Rejected{Tenant: tenant}
	r.ID, r.Endpoint, r.Cause, r.ReceivedAt = hub.NewID[hub.RejectionID](), endpoint.ID, hub.NoSignature, time.Now()
	r.Header, r.Body = []byte{}, []byte("{}")
	r.Sealed, r.SealedBody = seal(secret.EventHeaders, "Cookie: "+id.String(), tenant[:], r.ID[:]), seal(secret.EventBody, "body "+id.String(), tenant[:], r.ID[:])
	must(t, db.Pipeline.InsertRejections(t.Context(), []store.Rejected{r}))

	insert(t, db, k, tenant, endpoint.ID, events)
}

// insert stores events as the intake does: every second has sealed headers, every third a sealed body.
func insert(t *testing.T, db *storetest.DB, k *secret.Keeper, tenant hub.TenantID, endpoint hub.EndpointID, n int) {
	t.Helper()
	var events []hub.Event
	for i := range n {
		e := db.Event(t, "gitlab", storetest.To(tenant, endpoint))
		var err error
		if i%2 == 0 {
			e.Sealed, err = k.Seal(secret.EventHeaders, []byte("X-Gitlab-Token: "+e.ID.String()), tenant[:], e.ID[:])
			must(t, err)
		}
		if i%3 == 0 {
			e.SealedBody, err = k.Seal(secret.EventBody, []byte("body of "+e.ID.String()), tenant[:], e.ID[:])
			must(t, err)
		}
		events = append(events, e)
	}
	for some := range slices.Chunk(events, 500) {
		_, err := db.Pipeline.InsertEvents(t.Context(), some)
		must(t, err)
	}
}

// reseal runs it to its end and says how many values were seen, and sealed anew.
func reseal(t *testing.T, db *storetest.DB, encoded secret.String) (seen, anew int) {
	t.Helper()
	must(t, keyset.Reseal(t.Context(), db.OwnerURL, encoded, func(r store.Resealed) {
		if r.Failed > 0 {
			t.Errorf("%s: %d failed", r.Column, r.Failed)
		}
		if r.Done {
			seen, anew = seen+r.Seen, anew+r.Anew
		}
	}))
	return seen, anew
}

// Whatever is stored is sealed anew, opens as before, and nothing is written that was sealed by the primary already.
func TestReseal(t *testing.T) {
	t.Parallel()
	db, a := storetest.New(t), newAges(t)
	must(t, start(t, db, "n", a.rotated))
	fill(t, db, open(t, a.first), 1100)
	fill(t, db, open(t, a.promoted), 10)
	before, closed := opened(t, db, open(t, a.promoted))
	if closed != 0 || len(before) != 2*5+550+367+5+4 {
		t.Fatalf("stored %d, and %d that do not open", len(before), closed)
	}
	written := func() []string {
		return storetest.Values[string](t, db, `
			SELECT xmin::text || id FROM tributary.events UNION ALL SELECT xmin::text || id FROM tributary.secrets
			UNION ALL SELECT xmin::text || id FROM tributary.rejections ORDER BY 1`)
	}
	if seen, anew := reseal(t, db, a.promoted); seen != len(before) || anew != 5+550+367 {
		t.Errorf("%d seen, %d sealed anew; want %d, %d", seen, anew, len(before), 5+550+367)
	}
	after, closed := opened(t, db, open(t, a.pruned))
	if diff := cmp.Diff(before, after); diff != "" || closed != 0 {
		t.Errorf("%d do not open with the new key alone; all that is stored (-before +after):\n%s", closed, diff)
	}
	if values, _ := opened(t, db, open(t, a.first)); len(values) != 0 {
		t.Errorf("%d open with the old key", len(values))
	}
	once := written()
	if seen, anew := reseal(t, db, a.promoted); seen != len(before) || anew != 0 {
		t.Errorf("again: %d seen, %d sealed anew", seen, anew)
	}
	if diff := cmp.Diff(once, written()); diff != "" {
		t.Errorf("rows were written again:\n%s", diff)
	}
}

// It may end at any moment: what was done stays, what was not is done by the next.
func TestReseal_Killed(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(*testing.T, *storetest.DB, context.CancelFunc){
		"by whoever called it": func(_ *testing.T, _ *storetest.DB, cancel context.CancelFunc) { cancel() },
		"with its connection": func(t *testing.T, db *storetest.DB, _ context.CancelFunc) {
			t.Helper()
			storetest.Values[bool](t, db, `
				SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
				 WHERE datname = current_database() AND usename = current_user AND pid <> pg_backend_pid() AND backend_type = 'client backend'`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, a := storetest.New(t), newAges(t)
			fill(t, db, open(t, a.first), 2100)
			before, _ := opened(t, db, open(t, a.first))
			db.Owner.Reset()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			pages := 0
			err := keyset.Reseal(ctx, db.OwnerURL, a.promoted, func(r store.Resealed) {
				if r.Column == "events.sealed" {
					if pages++; pages == 1 {
						kill(t, db, cancel)
					}
				}
			})
			if err == nil {
				t.Fatal("it was not ended")
			}
			old, closed := opened(t, db, open(t, a.first))
			if len(old) == 0 || closed == 0 {
				t.Fatalf("it was not ended in the middle: %d are sealed by the old key, %d by the new one", len(old), closed)
			}
			if half, closed := opened(t, db, open(t, a.promoted)); closed != 0 || cmp.Diff(before, half) != "" {
				t.Errorf("after it was ended %d of %d open, %d do not", len(half), len(before), closed)
			}
			if _, anew := reseal(t, db, a.promoted); anew != len(old) {
				t.Errorf("the next sealed %d anew, want the %d that were left", anew, len(old))
			}
			if after, closed := opened(t, db, open(t, a.pruned)); closed != 0 || cmp.Diff(before, after) != "" {
				t.Errorf("in the end %d of %d open, %d do not", len(after), len(before), closed)
			}
		})
	}
}

// Nodes of both ages store, change and delete while it runs, and lose nothing.
func TestReseal_UnderLoad(t *testing.T) {
	t.Parallel()
	db, a := storetest.New(t), newAges(t)
	rotated, promoted := open(t, a.rotated), open(t, a.promoted)
	must(t, start(t, db, "old", a.rotated))
	must(t, start(t, db, "new", a.promoted))
	fill(t, db, rotated, 1500)
	tenant := db.Tenant(t)
	endpoint := db.Endpoint(t, tenant, "gitlab").ID
	set := func(k *secret.Keeper, value string) {
		sealed, err := k.Seal(secret.EndpointToken, []byte(value), tenant[:], endpoint[:])
		must(t, err)
		db.Exec(t, `UPDATE tributary.endpoints SET token_sealed = $2 WHERE id = $1`, endpoint, sealed)
	}
	set(rotated, "token 0")

	const rounds, each = 30, 20
	var group sync.WaitGroup
	for _, k := range []*secret.Keeper{rotated, promoted} {
		group.Go(func() {
			for range rounds {
				insert(t, db, k, tenant, endpoint, each)
			}
		})
	}
	group.Go(func() {
		for i := range 10 * rounds {
			set([]*secret.Keeper{rotated, promoted}[i%2], fmt.Sprintf("token %d", i+1))
		}
	})
	group.Go(func() { // retention
		for range rounds {
			db.Exec(t, `DELETE FROM tributary.events WHERE id IN (SELECT id FROM tributary.events WHERE tenant_id <> $1 ORDER BY id DESC LIMIT 10)`, tenant)
		}
	})
	loaded := make(chan struct{})
	go func() { defer close(loaded); group.Wait() }()
	runs := 0
	for done := false; !done; runs++ {
		select {
		case <-loaded:
			done = true
		default:
		}
		reseal(t, db, a.promoted)
	}
	values, closed := opened(t, db, open(t, a.pruned))
	if closed != 0 {
		t.Errorf("%d do not open with the new key", closed)
	}
	if !slices.Contains(values, fmt.Sprintf("endpoint-token token %d", 10*rounds)) {
		t.Error("the last token that was set is not the one that is there")
	}
	mine := storetest.Value[int](t, db, `SELECT count(sealed) + count(sealed_body) FROM tributary.events WHERE tenant_id = $1`, tenant)
	if want := 2 * rounds * (each/2 + (each+2)/3); mine != want {
		t.Errorf("%d sealed values of the events that came meanwhile, want %d", mine, want)
	}
	t.Logf("%d runs beside %d events", runs, 2*rounds*each)
}

// What does not open is told, stays as it is, and keeps the rest from nothing.
func TestReseal_WhatDoesNotOpen(t *testing.T) {
	t.Parallel()
	db, a, other := storetest.New(t), newAges(t), newAges(t)
	must(t, start(t, db, "n", a.first))
	must(t, db.Pipeline.RemoveNode(t.Context(), "n"))
	fill(t, db, open(t, a.first), 10)
	fill(t, db, open(t, other.first), 10)
	before, _ := opened(t, db, open(t, other.first))
	failed := 0
	must(t, keyset.Reseal(t.Context(), db.OwnerURL, a.promoted, func(r store.Resealed) {
		if r.Done {
			failed += r.Failed
		}
	}))
	after, _ := opened(t, db, open(t, other.first))
	if failed != len(before) || cmp.Diff(before, after) != "" {
		t.Errorf("%d failed, want %d; %d open as before", failed, len(before), len(after))
	}
	if _, err := keyset.Prune(t.Context(), db.OwnerURL, a.promoted); hub.CodeOf(err) != hub.Conflict || !strings.Contains(err.Error(), "5 in events.sealed,") {
		t.Errorf("prune: %v", err)
	}
}

// Reseal, promote and prune refuse while they would take something from somebody, and change nothing then.
func TestRotation_Refusals(t *testing.T) {
	t.Parallel()
	a, other := newAges(t), newAges(t)
	resealed := func(ctx context.Context, url string, encoded secret.String) (secret.String, error) {
		return secret.String{}, keyset.Reseal(ctx, url, encoded, func(store.Resealed) {})
	}
	type command func(context.Context, string, secret.String) (secret.String, error)
	nobodySays := func(t *testing.T, db *storetest.DB) {
		t.Helper()
		db.Exec(t, `UPDATE tributary.nodes SET key_ids = NULL, primary_key_id = NULL`)
	}
	for name, tt := range map[string]struct {
		nodes   []secret.String
		then    func(*testing.T, *storetest.DB)
		command command
		with    secret.String
		refused string // "": it does it
	}{
		"promote":                            {[]secret.String{a.rotated}, nil, keyset.Promote, a.rotated, ""},
		"promote without a node":             {nil, nil, keyset.Promote, a.rotated, ""},
		"promote, one node lacks the key":    {[]secret.String{a.first, a.rotated}, nil, keyset.Promote, a.rotated, "do not have: n0;"},
		"promote, a node does not say":       {[]secret.String{a.rotated}, nobodySays, keyset.Promote, a.rotated, "of an earlier build"},
		"promote of a stranger's":            {[]secret.String{a.first}, nil, keyset.Promote, other.rotated, "cannot open what the database holds"},
		"promote of one promoted":            {[]secret.String{a.promoted}, nil, keyset.Promote, a.promoted, "seals already"},
		"reseal":                             {[]secret.String{a.rotated, a.promoted}, nil, resealed, a.promoted, ""},
		"reseal, one node lacks the key":     {[]secret.String{a.first}, nil, resealed, a.promoted, "do not have: n0;"},
		"reseal, a node does not say":        {[]secret.String{a.promoted}, nobodySays, resealed, a.promoted, "of an earlier build"},
		"reseal with a stranger's":           {[]secret.String{a.first}, nil, resealed, other.first, "cannot open what the database holds"},
		"prune":                              {[]secret.String{a.promoted}, nil, keyset.Prune, a.promoted, ""},
		"prune of a rotation":                {[]secret.String{a.rotated}, nil, keyset.Prune, a.rotated, ""},
		"prune, one node seals with the old": {[]secret.String{a.rotated, a.promoted}, nil, keyset.Prune, a.promoted, "n0 still seals with key "},
		"prune, a node does not say":         {[]secret.String{a.promoted}, nobodySays, keyset.Prune, a.promoted, "of an earlier build"},
		"prune of a stranger's":              {[]secret.String{a.first}, nil, keyset.Prune, other.promoted, "cannot open what the database holds"},
		"promote, another key of an id":      {[]secret.String{a.rotated}, anotherKey(other.first), keyset.Promote, a.rotated, "is another one than the database's of that id"},
		"reseal, another key of an id":       {[]secret.String{a.promoted}, anotherKey(other.first), resealed, a.promoted, "is another one than the database's of that id"},
		"prune, another key of an id":        {[]secret.String{a.promoted}, anotherKey(other.first), keyset.Prune, a.promoted, "is another one than the database's of that id"},
		"prune, a token is sealed by the old": {
			[]secret.String{a.promoted}, endpointOf(a.first), keyset.Prune, a.promoted, "1 in endpoints.token_sealed; run `tributary keyset reseal` first",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			for i, encoded := range tt.nodes {
				must(t, start(t, db, fmt.Sprintf("n%d", i), encoded))
			}
			if tt.then != nil {
				tt.then(t, db)
			}
			keys := func() []string {
				return storetest.Values[string](t, db, `SELECT key_id || coalesce(retired_at::text, '') FROM tributary.keyset_keys ORDER BY key_id`)
			}
			before := keys()
			changed, err := tt.command(t.Context(), db.OwnerURL, tt.with)
			if tt.refused == "" {
				must(t, err)
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.refused) || !changed.IsZero() {
				t.Errorf("%v; want it refused: %q", err, tt.refused)
			}
			if diff := cmp.Diff(before, keys()); diff != "" {
				t.Errorf("it has changed what is known of keys:\n%s", diff)
			}
		})
	}
}

// A prune that is ended while it looks leaves nothing retired that is in use.
func TestPrune_Ended(t *testing.T) {
	t.Parallel()
	db, a := storetest.New(t), newAges(t)
	must(t, start(t, db, "n", a.rotated))
	must(t, start(t, db, "n", a.promoted))
	db.Exec(t, `ALTER TABLE tributary.events RENAME TO away`)
	if _, err := keyset.Prune(t.Context(), db.OwnerURL, a.promoted); err == nil {
		t.Fatal("it did not end")
	}
	if n := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.keyset_keys WHERE retired_at IS NOT NULL`); n != 0 {
		t.Errorf("%d keys are retired", n)
	}
	db.Exec(t, `ALTER TABLE tributary.away RENAME TO events`)
	for range 2 { // the second finds nothing to do
		pruned, err := keyset.Prune(t.Context(), db.OwnerURL, a.promoted)
		if err != nil || !pruned.Equal(a.pruned) {
			t.Fatalf("then: %v", err)
		}
	}
}

// A prune that was killed has retired keys that are in use. The next one that refuses lets them seal again, and those
// alone: what was pruned in order stays retired.
func TestPrune_Killed(t *testing.T) {
	t.Parallel()
	for name, used := range map[string]func(*testing.T, *storetest.DB, secret.String){
		"by all there is": func(t *testing.T, db *storetest.DB, encoded secret.String) {
			t.Helper()
			fill(t, db, open(t, encoded), 4)
		},
		"by a token": func(t *testing.T, db *storetest.DB, encoded secret.String) { t.Helper(); endpointOf(encoded)(t, db) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, a := storetest.New(t), newAges(t)
			must(t, start(t, db, "n", a.rotated))
			must(t, start(t, db, "n", a.promoted))
			pruned, err := keyset.Prune(t.Context(), db.OwnerURL, a.promoted)
			must(t, err)
			rotated, err := secret.Rotate(pruned)
			must(t, err)
			promoted, err := secret.Promote(rotated)
			must(t, err)
			must(t, start(t, db, "n", rotated))
			must(t, start(t, db, "n", promoted))
			used(t, db, rotated)
			ids := func(which string) []int64 {
				return storetest.Values[int64](t, db, `SELECT key_id FROM tributary.keyset_keys WHERE retired_at IS `+which+` ORDER BY made_at`)
			}
			retired := ids("NOT NULL")
			if len(retired) != 1 || len(ids("NULL")) != 2 {
				t.Fatalf("%d keys are retired, %d are not", len(retired), len(ids("NULL")))
			}
			// As one leaves it that was killed while it looked.
			db.Exec(t, `UPDATE tributary.keyset_keys SET retired_at = now() WHERE key_id <> $1 AND retired_at IS NULL`, int64(open(t, promoted).Primary()))
			if _, err := keyset.Prune(t.Context(), db.OwnerURL, promoted); hub.CodeOf(err) != hub.Conflict {
				t.Fatalf("prune: %v", err)
			}
			if diff := cmp.Diff(retired, ids("NOT NULL")); diff != "" {
				t.Errorf("retired (-want +got):\n%s", diff)
			}
			must(t, start(t, db, "m", rotated))
		})
	}
}

// What somebody stores or deletes between the reading of a value and its writing is theirs.
func TestReseal_LeavesWhatChangedMeanwhile(t *testing.T) {
	t.Parallel()
	db, a := storetest.New(t), newAges(t)
	fill(t, db, open(t, a.first), 0)
	k := open(t, a.promoted)
	keys, err := keyset.Of(k)
	must(t, err)
	must(t, store.Reseal(t.Context(), store.ResealOptions{
		URL: db.OwnerURL, Keyset: keys, Prefix: k.Prefix(),
		Seal: func(v store.SealedValue) ([]byte, error) {
			switch secret.Purpose(v.Purpose) {
			case secret.EndpointToken:
				db.Exec(t, `UPDATE tributary.endpoints SET token_sealed = 'theirs'`)
			case secret.EndpointSecret:
				db.Exec(t, `DELETE FROM tributary.secrets`)
			default:
			}
			return []byte("anew"), nil
		},
		Progress: func(r store.Resealed) {
			want := 1
			if r.Column == "endpoints.token_sealed" || r.Column == "secrets.sealed" || strings.HasPrefix(r.Column, "events.") {
				want = 0
			}
			if r.Anew != want {
				t.Errorf("%s: %d sealed anew, want %d", r.Column, r.Anew, want)
			}
		},
	}))
	if token := storetest.Value[string](t, db, `SELECT convert_from(token_sealed, 'UTF8') FROM tributary.endpoints`); token != "theirs" {
		t.Errorf("the token is %q, want what was stored meanwhile", token)
	}
}

// The store decides by itself, in the transaction in which it begins: since a look at the database from outside,
// another node may have joined.
func TestReseal_DecidesAgain(t *testing.T) {
	t.Parallel()
	a, other := newAges(t), newAges(t)
	for name, tt := range map[string]struct {
		keyset secret.String
		runs   bool // the node that stored what is there
	}{
		"a stranger's":       {other.first, false},
		"promoted too early": {a.promoted, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			must(t, start(t, db, "n", a.first))
			if !tt.runs {
				must(t, db.Pipeline.RemoveNode(t.Context(), "n"))
			}
			k := open(t, tt.keyset)
			keys, err := keyset.Of(k)
			must(t, err)
			err = store.Reseal(t.Context(), store.ResealOptions{
				URL: db.OwnerURL, Keyset: keys, Prefix: k.Prefix(), Progress: func(r store.Resealed) { t.Errorf("it reads %s", r.Column) },
			})
			if hub.CodeOf(err) != hub.Conflict {
				t.Errorf("reseal: %v", err)
			}
			if err := store.Retire(t.Context(), db.OwnerURL, keys, k.Prefix()); hub.CodeOf(err) != hub.Conflict {
				t.Errorf("retire: %v", err)
			}
			must(t, start(t, db, "m", a.first)) // nothing is known of the other key
		})
	}
}

// What was sealed anew while no node ran is known: one that starts with the keyset of before is refused.
func TestReseal_IsRemembered(t *testing.T) {
	t.Parallel()
	db, a := storetest.New(t), newAges(t)
	must(t, start(t, db, "n", a.first))
	must(t, db.Pipeline.RemoveNode(t.Context(), "n"))
	reseal(t, db, a.promoted)
	if err := start(t, db, "n", a.first); hub.CodeOf(err) != hub.Conflict {
		t.Errorf("it starts with a keyset that lacks what all is sealed with: %v", err)
	}
}
