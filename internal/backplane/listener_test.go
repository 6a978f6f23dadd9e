package backplane_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/backplane"
	"github.com/tributary-hub/tributary/internal/canary"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/storetest"
)

func TestListener_Hears(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	l := listen(t, db.URL)
	l.connected(t)
	if !l.Healthy() {
		t.Error("connected and not healthy")
	}

	tenant := hub.NewID[hub.TenantID]()
	db.Exec(t, `INSERT INTO tributary.tenants (id, slug, name) VALUES ($1, $2, 'x')`, tenant, "t"+uuid.NewString())
	message := hub.Message{ID: hub.NewID[hub.MessageID](), Channel: "c", Type: "t", Data: []byte("1")}
	if _, err := db.Pipeline.Append(t.Context(), []hub.Unit{{Tenant: tenant, Messages: []hub.Message{message, message}}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(backplane.Wake{Heads: []backplane.Head{{Tenant: tenant, Position: 2}}}, receive(t, l.wakes)); diff != "" {
		t.Error(diff)
	}

	db.Exec(t, `SELECT pg_notify('tributary', 'what is this')`)
	changed := backplane.Changed{Tenant: tenant, Version: 3}
	if err := backplane.Send(t.Context(), db.Owner, changed); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(changed, receive(t, l.changes)); diff != "" {
		t.Error(diff)
	}
	if n := count(t, l.registry, "tributary_backplane_signals_total", "undecodable"); n != 1 {
		t.Errorf("%v signals counted as not understood, want 1", n)
	}
	if err := l.CheckHears(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSend_TooLong(t *testing.T) {
	t.Parallel()
	if err := backplane.Send(t.Context(), nil, long{}); err == nil {
		t.Error("sent")
	}
}

type long struct{ backplane.Wake }

func (long) Encode() string { return strings.Repeat("x", 8000) }

// Whoever kills the backend, the listener is back, and says so, since it may have missed something.
func TestListener_KilledBackend(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	l := listen(t, db.URL)
	for range 3 {
		l.connected(t)
		db.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tributary listener' AND datname = current_database()`)
	}
	l.connected(t)
	db.Exec(t, `SELECT pg_notify('tributary', '*')`)
	if wake := receive(t, l.wakes); !wake.All {
		t.Errorf("heard %+v", wake)
	}
}

// However often it has failed before, a listener that was connected comes back soon: only failures in a row wait longer.
func TestListener_ComesBackSoon(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	l := listen(t, db.URL)
	for range 5 {
		l.connected(t)
		db.Exec(t, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'tributary listener' AND datname = current_database()`)
	}
	l.connected(t)
	lost := 0
	for len(l.waits) > 0 {
		if wait := <-l.waits; wait.wasConnected {
			lost++
			if wait.d >= 100*time.Millisecond {
				t.Errorf("the connection was lost for the time number %d, and it waited %s", lost, wait.d)
			}
		}
	}
	if lost < 5 {
		t.Errorf("%d connections were lost, want 5", lost)
	}
}

// A wait is how long the listener waits after it lost its connection, or did not get one. It takes what is logged.
type wait struct {
	wasConnected bool
	d            time.Duration
}

type waits chan wait

func (waits) Enabled(context.Context, slog.Level) bool { return true }
func (w waits) WithAttrs([]slog.Attr) slog.Handler     { return w }
func (w waits) WithGroup(string) slog.Handler          { return w }
func (w waits) Handle(_ context.Context, r slog.Record) error {
	var said wait
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "was_connected":
			said.wasConnected = a.Value.Bool()
		case "again_in":
			said.d = a.Value.Duration()
		}
		return true
	})
	select {
	case w <- said:
	default: // nobody asks that late
	}
	return nil
}

// A connection that takes everything and answers nothing is noticed by its silence.
func TestListener_BlackHole(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	p := startProxy(t, db.URL)
	l := listen(t, p.url)
	l.connected(t)
	p.swallow(true)
	l.unhealthy(t)
	for len(p.accepted) > 0 { // also those that a busy machine's slow pings have cost before
		<-p.accepted
	}
	for range 3 { // it goes on trying, and gives up an attempt that is not answered
		receive(t, p.accepted)
	}
	if l.Healthy() {
		t.Error("healthy in the dark")
	}
	p.swallow(false)
	if err := l.CheckHears(t.Context()); err != nil {
		t.Error(err)
	}
}

// Pings keep a quiet connection: it is not taken for a dead one.
func TestListener_Quiet(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	l := listen(t, db.URL)
	l.connected(t)
	quiet := 5 * 20 * time.Millisecond
	select {
	case <-l.connects:
		t.Error("connected again")
	case <-time.After(quiet):
	}
	if err := l.CheckHears(t.Context()); err != nil {
		t.Error(err)
	}
}

// A pooler in transaction mode accepts LISTEN and never delivers.
func TestListener_CheckHears_Deaf(t *testing.T) {
	t.Parallel()
	db := storetest.New(t)
	p := startProxy(t, db.URL)
	p.deafen()
	l := listen(t, p.url)
	l.connected(t)
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	err := l.CheckHears(ctx)
	if err == nil || !strings.Contains(err.Error(), "pooler") {
		t.Errorf("error %v", err)
	}
}

func TestListener_Lifecycle(t *testing.T) {
	t.Parallel()
	options := backplane.Options{URL: "postgres://127.0.0.1:1/nowhere", Log: canary.Logger(t)}

	options.Metrics = prometheus.NewRegistry()
	never, err := backplane.NewListener(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := never.Stop(t.Context()); err != nil {
		t.Error("never started:", err)
	}
	if err := never.Start(t.Context()); err == nil {
		t.Error("started after it was stopped")
	}

	options.Metrics = prometheus.NewRegistry()
	l, err := backplane.NewListener(options)
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context()); err != nil {
		t.Fatal("without a database:", err)
	}
	if l.Healthy() {
		t.Error("healthy without a database")
	}
	for range 2 {
		if err := l.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}

	options.URL = "postgres://user:hunter2@[::1"
	if _, err := backplane.NewListener(options); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("error %v", err)
	}
}

// A listener under test hands on what it heard.
type listener struct {
	*backplane.Listener
	registry *prometheus.Registry
	connects chan struct{}
	wakes    chan backplane.Wake
	changes  chan backplane.Changed
	waits    waits
}

func listen(t *testing.T, url string) *listener {
	t.Helper()
	l := &listener{
		registry: prometheus.NewRegistry(), connects: make(chan struct{}, 16),
		wakes: make(chan backplane.Wake, 16), changes: make(chan backplane.Changed, 16), waits: make(waits, 64),
	}
	var err error
	l.Listener, err = backplane.NewListener(backplane.Options{
		URL: url, Log: slog.New(l.waits), Metrics: l.registry,
		OnWake:    func(w backplane.Wake) { l.wakes <- w },
		OnChanged: func(c backplane.Changed) { l.changes <- c },
		OnConnect: func() { l.connects <- struct{}{} },
		Quiet:     20 * time.Millisecond, PingTimeout: time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if l.Healthy() {
			t.Error("stopped and healthy")
		}
	})
	return l
}

// connected waits for the next connect.
func (l *listener) connected(t *testing.T) {
	t.Helper()
	receive(t, l.connects)
}

// unhealthy waits until the listener says that it does not hear.
func (l *listener) unhealthy(t *testing.T) {
	t.Helper()
	limit := time.After(10 * time.Second)
	look := time.NewTicker(5 * time.Millisecond)
	defer look.Stop()
	for l.Healthy() {
		select {
		case <-look.C:
		case <-limit:
			t.Fatal("healthy to the end")
		}
	}
}

func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("nothing came")
		panic("unreachable")
	}
}

// count is the counter of that name and label.
func count(t *testing.T, g prometheus.Gatherer, name, label string) float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && m.GetLabel()[0].GetValue() == label {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}
