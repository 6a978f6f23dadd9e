// Package routing runs routes: an event in, messages out. It compiles a route, runs it within bounds, and gathers what
// all routes of an event emit; what an expression may see and cost is expr's, where messages go is publish's.
package routing

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
)

// runTimeout bounds one route on one event, where an expression of it can loop: without a loop its cost alone does.
// It is the net below the cost, which stops an expression within some 100 ms of a processor, and is so wide because
// it goes by the clock on the wall: a process that is short of processors must not fail a route for it.
const runTimeout = time.Second

// A Program is a compiled route. It is safe for concurrent use.
type Program struct {
	route    hub.Route
	match    *expr.Condition
	channels []*expr.Template
	data     *expr.Value  // nil: thin
	key      *expr.Scalar // nil: none
	version  *expr.Scalar // nil: none
	loops    bool         // some expression can run long
	broken   error        // why it never runs
}

// Compile checks a route whole and compiles it; its name, which is not used here, is not checked. The error is
// hub.Invalid and says where: body.match, body.channels[1], with line and column.
func Compile(env *expr.Env, r hub.Route) (*Program, error) {
	p := &Program{route: r}
	for _, step := range []func(*expr.Env) error{p.compileMatch, p.compileChannels, p.checkType, p.compileData, p.compileKey} {
		if err := step(env); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// Broken is a route that cannot be compiled any more: it fails on every event of its endpoint, visibly, rather than
// pass over them.
func Broken(r hub.Route, why error) *Program {
	return &Program{route: r, broken: fmt.Errorf("the route cannot be compiled: %w", why)}
}

// Route is what was compiled.
func (p *Program) Route() hub.Route { return p.route }

func (p *Program) compileMatch(env *expr.Env) (err error) {
	if p.route.Match == "" {
		return hub.FieldErrorf("body.match", "an expression such as true or event.type == 'invoice.paid'")
	}
	if p.match, err = env.Condition("body.match", p.route.Match); err == nil {
		p.loops = p.match.Loops()
	}
	return err
}

func (p *Program) compileChannels(env *expr.Env) error {
	if n := len(p.route.Channels); n < 1 || n > hub.MaxRouteChannels {
		return hub.FieldErrorf("body.channels", "1 to %d channels", hub.MaxRouteChannels)
	}
	for i, source := range p.route.Channels {
		template, err := env.Channel(fmt.Sprintf("body.channels[%d]", i), source)
		if err != nil {
			return err
		}
		p.channels = append(p.channels, template)
		p.loops = p.loops || template.Loops()
	}
	return nil
}

func (p *Program) checkType(*expr.Env) error {
	if p.route.Type == "" {
		return nil
	}
	if err := hub.ValidateType(p.route.Type); err != nil {
		return hub.FieldErrorf("body.type", "%v", err)
	}
	return nil
}

func (p *Program) compileData(env *expr.Env) (err error) {
	if p.route.Data == "" {
		return nil
	}
	if p.data, err = env.Value("body.data", p.route.Data); err == nil {
		p.loops = p.loops || p.data.Loops()
	}
	return err
}

// compileKey compiles key and version. A version orders the writes of a key, so it is nothing without one.
func (p *Program) compileKey(env *expr.Env) (err error) {
	if p.route.Key != "" {
		if p.key, err = env.Scalar("body.key", p.route.Key); err != nil {
			return err
		}
		p.loops = p.loops || p.key.Loops()
	}
	if p.route.Version == "" {
		return nil
	}
	if p.route.Key == "" {
		return hub.FieldErrorf("body.version", "a version needs a key")
	}
	if p.version, err = env.Scalar("body.version", p.route.Version); err == nil {
		p.loops = p.loops || p.version.Loops()
	}
	return err
}

// An Input is one event as all of its routes look at it: headers and body are read once.
type Input struct {
	event *hub.Event
	seen  *expr.Event
}

// NewInput prepares an event of the endpoint of that name.
func NewInput(event *hub.Event, endpointName string) *Input {
	return &Input{event: event, seen: expr.NewEvent(event, endpointName)}
}

// A Result is what one route made of one event.
type Result struct {
	Matched  bool
	Messages []hub.Message // none where Err is set
	Skipped  int           // channels whose braces gave nothing
	Err      error         // why the route failed, in a sentence for the tenant
}

// Run runs the route, whatever its state.
func (p *Program) Run(ctx context.Context, in *Input) Result {
	if p.broken != nil {
		return Result{Err: p.broken}
	}
	if p.loops {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, runTimeout, fmt.Errorf("the route ran longer than %s", runTimeout))
		defer cancel()
	}
	matched, err := p.match.Holds(ctx, in.seen)
	if err != nil {
		return Result{Err: fmt.Errorf("match: %w", err)}
	}
	if !matched {
		return Result{}
	}
	messages, skipped, err := p.emit(ctx, in)
	return Result{Matched: true, Messages: messages, Skipped: skipped, Err: err}
}

// emit makes a message for each channel; two that come out equal make one.
func (p *Program) emit(ctx context.Context, in *Input) (messages []hub.Message, skipped int, err error) {
	var names []string
	for i, template := range p.channels {
		name, ok, err := template.Name(ctx, in.seen)
		switch {
		case err != nil:
			return nil, 0, fmt.Errorf("channels[%d]: %w", i, err)
		case !ok:
			skipped++
		case !slices.Contains(names, name):
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, skipped, nil
	}
	message, err := p.message(ctx, in)
	if err != nil {
		return nil, 0, err
	}
	for _, name := range names {
		message.ID, message.Channel = hub.NewID[hub.MessageID](), name
		messages = append(messages, message)
	}
	return messages, skipped, nil
}

// message is what all channels of the route get.
func (p *Program) message(ctx context.Context, in *Input) (m hub.Message, err error) {
	if m.Type, err = p.typeOf(in.event); err != nil {
		return hub.Message{}, fmt.Errorf("type: %w", err)
	}
	if m.Data, err = p.dataOf(ctx, in, m.Type); err != nil {
		return hub.Message{}, fmt.Errorf("data: %w", err)
	}
	if m.Key, err = p.keyOf(ctx, in); err != nil {
		return hub.Message{}, fmt.Errorf("key: %w", err)
	}
	if m.Version, err = p.versionOf(ctx, in, m.Key); err != nil {
		return hub.Message{}, fmt.Errorf("version: %w", err)
	}
	return m, nil
}
