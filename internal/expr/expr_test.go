package expr_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/expr"
	"github.com/tributary-hub/tributary/internal/hub"
)

func newEvents(tb testing.TB) *expr.Env {
	tb.Helper()
	env, err := expr.NewEvents()
	if err != nil {
		tb.Fatal(err)
	}
	return env
}

func newClaims(tb testing.TB) *expr.Env {
	tb.Helper()
	env, err := expr.NewClaims()
	if err != nil {
		tb.Fatal(err)
	}
	return env
}

// stripe is an event with a body as Stripe sends it, 2 KB.
func stripe(tb testing.TB) *hub.Event {
	tb.Helper()
	body, err := os.ReadFile("testdata/payment_intent.json")
	if err != nil {
		tb.Fatal(err)
	}
	return &hub.Event{
		ID:         hub.NewID[hub.EventID](),
		Provider:   "stripe",
		Type:       "payment_intent.succeeded",
		ProviderID: "evt_1PqXyz2eZvKYlo2C8ZyXkL9m",
		ReceivedAt: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC),
		Verified:   true,
		Header:     http.Header{"Content-Type": {"application/json"}, "Stripe-Signature": {"t=1,v1=ab"}},
		Body:       body,
	}
}

// withBody is an event with that JSON body.
func withBody(body string) *expr.Event {
	return expr.NewEvent(&hub.Event{Header: http.Header{"Content-Type": {"application/json"}}, Body: []byte(body)}, "any")
}

// run compiles source as data and gives its JSON.
func run(t *testing.T, in expr.Input, source string) (string, error) {
	t.Helper()
	value, err := newEvents(t).Value("body.data", source)
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	out, err := value.JSON(t.Context(), in)
	return string(out), err
}

func mustRun(t *testing.T, in expr.Input, source string) string {
	t.Helper()
	out, err := run(t, in, source)
	if err != nil {
		t.Fatalf("%s: %v", source, err)
	}
	return out
}

func TestValue_SeedRoute(t *testing.T) {
	t.Parallel()
	in := expr.NewEvent(stripe(t), "stripe")
	if got, want := mustRun(t, in, "{'amount': event.body.data.object.amount}"), `{"amount":2000}`; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

func TestEvent_Fields(t *testing.T) {
	t.Parallel()
	event := stripe(t)
	event.Header["X-Twice"] = []string{"a", "b"}
	event.Header["X-Latin"] = []string{"caf\xe9"}
	in := expr.NewEvent(event, "payments")
	for _, c := range []struct{ source, want string }{
		{"event.id", `"` + event.ID.String() + `"`},
		{"event.provider_id", `"evt_1PqXyz2eZvKYlo2C8ZyXkL9m"`},
		{"event.type", `"payment_intent.succeeded"`},
		{"event.provider", `"stripe"`},
		{"event.endpoint", `"payments"`},
		{"event.received_at", `"2026-02-03T04:05:06Z"`},
		{"event.received_at.getHours()", `4`},
		{"event.verified", `true`},
		{"event.headers['stripe-signature']", `"t=1,v1=ab"`},
		{"event.headers.`content-type`", `"application/json"`},
		{"event.headers['x-twice']", `"a, b"`},
		{"event.headers['x-latin']", `"caf` + "\uFFFD" + `"`},
		{"'Stripe-Signature' in event.headers", `false`},
		{"event.body.data.object.customer", `"cus_QhXyzAbCdEfGhI"`},
		{"event.body.data.object.amount + 1", `2001`},
		{"event.body.livemode", `false`},
		{"event.body.?nope.?deep.orValue('none')", `"none"`},
		{"event.body.data.object.items.filter(i, i > 7)", `[8,9]`},
		{"has(event.body.nope)", `false`},
		{"has(event.type)", `true`},
		{"type(event) == type(1)", `false`},
		{"event == event", `true`},
		{"cel.bind(o, event.body.data.object, {'a': o.amount, 'c': o.currency})", `{"a":2000,"c":"usd"}`},
		{"math.greatest(event.body.data.object.amount, 3000)", `3000`},
	} {
		t.Run(c.source, func(t *testing.T) {
			t.Parallel()
			if got := mustRun(t, in, c.source); got != c.want {
				t.Errorf("%s, want %s", got, c.want)
			}
		})
	}
	var whole map[string]any
	if err := json.Unmarshal([]byte(mustRun(t, in, "event")), &whole); err != nil {
		t.Fatal(err)
	}
	want := []string{"body", "endpoint", "headers", "id", "provider", "provider_id", "received_at", "type", "verified"}
	var got []string
	for _, name := range want {
		if _, ok := whole[name]; ok {
			got = append(got, name)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(whole) != len(want) {
		t.Errorf("%d fields\n%s", len(whole), diff)
	}
}

func TestEvent_AbsentFieldsAreNotSet(t *testing.T) {
	t.Parallel()
	in := expr.NewEvent(&hub.Event{}, "")
	for _, source := range []string{"has(event.type)", "has(event.provider_id)", "has(event.body)", "event.?type.hasValue()"} {
		if got := mustRun(t, in, source); got != "false" {
			t.Errorf("%s: %s", source, got)
		}
	}
}

func TestEvent_ShowsNoSecrets(t *testing.T) {
	t.Parallel()
	event := stripe(t)
	event.Tenant = hub.NewID[hub.TenantID]()
	event.Sealed = []byte("canary")
	event.Secret = hub.NewID[hub.SecretID]()
	event.Cause = hub.SignatureMismatch
	event.Header = http.Header{
		"Authorization": {"canary"}, "Cookie": {"canary"}, "Proxy-Authorization": {"canary"}, "authorization": {"canary"},
	}
	event.Original = []byte("canary")
	event.SealedBody = []byte("canary")
	event.Dedup = hub.Dedup{Hash: [16]byte([]byte("canary canary 16"))}
	got := mustRun(t, expr.NewEvent(event, "slack"), "event")
	for _, secret := range []string{"canary", event.Secret.String(), string(event.Cause), event.Tenant.String()} {
		if strings.Contains(got, secret) {
			t.Errorf("%s shows %s", got, secret)
		}
	}
}

func TestEvent_BodyIsParsedOnlyWhenLookedAt(t *testing.T) {
	t.Parallel()
	env := newEvents(t)
	holds := func(in *expr.Event, source string) {
		t.Helper()
		match, err := env.Condition("body.match", source)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := match.Holds(t.Context(), in); err != nil {
			t.Fatal(err)
		}
	}
	in := expr.NewEvent(stripe(t), "stripe")
	holds(in, "event.type == 'x' || event.headers['content-type'] == 'y' || has(event.provider_id)")
	if in.BodyParsed() {
		t.Error("the body was parsed for an expression that does not look at it")
	}
	in = expr.NewEvent(stripe(t), "stripe")
	holds(in, "event.body.livemode")
	if !in.BodyParsed() {
		t.Error("the body was not parsed")
	}
}

func TestProgram_ServesManyAtOnce(t *testing.T) {
	t.Parallel()
	env := newEvents(t)
	value, err := env.Value("body.data", "{'l': event.body.l.map(x, x + 1), 'f': event.body.s.matches('^a+$'), 'e': event.body.?nope}")
	if err != nil {
		t.Fatal(err)
	}
	failing, err := env.Value("body.data", "event.body.s.matches(event.body.l)")
	if err != nil {
		t.Fatal(err)
	}
	in := withBody(`{"l":[1,2,3],"s":"aaa"}`)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 50 {
				out, err := value.JSON(t.Context(), in)
				if want := `{"e":null,"f":true,"l":[2,3,4]}`; err != nil || string(out) != want {
					t.Errorf("%s, %v", out, err)
					return
				}
				if _, err := failing.JSON(t.Context(), in); err == nil {
					t.Error("a list passed for a pattern")
					return
				}
			}
		})
	}
	group.Wait()
}

// textEvent is an event whose body is that string.
func textEvent(s string) *expr.Event {
	body, err := json.Marshal(s)
	if err != nil {
		panic(err)
	}
	return withBody(string(body))
}
