package routing

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tributary-hub/tributary/internal/hub"
)

// Work runs all enabled routes that are for the event's endpoint, in the order given, and gathers what they emit. A
// route that fails, or that would cross a bound of the event, emits nothing and stops no other. The outcome has no
// event, run and time yet; its routes are those that matched or failed.
//
// An error is the context's cause: the working was cut short and says nothing about the routes, so it must be done
// again and never be recorded.
func Work(ctx context.Context, programs []*Program, in *Input) ([]hub.Message, hub.Outcome, error) {
	var all emitted
	outcome := hub.Outcome{State: hub.EventUnmatched}
	for _, p := range programs {
		if !p.wants(in.event) {
			continue
		}
		result := p.Run(ctx, in)
		if ctx.Err() != nil {
			return nil, hub.Outcome{}, fmt.Errorf("routing was cut short: %w", context.Cause(ctx))
		}
		if result.Err == nil {
			result.Err = all.add(result.Messages)
		}
		switch {
		case result.Err != nil:
			outcome.State = hub.EventFailed
			outcome.Routes = append(outcome.Routes, hub.RouteOutcome{Route: p.route.ID, Error: sentence(result.Err)})
		case result.Matched:
			if len(result.Messages) > 0 && outcome.State == hub.EventUnmatched {
				outcome.State = hub.EventRouted
			}
			outcome.Routes = append(outcome.Routes, hub.RouteOutcome{Route: p.route.ID, Messages: len(result.Messages), Skipped: result.Skipped})
		}
	}
	return all.messages, outcome, nil
}

func (p *Program) wants(e *hub.Event) bool {
	return p.route.State == hub.Enabled && (p.route.Endpoint.IsZero() || p.route.Endpoint == e.Endpoint)
}

// sentence is a failure as the event's trail keeps it: bounded, and text that Postgres can hold, since an expression
// may quote what it was given.
func sentence(err error) string {
	const most = 500
	text := err.Error()
	if coded, ok := errors.AsType[*hub.Error](err); ok {
		text = coded.Message
	}
	if len(text) > most {
		text = text[:most] + " …"
	}
	return strings.ToValidUTF8(strings.ReplaceAll(text, "\x00", "\uFFFD"), "\uFFFD")
}

// emitted is what the routes of one event emit, within the event's bounds.
type emitted struct {
	messages []hub.Message
	bytes    int
}

// add takes all of a route's messages or none.
func (e *emitted) add(messages []hub.Message) error {
	bytes := e.bytes
	for i := range messages {
		bytes += len(messages[i].Data)
	}
	if n := len(e.messages) + len(messages); n > hub.MaxEventMessages {
		return fmt.Errorf("an event makes at most %d messages, and with this route it would make %d", hub.MaxEventMessages, n)
	}
	if bytes > hub.MaxEventBytes {
		return fmt.Errorf("the messages of an event have at most %d bytes together", hub.MaxEventBytes)
	}
	e.messages, e.bytes = append(e.messages, messages...), bytes
	return nil
}
