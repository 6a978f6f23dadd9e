package routing

import (
	"context"
	"encoding/json"

	"github.com/tributary-hub/tributary/internal/hub"
)

// untyped is the type of messages of events that have none.
const untyped = "event"

// typeOf is the route's type, else the event's own. That can come from a header that nobody signed, so one that is
// reserved fails the route: it would be taken for a frame of the hub's.
func (p *Program) typeOf(e *hub.Event) (string, error) {
	switch {
	case p.route.Type != "":
		return p.route.Type, nil
	case e.Type == "":
		return untyped, nil
	}
	return e.Type, hub.ValidateType(e.Type)
}

// dataOf is what the route says, else thin: what a browser may see is said, not forgotten.
func (p *Program) dataOf(ctx context.Context, in *Input, typ string) ([]byte, error) {
	if p.data != nil {
		return p.data.JSON(ctx, in.seen)
	}
	return json.Marshal(struct {
		Event hub.EventID `json:"event"`
		Type  string      `json:"type"`
	}{in.event.ID, typ})
}

// keyOf is the message's key: a string, or an integer as it is written. Nothing is no key.
func (p *Program) keyOf(ctx context.Context, in *Input) (string, error) {
	if p.key == nil {
		return "", nil
	}
	value, err := p.key.Get(ctx, in.seen)
	if err != nil {
		return "", err
	}
	key := value.String()
	if value.IsZero() || key == "" {
		return "", nil
	}
	return key, hub.ValidateMessageKey(key)
}

// versionOf is the message's version, where it has a key.
func (p *Program) versionOf(ctx context.Context, in *Input, key string) (hub.Version, error) {
	if p.version == nil || key == "" {
		return hub.Version{}, nil
	}
	version, err := p.version.Get(ctx, in.seen)
	if err != nil {
		return hub.Version{}, err
	}
	if version.Text != nil {
		return version, hub.ValidateMessageKey(*version.Text)
	}
	return version, nil
}
