package egress_test

import (
	"context"
	"crypto"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/egress"
	"github.com/tributary-hub/tributary/internal/hub"
)

// ask asks for an ES256 key and gives the code of what went wrong.
func ask(t *testing.T, set *egress.KeySet, id string) hub.Code {
	t.Helper()
	key, err := set.Key(t.Context(), id, "ES256")
	if (key == nil) != (err != nil) {
		t.Errorf("key %v and error %v", key, err)
	}
	return hub.CodeOf(err)
}

func expect(t *testing.T, what string, got, want hub.Code) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func expectFetches(t *testing.T, s *issuers, name string, want int) {
	t.Helper()
	if got := s.fetches(name); got != want {
		t.Errorf("%d fetches of the key set, want %d", got, want)
	}
}

func TestKeys_Find(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"), es256("two"))
	keys, clock := newKeys(t, s, egress.KeysOptions{})
	set := keys.KeySet(s.issuer("a"), "", true)

	for range 10 {
		key, err := set.Key(t.Context(), "one", "ES256")
		if err != nil {
			t.Fatal(err)
		}
		if !ecKey().Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(key) {
			t.Fatal("another key")
		}
		clock.advance(29 * time.Second)
	}
	expect(t, "another key of the set", ask(t, set, "two"), "")
	expectFetches(t, s, "a", 1)
	if n := s.discoveries("a"); n != 1 {
		t.Errorf("%d fetches of the discovery document", n)
	}
	for _, alg := range []string{"none", "", "HS256", "RSA-OAEP", "es256", "ES256K", "RS1"} {
		if _, err := set.Key(t.Context(), "one", alg); hub.CodeOf(err) != hub.Unauthenticated {
			t.Errorf("algorithm %q: %v", alg, err)
		}
	}
	for _, alg := range []string{"RS256", "ES384", "EdDSA"} {
		if _, err := set.Key(t.Context(), "one", alg); hub.CodeOf(err) != hub.Unauthenticated {
			t.Errorf("algorithm %q: %v", alg, err)
		}
	}
	expectFetches(t, s, "a", 1)
}

func TestKeys_IssuerWithSlash(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.set("/a/.well-known/openid-configuration", map[string]any{"issuer": s.issuer("a") + "/", "jwks_uri": s.issuer("a") + "/keys"})
	s.publish("a", es256("one"))
	keys, _ := newKeys(t, s, egress.KeysOptions{})
	expect(t, "with its slash", ask(t, keys.KeySet(s.issuer("a")+"/", "", true), "one"), "")
	expect(t, "without", ask(t, keys.KeySet(s.issuer("a"), "", true), "one"), hub.KeyUnavailable)
}

func TestKeys_JunkIDs(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	keys, clock := newKeys(t, s, egress.KeysOptions{})
	set := keys.KeySet(s.issuer("a"), "", true)

	for round := range 3 {
		for i := range 500 {
			if code := ask(t, set, fmt.Sprintf("junk-%d-%d", round, i)); code != hub.Unauthenticated && code != hub.KeyUnavailable {
				t.Fatalf("junk %d: %q", i, code)
			}
			expect(t, "the real key meanwhile", ask(t, set, "one"), "")
		}
		expectFetches(t, s, "a", round+1)
		clock.advance(30 * time.Second)
	}
}

func TestKeys_JunkIDsAtOnce(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	keys, _ := newKeys(t, s, egress.KeysOptions{})
	set := keys.KeySet(s.issuer("a"), "", true)
	var wg sync.WaitGroup
	for i := range 500 {
		wg.Go(func() {
			want := hub.Code("")
			id := "one"
			if i%2 == 0 {
				id, want = fmt.Sprint("junk-", i), hub.KeyUnavailable
			}
			if code := ask(t, set, id); code != want && !(i%2 == 0 && code == hub.Unauthenticated) {
				t.Errorf("%s: %q", id, code)
			}
		})
	}
	wg.Wait()
	expectFetches(t, s, "a", 1)
}

func TestKeys_UnknownOnlyAfterAFetch(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	keys, clock := newKeys(t, s, egress.KeysOptions{})
	set := keys.KeySet(s.issuer("a"), "", true)

	expect(t, "seen before the first fetch, which does not have it", ask(t, set, "early"), hub.Unauthenticated)
	clock.advance(10 * time.Second)
	expect(t, "seen after the fetch, too early for another", ask(t, set, "late"), hub.KeyUnavailable)
	expect(t, "again", ask(t, set, "late"), hub.KeyUnavailable)
	expect(t, "the first one stays unknown", ask(t, set, "early"), hub.Unauthenticated)
	expectFetches(t, s, "a", 1)
	clock.advance(20 * time.Second)
	expect(t, "after a fetch that began later", ask(t, set, "late"), hub.Unauthenticated)
	expectFetches(t, s, "a", 2)
	for range 8 {
		clock.advance(30 * time.Second)
		expect(t, "known to be junk", ask(t, set, "early"), hub.Unauthenticated)
		expect(t, "known to be junk", ask(t, set, "late"), hub.Unauthenticated)
	}
	expectFetches(t, s, "a", 2)
	if _, err := set.Key(t.Context(), strings.Repeat("k", 257), "ES256"); hub.CodeOf(err) != hub.Unauthenticated {
		t.Errorf("a key id of 257 bytes: %v", err)
	}
	expectFetches(t, s, "a", 2)
}

// A fetch that had begun before an id was first seen proves nothing about it.
func TestKeys_UnknownDuringAFetch(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	arrived, release := make(chan struct{}), make(chan struct{})
	s.interceptWith(func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/keys") {
			arrived <- struct{}{}
			<-release
		}
		return false
	})
	keys, _ := newKeys(t, s, egress.KeysOptions{})
	set := keys.KeySet(s.issuer("a"), "", true)
	first, second := make(chan hub.Code, 1), make(chan hub.Code, 1)
	go func() { first <- ask(t, set, "first") }()
	<-arrived
	go func() { second <- ask(t, set, "second") }()
	close(release)
	expect(t, "seen before the fetch began", <-first, hub.Unauthenticated)
	expect(t, "seen while it ran", <-second, hub.KeyUnavailable)
	expectFetches(t, s, "a", 1)
}

func TestKeys_Rotation(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	keys, clock := newKeys(t, s, egress.KeysOptions{})
	set := keys.KeySet(s.issuer("a"), "", true)
	expect(t, "the old key", ask(t, set, "one"), "")

	s.publish("a", es256("two"))
	clock.advance(time.Minute)
	for i := range 300 { // a flood that pushes every id out of the memory
		ask(t, set, fmt.Sprint("junk-", i))
	}
	expect(t, "the new key", ask(t, set, "two"), "")
	expect(t, "the withdrawn key", ask(t, set, "one"), hub.KeyUnavailable)
	expectFetches(t, s, "a", 2)
	clock.advance(30 * time.Second)
	expect(t, "the withdrawn key", ask(t, set, "one"), hub.Unauthenticated)
	expectFetches(t, s, "a", 3)
}

// A token that comes before its key is published must not be refused for ever.
func TestKeys_PublishedLate(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	keys, clock := newKeys(t, s, egress.KeysOptions{})
	set := keys.KeySet(s.issuer("a"), "", true)
	expect(t, "before", ask(t, set, "two"), hub.Unauthenticated)
	s.publish("a", es256("one"), es256("two"))
	clock.advance(5 * time.Minute)
	expect(t, "after", eventually(t, set, "two", hub.Unauthenticated), "")
}

// eventually asks until the answer is another one, for what a fetch behind the callers' backs brings.
func eventually(t *testing.T, set *egress.KeySet, id string, from hub.Code) hub.Code {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		code := ask(t, set, id)
		if code != from || time.Now().After(deadline) {
			return code
		}
	}
}

func TestKeys_WithdrawnKeyEndsWithinFifteenMinutes(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	keys, clock := newKeys(t, s, egress.KeysOptions{})
	set := keys.KeySet(s.issuer("a"), "", true)
	expect(t, "at first", ask(t, set, "one"), "")
	s.publish("a")
	clock.advance(15 * time.Minute)
	expect(t, "withdrawn", ask(t, set, "one"), hub.Unauthenticated)
	expectFetches(t, s, "a", 2)
}

func TestKeys_RefreshedWhileInUse(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	keys, clock := newKeys(t, s, egress.KeysOptions{})
	set := keys.KeySet(s.issuer("a"), "", true)
	expect(t, "at first", ask(t, set, "one"), "")
	arrived, release := make(chan struct{}, 1), make(chan struct{})
	s.interceptWith(func(http.ResponseWriter, *http.Request) bool {
		arrived <- struct{}{}
		<-release
		return false
	})
	s.publish("a")
	clock.advance(5 * time.Minute)
	expect(t, "nobody waits for the refresh", ask(t, set, "one"), "")
	<-arrived
	expect(t, "nobody waits for the refresh", ask(t, set, "one"), "")
	s.interceptWith(nil)
	close(release)
	if code := eventually(t, set, "one", ""); code == "" {
		t.Error("the withdrawn key still verifies")
	}
}

func TestKeys_IssuerDown(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	keys, clock := newKeys(t, s, egress.KeysOptions{})
	set := keys.KeySet(s.issuer("a"), "", true)
	expect(t, "at first", ask(t, set, "one"), "")
	s.down(true)
	for age := 10 * time.Second; age < time.Hour; age += 10 * time.Second {
		clock.advance(10 * time.Second)
		expect(t, "stale after "+age.String(), ask(t, set, "one"), "")
		if code := ask(t, set, "never seen"); age%time.Minute == 0 && code != hub.KeyUnavailable {
			t.Errorf("unknown while the issuer is down: %q", code)
		}
	}
	clock.advance(10 * time.Second)
	expect(t, "after an hour", ask(t, set, "one"), hub.KeyUnavailable)
	if n := s.discoveries("a"); n > 1+120 {
		t.Errorf("%d tries in an hour", n)
	}
	s.down(false)
	expect(t, "back, and too early", ask(t, set, "one"), hub.KeyUnavailable)
	clock.advance(30 * time.Second)
	expect(t, "back", ask(t, set, "one"), "")
}

// Keys that nobody asked for meanwhile are not used on the word of an old failure.
func TestKeys_IdleThenWithdrawn(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	keys, clock := newKeys(t, s, egress.KeysOptions{})
	set := keys.KeySet(s.issuer("a"), "", true)
	expect(t, "at first", ask(t, set, "one"), "")
	s.down(true)
	clock.advance(15 * time.Minute)
	expect(t, "stale", ask(t, set, "one"), "")
	s.down(false)
	s.publish("a")
	clock.advance(30 * time.Minute)
	expect(t, "withdrawn", ask(t, set, "one"), hub.Unauthenticated)
}

func TestKeys_OneFetchServesAll(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	s.interceptWith(func(http.ResponseWriter, *http.Request) bool {
		arrived <- struct{}{}
		<-release
		return false
	})
	keys, _ := newKeys(t, s, egress.KeysOptions{})
	set := keys.KeySet(s.issuer("a"), "", true)

	leaving, leave := context.WithCancel(t.Context())
	left := make(chan error, 1)
	go func() {
		_, err := set.Key(leaving, "one", "ES256")
		left <- err
	}()
	<-arrived
	leave()
	if err := <-left; hub.CodeOf(err) != hub.KeyUnavailable {
		t.Errorf("a caller that leaves: %v", err)
	}
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { expect(t, "one of many", ask(t, set, "one"), "") })
	}
	close(release)
	wg.Wait()
	expectFetches(t, s, "a", 1)
}

func TestKeys_HostBudget(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	for i := range 80 {
		s.publish(fmt.Sprint(i), es256("one"))
	}
	registry := prometheus.NewRegistry()
	keys, clock := newKeys(t, s, egress.KeysOptions{Registerer: registry})
	set := func(i int) *egress.KeySet { return keys.KeySet(s.issuer(fmt.Sprint(i)), "", true) }
	for i := range 30 { // 60 requests
		expect(t, "within the budget", ask(t, set(i), "one"), "")
	}
	clock.advance(30 * time.Second) // full again
	for i := 30; i < 60; i++ {      // 60 requests, 40 are left
		expect(t, "within the budget", ask(t, set(i), "one"), "")
	}
	before := s.requests.Load()
	expect(t, "an unknown id leaves half to others", ask(t, set(0), "junk"), hub.KeyUnavailable)
	if n := s.requests.Load() - before; n != 0 {
		t.Errorf("%d requests for an unknown id", n)
	}
	for i := 60; i < 80; i++ {
		expect(t, "first fetches have it", ask(t, set(i), "one"), "")
	}
	before = s.requests.Load()
	s.publish("80", es256("one"))
	expect(t, "used up", ask(t, set(80), "one"), hub.KeyUnavailable)
	if err := keys.Check(t.Context(), s.issuer("80"), "", true); hub.CodeOf(err) != hub.IssuerUnreachable {
		t.Errorf("used up: %v", err)
	}
	if n := s.requests.Load() - before; n != 0 {
		t.Errorf("%d requests above the budget", n)
	}
	clock.advance(time.Second)
	expect(t, "a second later", ask(t, set(80), "one"), "")

	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, family := range families {
		if family.GetName() == "tributary_egress_key_fetches_total" {
			for _, metric := range family.GetMetric() {
				counted[metric.GetLabel()[0].GetValue()] = metric.GetCounter().GetValue()
			}
		}
	}
	if diff := cmp.Diff(map[string]float64{"ok": 81, "failed": 0, "refused": 2}, counted); diff != "" {
		t.Error(diff)
	}
}

func TestKeys_BoundedNumberOfSets(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	names := []string{"a", "b", "c"}
	for _, name := range names {
		s.publish(name, es256("one"))
	}
	keys, clock := newKeys(t, s, egress.KeysOptions{MaxSets: 2})
	for _, name := range append(names, "b", "c") {
		expect(t, name, ask(t, keys.KeySet(s.issuer(name), "", true), "one"), "")
		clock.advance(time.Second)
	}
	if n := keys.SetCount(); n != 2 {
		t.Errorf("%d sets are held", n)
	}
	got := []int{s.fetches("a"), s.fetches("b"), s.fetches("c")}
	if !slices.Equal(got, []int{1, 1, 1}) {
		t.Errorf("fetches %v", got)
	}
	expect(t, "the one that went", ask(t, keys.KeySet(s.issuer("a"), "", true), "one"), "")
	expectFetches(t, s, "a", 2)
}

func TestKeys_NoRoom(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	s.publish("b", es256("one"))
	arrived, release := make(chan struct{}, 4), make(chan struct{})
	s.interceptWith(func(http.ResponseWriter, *http.Request) bool {
		arrived <- struct{}{}
		<-release
		return false
	})
	keys, _ := newKeys(t, s, egress.KeysOptions{MaxSets: 1})
	first := make(chan hub.Code, 1)
	go func() { first <- ask(t, keys.KeySet(s.issuer("a"), "", true), "one") }()
	<-arrived
	expect(t, "no room beside one that is being fetched", ask(t, keys.KeySet(s.issuer("b"), "", true), "one"), hub.KeyUnavailable)
	close(release)
	expect(t, "the one that is", <-first, "")
	expectFetches(t, s, "b", 0)
}

func TestKeys_Stop(t *testing.T) {
	t.Parallel()
	s := newIssuers(t)
	s.publish("a", es256("one"))
	s.publish("b", es256("one"))
	keys, clock := newKeys(t, s, egress.KeysOptions{})
	held := keys.KeySet(s.issuer("a"), "", true)
	expect(t, "before", ask(t, held, "one"), "")

	arrived, gone := make(chan struct{}), make(chan struct{})
	s.interceptWith(func(_ http.ResponseWriter, r *http.Request) bool {
		close(arrived)
		<-r.Context().Done()
		close(gone)
		return true
	})
	waiting := make(chan hub.Code, 1)
	go func() { waiting <- ask(t, keys.KeySet(s.issuer("b"), "", true), "one") }()
	<-arrived
	if err := keys.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	expect(t, "whoever waited", <-waiting, hub.KeyUnavailable)
	<-gone
	s.interceptWith(nil)
	clock.advance(10 * time.Minute)
	before := s.requests.Load()
	expect(t, "what is held", ask(t, held, "one"), "")
	expect(t, "what is not", ask(t, keys.KeySet(s.issuer("b"), "", true), "one"), hub.KeyUnavailable)
	if n := s.requests.Load() - before; n != 0 {
		t.Errorf("%d requests after Stop", n)
	}
	if err := keys.Stop(t.Context()); err != nil {
		t.Errorf("a second Stop: %v", err)
	}
}

func BenchmarkKey(b *testing.B) {
	s := newIssuers(b)
	s.publish("a", es256("one"))
	keys, _ := newKeys(b, s, egress.KeysOptions{})
	set := keys.KeySet(s.issuer("a"), "", true)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := set.Key(b.Context(), "one", "ES256"); err != nil {
			b.Fatal(err)
		}
	}
}
