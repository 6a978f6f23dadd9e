package routing_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/routing"
)

func events(t testing.TB) *expr.Env {
	t.Helper()
	env, err := expr.NewEvents()
	if err != nil {
		t.Fatal(err)
	}
	return env
}

func compile(t testing.TB, env *expr.Env, routes ...hub.Route) []*routing.Program {
	t.Helper()
	var programs []*routing.Program
	for _, r := range routes {
		if r.ID.IsZero() {
			r.ID = hub.NewID[hub.RouteID]()
		}
		if r.State == "" {
			r.State = hub.Enabled
		}
		p, err := routing.Compile(env, r)
		if err != nil {
			t.Fatalf("compile %+v: %v", r, err)
		}
		programs = append(programs, p)
	}
	return programs
}

func work(t *testing.T, programs []*routing.Program, in *routing.Input) ([]hub.Message, hub.Outcome) {
	t.Helper()
	messages, outcome, err := routing.Work(t.Context(), programs, in)
	if err != nil {
		t.Fatal(err)
	}
	return messages, outcome
}

func paymentEvent() *hub.Event {
	return &hub.Event{
		ID: hub.NewID[hub.EventID](), Endpoint: hub.NewID[hub.EndpointID](), Provider: "stripe", Type: "payment_intent.succeeded", Verified: true,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   []byte(`{"id":"evt_1","data":{"object":{"customer":"cus_1","amount":2000,"nothing":null,"bad":"a b","tags":["x"]}}}`),
	}
}

// The seed case of the contract.
func seed() hub.Route {
	return hub.Route{
		Name: "payments", Match: "event.type == 'payment_intent.succeeded'",
		Channels: []string{"customer:{event.body.data.object.customer}"}, Type: "payment_success", Data: "{'amount': event.body.data.object.amount}",
	}
}

type message struct{ Channel, Type, Key, Version, Data string }

func plain(messages []hub.Message) []message {
	var out []message
	for _, m := range messages {
		out = append(out, message{m.Channel, m.Type, m.Key, m.Version.String(), string(m.Data)})
	}
	return out
}

func TestWork(t *testing.T) {
	t.Parallel()
	env := events(t)
	event := paymentEvent()
	thin := `{"event":"` + event.ID.String() + `","type":"payment_intent.succeeded"}`
	route := func(change func(*hub.Route)) hub.Route {
		r := hub.Route{Match: "true", Channels: []string{"a"}, Data: "1"}
		change(&r)
		return r
	}
	for name, tt := range map[string]struct {
		routes []hub.Route
		want   []message
		state  hub.EventState
		errs   []string
	}{
		"the seed case": {
			routes: []hub.Route{seed()}, state: hub.EventRouted,
			want: []message{{Channel: "customer:cus_1", Type: "payment_success", Data: `{"amount":2000}`}},
		},
		"thin by default, with the event's type": {
			routes: []hub.Route{route(func(r *hub.Route) { r.Data = "" })}, state: hub.EventRouted,
			want: []message{{Channel: "a", Type: "payment_intent.succeeded", Data: thin}},
		},
		"no route": {state: hub.EventUnmatched},
		"no match": {routes: []hub.Route{route(func(r *hub.Route) { r.Match = "false" })}, state: hub.EventUnmatched},
		"disabled": {routes: []hub.Route{route(func(r *hub.Route) { r.State = hub.Disabled })}, state: hub.EventUnmatched},
		"another endpoint's": {
			routes: []hub.Route{route(func(r *hub.Route) { r.Endpoint = hub.NewID[hub.EndpointID]() })}, state: hub.EventUnmatched,
		},
		"its endpoint's": {
			routes: []hub.Route{route(func(r *hub.Route) { r.Endpoint = event.Endpoint; r.Type = "t" })}, state: hub.EventRouted,
			want: []message{{Channel: "a", Type: "t", Data: "1"}},
		},
		"a message for each channel, one for two that are equal": {
			routes: []hub.Route{route(func(r *hub.Route) {
				r.Type, r.Channels = "t", []string{"b", "c:{event.body.data.object.amount}", "{'b'}"}
			})}, state: hub.EventRouted,
			want: []message{{Channel: "b", Type: "t", Data: "1"}, {Channel: "c:2000", Type: "t", Data: "1"}},
		},
		"nothing in braces is skipped": {
			routes: []hub.Route{route(func(r *hub.Route) {
				r.Channels = []string{"x:{event.body.data.object.nothing}", "x:{event.body.data.object.absent}"}
			})}, state: hub.EventUnmatched,
		},
		"a value that is no segment fails its route alone": {
			routes: []hub.Route{
				route(func(r *hub.Route) { r.Channels = []string{"x:{event.body.data.object.bad}"} }),
				route(func(r *hub.Route) { r.Type = "t" }),
			},
			state: hub.EventFailed, errs: []string{"channels[0]"},
			want: []message{{Channel: "a", Type: "t", Data: "1"}},
		},
		"a list in braces fails": {
			routes: []hub.Route{route(func(r *hub.Route) { r.Channels = []string{"x:{event.body.data.object.tags}"} })},
			state:  hub.EventFailed, errs: []string{"channels[0]"},
		},
		"key and version": {
			routes: []hub.Route{route(func(r *hub.Route) {
				r.Type, r.Key, r.Version = "t", "event.body.data.object.customer", "event.body.data.object.amount"
			})}, state: hub.EventRouted,
			want: []message{{Channel: "a", Type: "t", Key: "cus_1", Version: "2000", Data: "1"}},
		},
		"a null key is none": {
			routes: []hub.Route{route(func(r *hub.Route) { r.Type, r.Key, r.Version = "t", "event.body.data.object.nothing", "1" })}, state: hub.EventRouted,
			want: []message{{Channel: "a", Type: "t", Data: "1"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			messages, outcome := work(t, compile(t, env, tt.routes...), routing.NewInput(event, "main"))
			if diff := cmp.Diff(tt.want, plain(messages)); diff != "" {
				t.Errorf("messages (-want +got):\n%s", diff)
			}
			if outcome.State != tt.state {
				t.Errorf("state %s, want %s", outcome.State, tt.state)
			}
			var errs []string
			for _, r := range outcome.Routes {
				if r.Error != "" {
					errs = append(errs, r.Error)
				}
			}
			if len(errs) != len(tt.errs) {
				t.Fatalf("failures %q, want %q", errs, tt.errs)
			}
			for i := range errs {
				if !strings.HasPrefix(errs[i], tt.errs[i]) {
					t.Errorf("failure %q, want one of %s", errs[i], tt.errs[i])
				}
			}
		})
	}
}

// A type can come from a header that nobody signed: one that is reserved must not be taken for a frame of the hub's.
func TestWork_ReservedType(t *testing.T) {
	t.Parallel()
	for _, typ := range []string{"hub.reset", "generation.done", "open", "error", "two words", "line\nbreak"} {
		event := paymentEvent()
		event.Type = typ
		programs := compile(t, events(t), hub.Route{Match: "true", Channels: []string{"a"}})
		messages, outcome := work(t, programs, routing.NewInput(event, "main"))
		if len(messages) != 0 || outcome.State != hub.EventFailed {
			t.Errorf("type %q: %v, %s", typ, plain(messages), outcome.State)
		}
	}
}

// The bounds of an event fail the route that crosses them, and keep what others emitted.
func TestWork_Bounds(t *testing.T) {
	t.Parallel()
	env := events(t)
	many := make([]string, hub.MaxRouteChannels)
	for i := range many {
		many[i] = "c" + string(rune('0'+i))
	}
	var routes []hub.Route
	for range 11 {
		routes = append(routes, hub.Route{Match: "true", Channels: many, Data: "1"})
	}
	messages, outcome := work(t, compile(t, env, routes...), routing.NewInput(paymentEvent(), "main"))
	if len(messages) != hub.MaxEventMessages || outcome.State != hub.EventFailed || outcome.Routes[10].Error == "" || outcome.Routes[9].Error != "" {
		t.Errorf("%d messages, %+v", len(messages), outcome)
	}

	event := paymentEvent()
	event.Body = []byte(`"` + strings.Repeat("x", 900<<10) + `"`)
	routes = nil
	for range 6 {
		routes = append(routes, hub.Route{Match: "true", Channels: []string{"a"}, Data: "event.body"})
	}
	messages, outcome = work(t, compile(t, env, routes...), routing.NewInput(event, "main"))
	if len(messages) != 4 || outcome.State != hub.EventFailed {
		t.Errorf("%d messages of 900 KiB within 4 MiB, %s", len(messages), outcome.State)
	}
	bomb := compile(t, env, hub.Route{Match: "true", Channels: []string{"a"}, Data: "[event.body, event.body]"})
	if messages, outcome = work(t, bomb, routing.NewInput(event, "main")); len(messages) != 0 || outcome.State != hub.EventFailed {
		t.Errorf("%d messages above 1 MiB, %s", len(messages), outcome.State)
	}
}

func TestCompile_Refuses(t *testing.T) {
	t.Parallel()
	env := events(t)
	for location, change := range map[string]func(*hub.Route){
		"body.match":       func(r *hub.Route) { r.Match = "event.type = 'x'" },
		"body.channels":    func(r *hub.Route) { r.Channels = nil },
		"body.channels[0]": func(r *hub.Route) { r.Channels = []string{"hub:{event.type}"} },
		"body.channels[1]": func(r *hub.Route) { r.Channels = []string{"a", "b:{event.}"} },
		"body.type":        func(r *hub.Route) { r.Type = "hub.live" },
		"body.data":        func(r *hub.Route) { r.Data = "{" },
		"body.key":         func(r *hub.Route) { r.Key = "true" },
		"body.version":     func(r *hub.Route) { r.Version = "1" },
	} {
		r := hub.Route{Match: "true", Channels: []string{"a"}}
		change(&r)
		_, err := routing.Compile(env, r)
		coded, _ := err.(*hub.Error) //nolint:errorlint // the locations are its own
		if coded == nil || coded.Code != hub.Invalid || len(coded.Fields) == 0 || coded.Fields[0].Location != location {
			t.Errorf("%s: %v", location, err)
		}
	}
}

func TestBroken(t *testing.T) {
	t.Parallel()
	p := routing.Broken(hub.Route{ID: hub.NewID[hub.RouteID](), State: hub.Enabled}, hub.Errorf(hub.Invalid, "no such function"))
	messages, outcome := work(t, []*routing.Program{p}, routing.NewInput(paymentEvent(), "main"))
	if len(messages) != 0 || outcome.State != hub.EventFailed || len(outcome.Routes) != 1 {
		t.Errorf("%v, %+v", messages, outcome)
	}
}

func BenchmarkWork_Seed(b *testing.B) {
	programs := compile(b, events(b), seed())
	event := paymentEvent()
	for b.Loop() {
		if _, _, err := routing.Work(b.Context(), programs, routing.NewInput(event, "main")); err != nil {
			b.Fatal(err)
		}
	}
}

// Most routes want other events: they must not pay for the body.
func BenchmarkWork_NoMatch(b *testing.B) {
	r := seed()
	r.Match = "event.type == 'other'"
	programs := compile(b, events(b), r)
	event := paymentEvent()
	for b.Loop() {
		if _, _, err := routing.Work(b.Context(), programs, routing.NewInput(event, "main")); err != nil {
			b.Fatal(err)
		}
	}
}
