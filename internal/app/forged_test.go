package app_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
)

// A trial is one issuer's matrix, put to the streams of the tenant that trusts it and of one that does not exist.
type trial struct {
	d      *door
	f      *forger
	tenant hub.TenantID
	nobody string
	atOnce bool
	matrix []forgery
	before [2]int // fetches of the issuer's two documents before the first token came
}

// A pair is what both tenants answered to one token.
type pair struct{ known, unknown answer }

// round puts the whole matrix, and gives the answers in its order.
func (r *trial) round(t *testing.T) []pair {
	t.Helper()
	results := make([]pair, len(r.matrix))
	var running sync.WaitGroup
	try := func(i int) {
		var err, err2 error
		results[i].known, err = r.d.ask(t.Context(), r.tenant.String(), r.matrix[i].token)
		results[i].unknown, err2 = r.d.ask(t.Context(), r.nobody, r.matrix[i].token)
		if err != nil || err2 != nil {
			t.Errorf("%s: %v, %v", r.matrix[i].name, err, err2)
		}
	}
	for i := range r.matrix {
		if r.atOnce {
			running.Go(func() { try(i) })
			continue
		}
		try(i)
	}
	running.Wait()
	return results
}

// fetched says how often the tokens had each of the issuer's documents fetched until now.
func (r *trial) fetched() [2]int {
	now := r.d.issuers.fetches(r.f.issuer)
	return [2]int{now[0] - r.before[0], now[1] - r.before[1]}
}

// wrong says what is wrong with the answers to a token; settled: the issuer's keys were fetched since its key id was
// first seen, so that nothing is left to wait for.
func (r pair) wrong(f forgery, settled bool) string {
	unauthorized := func(a answer) bool { return a.status == 401 && a.body["code"] == "unauthenticated" }
	switch {
	case r.known.accepted() || r.unknown.accepted():
		return "it is accepted"
	case !unauthorized(r.unknown):
		return "a tenant that does not exist answers otherwise than 401"
	case f.unknown && !settled && r.known.status == 503 && r.known.body["code"] == "key_unavailable":
		return ""
	case !unauthorized(r.known):
		return "it is refused otherwise than by 401"
	case !f.signed && cmp.Diff(r.unknown, r.known, cmp.AllowUnexported(answer{})) != "":
		return "the answers tell a tenant that exists from one that does not"
	}
	return ""
}

// No forged or confused token opens a stream, whoever comes with it first, one after another or all at once; and all of
// them together have an issuer's keys fetched once in 30 seconds of the process's clock.
func TestStream_RefusesForgedTokens(t *testing.T) {
	t.Parallel()
	for _, atOnce := range []bool{false, true} {
		name := "one after another"
		if atOnce {
			name = "all at once"
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newDoor(t)
			r := newTrial(t, d, strings.ReplaceAll(name, " ", "-"), atOnce)
			var fetched [][2]int // of the two documents, by the end of each round
			check := func(what string, want int, settled bool) []pair {
				t.Helper()
				results := r.round(t)
				for i, f := range r.matrix {
					if fault := results[i].wrong(f, settled); fault != "" {
						t.Errorf("%s, %s %s: %s: %v, no such tenant: %v", what, f.kind, f.name, fault, results[i].known, results[i].unknown)
					}
				}
				got := r.fetched()
				fetched = append(fetched, got)
				if got != [2]int{want, want} {
					t.Errorf("%s: %d fetches of the discovery document and %d of the keys, want %d", what, got[0], got[1], want)
				}
				return results
			}
			cold := check("at first", 1, false) // nobody has come with a good token, so that the first forged one has the keys fetched
			d.clock.advance(30*time.Second - time.Millisecond)
			soon := check("just within 30 s", 1, false)
			d.clock.advance(time.Millisecond)
			warm := check("after 30 s", 2, true)
			r.othersAreNotAsked(t)
			r.takesTheGoodOne(t)
			r.print(t, name, fetched, cold, soon, warm)
		})
	}
}

func newTrial(t *testing.T, d *door, name string, atOnce bool) *trial {
	t.Helper()
	f := newForger(t, d, name)
	r := &trial{d: d, f: f, tenant: d.db.Tenant(t), nobody: "no-such-tenant", atOnce: atOnce, matrix: f.matrix()}
	row := func(issuer string) map[string]any {
		return map[string]any{
			"name": "login", "issuer": issuer, "audiences": []string{audience}, "authorized_parties": []string{party},
			"required_claims": map[string]any{"realm.tier": "gold"}, "grants": []string{"user:{sub}"},
		}
	}
	d.trust(t, r.tenant, row(f.issuer))
	d.trust(t, d.db.Tenant(t), row(f.foreign))
	r.before = d.issuers.fetches(f.issuer) // of saving the row
	if len(r.matrix) < 30 {
		t.Errorf("the matrix has only %d tokens", len(r.matrix))
	}
	names := map[string]bool{}
	for _, forged := range r.matrix {
		names[forged.kind+forged.name] = true
	}
	if len(names) != len(r.matrix) {
		t.Errorf("%d tokens have %d names", len(r.matrix), len(names))
	}
	return r
}

// othersAreNotAsked: what a token says of other servers makes nobody ask them.
func (r *trial) othersAreNotAsked(t *testing.T) {
	t.Helper()
	if got := r.d.issuers.fetches(r.f.evil); got != [2]int{} {
		t.Errorf("%v fetches at the attacker's address", got)
	}
	if got := r.d.issuers.fetches(r.f.foreign); got != [2]int{1, 1} { // of saving its row
		t.Errorf("%v fetches at the issuer that another tenant trusts", got)
	}
}

// takesTheGoodOne: the tokens were refused for what is wrong with them, and the flood has locked nobody out.
func (r *trial) takesTheGoodOne(t *testing.T) {
	t.Helper()
	before := r.fetched()
	for what, changes := range map[string]claims{"by aud": nil, "by azp": {"aud": "x", "azp": party}, "by client_id": {"aud": nil, "client_id": party}} {
		for _, key := range []signer{r.f.ec, r.f.rs} {
			opened, err := r.d.ask(t.Context(), r.tenant.String(), r.f.by(key, key.id, nil, changes))
			must(t, err)
			if diff := cmp.Diff([]any{"user:alice"}, opened.body["channels"]); diff != "" || !opened.accepted() {
				t.Errorf("the good token, %s, signed with %s: %d %v", what, key.alg, opened.status, opened.body)
			}
		}
	}
	if after := r.fetched(); after != before {
		t.Errorf("good tokens had the keys fetched again: %v", after)
	}
}

// print writes the matrix as a table.
func (r *trial) print(t *testing.T, name string, fetched [][2]int, cold, soon, warm []pair) {
	t.Helper()
	accepted, requests := 0, 0
	said := map[string]int{}
	for _, p := range slices.Concat(cold, soon, warm) {
		for _, a := range []answer{p.known, p.unknown} {
			requests++
			said[fmt.Sprint(a.status, " ", a.body["code"])]++
			if a.accepted() {
				accepted++
			}
		}
	}
	var table strings.Builder
	for i, f := range r.matrix {
		fmt.Fprintf(&table, "| %s | %s | %d | %d | %d | %d | %v |\n", f.kind, f.name,
			cold[i].known.status, soon[i].known.status, warm[i].known.status, warm[i].unknown.status, warm[i].known.body["detail"])
	}
	t.Logf("%s: %d forged or confused tokens, %d requests in three rounds: accepted %d; fetches of the issuer's discovery document and keys by the end of each round: %v; answers: %v\n"+
		"| what is wrong | how | at first | just within 30 s | after 30 s | no such tenant | what is told |\n| --- | --- | --- | --- | --- | --- | --- |\n%s",
		name, len(r.matrix), requests, accepted, fetched, said, table.String())
}
