package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/tributary-hub/tributary/internal/app"
	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/logtest"
	"github.com/tributary-hub/tributary/internal/problem"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
	"github.com/tributary-hub/tributary/internal/telemetry"
	"github.com/tributary-hub/tributary/internal/tracetest"
)

// The canary is in every secret and in all that a request can carry. No span and no line may have it.
const known = "c4n4ry"

// strangers is a trace that somebody outside claims to be in.
const strangers = "4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7"

// A site is a tenant with an endpoint, a route and a key in a database that processes of different roles serve.
type site struct {
	db       *storetest.DB
	config   config.Config
	tenant   hub.TenantID
	endpoint hub.Endpoint
	secret   string
	key      string
	keyID    hub.KeyID
	log      *logtest.Buffer
}

func newSite(t *testing.T, collector string) *site {
	t.Helper()
	return newSiteOn(t, storetest.New(t), collector)
}

func newSiteOn(t *testing.T, db *storetest.DB, collector string) *site {
	t.Helper()
	s := &site{db: db, config: whole(t, db), tenant: db.Tenant(t), keyID: hub.NewID[hub.KeyID](), log: &logtest.Buffer{}}
	s.key = hub.FormatKey(strings.Repeat(known, 6)[:32])
	if collector != "" {
		endpoint, err := url.Parse(collector + "/v1/traces")
		must(t, err)
		s.config.Tracing = config.Tracing{Endpoint: endpoint, Headers: map[string]secret.String{"authorization": secret.New("Bearer " + known)}, Timeout: time.Second}
	}
	keeper, err := secret.Open(s.config.Keyset)
	must(t, err)
	stripe, _ := provider.Get("stripe")
	s.endpoint = hub.Endpoint{
		ID: hub.NewID[hub.EndpointID](), Name: "stripe-" + known, Provider: "stripe", State: hub.Enabled, Mode: hub.ModeEnforce, Config: stripe.Example, Token: "token-" + known,
	}
	s.secret = stripe.NewSecret()
	id := hub.NewID[hub.SecretID]()
	token, err := keeper.Seal(secret.EndpointToken, []byte(s.endpoint.Token), s.tenant[:], s.endpoint.ID[:])
	must(t, err)
	signing, err := keeper.Seal(secret.EndpointSecret, []byte(s.secret), s.tenant[:], s.endpoint.ID[:], id[:])
	must(t, err)
	_, err = db.ChangeTenant(t.Context(), hub.Principal{Kind: hub.PrincipalSystem, Name: "test"}, s.tenant, func(c *store.Change) error {
		_, err := c.CreateEndpoint(t.Context(), store.SealedEndpoint{Endpoint: s.endpoint, TokenHash: hub.HashToken(s.endpoint.Token), TokenSealed: token})
		_, err2 := c.CreateSecret(t.Context(), store.SealedSecret{Secret: hub.Secret{ID: id, Endpoint: s.endpoint.ID, State: hub.SecretActive}, Sealed: signing})
		_, err3 := c.CreateRoute(t.Context(), hub.Route{
			ID: hub.NewID[hub.RouteID](), Name: "all", State: hub.Enabled, Match: "true", Channels: []string{"user:" + known}, Type: "happened." + known, Data: "event.body",
		})
		_, err4 := c.CreateKey(t.Context(), store.HashedKey{Key: hub.Key{ID: s.keyID, Name: known, Scopes: hub.TenantScopes()}, Hash: hub.HashToken(s.key)})
		return errors.Join(err, err2, err3, err4, c.Audit(t.Context(), "test.prepared", "test", nil))
	})
	must(t, err)
	return s
}

// start starts a process of those roles, which the test stops; where, says where it is reached.
func (s *site) start(t *testing.T, node, roles string) (process *app.App, where string) {
	t.Helper()
	c := s.config
	var err error
	c.Roles, err = config.ParseRoles(roles)
	must(t, err)
	log := telemetry.NewLogger(telemetry.LogOptions{Output: s.log, Level: slog.LevelDebug, RequestID: problem.RequestID})
	process, err = app.New(context.WithoutCancel(t.Context()), app.Options{Config: c, Log: log, Version: "test", NodeID: node})
	must(t, err)
	must(t, process.Start(context.WithoutCancel(t.Context())))
	t.Cleanup(func() { _ = process.Stop(context.WithoutCancel(t.Context())) })
	return process, "http://" + process.Addr()
}

// do sends a request that has the canary wherever one can be, and claims to be in a stranger's trace.
func (s *site) do(t *testing.T, method, where, authorization string, header http.Header, body []byte) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, where, bytes.NewReader(body))
	must(t, err)
	maps.Copy(r.Header, header)
	r.Header.Set("Traceparent", "00-"+strangers+"-01")
	r.Header.Set("Tracestate", "vendor="+known)
	r.Header.Set("Baggage", "user="+known)
	r.Header.Set("Cookie", "c="+known)
	r.Header.Set("Referer", "https://"+known+".example")
	if authorization != "" {
		r.Header.Set("Authorization", authorization)
	}
	res, err := http.DefaultClient.Do(r)
	must(t, err)
	defer func() { _ = res.Body.Close() }()
	raw, err := io.ReadAll(res.Body)
	must(t, err)
	var fields map[string]any
	_ = json.Unmarshal(raw, &fields)
	return res.StatusCode, fields
}

// webhook posts one that stripe signed, and gives its event.
func (s *site) webhook(t *testing.T, where, id string) (event string) {
	t.Helper()
	stripe, _ := provider.Get("stripe")
	body := []byte(`{"id":"evt_` + id + known + `","type":"charge.` + known + `","data":{"secret":"` + known + `"}}`)
	header, err := stripe.Sign(s.secret, body, time.Now(), provider.SignOptions{Config: s.endpoint.Config})
	must(t, err)
	status, answer := s.do(t, http.MethodPost, where+"/in/"+s.endpoint.Token+"?q="+known, "Bearer "+known, header, body)
	if status != http.StatusOK {
		t.Fatalf("webhook: %d %v", status, answer)
	}
	event, _ = answer["event"].(string)
	return event
}

// worked waits until so many events have their outcome.
func (s *site) worked(t *testing.T, events int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for storetest.Value[int](t, s.db, `SELECT count(*) FROM tributary.outcomes`) < events {
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatal("no outcome in a minute")
		}
	}
}

// One trace reaches from the POST at one process over the commit and the job to the append at another.
func TestTracing_FromPostToAppend(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	s := newSite(t, collector.URL)
	front, where := s.start(t, "front", "ingest,api")
	back, _ := s.start(t, "back", "worker")
	event := s.webhook(t, where, "1")
	s.worked(t, 1)
	must(t, front.Stop(context.WithoutCancel(t.Context())))
	must(t, back.Stop(context.WithoutCancel(t.Context())))

	all := map[string]tracetest.Span{}
	for _, span := range collector.Spans() {
		if _, twice := all[span.Name]; twice {
			t.Errorf("two spans %s", span.Name)
		}
		all[span.Name] = span
	}
	type step struct{ Name, Below, Kind, Process string }
	want := []step{
		{"POST /in/{token}", "", "server", "front"},
		{"verify webhook", "POST /in/{token}", "internal", "front"},
		{"commit event", "POST /in/{token}", "internal", "front"},
		{"insert events", "commit event", "internal", "front"},
		{"work event", "commit event", "consumer", "back"},
		{"load event", "work event", "internal", "back"},
		{"run routes", "work event", "internal", "back"},
		{"append messages", "work event", "internal", "back"},
		{"append units", "append messages", "internal", "back"},
	}
	names := map[string]string{}
	for name, span := range all {
		names[span.ID] = name
	}
	var got []step
	for _, w := range want {
		span, ok := all[w.Name]
		if !ok {
			continue
		}
		got = append(got, step{w.Name, names[span.Parent], span.Kind, span.Process["service.instance.id"]})
		if span.Trace != all["POST /in/{token}"].Trace || span.Failed {
			t.Errorf("%s is of another trace, or failed: %+v", w.Name, span)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(all) != len(want) {
		t.Errorf("%d spans: %s", len(all), diff)
	}
	for flush, caller := range map[string]string{"insert events": "commit event", "append units": "append messages"} {
		if diff := cmp.Diff([]string{all[caller].Ref()}, all[flush].Links); diff != "" {
			t.Errorf("links of %s: %s", flush, diff)
		}
	}
	if diff := cmp.Diff(map[string]string{
		"http.request.method": "POST", "http.route": "/in/{token}", "http.response.status_code": "200",
		"tributary.tenant": s.tenant.String(), "tributary.endpoint": s.endpoint.ID.String(), "tributary.event": event,
	}, all["POST /in/{token}"].Attributes); diff != "" {
		t.Errorf("the request's attributes: %s", diff)
	}
	work := all["work event"].Attributes
	delete(work, "tributary.job")
	if diff := cmp.Diff(map[string]string{"tributary.tenant": s.tenant.String(), "tributary.event": event, "tributary.attempt": "1", "tributary.result": "done"}, work); diff != "" {
		t.Errorf("the working's attributes: %s", diff)
	}
	s.clean(t, collector)
	s.carriesTrace(t, all["POST /in/{token}"].Trace, event)
}

// carriesTrace checks that the request's record names its trace and what it was about.
func (s *site) carriesTrace(t *testing.T, trace, event string) {
	t.Helper()
	for line := range strings.Lines(s.log.String()) {
		var record map[string]any
		must(t, json.Unmarshal([]byte(line), &record))
		if record["msg"] != "request" {
			continue
		}
		got := map[string]any{"trace_id": record["trace_id"], "tenant": record["tenant"], "endpoint": record["endpoint"], "event": record["event"], "route": record["route"]}
		want := map[string]any{"trace_id": trace, "tenant": s.tenant.String(), "endpoint": s.endpoint.ID.String(), "event": event, "route": "/in/{token}"}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("the access record: %s", diff)
		}
		return
	}
	t.Error("there is no access record")
}

// clean checks that neither spans nor lines have what is nobody's to see.
func (s *site) clean(t *testing.T, collector *tracetest.Collector) {
	t.Helper()
	for _, forbidden := range []string{known, s.secret} {
		if strings.Contains(collector.Text(), forbidden) {
			t.Errorf("the spans have %q:\n%s", forbidden, collector.Text())
		}
		if strings.Contains(s.log.String(), forbidden) {
			t.Errorf("the log has %q:\n%s", forbidden, s.log)
		}
	}
}

// Whatever a request carries and whatever becomes of it, its spans have none of it; who is not known has no say in
// them, who is known is linked and no more.
func TestTracing_Strangers(t *testing.T) {
	t.Parallel()
	collector := tracetest.New(t)
	s := newSite(t, collector.URL)
	process, where := s.start(t, "one", "")
	s.webhook(t, where, "1")
	s.worked(t, 1)
	requests := []struct {
		method, path, authorization, body string
		status                            int
	}{
		{"POST", "/in/" + s.endpoint.Token, "Bearer " + known, `{"a":"` + known + `"}`, 401},
		{"POST", "/in/unknown-" + known, "", known, 404},
		{"GET", "/v1/me?q=" + known, "Bearer " + s.key, "", 400},
		{"GET", "/v1/me", "Bearer trb_" + known, "", 401},
		{"GET", "/v1/tenants/" + s.tenant.String() + "/events", "Bearer " + s.key, "", 200},
		{"GET", "/v1/tenants/" + known + "/events", "Bearer " + s.key, "", 404},
		{"GET", "/stream/" + s.tenant.String() + "?channel=" + known, "Bearer " + known, "", 401},
		{"GET", "/stream/" + known, "", "", 401},
		{"GET", "/nothing/" + known, "", "", 404},
		{"GET", "/healthz", "", "", 200},
	}
	for _, r := range requests {
		if status, answer := s.do(t, r.method, where+r.path, r.authorization, nil, []byte(r.body)); status != r.status {
			t.Errorf("%s %s: %d %v", r.method, r.path, status, answer)
		}
	}
	must(t, process.Stop(context.WithoutCancel(t.Context())))

	var got []string
	stranger, _, _ := strings.Cut(strangers, "-")
	for _, span := range collector.Spans() {
		if span.Trace == stranger || span.Kind == "server" && span.Parent != "" {
			t.Errorf("a stranger's trace is gone on with: %+v", span)
		}
		if span.Attributes["http.route"] == "/v1/tenants/{tenant}/events" && span.Attributes["tributary.key"] != s.keyID.String() {
			t.Errorf("whose request it was is missing: %+v", span)
		}
		if span.Kind == "server" {
			got = append(got, strings.TrimSpace(span.Name+" "+span.Attributes["http.response.status_code"]+" "+span.Attributes["error.type"]+" "+span.Attributes["tributary.cause"]+strings.Join(span.Links, ",")))
		}
	}
	want := []string{
		"POST /in/{token} 200",
		"POST /in/{token} 401 signature_invalid no_signature",
		"POST /in/{token} 404 not_found",
		"GET /v1/me 400 unknown_parameter " + strangers,
		"GET /v1/me 401 unauthenticated",
		"GET /v1/tenants/{tenant}/events 200 " + " " + strangers,
		"GET /v1/tenants/{tenant}/events 404 not_found " + strangers,
		"GET /stream/{tenant} 401 unauthenticated",
		"GET /stream/{tenant} 401 unauthenticated",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	s.clean(t, collector)
}

// Without a collector, or with one that is not there, the hub works on; no job carries a trace where nothing is traced.
func TestTracing_NoCollector(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		collector string
		said      int
	}{"none": {"", 0}, "away": {"http://127.0.0.1:1", 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, tt.collector)
			process, where := s.start(t, "one", "")
			for _, id := range []string{"1", "2", "3"} {
				s.webhook(t, where, id)
			}
			s.worked(t, 3)
			carried := storetest.Value[int](t, s.db, `SELECT count(*) FROM tributary_river.river_job WHERE kind = 'route_event' AND args ? 'traceparent'`)
			if want := 3 * tt.said; carried != want {
				t.Errorf("%d jobs carry a trace, want %d", carried, want)
			}
			must(t, process.Stop(context.WithoutCancel(t.Context())))
			if n := strings.Count(s.log.String(), "spans cannot be sent"); n != tt.said {
				t.Errorf("said %d times, want %d: %s", n, tt.said, s.log)
			}
		})
	}
}
