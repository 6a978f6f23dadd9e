package api_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/api"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func TestIdempotency(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path := "/v1/tenants/acme/keys"
	body := object{"name": "once", "scopes": []string{"config:read"}}
	count := func() int {
		return storetest.Value[int](t, w.db, `SELECT count(*) FROM tributary.keys WHERE name = 'once'`)
	}
	first := w.must(t, 201, "POST", path, w.acme, body, "Idempotency-Key", "k1")
	again := w.must(t, 201, "POST", path, w.acme, body, "Idempotency-Key", "k1")
	if string(first.raw) != string(again.raw) || again.header.Get("Idempotency-Replayed") != "true" || again.header.Get("ETag") != first.header.Get("ETag") {
		t.Errorf("%s\n%s\n%v", first.raw, again.raw, again.header)
	}
	if byID := w.must(t, 201, "POST", "/v1/tenants/"+w.ids["acme"]+"/keys", w.acme, body, "Idempotency-Key", "k1"); string(byID.raw) != string(first.raw) {
		t.Error("the tenant by its id is another place")
	}
	if n := count(); n != 1 {
		t.Errorf("%d keys", n)
	}
	body["name"] = "other"
	if r := w.refused(t, hub.IdempotencyReused, "POST", path, w.acme, body, "Idempotency-Key", "k1"); r.status != 422 {
		t.Errorf("status %d", r.status)
	}
	body["name"] = "once"
	w.must(t, 201, "POST", path, w.operator, body, "Idempotency-Key", "k1") // another caller's is another
	w.must(t, 201, "POST", "/v1/tenants/rival/keys", w.operator, body, "Idempotency-Key", "k1")
	if n := count(); n != 3 {
		t.Errorf("%d keys", n)
	}
	w.refused(t, hub.ScopeMissing, "POST", path, w.key(t, "acme", hub.ConfigRead), body, "Idempotency-Key", "k1")
	w.refused(t, hub.Malformed, "POST", path, w.acme, body, "Idempotency-Key", strings.Repeat("x", 256))

	stored := storetest.Values[[]byte](t, w.db, `SELECT answer FROM tributary.idempotency WHERE answer IS NOT NULL`)
	for _, answer := range stored {
		if strings.Contains(string(answer), "trb_") {
			t.Error("a key lies open in the table")
		}
	}
	w.clock.forward(11 * time.Minute)
	if r := w.refused(t, hub.AnswerExpired, "POST", path, w.acme, body, "Idempotency-Key", "k1"); r.status != 409 {
		t.Errorf("status %d", r.status)
	}
}

func TestIdempotency_WhatFailedMayBeSentAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	body := object{"slug": "acme", "name": "Acme"}
	w.refused(t, hub.Conflict, "POST", "/v1/tenants", w.operator, body, "Idempotency-Key", "k")
	w.refused(t, hub.Conflict, "POST", "/v1/tenants", w.operator, body, "Idempotency-Key", "k")
	body["slug"] = "acme-2"
	first := w.must(t, 201, "POST", "/v1/tenants", w.operator, body, "Idempotency-Key", "k")
	again := w.must(t, 201, "POST", "/v1/tenants", w.operator, body, "Idempotency-Key", "k")
	if string(first.raw) != string(again.raw) {
		t.Errorf("%s\n%s", first.raw, again.raw)
	}
}

func TestIdempotency_AtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var group sync.WaitGroup
	replies := make([]reply, 8)
	for i := range replies {
		group.Go(func() {
			replies[i] = w.send(t, "POST", "/v1/tenants/acme/keys", w.acme, object{"name": "once", "scopes": []string{"config:read"}}, "Idempotency-Key", "k")
		})
	}
	group.Wait()
	said := map[string]bool{}
	for _, r := range replies {
		switch {
		case r.status == 201:
			said[string(r.raw)] = true
		case r.body["code"] != string(hub.IdempotencyInFlight):
			t.Errorf("%d %s", r.status, r.raw)
		}
	}
	if len(said) != 1 {
		t.Errorf("%d answers: %v", len(said), said)
	}
	if n := storetest.Value[int](t, w.db, `SELECT count(*) FROM tributary.keys WHERE name = 'once'`); n != 1 {
		t.Errorf("%d keys", n)
	}
}

// While the first is at work, whoever sends the same is told so at once.
func TestIdempotency_InFlight(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	path, body := "/v1/tenants/acme/keys", object{"name": "once", "scopes": []string{"config:read"}}
	lock, err := w.db.Owner.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := lock.Exec(t.Context(), `SELECT FROM tributary.tenants WHERE slug = 'acme' FOR UPDATE`); err != nil {
		t.Fatal(err)
	}
	first := make(chan reply, 1)
	go func() { first <- w.send(t, "POST", path, w.acme, body, "Idempotency-Key", "k") }()
	w.db.AwaitTrue(t, `SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')`)
	if r := w.refused(t, hub.IdempotencyInFlight, "POST", path, w.acme, body, "Idempotency-Key", "k"); r.status != 409 {
		t.Errorf("status %d", r.status)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	done := <-first
	if again := w.must(t, 201, "POST", path, w.acme, body, "Idempotency-Key", "k"); done.status != 201 || string(again.raw) != string(done.raw) {
		t.Errorf("%d %s\n%s", done.status, done.raw, again.raw)
	}
}

// Whatever becomes of the first commit, the second request with the same key finds the work done, or does it: once.
func TestIdempotency_LostCommit(t *testing.T) {
	t.Parallel()
	for name, cut := range map[string]storetest.Cut{"not done": storetest.CutBeforeCommit, "done but reported failed": storetest.CutAfterCommit} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db := storetest.New(t)
			p := storetest.StartProxy(t, db.URL)
			s, err := store.Open(t.Context(), store.Options{URL: p.URL, DirectURL: db.URL, Tenant: 2, Pipeline: 2})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			w := newWorldOn(t, db, func(o *api.Options) { o.Store = s })
			path, body := "/v1/tenants/acme/keys", object{"name": "once", "scopes": []string{"config:read"}}
			p.Arm(cut)
			w.refused(t, hub.Unavailable, "POST", path, w.acme, body, "Idempotency-Key", "k")
			if !p.Hit() {
				t.Fatal("no commit was lost")
			}
			w.db.AwaitTrue(t, `SELECT NOT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))`)
			second := w.must(t, 201, "POST", path, w.acme, body, "Idempotency-Key", "k")
			if done := cut == storetest.CutAfterCommit; done != (second.header.Get("Idempotency-Replayed") == "true") {
				t.Errorf("the second is done %v", second.header)
			}
			if third := w.must(t, 201, "POST", path, w.acme, body, "Idempotency-Key", "k"); string(third.raw) != string(second.raw) {
				t.Errorf("%s\n%s", second.raw, third.raw)
			}
			if n := storetest.Value[int](t, w.db, `SELECT count(*) FROM tributary.keys WHERE name = 'once'`); n != 1 {
				t.Errorf("%d keys", n)
			}
			w.must(t, 200, "GET", "/v1/me", second.text(t, "key"), nil)
		})
	}
}

// Every POST, sent twice with one key, is answered the same, and done once.
func TestIdempotency_EveryOperation(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	own := w.furnish(t, "acme")
	own.ids["tenant"] = "acme"
	own.bodies["createTenant"] = object{"slug": "third", "name": "Third"}
	own.bodies["addSecret"] = object{"secret": "whsec_y"}
	tried := 0
	for _, op := range operations(t, w.served(t)) {
		id := op.body["operationId"].(string)
		if op.method != "POST" || !strings.HasPrefix(op.path, "/v1/") || id == "armEndpoint" { // no provider takes that yet
			continue
		}
		tried++
		path := op.path
		for name, object := range own.ids {
			path = strings.ReplaceAll(path, "{"+name+"}", object)
		}
		first := w.send(t, "POST", path, w.operator, own.bodies[id], "Idempotency-Key", "every")
		before := w.contents(t)
		again := w.send(t, "POST", path, w.operator, own.bodies[id], "Idempotency-Key", "every")
		if first.status/100 != 2 || first.status != again.status || string(first.raw) != string(again.raw) ||
			first.header.Get("Content-Type") != again.header.Get("Content-Type") || again.header.Get("Idempotency-Replayed") != "true" {
			t.Errorf("%s: %d %s, then %d %s %v", id, first.status, first.raw, again.status, again.raw, again.header)
		}
		if diff := cmp.Diff(before, w.contents(t)); diff != "" {
			t.Errorf("%s changed something again: %s", id, diff)
		}
	}
	if tried < 12 {
		t.Errorf("tried %d operations", tried)
	}
}
