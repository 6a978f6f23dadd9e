package ingest_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/directory"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/ingest"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/provider"
	"github.com/tributary-hub/tributary/internal/secret"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/storetest"
)

// A door is the handler on a real socket with a real database behind it.
type door struct {
	*httptest.Server
	db       *storetest.DB
	keeper   *secret.Keeper
	notebook *ingest.Notebook
	skewed   atomic.Bool // this machine's clock is not Postgres's
	metrics  *prometheus.Registry
	tenant   hub.TenantID
}

func openDoor(t *testing.T) *door {
	t.Helper()
	d := openQuietDoor(t)
	if err := d.notebook.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// openQuietDoor is a door whose notebook only collects until it is started. Its clock stands, so that a sender's share
// is the same on a slow machine.
func openQuietDoor(t *testing.T) *door {
	t.Helper()
	db := storetest.New(t)
	d := &door{db: db, keeper: newKeeper(t), tenant: db.Tenant(t), metrics: prometheus.NewRegistry()}
	log := canary.Logger(t)
	tenants, err := directory.New(directory.Options{Pipeline: db.Pipeline, Keeper: d.keeper, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	opened := time.Now()
	d.notebook = ingest.NewNotebook(ingest.NotebookOptions{
		Pipeline: db.Pipeline, Keeper: d.keeper, Log: log, Metrics: d.metrics, Interval: time.Hour, Now: func() time.Time { return opened },
	})
	intake := ingest.StartCountedIntake(t, d.metrics, d.keeper, db.Pipeline.InsertEvents)
	usage := meter.New(meter.Options{Pipeline: db.Pipeline, Log: log})
	mux := http.NewServeMux()
	mux.Handle("/in/{token}", ingest.NewHandler(ingest.HandlerOptions{
		Directory: tenants, Meter: usage, Intake: intake, Notes: d.notebook, Metrics: d.metrics, Now: time.Now,
		ClockSkewed: func() bool { return d.skewed.Load() },
	}))
	d.Server = httptest.NewServer(mux)
	t.Cleanup(d.Close)
	t.Cleanup(func() { d.settle(t) })
	return d
}

// settle waits until the notebook has written what it noted.
func (d *door) settle(t *testing.T) {
	t.Helper()
	if err := d.notebook.Stop(context.WithoutCancel(t.Context())); err != nil {
		t.Error(err)
	}
}

// A target is an endpoint and its secret's value.
type target struct {
	hub.Endpoint
	secret string
	id     hub.SecretID
}

// endpoint makes an endpoint of that provider with one active secret.
func (d *door) endpoint(t *testing.T, name string, change ...func(*hub.Endpoint)) target {
	t.Helper()
	p, ok := provider.Get(name)
	if !ok {
		t.Fatalf("no provider %s", name)
	}
	e := hub.Endpoint{
		ID: hub.NewID[hub.EndpointID](), Name: "test-" + hub.NewID[hub.EndpointID]().String()[3:], Provider: name,
		State: hub.Enabled, Mode: hub.ModeEnforce, Config: p.Example, Token: "token-" + hub.NewID[hub.EndpointID]().String(),
	}
	for _, c := range change {
		c(&e)
	}
	sealed, err := d.keeper.Seal(secret.EndpointToken, []byte(e.Token), d.tenant[:], e.ID[:])
	if err != nil {
		t.Fatal(err)
	}
	d.change(t, func(ctx context.Context, c *store.Change) error {
		_, err := c.CreateEndpoint(ctx, store.SealedEndpoint{Endpoint: e, TokenHash: hub.HashToken(e.Token), TokenSealed: sealed})
		return err
	})
	out := target{Endpoint: e, secret: p.NewSecret()}
	out.id = d.addSecret(t, e, out.secret, hub.SecretActive)
	return out
}

func (d *door) addSecret(t *testing.T, e hub.Endpoint, value string, state hub.SecretState) hub.SecretID {
	t.Helper()
	id := hub.NewID[hub.SecretID]()
	sealed, err := d.keeper.Seal(secret.EndpointSecret, []byte(value), d.tenant[:], e.ID[:], id[:])
	if err != nil {
		t.Fatal(err)
	}
	d.change(t, func(ctx context.Context, c *store.Change) error {
		_, err := c.CreateSecret(ctx, store.SealedSecret{Secret: hub.Secret{ID: id, Endpoint: e.ID, State: state}, Sealed: sealed})
		return err
	})
	return id
}

func (d *door) change(t *testing.T, fn func(context.Context, *store.Change) error) {
	t.Helper()
	_, err := d.db.ChangeTenant(t.Context(), hub.Principal{Kind: hub.PrincipalSystem, Name: "test"}, d.tenant, func(c *store.Change) error {
		if err := fn(t.Context(), c); err != nil {
			return err
		}
		return c.Audit(t.Context(), "test.prepared", "test", nil)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A reply is what the sender got.
type reply struct {
	Status    int
	Event     string
	Duplicate bool
	Code      string
	Cause     string
	header    http.Header
	raw       string
}

func (d *door) post(t *testing.T, token string, header http.Header, body []byte) reply {
	t.Helper()
	return d.send(t, http.MethodPost, token, header, body)
}

func (d *door) send(t *testing.T, method, token string, header http.Header, body []byte) reply {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.URL+"/in/"+token, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		req.Header = header.Clone()
	}
	res, err := d.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	out := reply{Status: res.StatusCode, header: res.Header, raw: string(raw)}
	var fields struct {
		Event, Code, Cause string
		Duplicate          bool
	}
	if json.Unmarshal(raw, &fields) == nil {
		out.Event, out.Code, out.Cause, out.Duplicate = fields.Event, fields.Code, fields.Cause, fields.Duplicate
	}
	return out
}

// signed gives a sample of the provider and its headers.
func (to target) signed(t *testing.T) (http.Header, []byte) {
	t.Helper()
	p, _ := provider.Get(to.Provider)
	typ := provider.Samples(to.Provider)[0]
	body, id, err := provider.Sample(to.Provider, typ, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	header, err := p.Sign(to.secret, body, time.Now(), provider.SignOptions{Type: typ, ID: id, Config: to.Config})
	if err != nil {
		t.Fatal(err)
	}
	return header, body
}

func TestHandler_EachProvider(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	for _, name := range []string{"stripe", "github", "shopify", "slack", "standard-webhooks", "generic-hmac"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			to := d.endpoint(t, name)
			header, body := to.signed(t)

			accepted := d.post(t, to.Token, header, body)
			if accepted.Status != http.StatusOK || accepted.Event == "" || accepted.Duplicate {
				t.Fatalf("signed: %+v", accepted)
			}
			again := d.post(t, to.Token, header, body)
			if again.Status != http.StatusOK || again.Event != accepted.Event || !again.Duplicate {
				t.Errorf("the same again: %+v, want a duplicate of %s", again, accepted.Event)
			}
			tampered := d.post(t, to.Token, header, append([]byte(" "), body...))
			if tampered.Status != http.StatusUnauthorized || tampered.Code != "signature_invalid" || tampered.Cause != "signature_mismatch" {
				t.Errorf("tampered: %+v", tampered)
			}
			id, err := hub.ParseID[hub.EventID](accepted.Event)
			if err != nil {
				t.Fatal(err)
			}
			stored := d.original(t, id)
			if !bytes.Equal(stored, body) {
				t.Errorf("stored %q, sent %q", stored, body)
			}
		})
	}
}

// original is the raw body of a stored event, opened where it is sealed.
func (d *door) original(t *testing.T, id hub.EventID) []byte {
	t.Helper()
	var body, sealed []byte
	err := d.db.Owner.QueryRow(t.Context(), `SELECT body, sealed_body FROM tributary.events WHERE id = $1`, id).Scan(&body, &sealed)
	if err != nil {
		t.Fatal(err)
	}
	if sealed == nil {
		return body
	}
	opened, err := d.keeper.Open(secret.EventBody, sealed, d.tenant[:], id[:])
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(body, opened) {
		t.Errorf("the shown body still has the credential: %s", body)
	}
	return opened
}

func TestHandler_Refusals(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	enabled := d.endpoint(t, "stripe")
	disabled := d.endpoint(t, "stripe", func(e *hub.Endpoint) { e.State = hub.Disabled })
	header, body := enabled.signed(t)
	plain := header.Clone()
	plain.Set("Content-Encoding", "IDENTITY") // which says nothing, in any case
	if got := d.post(t, enabled.Token, plain, body); got.Status != http.StatusOK {
		t.Errorf("an identity encoding: %+v", got)
	}
	gzipped := header.Clone()
	gzipped.Set("Content-Encoding", "gzip")
	old := http.Header{"Stripe-Signature": {"t=1000000000,v1=" + strings.Repeat("ab", 32)}}

	for name, tt := range map[string]struct {
		method string
		token  string
		header http.Header
		body   []byte
		want   reply
	}{
		"unknown token":     {token: "nobody", header: header, body: body, want: reply{Status: 404, Code: "not_found"}},
		"disabled":          {token: disabled.Token, header: header, body: body, want: reply{Status: 403, Code: "endpoint_disabled"}},
		"wrong method":      {method: http.MethodGet, token: enabled.Token, want: reply{Status: 405, Code: "method_not_allowed"}},
		"compressed":        {token: enabled.Token, header: gzipped, body: body, want: reply{Status: 415, Code: "compressed_body"}},
		"too large":         {token: enabled.Token, header: header, body: make([]byte, 1<<20+1), want: reply{Status: 413, Code: "body_too_large"}},
		"unsigned":          {token: enabled.Token, body: body, want: reply{Status: 401, Code: "signature_invalid", Cause: "no_signature"}},
		"malformed":         {token: enabled.Token, header: http.Header{"Stripe-Signature": {"nonsense"}}, body: body, want: reply{Status: 401, Code: "signature_invalid", Cause: "malformed_signature"}},
		"old version":       {token: enabled.Token, header: http.Header{"Stripe-Signature": {"t=1000000000,v0=ab"}}, body: body, want: reply{Status: 401, Code: "signature_invalid", Cause: "unknown_scheme_version"}},
		"a stranger's sign": {token: enabled.Token, header: old, body: body, want: reply{Status: 401, Code: "signature_invalid", Cause: "signature_mismatch"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := d.send(t, cmp.Or(tt.method, http.MethodPost), tt.token, tt.header, tt.body)
			if diff := gocmp.Diff(tt.want, got, gocmp.FilterPath(func(p gocmp.Path) bool {
				last := p.Last().String()
				return last == ".header" || last == ".raw"
			}, gocmp.Ignore())); diff != "" {
				t.Errorf("answer (-want +got):\n%s\n%s", diff, got.raw)
			}
			if csp := got.header.Get("Content-Security-Policy"); !strings.Contains(csp, "sandbox") || got.header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("an answer under /in could be a page: %v", got.header)
			}
		})
	}
}

// A signed time is judged by this machine's clock, and where that cannot be trusted nobody is told that theirs is wrong:
// they send again.
func TestHandler_SkewedClock(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	to := d.endpoint(t, "stripe")
	header, body := to.signed(t)
	sender, _ := provider.Get("stripe")
	stale, err := sender.Sign(to.secret, body, time.Now().Add(-time.Hour), provider.SignOptions{Type: provider.Samples("stripe")[0], Config: to.Config})
	if err != nil {
		t.Fatal(err)
	}
	if got := d.post(t, to.Token, stale, body); got.Status != 401 || got.Cause != "timestamp_too_old" {
		t.Errorf("signed an hour ago: %d %s", got.Status, got.raw)
	}
	d.skewed.Store(true)
	if got := d.post(t, to.Token, stale, body); got.Status != 503 || got.header.Get("Retry-After") == "" {
		t.Errorf("signed an hour ago, by a clock that is wrong: %d %s", got.Status, got.raw)
	}
	if got := d.post(t, to.Token, http.Header{"Stripe-Signature": {"nonsense"}}, body); got.Status != 401 {
		t.Errorf("a stranger: %d %s", got.Status, got.raw)
	}
	if got := d.post(t, to.Token, header, body); got.Status != 200 {
		t.Errorf("in time: %d %s", got.Status, got.raw)
	}
}

func TestHandler_SlackHandshake(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	to := d.endpoint(t, "slack")
	p, _ := provider.Get("slack")
	body := []byte(`{"type":"url_verification","challenge":"3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P"}`)
	header, err := p.Sign(to.secret, body, time.Now(), provider.SignOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got := d.post(t, to.Token, header, body)
	if got.Status != http.StatusOK || got.raw != "3eZbrw1aBm2rZgRNFdxV2595E9CY3gmdALWMmHkvFXO7tYXAYM8P" || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Errorf("signed challenge: %+v", got)
	}
	header.Set("X-Slack-Signature", "v0="+strings.Repeat("00", 32))
	if got := d.post(t, to.Token, header, body); got.Status != http.StatusUnauthorized || strings.Contains(got.raw, "3eZbrw1a") {
		t.Errorf("unsigned challenge: %+v", got)
	}
	if n := storetest.Value[int](t, d.db, `SELECT count(*) FROM tributary.events`); n != 0 {
		t.Errorf("%d events stored, want none", n)
	}
}

func TestHandler_ChangesOfAnotherNode(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	to := d.endpoint(t, "stripe")
	header, body := to.signed(t)
	if got := d.post(t, to.Token, header, body); got.Status != http.StatusOK {
		t.Fatalf("warm: %+v", got)
	}
	// A secret that another node added a moment ago verifies, though this node has not heard of it.
	to.secret = "whsec_added_elsewhere"
	d.addSecret(t, to.Endpoint, to.secret, hub.SecretActive)
	header, body = to.signed(t)
	if got := d.post(t, to.Token, header, body); got.Status != http.StatusOK {
		t.Errorf("signed with another node's new secret: %+v", got)
	}
}

// Only what verifies spends the tenant's rate.
func TestHandler_Limit(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	to := d.endpoint(t, "stripe")
	d.change(t, func(ctx context.Context, c *store.Change) error {
		tenant, err := c.LockTenant(ctx)
		if err != nil {
			return err
		}
		tenant.Limits = hub.Limits{WebhooksPerSecond: new(1), BodyBytes: new(5000)}
		_, err = c.UpdateTenant(ctx, tenant)
		return err
	})
	for range 5 {
		if got := d.post(t, to.Token, nil, []byte("{}")); got.Status != http.StatusUnauthorized {
			t.Fatalf("unsigned: %+v", got)
		}
	}
	header, body := to.signed(t)
	if got := d.post(t, to.Token, header, body); got.Status != http.StatusOK {
		t.Fatalf("first signed: %+v", got)
	}
	got := d.post(t, to.Token, header, body)
	if got.Status != http.StatusTooManyRequests || got.Code != "limit_exceeded" || got.header.Get("Retry-After") == "" {
		t.Errorf("second signed: %+v", got)
	}
	said := []string{got.header.Get("RateLimit"), got.header.Get("RateLimit-Policy")}
	if diff := gocmp.Diff([]string{`"webhooks";r=0;t=` + got.header.Get("Retry-After"), `"webhooks";q=1;w=1`}, said); diff != "" {
		t.Error(diff)
	}
	if got := d.post(t, to.Token, header, make([]byte, 5001)); got.Status != http.StatusRequestEntityTooLarge {
		t.Errorf("above the tenant's cap: %+v", got)
	}
}

func TestHandler_MonitorMode(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	to := d.endpoint(t, "stripe", func(e *hub.Endpoint) { e.Mode = hub.ModeMonitor })
	_, body := to.signed(t)
	for range 2 { // what does not verify takes no dedup key
		if got := d.post(t, to.Token, nil, body); got.Status != http.StatusOK || got.Duplicate {
			t.Fatalf("unsigned in monitor mode: %+v", got)
		}
	}
	got := storetest.Values[string](t, d.db, `SELECT DISTINCT verified || ' ' || cause FROM tributary.events`)
	if diff := gocmp.Diff([]string{"false no_signature"}, got); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// In monitor mode strangers spend their own share, never the tenant's rate, and past it they store nothing.
func TestHandler_MonitorModeStrangers(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	to := d.endpoint(t, "stripe", func(e *hub.Endpoint) { e.Mode = hub.ModeMonitor })
	d.change(t, func(ctx context.Context, c *store.Change) error {
		tenant, err := c.LockTenant(ctx)
		if err != nil {
			return err
		}
		tenant.Limits = hub.Limits{WebhooksPerSecond: new(1)}
		_, err = c.UpdateTenant(ctx, tenant)
		return err
	})
	refused := 0
	for range 60 {
		switch got := d.post(t, to.Token, nil, []byte("{}")); got.Status {
		case http.StatusOK:
		case http.StatusUnauthorized:
			refused++
		default:
			t.Fatalf("a stranger's: %+v", got)
		}
	}
	stored := storetest.Value[int](t, d.db, `SELECT count(*) FROM tributary.events`)
	if stored != 20 || refused != 40 {
		t.Errorf("%d stored and %d refused of 60, want the share of one address, 20, and 40", stored, refused)
	}
	header, body := to.signed(t)
	if got := d.post(t, to.Token, header, body); got.Status != http.StatusOK {
		t.Errorf("a genuine one after them: %+v", got)
	}
}

func TestHandler_RejectionsAndUses(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	to := d.endpoint(t, "stripe")
	candidate := "whsec_candidate"
	candidateID := d.addSecret(t, to.Endpoint, candidate, hub.SecretCandidate)
	header, body := to.signed(t)
	d.post(t, to.Token, header, body)
	for _, name := range []string{"Authorization", "Proxy-Authorization", "Cookie"} {
		header.Set(name, "Bearer hush")
	}
	for range 30 { // one sender leaves at most its share
		d.post(t, to.Token, header, append(body, ' '))
	}
	to.secret = candidate
	header, body = to.signed(t)
	if got := d.post(t, to.Token, header, body); got.Status != http.StatusUnauthorized {
		t.Errorf("signed with a candidate: %+v, want it refused", got)
	}
	d.settle(t)

	if n := storetest.Value[int](t, d.db, `SELECT count(*) FROM tributary.rejections`); n != 20 {
		t.Errorf("%d rejections of 31, want the share of one address, 20", n)
	}
	if n := storetest.Value[int](t, d.db, `SELECT count(*) FROM tributary.rejections WHERE convert_from(header, 'UTF8') LIKE '%hush%'`); n != 0 {
		t.Errorf("%d rejections show a credential", n)
	}
	uses := func(id hub.SecretID) int64 {
		return storetest.Value[int64](t, d.db, `SELECT matches FROM tributary.secrets WHERE id = $1`, id)
	}
	if uses(to.id) != 1 || uses(candidateID) != 1 {
		t.Errorf("matches %d and %d, want 1 each", uses(to.id), uses(candidateID))
	}
}

// Of a large body the first bytes are kept, and it says so; what is kept whole can be retried.
func TestHandler_LargeRejection(t *testing.T) {
	t.Parallel()
	d := openDoor(t)
	to := d.endpoint(t, "stripe")
	for _, size := range []int{64 << 10, 64<<10 + 1} {
		if got := d.post(t, to.Token, nil, bytes.Repeat([]byte("x"), size)); got.Status != http.StatusUnauthorized {
			t.Fatalf("unsigned: %+v", got)
		}
	}
	d.settle(t)
	got := storetest.Values[string](t, d.db, `SELECT length(body) || ' ' || truncated FROM tributary.rejections ORDER BY length(body)`)
	if diff := gocmp.Diff([]string{"1024 true", "65536 false"}, got); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
}

// What waits to be written is bounded in bytes too.
func TestNotebook_BoundOfBytes(t *testing.T) {
	t.Parallel()
	d := openQuietDoor(t)
	to := d.endpoint(t, "stripe")
	body := make([]byte, 1<<20)
	for range 20 { // the share of one address
		if got := d.post(t, to.Token, nil, body); got.Status != http.StatusUnauthorized {
			t.Fatalf("unsigned: %+v", got)
		}
	}
	if err := d.notebook.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.settle(t)
	if n := storetest.Value[int](t, d.db, `SELECT count(*) FROM tributary.rejections`); n != 16 {
		t.Errorf("%d rejections of 1 MiB waited, want the 16 that there is room for", n)
	}
}
