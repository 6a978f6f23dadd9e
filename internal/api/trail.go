package api

import (
	"context"
	"time"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
)

// A Trail is the way of one event through the hub.
type Trail struct {
	Event      hub.EventID    `json:"event" example:"evt_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	State      hub.EventState `json:"state" enum:"pending,routed,unmatched,failed"`
	ReceivedAt time.Time      `json:"received_at"`
	Verified   bool           `json:"verified"`
	Secret     hub.SecretID   `json:"secret,omitzero" doc:"Which secret verified it."`
	Cause      hub.Cause      `json:"cause,omitempty" example:"signature_mismatch" doc:"Why it did not verify, in monitor mode."`
	Committed  bool           `json:"committed" doc:"The event is in Postgres; its sender was told so."`
	Runs       []TrailRun     `json:"runs" doc:"Each working: the first, then replays. Empty while it is pending."`
}

// A TrailRun is one working of an event.
type TrailRun struct {
	Replay   hub.RunID      `json:"replay,omitzero" doc:"The replay that worked it again; absent for the first working."`
	State    hub.EventState `json:"state" enum:"routed,unmatched,failed"`
	WorkedAt time.Time      `json:"worked_at"`
	Error    string         `json:"error,omitempty" doc:"Why the job was given up."`
	Routes   []TrailRoute   `json:"routes" doc:"Routes that wanted the event, or failed on it."`
	Messages []TrailMessage `json:"messages"`
}

// A TrailRoute is what one route did with the event.
type TrailRoute struct {
	Route    hub.RouteID `json:"route" example:"rt_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	Name     string      `json:"name,omitempty" example:"payments" doc:"Absent where the route is gone."`
	Messages int         `json:"messages"`
	Skipped  int         `json:"skipped,omitempty" doc:"Channels whose braces gave nothing."`
	Error    string      `json:"error,omitempty" doc:"Why it failed."`
}

// A TrailMessage is a message that was made of the event.
type TrailMessage struct {
	ID       hub.MessageID `json:"id" example:"msg_01981c2e-7c53-7d3a-9d4b-2f6d8a3b1c05"`
	Channel  string        `json:"channel" example:"customer:cus_123"`
	Type     string        `json:"type" example:"payment_success"`
	Key      string        `json:"key,omitempty"`
	Position hub.Position  `json:"position" example:"42"`
	At       time.Time     `json:"at"`
}

// maxTrailMessages bounds a trail: ten runs of the most that one may make.
const maxTrailMessages = 10 * hub.MaxEventMessages

func (a *API) getEventTrail(ctx context.Context, c *call, in *EventPath) (Trail, error) {
	id, err := idOf[hub.EventID](in.Event, "event")
	if err != nil {
		return Trail{}, err
	}
	return read(ctx, a, c, func(tx *store.Tx) (Trail, error) {
		e, err := tx.Event(ctx, id, a.oldest(c))
		if err != nil {
			return Trail{}, err
		}
		trail := Trail{
			Event: id, State: hub.EventPending, ReceivedAt: e.ReceivedAt.UTC(), Verified: e.Verified, Secret: e.Secret, Cause: e.Cause,
			Committed: true, Runs: []TrailRun{},
		}
		outcomes, err := tx.Outcomes(ctx, id)
		if err != nil || len(outcomes) == 0 {
			return trail, err
		}
		first, last := workedBetween(outcomes)
		messages, err := tx.EventMessages(ctx, id, first, last.Add(24*time.Hour), maxTrailMessages)
		if err != nil {
			return trail, err
		}
		names := c.routeNames()
		for _, o := range outcomes {
			if o.Run.IsZero() {
				trail.State = o.State
			}
			trail.Runs = append(trail.Runs, fromOutcome(o, messages, names))
		}
		return trail, nil
	})
}

// workedBetween is the time of the earliest working and that of the latest, whichever runs these were: replays pass one
// another. Messages are no earlier than their own working, and hardly later.
func workedBetween(outcomes []hub.Outcome) (first, last time.Time) {
	first, last = outcomes[0].WorkedAt, outcomes[0].WorkedAt
	for _, o := range outcomes {
		if o.WorkedAt.Before(first) {
			first = o.WorkedAt
		}
		if o.WorkedAt.After(last) {
			last = o.WorkedAt
		}
	}
	return first, last
}

// routeNames are the names that the tenant's routes have now.
func (c *call) routeNames() map[hub.RouteID]string {
	names := map[hub.RouteID]string{}
	for _, r := range c.config.Routes {
		names[r.Route().ID] = r.Route().Name
	}
	return names
}

func fromOutcome(o hub.Outcome, messages []hub.Logged, names map[hub.RouteID]string) TrailRun {
	run := TrailRun{Replay: o.Run, State: o.State, WorkedAt: o.WorkedAt.UTC(), Error: o.Error, Routes: []TrailRoute{}, Messages: []TrailMessage{}}
	for _, r := range o.Routes {
		run.Routes = append(run.Routes, TrailRoute{Route: r.Route, Name: names[r.Route], Messages: r.Messages, Skipped: r.Skipped, Error: r.Error})
	}
	for _, m := range messages {
		if m.Run == o.Run {
			run.Messages = append(run.Messages, TrailMessage{ID: m.ID, Channel: m.Channel, Type: m.Type, Key: m.Key, Position: m.Position, At: m.At.UTC()})
		}
	}
	return run
}
