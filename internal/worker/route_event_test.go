package worker_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/riverqueue/river"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func TestRouteEvent_RoutesByTheNewestRules(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.route(t, hub.Route{Name: "old", Match: "true", Channels: []string{"old"}})
	first := s.accept(t, `{}`)
	s.work(t)
	s.await(t)
	s.route(t, hub.Route{Name: "payments", Match: "event.type == 'payment_intent.succeeded'", Channels: []string{"customer:{event.body.customer}"}})
	second := s.accept(t, `{"customer":"cus_1"}`) // the directory has not heard of the new route
	s.await(t)

	if diff := cmp.Diff([]string{"old", "old", "customer:cus_1"}, s.channels(t)); diff != "" {
		t.Errorf("channels (-want +got):\n%s", diff)
	}
	for _, e := range []hub.Event{first, second} {
		if got := s.outcome(t, e); got != "routed" {
			t.Errorf("outcome %s, want routed", got)
		}
	}
}

func TestRouteEvent_Unmatched(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	e := s.accept(t, `{}`)
	s.work(t)
	s.await(t)
	if got := s.outcome(t, e); got != "unmatched" {
		t.Errorf("outcome %s, want unmatched", got)
	}
}

func TestRouteEvent_TwiceEmitsOnce(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.route(t, hub.Route{Name: "all", Match: "true", Channels: []string{"a", "b"}})
	s.accept(t, `{}`)
	// The job that River gives to a second node when the first was slow.
	s.Exec(t, `INSERT INTO tributary_river.river_job (args, kind, max_attempts, queue) SELECT args, kind, max_attempts, queue FROM tributary_river.river_job`)
	s.work(t)
	s.await(t)
	s.await(t)
	if diff := cmp.Diff([]string{"a", "b"}, s.channels(t)); diff != "" {
		t.Errorf("channels (-want +got):\n%s", diff)
	}
}

// A route that fails on an event is counted and shown, and stops no other.
func TestRouteEvent_RouteFails(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	bad := s.route(t, hub.Route{Name: "bad", Match: "true", Channels: []string{"user:{event.body.name}"}})
	s.route(t, hub.Route{Name: "good", Match: "true", Channels: []string{"good"}})
	e := s.accept(t, `{"name":"not a segment"}`)
	s.work(t)
	s.await(t)
	if got := s.outcome(t, e); got != "failed" {
		t.Errorf("outcome %s, want failed", got)
	}
	if diff := cmp.Diff([]string{"good"}, s.channels(t)); diff != "" {
		t.Errorf("channels (-want +got):\n%s", diff)
	}
	if err := s.worker.Stop(t.Context()); err != nil { // writes the counts
		t.Fatal(err)
	}
	if n := storetest.Value[int](t, s.DB, `SELECT failures FROM tributary.routes WHERE id = $1`, bad); n != 1 {
		t.Errorf("the route counts %d failures, want 1", n)
	}
}

// refuse makes Postgres refuse the outcome of that event, unless it is a failure: an event that no append can take.
func (s *shop) refuse(t *testing.T, e hub.Event) {
	t.Helper()
	s.Exec(t, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.event_id = '`+e.ID.UUID().String()+`' AND NEW.state <> 'failed' THEN RAISE EXCEPTION 'poisoned'; END IF; RETURN NEW; END $$;
		GRANT EXECUTE ON FUNCTION refuse() TO PUBLIC;
		CREATE TRIGGER refuse BEFORE INSERT ON tributary.outcomes FOR EACH ROW EXECUTE FUNCTION refuse()`)
}

// A poisoned event ends as failed, with its error in the trail, and stops nobody else.
func TestRouteEvent_Poisoned(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.route(t, hub.Route{Name: "all", Match: "true", Channels: []string{"{event.body.n}"}})
	poisoned := s.accept(t, `{"n":"poisoned"}`)
	s.refuse(t, poisoned)
	var others []hub.Event
	for range 5 {
		others = append(others, s.accept(t, `{"n":"good"}`))
	}
	s.Exec(t, `UPDATE tributary_river.river_job SET max_attempts = 1 WHERE args->>'event' = $1`, poisoned.ID.String())
	s.work(t)
	for range 6 {
		s.await(t)
	}
	if got := s.outcome(t, poisoned); got != "failed: what its routes made of it could not be stored" { // nothing of what Postgres said
		t.Errorf("outcome of the poisoned event: %s", got)
	}
	for _, e := range others {
		if got := s.outcome(t, e); got != "routed" {
			t.Errorf("outcome of a neighbour: %s", got)
		}
	}
}

func TestRouteEvent_TriedAgain(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	s.route(t, hub.Route{Name: "all", Match: "true", Channels: []string{"all"}})
	e := s.accept(t, `{}`)
	s.refuse(t, e)
	s.work(t)
	if ended := s.await(t); ended.Kind != river.EventKindJobFailed {
		t.Fatalf("first attempt ended as %s", ended.Kind)
	}
	if got := s.outcome(t, e); got != "none" {
		t.Errorf("outcome after a failed attempt: %s, want none", got)
	}
	s.Exec(t, `DROP TRIGGER refuse ON tributary.outcomes`)
	if ended := s.await(t); ended.Kind != river.EventKindJobCompleted {
		t.Fatalf("second attempt ended as %s", ended.Kind)
	}
	if got := s.outcome(t, e); got != "routed" {
		t.Errorf("outcome %s, want routed", got)
	}
}

// What River discarded when nobody could record it is recorded by the sweep, all of it, whatever fails among it.
func TestSweep_RecordsGivenUp(t *testing.T) {
	t.Parallel()
	s := openShop(t)
	const events = 1100 // more than a page
	stubborn := s.accept(t, `{}`)
	batch := make([]hub.Event, events-1)
	for i := range batch {
		batch[i] = s.Event(t, "stripe")
	}
	_, err := s.Pipeline.InsertEvents(t.Context(), batch)
	must(t, err)
	s.Exec(t, `
		UPDATE tributary_river.river_job SET state = 'discarded', errors = ARRAY['{"error":"node n1 fell silent"}'::jsonb],
		       finalized_at = now() - CASE WHEN args->>'event' = $1 THEN interval '1 minute' ELSE interval '0' END`, stubborn.ID.String()) // it comes first
	s.Exec(t, `CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF NEW.event_id = '`+stubborn.ID.UUID().String()+`' THEN RAISE EXCEPTION 'poisoned'; END IF; RETURN NEW; END $$;
		GRANT EXECUTE ON FUNCTION refuse() TO PUBLIC;
		CREATE TRIGGER refuse BEFORE INSERT ON tributary.outcomes FOR EACH ROW EXECUTE FUNCTION refuse()`)
	sweep := func() river.EventKind {
		s.Exec(t, `INSERT INTO tributary_river.river_job (args, kind, max_attempts, queue) VALUES ('{}', 'sweep', 1, 'chores')`)
		return s.await(t).Kind
	}
	recorded := func() int {
		return storetest.Value[int](t, s.DB, `SELECT count(*) FROM tributary.outcomes WHERE state = 'failed' AND error = 'its last attempt was lost with its process, or failed while nothing could be recorded'`)
	}
	s.work(t)

	if ended := sweep(); ended != river.EventKindJobFailed || recorded() != events-1 {
		t.Errorf("the sweep ended as %s, %d recorded; want all but the one that is refused", ended, recorded())
	}
	if open := storetest.Values[string](t, s.DB, `SELECT args->>'event' FROM tributary_river.river_job WHERE queue = 'events' AND NOT metadata ? 'recorded'`); !cmp.Equal(open, []string{stubborn.ID.String()}) {
		t.Errorf("the next sweep looks at %d again", len(open))
	}
	s.Exec(t, `DROP TRIGGER refuse ON tributary.outcomes`)
	if ended := sweep(); ended != river.EventKindJobCompleted || recorded() != events {
		t.Errorf("the next sweep ended as %s, %d recorded", ended, recorded())
	}
}
