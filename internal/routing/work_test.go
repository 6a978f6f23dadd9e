package routing_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/routing"
)

func TestWork_SaysWhatEachRouteDid(t *testing.T) {
	t.Parallel()
	routes := []hub.Route{
		{Match: "true", Channels: []string{"a", "b", "c:{event.body.data.object.nothing}"}},
		{Match: "false", Channels: []string{"never"}},
		{Match: "event.body.absent == 1", Channels: []string{"never"}},
		{Match: "true", Channels: []string{"x:{event.body.data.object.absent}"}},
		{Match: "true", Channels: []string{"d"}, Data: "event.body.absent"},
		{Match: "true", Channels: []string{"e"}},
	}
	programs := compile(t, events(t), routes...)
	messages, outcome := work(t, programs, routing.NewInput(paymentEvent(), "main"))

	var channels []string
	ids := map[hub.MessageID]bool{}
	for _, m := range messages {
		channels = append(channels, m.Channel)
		ids[m.ID] = true
	}
	if diff := cmp.Diff([]string{"a", "b", "e"}, channels); diff != "" || len(ids) != 3 {
		t.Errorf("%d ids\n%s", len(ids), diff)
	}
	want := hub.Outcome{State: hub.EventFailed, Routes: []hub.RouteOutcome{
		{Route: programs[0].Route().ID, Messages: 2, Skipped: 1},
		{Route: programs[2].Route().ID, Error: "match: no such key: absent"},
		{Route: programs[3].Route().ID, Skipped: 1},
		{Route: programs[4].Route().ID, Error: "data: no such key: absent"},
		{Route: programs[5].Route().ID, Messages: 1},
	}}
	if diff := cmp.Diff(want, outcome); diff != "" {
		t.Error(diff)
	}
}

// A working that its context ends says nothing about the routes: recorded, it would lose the event's messages.
func TestWork_CutShortIsNoOutcome(t *testing.T) {
	t.Parallel()
	for _, match := range []string{"true", "[1, 2].exists(x, x == 2)"} {
		cause := errors.New("the process ends")
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(cause)
		programs := compile(t, events(t), hub.Route{Match: match, Channels: []string{"a"}})
		messages, outcome, err := routing.Work(ctx, programs, routing.NewInput(paymentEvent(), "main"))
		if !errors.Is(err, cause) || messages != nil || outcome.State != "" {
			t.Errorf("%s: %v, %+v, %v", match, messages, outcome, err)
		}
	}
}

func TestWork_KeysAndVersions(t *testing.T) {
	t.Parallel()
	env := events(t)
	event := paymentEvent()
	event.Body = []byte(`{"long":"` + strings.Repeat("k", 201) + `","most":"` + strings.Repeat("k", 200) + `","nul":"a\u0000b","empty":"","no":null,"yes":true,"i":7,"f":1.5,"big":9223372036854775808}`)
	for _, c := range []struct {
		key, version string
		want         message
		failure      string
	}{
		{key: "event.body.i", want: message{Key: "7"}},
		{key: "event.body.most", version: "event.body.most", want: message{Key: strings.Repeat("k", 200), Version: strings.Repeat("k", 200)}},
		{key: "event.body.empty", version: "1", want: message{}},
		{key: "event.body.?absent", version: "1", want: message{}},
		{key: "'k'", version: "event.body.no", want: message{Key: "k"}},
		{key: "event.body.long", failure: "key: a key or version has 1 to 200 bytes"},
		{key: "event.body.nul", failure: "key: a key or version has no NUL character"},
		{key: "event.body.yes", failure: "key: the expression gave a bool, not a string or an integer"},
		{key: "event.body.f", failure: "key: the expression gave a double, not a string or an integer"},
		{key: "event.body.absent", failure: "key: no such key: absent"},
		{key: "'k'", version: "event.body.long", failure: "version: a key or version has 1 to 200 bytes"},
		{key: "'k'", version: "event.body.nul", failure: "version: a key or version has no NUL character"},
		{key: "'k'", version: "event.body.empty", failure: "version: a key or version has 1 to 200 bytes"},
		{key: "'k'", version: "event.body.yes", failure: "version: the expression gave a bool, not a string or an integer"},
		{key: "'k'", version: "event.body.big", failure: "version: an integer is too large for 64 bits with a sign"},
	} {
		t.Run(c.key+" "+c.version, func(t *testing.T) {
			t.Parallel()
			programs := compile(t, env, hub.Route{Match: "true", Channels: []string{"a"}, Type: "t", Data: "1", Key: c.key, Version: c.version})
			messages, outcome := work(t, programs, routing.NewInput(event, "main"))
			if c.failure != "" {
				if len(messages) != 0 || outcome.Routes[0].Error != c.failure {
					t.Errorf("%v, %q, want %q", plain(messages), outcome.Routes[0].Error, c.failure)
				}
				return
			}
			c.want.Channel, c.want.Type, c.want.Data = "a", "t", "1"
			if diff := cmp.Diff([]message{c.want}, plain(messages)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What a failure says goes into Postgres and into a page: it is short, and text.
func TestWork_FailuresAreText(t *testing.T) {
	t.Parallel()
	for _, why := range []string{"a\x00b", "not \xff UTF-8", strings.Repeat("ö", 10_000)} {
		broken := routing.Broken(hub.Route{ID: hub.NewID[hub.RouteID](), State: hub.Enabled}, errors.New(why))
		_, outcome := work(t, []*routing.Program{broken}, routing.NewInput(paymentEvent(), "main"))
		text := outcome.Routes[0].Error
		if text == "" || len(text) > 600 || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			t.Errorf("%d bytes: %.40q", len(text), text)
		}
	}
}

func TestProgram_ServesManyAtOnce(t *testing.T) {
	t.Parallel()
	loop := seed()
	loop.Match = "event.body.data.object.tags.exists(t, t == 'x')"
	programs := compile(t, events(t), seed(), loop)
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for range 50 {
				messages, outcome, err := routing.Work(t.Context(), programs, routing.NewInput(paymentEvent(), "main"))
				if err != nil || len(messages) != 2 || outcome.State != hub.EventRouted {
					t.Errorf("%v, %+v, %v", plain(messages), outcome, err)
					return
				}
			}
		})
	}
	group.Wait()
}

// All 200 routes of a tenant look at one event, which none of them wants.
func BenchmarkWork_200Routes(b *testing.B) {
	r := seed()
	r.Match = "event.type == 'other'"
	routes := make([]hub.Route, 200)
	for i := range routes {
		routes[i] = r
	}
	programs := compile(b, events(b), routes...)
	event := paymentEvent()
	for b.Loop() {
		if _, _, err := routing.Work(b.Context(), programs, routing.NewInput(event, "main")); err != nil {
			b.Fatal(err)
		}
	}
}
