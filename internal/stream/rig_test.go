package stream_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/tmaxmax/go-sse"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/storetest"
	"github.com/tributary-hub/tributary/internal/stream"
)

// patience bounds every wait of a test for something that must come.
const patience = 20 * time.Second

// A rig serves one tenant's streams over real HTTP, from a database of its own.
type rig struct {
	db       *storetest.DB
	feed     *feed.Feed
	handler  *stream.Handler
	meter    *meter.Meter
	server   *httptest.Server
	registry *prometheus.Registry
	log      *messageLog

	mu        sync.Mutex // guards authorize
	authorize func(r *http.Request, channels []string) (stream.Admission, error)
}

type options struct {
	feed.Options
	stream stream.Options
	http2  bool
	narrow bool                                          // sockets hold little, so that it takes little to fill one
	wrap   func(http.ResponseWriter) http.ResponseWriter // of requests with the parameter wrapped
}

func start(t testing.TB, adjust func(*options)) *rig {
	t.Helper()
	r := &rig{db: storetest.New(t), registry: prometheus.NewRegistry()}
	discard := canary.Logger(t)
	var o options
	o.Options = feed.Options{
		Log: discard, Metrics: r.registry, Store: r.db.Pipeline,
		Epoch: func(ctx context.Context) (hub.Epoch, error) {
			epoch, err := r.db.Pipeline.Epoch(ctx)
			return hub.Epoch(epoch), err
		},
	}
	r.meter = meter.New(meter.Options{Pipeline: r.db.Pipeline, Log: discard, Interval: time.Hour})
	if err := r.meter.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop(t, r.meter.Stop)
	o.stream = stream.Options{Meter: r.meter, Metrics: r.registry, Authorize: r.admit}
	if adjust != nil {
		adjust(&o)
	}
	r.feed = feed.New(o.Options)
	if err := r.feed.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop(t, r.feed.Stop)
	listener, err := backplane.NewListener(backplane.Options{
		URL: r.db.URL, Log: discard, Metrics: r.registry, OnWake: r.feed.Wake, OnConnect: r.feed.Reconnected,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := listener.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop(t, listener.Stop)
	if err := listener.CheckHears(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.log = newLog(t, r.db)
	o.stream.Feed = r.feed
	r.handler = stream.New(o.stream)
	mux := http.NewServeMux()
	for path, handler := range map[string]http.Handler{"/stream/{tenant}": r.handler, "/stream/{tenant}/selftest": r.handler.Selftest()} {
		mux.HandleFunc(path, func(w http.ResponseWriter, request *http.Request) {
			if o.wrap != nil && request.URL.Query().Has("wrapped") {
				w = o.wrap(w)
			}
			handler.ServeHTTP(w, request)
		})
	}
	r.server = httptest.NewUnstartedServer(mux)
	if o.narrow {
		r.server.Config.ConnState = func(conn net.Conn, state http.ConnState) {
			if state == http.StateNew {
				narrow(t, conn)
			}
		}
	}
	if o.http2 {
		r.server.EnableHTTP2 = true
		r.server.StartTLS()
	} else {
		r.server.Start()
	}
	t.Cleanup(r.server.Close)
	stop(t, r.handler.Stop)
	if o.narrow {
		transport, _ := r.server.Client().Transport.(*http.Transport)
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := new(net.Dialer).DialContext(ctx, network, address)
			if err == nil {
				narrow(t, conn)
			}
			return conn, err
		}
	}
	return r
}

func narrow(t testing.TB, conn net.Conn) {
	t.Helper()
	if secure, ok := conn.(*tls.Conn); ok {
		conn = secure.NetConn()
	}
	tcp, _ := conn.(*net.TCPConn)
	if err := errors.Join(tcp.SetReadBuffer(64<<10), tcp.SetWriteBuffer(64<<10)); err != nil {
		t.Error(err)
	}
}

func stop(t testing.TB, fn func(context.Context) error) {
	t.Helper()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), patience)
		defer cancel()
		if err := fn(ctx); err != nil {
			t.Error(err)
		}
	})
}

// admit lets everybody read what they ask for, unless the test has other rules.
func (r *rig) admit(_ context.Context, tenant string, request *http.Request, channels []string) (stream.Admission, error) {
	r.mu.Lock()
	authorize := r.authorize
	r.mu.Unlock()
	if tenant != "acme" {
		return stream.Admission{}, hub.Errorf(hub.NotFound, "no such tenant")
	}
	if authorize != nil {
		return authorize(request, channels)
	}
	return r.admission(channels), nil
}

func (r *rig) admission(channels []string) stream.Admission {
	a := stream.Admission{Tenant: r.log.tenant, Identity: "somebody", MaxChannels: 100}
	for _, c := range channels {
		a.Channels = append(a.Channels, hub.ChannelPattern(c))
	}
	return a
}

func (r *rig) rule(authorize func(r *http.Request, channels []string) (stream.Admission, error)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.authorize = authorize
}

func (r *rig) cursor(t testing.TB, p hub.Position) string {
	t.Helper()
	epoch, err := r.db.Pipeline.Epoch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return hub.Cursor{Epoch: hub.Epoch(epoch), Position: p}.String()
}

// metric is the value of a counter or gauge, of the one with that label.
func (r *rig) metric(t testing.TB, name, label string) float64 {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			labelled := slices.ContainsFunc(m.GetLabel(), func(l *dto.LabelPair) bool { return l.GetValue() == label })
			if family.GetName() == "tributary_"+name && (label == "" || labelled) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// becomes waits until a metric has that value.
func (r *rig) becomes(t testing.TB, name, label string, want float64) {
	t.Helper()
	look := time.NewTicker(time.Millisecond)
	defer look.Stop()
	timeout := time.After(patience)
	for r.metric(t, name, label) != want {
		select {
		case <-look.C:
		case <-timeout:
			t.Fatalf("%s %s is %v, want %v", name, label, r.metric(t, name, label), want)
		}
	}
}

// get asks for a stream; the answer's body ends with the test at the latest.
func (r *rig) get(t testing.TB, query string, header ...string) (*http.Response, context.CancelFunc) {
	t.Helper()
	return r.getAt(t, "/stream/acme?"+query, header...)
}

func (r *rig) getAt(t testing.TB, path string, header ...string) (*http.Response, context.CancelFunc) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, r.server.URL+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := r.server.Client().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cancel()
		_ = response.Body.Close()
	})
	return response, cancel
}

// A client reads a stream with a parser that is not ours.
type client struct {
	response *http.Response
	cut      context.CancelFunc
	next     func() (sse.Event, error, bool)
	stop     func()
	lastID   string
	live     bool // hub.live has come
	events   []sse.Event
}

func (r *rig) connect(t testing.TB, query string, header ...string) *client {
	t.Helper()
	return r.connectTo(t, "/stream/acme?"+query, header...)
}

func (r *rig) connectTo(t testing.TB, path string, header ...string) *client {
	t.Helper()
	response, cut := r.getAt(t, path, header...)
	if response.StatusCode != http.StatusOK {
		body, _ := io.ReadAll(response.Body)
		t.Fatalf("status %d: %s", response.StatusCode, body)
	}
	c := &client{response: response, cut: cut}
	c.next, c.stop = iter.Pull2(iter.Seq2[sse.Event, error](sse.Read(response.Body, &sse.ReadConfig{MaxEventSize: 4 << 20})))
	t.Cleanup(func() {
		cut()
		c.stop()
	})
	return c
}

// close cuts the socket.
func (c *client) close() {
	c.cut()
	c.stop()
	_ = c.response.Body.Close()
}

// read gives the next frame; false once the stream has ended.
func (c *client) read(t testing.TB) (sse.Event, bool) {
	t.Helper()
	event, err, ok := c.next()
	if !ok || err != nil {
		return sse.Event{}, false
	}
	c.lastID = event.LastEventID
	c.live = c.live || event.Type == "hub.live"
	c.events = append(c.events, event)
	return event, true
}

// until reads to a frame of that type.
func (c *client) until(t testing.TB, name string) sse.Event {
	t.Helper()
	for {
		event, ok := c.read(t)
		if !ok {
			t.Fatalf("the stream ended before %s, after %v", name, c.names())
		}
		if event.Type == name {
			return event
		}
	}
}

func (c *client) names() []string {
	var names []string
	for _, e := range c.events {
		names = append(names, e.Type)
	}
	return names
}

// positions are those of the messages that came.
func (c *client) positions(t testing.TB) []hub.Position {
	t.Helper()
	var positions []hub.Position
	for _, e := range c.events {
		if isMessage(e) {
			positions = append(positions, position(t, e.LastEventID))
		}
	}
	return positions
}

func isMessage(e sse.Event) bool { return !strings.HasPrefix(e.Type, "hub.") }

func position(t testing.TB, id string) hub.Position {
	t.Helper()
	cursor, err := hub.ParseCursor(id)
	if err != nil {
		t.Fatalf("id %q: %v", id, err)
	}
	return cursor.Position
}

func data(t testing.TB, e sse.Event) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(e.Data), &v); err != nil {
		t.Fatalf("data of %s: %v", e.Type, err)
	}
	return v
}

// messageLog is one tenant's log and what a test put into it.
type messageLog struct {
	db     *storetest.DB
	tenant hub.TenantID

	mu       sync.Mutex // guards channels
	channels []string   // by position - 1
}

func newLog(t testing.TB, db *storetest.DB) *messageLog {
	t.Helper()
	l := &messageLog{db: db, tenant: hub.NewID[hub.TenantID]()}
	db.Exec(t, `INSERT INTO tributary.tenants (id, slug, name) VALUES ($1, $2, 'stream')`, l.tenant, "t"+uuid.NewString())
	return l
}

// append adds a message to each channel, in order.
func (l *messageLog) append(t testing.TB, channels ...string) {
	t.Helper()
	l.appendSized(t, 1, channels...)
}

func (l *messageLog) appendSized(t testing.TB, size int, channels ...string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	messages := make([]hub.Message, len(channels))
	for i, c := range channels {
		data := fmt.Sprintf(`{"nth":%d,"pad":%q}`, len(l.channels)+i+1, strings.Repeat("x", size))
		messages[i] = hub.Message{ID: hub.NewID[hub.MessageID](), Channel: c, Type: "test", Data: []byte(data)}
	}
	if _, err := l.db.Pipeline.Append(t.Context(), []hub.Unit{{Tenant: l.tenant, Messages: messages}}); err != nil {
		t.Error(err)
		return
	}
	l.channels = append(l.channels, channels...)
}

func (l *messageLog) head() hub.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return hub.Position(len(l.channels))
}

// of lists the positions of those channels' messages behind after, up to through.
func (l *messageLog) of(filter []hub.ChannelPattern, after, through hub.Position) []hub.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	var positions []hub.Position
	for p := after + 1; p <= through; p++ {
		if slices.ContainsFunc(filter, func(c hub.ChannelPattern) bool { return c.Matches(l.channels[p-1]) }) {
			positions = append(positions, p)
		}
	}
	return positions
}

func channels(names ...string) string {
	return url.Values{"channel": names}.Encode()
}
