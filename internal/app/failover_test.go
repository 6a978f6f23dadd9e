package app_test

import (
	"context"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// The primary dies and its standby is promoted, while webhooks come in: the process goes on by itself, subscribers are
// told, nothing that was acknowledged is lost or worked twice, a webhook that comes again is known, and what comes
// after reaches the subscriber that was there all the while.
func TestFailover(t *testing.T) {
	t.Parallel()
	first := storetest.NewCluster(t)
	gate := storetest.NewGate(t, first)
	s := newSiteOn(t, first.DB(t), "")
	s.config.DatabaseURL, s.config.DirectDatabaseURL = secret.New(gate.URL), secret.New(gate.URL)
	s.config.DatabaseConnections = 12
	second := first.Standby(t)
	first.Exec(t, `ALTER SYSTEM SET synchronous_standby_names = '*'`) // what is acknowledged is there too
	first.Exec(t, `SELECT pg_reload_conf()`)
	_, where := s.start(t, "one", "")
	heard := s.follow(t, where)
	early := s.webhook(t, where, "known")
	load := s.load(t, where)
	load.await(t, "answers before", func(r results) bool { return r.with("in", 200) >= 20 && heard.count() >= 10 })

	gate.Lead(nil)
	first.Kill(t)
	died := time.Now()
	second.Promote(t)
	gate.Lead(second)
	back := time.Now()
	for _, what := range []string{"in", "read", "write", "stream"} {
		load.await(t, what+" after the promotion", func(r results) bool { return r.since(back).with(what, 200) >= 10 })
	}
	if again := s.webhook(t, where, "known"); again != early {
		t.Errorf("a webhook that came again is %s, and was %s", again, early)
	}
	load.stop()
	after := load.results().since(back)
	heard.awaitAll(t, after.filter(func(r result) bool { return r.began.After(heard.resetAt()) }).acknowledged())
	t.Logf("promoted after %s; then the first webhook %s, its message %s, hub.reset %s, read %s, write %s, stream %s", back.Sub(died),
		after.first("in").Sub(back), heard.firstAfter(after).Sub(back), heard.resetAt().Sub(back),
		after.first("read").Sub(back), after.first("write").Sub(back), after.first("stream").Sub(back))

	if heard.ended != nil || heard.names["hub.bye"] > 0 {
		t.Errorf("the stream ended (%v): %v", heard.ended, heard.names)
	}
	if diff := cmp.Diff([]string{"epoch"}, heard.resets); diff != "" {
		t.Errorf("the subscriber was told of: %s", diff)
	}
	for event, came := range heard.events {
		if len(came) != 1 {
			t.Errorf("%s came %d times", event, len(came))
		}
	}
	for _, r := range load.results() {
		if r.err != nil || r.status != 200 && r.status != 503 || r.status == 503 && r.retryAfter == "" || r.took > answerBound {
			t.Errorf("%s: %d after %s, Retry-After %q, %v", r.what, r.status, r.took, r.retryAfter, r.err)
		}
	}

	acknowledged := load.results().acknowledged()
	acknowledged[early] = true
	db := second.DB(t)
	await(t, "every job to be worked", func() bool {
		return storetest.Value[bool](t, db, `SELECT NOT EXISTS (SELECT FROM tributary.events e WHERE NOT EXISTS (SELECT FROM tributary.outcomes o WHERE o.event_id = e.id))`)
	})
	worked := storetest.Values[string](t, db, `SELECT 'evt_' || event_id FROM tributary.messages GROUP BY event_id HAVING count(*) = 1`)
	if n := storetest.Value[int](t, db, `SELECT count(*) FROM tributary.messages`); n != len(worked) {
		t.Errorf("%d messages of %d events", n, len(worked))
	}
	missing := maps.Clone(acknowledged)
	for _, event := range worked {
		delete(missing, event)
	}
	if len(missing) > 0 {
		t.Errorf("acknowledged and lost, of %d: %v", len(acknowledged), slices.Collect(maps.Keys(missing)))
	}
}

// Whoever stops a process while Postgres hangs does not wait for ever: it ends within its 25 s, and the connections
// that nobody answers are left to end by themselves.
func TestStop_WhilePostgresHangs(t *testing.T) {
	t.Parallel()
	cluster := storetest.NewCluster(t)
	gate := storetest.NewGate(t, cluster)
	s := newSiteOn(t, cluster.DB(t), "")
	s.config.DatabaseURL, s.config.DirectDatabaseURL = secret.New(gate.URL), secret.New(gate.URL)
	process, where := s.start(t, "one", "")
	heard := s.follow(t, where)
	s.webhook(t, where, "1")
	heard.awaitAll(t, map[string]bool{})
	gate.Freeze()
	began := time.Now()
	err := process.Stop(context.WithoutCancel(t.Context()))
	took := time.Since(began)
	t.Logf("stopped after %s: %v", took, err)
	if took > 45*time.Second {
		t.Errorf("it took %s to stop", took)
	}
	await(t, "the end of the stream", func() bool {
		heard.mu.Lock()
		defer heard.mu.Unlock()
		return heard.ended != nil
	})
	if heard.names["hub.bye"] != 1 {
		t.Errorf("the stream was not told: %v", heard.names)
	}
}
