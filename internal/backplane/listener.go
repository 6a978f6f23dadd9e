package backplane

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
)

// Options of a Listener. Its handlers are called one after the other on the listener's goroutine: they note what
// they heard and return.
type Options struct {
	URL     string                // required: past any transaction pooler, which would never deliver
	Log     *slog.Logger          // required
	Metrics prometheus.Registerer // required

	OnWake    func(Wake)    // default: dropped
	OnChanged func(Changed) // default: dropped
	OnEpoch   func()        // called when the epoch may have changed; default: dropped
	OnConnect func()        // called after each connect, when signals may have been missed: look again

	Quiet       time.Duration // a connection silent for that long is pinged; default 2 s
	PingTimeout time.Duration // an answer that takes longer means that it is lost; default 5 s
}

// The first and the longest wait before the listener connects again.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 3 * time.Second
)

// A Listener hears the signals of all processes on a connection of its own. It connects again for as long as it
// runs, and finds out within Quiet and PingTimeout that a connection is dead.
type Listener struct {
	o       Options
	config  *pgx.ConnConfig
	metrics *metrics
	healthy atomic.Bool

	mu      sync.Mutex // guards what follows
	cancel  context.CancelFunc
	done    chan struct{}
	stopped bool
	echoes  map[uuid.UUID]chan struct{} // closed when heard
}

// NewListener checks the URL; it does not connect.
func NewListener(o Options) (*Listener, error) {
	config, err := pgx.ParseConfig(o.URL)
	if err != nil {
		return nil, errors.New("the database URL is not one that Postgres's clients understand") // the cause would quote it, password and all
	}
	if o.Quiet <= 0 {
		o.Quiet = 2 * time.Second
	}
	if o.PingTimeout <= 0 {
		o.PingTimeout = 5 * time.Second
	}
	config.ConnectTimeout = o.PingTimeout
	config.RuntimeParams["application_name"] = "tributary listener"
	return &Listener{o: o, config: config, metrics: newMetrics(o.Metrics), echoes: map[uuid.UUID]chan struct{}{}}, nil
}

// Start listens in the background until Stop. It does not wait for the first connection.
func (l *Listener) Start(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.cancel != nil || l.stopped {
		return errors.New("listener: it starts once")
	}
	ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	l.done = make(chan struct{})
	go func() {
		defer close(l.done)
		l.run(ctx)
	}()
	return nil
}

// Stop ends the connection and waits for the last handler to return.
func (l *Listener) Stop(ctx context.Context) error {
	l.mu.Lock()
	l.stopped = true
	cancel, done := l.cancel, l.done
	l.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Healthy says that the listener is connected, and has heard from Postgres within Quiet and PingTimeout.
func (l *Listener) Healthy() bool { return l.healthy.Load() }

// CheckHears sends a signal by another connection and waits until the listener has heard it, at most 10 s. A pooler
// in transaction mode accepts LISTEN, says nothing, and never delivers.
func (l *Listener) CheckHears(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	sent := echo{uuid.New()}
	heard := make(chan struct{})
	l.mu.Lock()
	l.echoes[sent.nonce] = heard
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.echoes, sent.nonce)
	}()

	conn, err := pgx.ConnectConfig(ctx, l.config.Copy())
	if err != nil {
		return fmt.Errorf("connect to check the listener: %w", err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }()
	repeat := time.NewTicker(200 * time.Millisecond) // the listener may not have been connected when the first was sent
	defer repeat.Stop()
	for {
		if err := Send(ctx, conn, sent); err != nil {
			return fmt.Errorf("check the listener: %w", err)
		}
		select {
		case <-heard:
			return nil
		case <-repeat.C:
		case <-ctx.Done():
			return errors.New("the listener does not hear what is sent to it: its database URL must lead past any transaction pooler")
		}
	}
}

func (l *Listener) run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; attempt++ {
		connected, err := l.listen(ctx)
		if ctx.Err() != nil {
			return
		}
		if connected {
			attempt = 0
		}
		wait := backoff(attempt)
		level := slog.LevelWarn
		if attempt > 0 { // told when it began
			level = slog.LevelDebug
		}
		l.o.Log.Log(ctx, level, "listener lost its connection", "error", err, "was_connected", connected, "again_in", wait)
		select {
		case <-ctx.Done():
		case <-time.After(wait):
		}
	}
}

// backoff doubles, and is cut at random by up to a half, so that nodes do not come back together.
func backoff(attempt int) time.Duration {
	d := min(minBackoff<<min(attempt, 10), maxBackoff)
	return d/2 + rand.N(d/2) //nolint:gosec // nobody gains by guessing it
}

// listen hears signals on one connection until it fails or ctx ends.
func (l *Listener) listen(ctx context.Context) (connected bool, err error) {
	conn, err := pgx.ConnectConfig(ctx, l.config.Copy())
	if err != nil {
		return false, fmt.Errorf("connect: %w", err)
	}
	defer l.hangUp(ctx, conn)
	if err := l.within(ctx, func(ctx context.Context) error {
		_, err := conn.Exec(ctx, `LISTEN `+pgx.Identifier{Channel}.Sanitize())
		return err
	}); err != nil {
		return false, fmt.Errorf("listen: %w", err)
	}
	l.setConnected(true)
	l.metrics.heard.SetToCurrentTime()
	defer l.setConnected(false)
	l.metrics.connects.Inc()
	if l.o.OnConnect != nil {
		l.o.OnConnect()
	}
	for {
		if err := l.hear(ctx, conn); err != nil {
			return true, err
		}
	}
}

// hear waits for one signal, and pings where none comes: without that a half-open connection is silent for ever.
func (l *Listener) hear(ctx context.Context, conn *pgx.Conn) error {
	waiting, cancel := context.WithTimeout(ctx, l.o.Quiet)
	defer cancel()
	notification, err := conn.WaitForNotification(waiting)
	switch {
	case notification != nil:
		l.metrics.heard.SetToCurrentTime()
		l.handle(notification.Payload)
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case conn.IsClosed() || waiting.Err() == nil:
		return fmt.Errorf("wait for signals: %w", err)
	}
	if err := l.within(ctx, conn.Ping); err != nil {
		return fmt.Errorf("ping: %w", err)
	}
	l.metrics.heard.SetToCurrentTime()
	return nil
}

func (l *Listener) handle(payload string) {
	signal, err := Decode(payload)
	if err != nil {
		l.metrics.undecodable.Inc()
		return
	}
	switch s := signal.(type) {
	case Wake:
		l.metrics.wakes.Inc()
		if l.o.OnWake != nil {
			l.o.OnWake(s)
		}
	case Changed:
		l.metrics.changes.Inc()
		if l.o.OnChanged != nil {
			l.o.OnChanged(s)
		}
	case EpochChanged:
		l.metrics.epochs.Inc()
		if l.o.OnEpoch != nil {
			l.o.OnEpoch()
		}
	case echo:
		l.metrics.echoes.Inc()
		l.answer(s)
	}
}

func (l *Listener) answer(e echo) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if heard, ok := l.echoes[e.nonce]; ok {
		close(heard)
		delete(l.echoes, e.nonce)
	}
}

func (l *Listener) within(ctx context.Context, fn func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, l.o.PingTimeout)
	defer cancel()
	return fn(ctx)
}

// hangUp says goodbye where that is still possible, and does not wait for a dead one's answer.
func (l *Listener) hangUp(ctx context.Context, conn *pgx.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

func (l *Listener) setConnected(yes bool) {
	l.healthy.Store(yes)
	if yes {
		l.metrics.connected.Set(1)
	} else {
		l.metrics.connected.Set(0)
	}
}
