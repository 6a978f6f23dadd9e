// Package stream serves tenants' messages as Server-Sent Events: GET /stream/{tenant}, and beside it a self-test of the
// way to the client. It owns the handshake, the writing, heartbeats, the end of a credential, refusals that a native
// EventSource survives, and drain. What is sent and from where on is the feed's; who may read what is told by its
// Authorize.
package stream

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/feed"
	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/meter"
	"github.com/tributary-hub/tributary/internal/problem"
	"github.com/tributary-hub/tributary/internal/server"
)

// Options of a Handler.
type Options struct {
	Feed    *feed.Feed            // required
	Meter   *meter.Meter          // required: counts connections, and the messages that they took
	Metrics prometheus.Registerer // required
	// Authorize says what the request may read: all that is granted, or the channels that were asked for. Required.
	// LimitExceeded, Unavailable and KeyUnavailable let the client come back; any other error is final.
	Authorize func(ctx context.Context, tenant string, r *http.Request, channels []string) (Admission, error)

	Ping         time.Duration // between heartbeats; default 15 s
	Recheck      time.Duration // between looks at whether the credential is still good; default 5 s
	Warning      time.Duration // hub.expiring comes that long before the credential ends; default 60 s
	WriteTimeout time.Duration // a socket that takes nothing for that long is closed; default 30 s
	DrainTimeout time.Duration // what a write under way may still take when the node stops; default 5 s
	DrainSpread  time.Duration // over which streams end when the node stops, each at a random moment; default: at once
	MaxAge       time.Duration // a stream ends at a random age between half of it and all, so that a deploy looks like any other hour; default 1 h

	SelftestEvery  time.Duration // between two frames of a self-test; default 500 ms
	SelftestLength time.Duration // of a self-test; default 30 s
}

// An Admission says what a stream may read, and until when.
type Admission struct {
	Tenant      hub.TenantID
	Identity    string               // opaque; the same for the same tenant, issuer and subject
	Key         hub.KeyID            // whose stream it is; zero: a subject's
	Channels    []hub.ChannelPattern // what the stream covers
	MaxChannels int                  // the tenant's channels_per_connection; zero: no limit
	Expires     time.Time            // when the credential ends; zero: never
	Oldest      func() time.Time     // the first day that the tenant's retention shows; must return at once; default: all that is held

	// Recheck says whether the credential may still read these channels, by the configuration as it is now, and
	// gives the channel that closes with its next change. Unavailable keeps the stream, any other error ends it with
	// hub.bye closed. It is called when Changed closes, and every few seconds, beside what the stream is doing, and
	// must end with its ctx; default: never.
	Recheck func(ctx context.Context) (changed <-chan struct{}, err error)
	Changed <-chan struct{} // closes with the next change after the admission; default: never
}

// A Handler serves GET /stream/{tenant}.
type Handler struct {
	o       Options
	metrics *metrics
	streams *registry
	buffers *sync.Pool // of *[]byte, for writers: an idle stream holds no memory
}

// New makes a Handler.
func New(o Options) *Handler {
	orDefault(&o.Ping, 15*time.Second)
	orDefault(&o.Recheck, 5*time.Second)
	orDefault(&o.Warning, 60*time.Second)
	orDefault(&o.WriteTimeout, 30*time.Second)
	orDefault(&o.DrainTimeout, 5*time.Second)
	orDefault(&o.MaxAge, time.Hour)
	orDefault(&o.SelftestEvery, 500*time.Millisecond)
	orDefault(&o.SelftestLength, 30*time.Second)
	return &Handler{o: o, metrics: newMetrics(o.Metrics), streams: newRegistry(o.DrainSpread), buffers: newBuffers()}
}

func orDefault(d *time.Duration, otherwise time.Duration) {
	if *d <= 0 {
		*d = otherwise
	}
}

// Stop refuses new streams, ends every one with hub.bye drain, at moments that are spread over DrainSpread, or half of
// what ctx has left, and waits until all are gone or ctx is done. A socket that takes too little holds it up for
// DrainTimeout.
func (h *Handler) Stop(ctx context.Context) error {
	return h.streams.stop(ctx)
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.serve(w, r, h.open) }

// serve is the way of one stream: admitted, opened, written to until something ends it.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, open func(http.ResponseWriter, *http.Request) (*stream, error)) {
	if r.Method != http.MethodGet {
		w.Header().Set("Allow", http.MethodGet)
		problem.Write(w, r, hub.Errorf(hub.MethodNotAllowed, "a stream is read with GET"))
		return
	}
	s, err := open(w, r)
	if err != nil {
		h.refuse(w, r, err)
		return
	}
	if !h.streams.enter(s) {
		s.close()
		h.refuse(w, r, errStopping())
		return
	}
	defer h.streams.leave(s)
	defer s.close()
	facts := server.FactsOf(r.Context())
	facts.Tenant, facts.Connection, facts.Key = s.admission.Tenant, s.id, s.admission.Key
	facts.Ended = s.serve(r.Context())
	facts.Frames = s.frames
}

func errStopping() error { return hub.Errorf(hub.Unavailable, "this node is stopping") }

// admit says what the request may read. Checks come in the order of the contract: the credential and what it may read,
// then whether the request can be read at all.
func (h *Handler) admit(r *http.Request) (request, Admission, error) {
	if h.streams.isStopping() {
		return request{}, Admission{}, errStopping()
	}
	asked, malformed := parse(r)
	admission, err := h.o.Authorize(r.Context(), r.PathValue("tenant"), r, asked.channels)
	if err != nil {
		return request{}, Admission{}, err
	}
	return asked, admission, malformed
}

// open admits the request and subscribes it; nothing is written yet.
func (h *Handler) open(w http.ResponseWriter, r *http.Request) (*stream, error) {
	asked, admission, err := h.admit(r)
	if err != nil {
		return nil, err
	}
	start, err := asked.start(time.Now())
	if err != nil {
		return nil, err
	}
	if n := admission.MaxChannels; n > 0 && len(admission.Channels) > n {
		return nil, &hub.Error{
			Code: hub.LimitExceeded, Limit: "channels_per_connection", RetryAfter: time.Minute,
			Message: "a connection of this tenant has fewer channels",
		}
	}
	sub, err := h.o.Feed.Subscribe(r.Context(), feed.Request{
		Tenant: admission.Tenant, Channels: admission.Channels, Start: start, Oldest: admission.Oldest,
	})
	if err != nil {
		return nil, err
	}
	s := h.newStream(admission, h.o.MaxAge/2+rand.N(h.o.MaxAge/2)) //nolint:gosec // nobody gains by guessing it
	s.out = newWriter(w, asked.envelope, h.o.WriteTimeout, admission.Expires, h.buffers)
	s.sub, s.news = sub, sub.Ready()
	s.first, s.beat, s.every = s.hello, s.ping, h.o.Ping
	return s, nil
}

// newStream is one that grows so old, and has yet to learn what it sends, and where to.
func (h *Handler) newStream(admission Admission, age time.Duration) *stream {
	return &stream{
		id:        hub.NewID[hub.ConnectionID](),
		o:         &h.o,
		metrics:   h.metrics,
		drained:   make(chan struct{}),
		revoked:   make(chan struct{}),
		until:     time.Now().Add(age),
		admission: admission,
	}
}
