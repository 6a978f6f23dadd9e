// Package app builds one process of the hub from its parts, starts, checks and stops it. It is the only place that
// knows all of them; configuration stops here.
package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/config"
	"github.com/tributary-hub/tributary/internal/server"
	"github.com/tributary-hub/tributary/internal/telemetry"
)

// Options of one process.
type Options struct {
	Config  config.Config // required
	Log     *slog.Logger  // required
	Version string        // of the build
	NodeID  string        // default a new one; dev keeps one, and frees the jobs of its own killed predecessor

	Dev   bool                    // marks the database dev, lets issuers be plain http on loopback, checks the Host
	Hosts []string                // further Host names that dev serves
	Mount map[string]http.Handler // patterns of the public mux beside the hub's own: dev's /dev/
}

// An App is one process: New binds its ports, Start builds and starts the rest.
type App struct {
	o       Options
	public  *server.Server
	mux     *http.ServeMux // of the public port
	ops     *server.Server
	opsMux  *http.ServeMux
	url     *url.URL   // where the process is reached: the public URL where one is configured, else its own port
	failed  chan error // one for each port, one for the node
	metrics *prometheus.Registry
	tracer  *telemetry.Tracer // nil: nothing is traced
	nodeID  string
	now     func() time.Time // by which tokens and issuers' keys are judged
	stops   []stop

	stopping chan struct{} // closed when Stop begins
	once     sync.Once     // closes it
}

// stop is one step of Stop, pushed the moment that what it stops exists.
type stop struct {
	name string
	fn   func(context.Context) error
}

// stopTimeout bounds all steps together: the contract's 25 s, less what a process takes to end on a busy machine.
const stopTimeout = 22 * time.Second

// drainSpread is the time over which streams end at a stop. Whoever ends a hub of dev waits for it.
func (a *App) drainSpread() time.Duration {
	if a.o.Dev {
		return 0
	}
	return 6 * time.Second
}

// New binds the process's ports, so that its address is known and a taken port is told before anything else is done.
func New(ctx context.Context, o Options) (*App, error) {
	a := &App{
		o: o, nodeID: cmp.Or(o.NodeID, uuid.NewString()), metrics: telemetry.NewRegistry(o.Version), mux: http.NewServeMux(), opsMux: http.NewServeMux(), now: time.Now,
		failed: make(chan error, 3), stopping: make(chan struct{}),
	}
	if err := a.startTracing(); err != nil {
		return nil, err
	}
	hosts := o.Hosts
	if o.Config.PublicURL != nil {
		hosts = append(slices.Clone(hosts), o.Config.PublicURL.Hostname())
	}
	a.public = server.New(server.Options{
		Name: "public", Listen: o.Config.Listen, Mux: a.mux, Log: o.Log, Metrics: a.metrics, Failed: a.failed, TrustedProxies: o.Config.TrustedProxies, CheckHost: o.Dev, Hosts: hosts,
		CertFile: o.Config.TLSCertFile, KeyFile: o.Config.TLSKeyFile, Tracer: a.tracer,
	})
	a.ops = server.New(server.Options{
		Name: "ops", Listen: o.Config.OpsListen, Mux: a.opsMux, Log: o.Log, Metrics: a.metrics, Failed: a.failed, CheckHost: loopback(o.Config.OpsListen), Hosts: hosts,
	})
	var taken error
	for _, p := range a.ports() {
		if err := p.Listen(ctx); err != nil {
			taken = errors.Join(taken, fmt.Errorf("%w; %s names another address, if somebody else is to keep this one", err, p.variable))
			continue
		}
		a.onStop(p.name, p.Stop) // closes it where it is never served
	}
	if taken != nil {
		return nil, errors.Join(taken, a.Stop(ctx))
	}
	a.url = o.Config.PublicURL
	if a.url == nil {
		a.url = &url.URL{Scheme: "http", Host: a.public.Addr().String()}
	}
	return a, nil
}

// A port is one server, its step of Stop and what names its address.
type port struct {
	name, variable string
	*server.Server
}

// ports are the two of a process, in the order in which they open.
func (a *App) ports() []port {
	return []port{{"ops port", "TRIBUTARY_OPS_LISTEN", a.ops}, {"public port", "TRIBUTARY_LISTEN", a.public}}
}

// Start builds and starts everything else; when it returns, the process serves. On an error what had begun is
// stopped.
func (a *App) Start(ctx context.Context) error {
	if err := a.setup(ctx); err != nil {
		return errors.Join(err, a.Stop(context.WithoutCancel(ctx)))
	}
	return nil
}

// Addr is where the public port listens.
func (a *App) Addr() string { return a.public.Addr().String() }

// OpsAddr is where the operator's port listens.
func (a *App) OpsAddr() string { return a.ops.Addr().String() }

// Failed gives an error when a part that cannot be done without has ended by itself: the process should stop.
func (a *App) Failed() <-chan error { return a.failed }

// Stop ends what was started, the last first, within stopTimeout; each step is given what is left. It may be called
// twice. Steps that did not end in time are one error.
func (a *App) Stop(ctx context.Context) error {
	a.once.Do(func() { close(a.stopping) })
	ctx, cancel := context.WithTimeout(ctx, stopTimeout)
	defer cancel()
	var errs []error
	var late []string
	for _, s := range slices.Backward(a.stops) {
		err := s.fn(ctx)
		switch {
		case errors.Is(err, context.DeadlineExceeded):
			late = append(late, s.name)
		case err != nil:
			errs = append(errs, fmt.Errorf("stop %s: %w", s.name, err))
		}
	}
	if len(late) > 0 {
		errs = append(errs, fmt.Errorf("not ended in time, as where Postgres does not answer: %s", strings.Join(late, ", ")))
	}
	a.stops = nil
	return errors.Join(errs...)
}

func (a *App) onStop(name string, fn func(context.Context) error) {
	a.stops = append(a.stops, stop{name, fn})
}

// within is a step that gives up where there is no time left. A pool waits for each of its connections, and one to a
// server that hangs does not end; the process does.
func within(closing func()) func(context.Context) error {
	return func(ctx context.Context) error {
		closed := make(chan struct{})
		go func() {
			defer close(closed)
			closing()
		}()
		select {
		case <-closed:
			return nil
		case <-ctx.Done():
			return fmt.Errorf("connections are left: %w", ctx.Err())
		}
	}
}

// service is the lifecycle that every part in the background keeps.
type service interface {
	Start(ctx context.Context) error
	Stop(ctx context.Context) error
}

// start starts a part and has it stopped.
func (a *App) start(ctx context.Context, name string, s service) error {
	a.onStop(name, s.Stop)
	if err := s.Start(ctx); err != nil {
		return fmt.Errorf("start %s: %w", name, err)
	}
	return nil
}

// serve starts a port, and has it stopped before all that it serves, where New had it closed last of all.
func (a *App) serve(ctx context.Context, p port) error {
	a.stops = slices.DeleteFunc(a.stops, func(s stop) bool { return s.name == p.name })
	return a.start(ctx, p.name, p)
}

// loopback says whether a listener is reached from this machine alone.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.IsLoopback()
}
