package worker

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/tributary-hub/tributary/internal/hub"
	"github.com/tributary-hub/tributary/internal/store"
	"github.com/tributary-hub/tributary/internal/telemetry"
)

// The rhythm of nodes. A node is dead to the others after store.NodeSilent; it judges them only after its own last
// three beats were written in time, since a slow Postgres must not make everybody dead to everybody.
const (
	beatEvery     = 2 * time.Second
	takeOverEvery = 5 * time.Second
	beatsToJudge  = 3
	beatInTime    = beatEvery
)

// NodeOptions of a Node.
type NodeOptions struct {
	Pipeline *store.Pipeline       // required
	River    *store.River          // required
	Self     store.Node            // required
	Log      *slog.Logger          // required
	Metrics  prometheus.Registerer // required
	Failed   chan<- error          // required, with room for one: told when the others go on without this process, and refuse it
	Counted  func(until time.Time) // required; called after each beat in time with when the others may go on without the next
	Mine     bool                  // whether the id was this process's before it was killed, so that its jobs are taken over at start
}

// A Node writes that this process lives and takes over the jobs of those that do not.
type Node struct {
	o         NodeOptions
	beatEvery time.Duration // these two are the constants, or less in a test
	lookEvery time.Duration
	inTime    int          // beats in a row
	written   atomic.Int64 // when the last one was sent that was written, by time.Since(began)
	began     time.Time
	silent    telemetry.Stretch
	metrics   nodeMetrics

	cancel  context.CancelFunc
	stopped chan struct{}
}

// NewNode makes a Node; it beats between Start and Stop.
func NewNode(o NodeOptions) *Node {
	return &Node{o: o, began: time.Now(), beatEvery: beatEvery, lookEvery: takeOverEvery, metrics: newNodeMetrics(o.Metrics)}
}

// Start takes over what its own killed predecessor left, joins with the first beat, and goes on in the background. It
// fails where the others and this process do not open what each other seals.
func (n *Node) Start(ctx context.Context) error {
	if n.o.Mine {
		if err := n.takeOver(ctx, n.o.Self.ID); err != nil {
			return err
		}
	}
	sent := time.Now()
	if err := n.o.Pipeline.Join(ctx, n.o.Self); err != nil {
		return err
	}
	n.noted(sent)
	ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	n.stopped = make(chan struct{})
	go func() {
		defer close(n.stopped)
		n.run(ctx)
	}()
	return nil
}

// Stop ends the beat and forgets the node: it ended in order, nobody needs to wait for its silence.
func (n *Node) Stop(ctx context.Context) error {
	if n.cancel == nil {
		return nil
	}
	n.cancel()
	select {
	case <-n.stopped:
		return n.o.Pipeline.RemoveNode(ctx, n.o.Self.ID)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (n *Node) run(ctx context.Context) {
	beat, look := time.NewTicker(n.beatEvery), time.NewTicker(n.lookEvery)
	defer beat.Stop()
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			if err := n.beat(ctx); hub.CodeOf(err) == hub.Conflict {
				n.o.Failed <- fmt.Errorf("this process was silent for too long, and is refused now: %w", err)
				return
			}
		case <-look.C:
			n.look(ctx)
		}
	}
}

// beat writes one beat. Its error is hub.Conflict where the others have gone on without this process, and it may not
// come back: they may seal with a key that it lacks, or have retired the one that it seals with.
func (n *Node) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, beatInTime)
	defer cancel()
	sent := time.Now()
	if err := n.write(ctx); err != nil {
		n.inTime = 0
		n.metrics.unwritten.Inc()
		if n.silent.Begins() {
			n.o.Log.WarnContext(ctx, "beats cannot be written", "error", err)
		}
		return err
	}
	n.noted(sent)
	if n.silent.Ends() {
		n.o.Log.InfoContext(ctx, "beats are written again")
	}
	n.inTime++
	n.metrics.written.Inc()
	return nil
}

// noted says that the beat was written which was sent then: the others count from later on.
func (n *Node) noted(sent time.Time) {
	n.written.Store(int64(sent.Sub(n.began)))
	n.o.Counted(sent.Add(store.NodeSilent))
}

// Written says whether this process has committed a beat within store.NodeSilent: what the others go by, and a sign
// that the database takes writes.
func (n *Node) Written() bool {
	return time.Since(n.began)-time.Duration(n.written.Load()) < store.NodeSilent
}

// write asks the row, and no memory of this process, whether the others still count on it: what was frozen has seen no
// beat fail.
func (n *Node) write(ctx context.Context) error {
	counted, err := n.o.Pipeline.Beat(ctx, n.o.Self.ID)
	if err != nil || counted {
		return err
	}
	return n.o.Pipeline.Join(ctx, n.o.Self)
}

// look judges the others by their silence, where this node's own beats were written.
func (n *Node) look(ctx context.Context) {
	if n.inTime < beatsToJudge {
		return
	}
	if err := n.takeOver(ctx, ""); err != nil && ctx.Err() == nil {
		n.o.Log.WarnContext(ctx, "jobs of dead nodes not taken over", "error", err)
	}
}

func (n *Node) takeOver(ctx context.Context, mine string) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	jobs, err := n.o.River.TakeOver(ctx, mine)
	if err != nil {
		return err
	}
	n.metrics.taken.Add(float64(jobs))
	if jobs > 0 {
		n.o.Log.InfoContext(ctx, "jobs taken over", "jobs", jobs)
	}
	return nil
}
